//! The limits: each can be set, and what stands in the table is what runs.

use super::*;
use crate::limits::{Kind, Limit};
use crate::memory::Memory;
use crate::worst_case;

#[test]
fn the_tables_defaults_are_those_of_limits() {
    assert_eq!(*config("").limits, Limits::default());
}

#[test]
fn every_limit_can_be_set() {
    // A little more than the default each, and no two alike.
    let other = |place: usize, limit: &Limit| (limit.value)(&Limits::default()) + 1 + place as u64;
    let numbered = || Limits::TABLE.iter().enumerate();
    let overrides = numbered().map(|(place, limit)| {
        let unit = if limit.kind == Kind::Duration { "ms" } else { "" };
        format!("{}={}{unit}", limit.path, other(place, limit))
    });
    let options = LoadOptions { overrides: overrides.collect(), ..LoadOptions::default() };
    let (config, _) = Config::load(&options).unwrap();
    for (place, limit) in numbered() {
        assert_eq!((limit.value)(&config.limits), other(place, limit), "{}", limit.path);
    }
}

fn with_memory(file: &str, mib: u64) -> (Config, String) {
    let directory = Directory::new();
    std::fs::write(directory.0.join(".rr.yaml"), file).unwrap();
    let memory = Memory { bytes: mib << 20, source: "/sys/fs/cgroup/memory.max".to_owned() };
    let options =
        LoadOptions { memory: Some(memory), cwd: directory.0.clone(), ..LoadOptions::default() };
    let (config, notices) = Config::load(&options).unwrap();
    (config, notices.iter().map(|notice| notice.to_string() + "\n").collect())
}

#[test]
fn limits_that_nobody_set_follow_the_memory_there_is() {
    let two = "roadcast: { shards: 2 }";
    let (config, notices) = with_memory(two, 512);
    let sum = worst_case::sum(&config.limits, 2, config.uses());
    assert!(
        sum <= 256 << 20 && config.limits.outboxes_bytes < 64 << 20,
        "{sum} {:?}",
        config.limits
    );
    assert_eq!(notices, "");
    let told = config.summary(None).to_string();
    assert!(told.contains(" at worst of 512MiB (/sys/fs/cgroup/memory.max): outboxes "), "{told}");
    assert_eq!(*with_memory(two, 64 << 10).0.limits, Limits::default());
    // With topics that skip the logs count twice.
    let skips = "roadcast: { shards: 2, overflow: { skip: [prices] } }";
    assert!({
        let config = with_memory(skips, 512).0;
        worst_case::sum(&config.limits, 2, config.uses()) <= 256 << 20
    });
}

#[test]
fn limits_that_are_set_stand_and_too_much_of_them_is_warned_of() {
    let file = "roadcast: { shards: 2, limits: { outboxes_bytes: 256MiB } }";
    let (config, notices) = with_memory(file, 512);
    assert_eq!(config.limits.outboxes_bytes, 256 << 20);
    let place = ".rr.yaml:1:50: roadcast.limits.outboxes_bytes: queues and topics hold ";
    assert!(notices.contains(place), "{notices}");
    assert!(
        notices.contains("more than half of the memory that the process may use, 512MiB (/sys"),
        "{notices}"
    );
    assert_eq!(with_memory(file, 8192).1, "");
    // Shards that no default fits.
    assert!(
        with_memory("roadcast: { shards: 64 }", 256)
            .1
            .contains("roadcast.shards: queues and topics hold ")
    );
}
