//! The limits: each can be set, and what stands in the table is what runs.

use super::*;
use crate::memory::Memory;
use crate::worst_case;

#[test]
fn the_tables_defaults_are_those_of_limits() {
    assert_eq!(*config("").limits, Limits::default());
}

#[test]
fn every_limit_can_be_set() {
    let numbers = "connections: 100\n connections_per_address: 101\n handshakes_per_address: 102\n message_bytes: 1KiB\n topics_per_connection: 3\n topic_bytes: 4\n topics: 5\n subscriptions_bytes: 21KiB\n subscriptions_bytes_per_connection: 20KiB\n \
                   publication_bytes: 6KiB\n outbox_bytes: 7KiB\n outboxes_bytes: 8KiB\n log_bytes: 9KiB\n \
                   lane_entries: 16\n lane_bytes: 11KiB\n socket_send_bytes: 12\n rpc_connections: 13\n \
                   rpc_frame_bytes: 14KiB\n rpc_async_bytes: 19KiB\n rpc_timeout: 15s\n head_bytes: 20KiB\n headers: 21\n heads_bytes: 22KiB\n head_timeout: 16s\n close_timeout: 17s\n \
                   laggard_timeout: 18s";
    let file = format!("roadcast:\n ping_interval: 1m\n pong_timeout: 20\n limits:\n{}", {
        numbers.split('\n').map(|line| format!("  {}\n", line.trim())).collect::<String>()
    });
    let seconds = Duration::from_secs;
    let expected = Limits {
        connections: 100,
        connections_per_address: 101,
        handshakes_per_address: 102,
        message_bytes: 1024,
        topics_per_connection: 3,
        topic_bytes: 4,
        topics: 5,
        subscriptions_bytes: 21 * 1024,
        subscriptions_bytes_per_connection: 20 * 1024,
        publication_bytes: 6 * 1024,
        outbox_bytes: 7 * 1024,
        outboxes_bytes: 8 * 1024,
        log_bytes: 9 * 1024,
        lane_entries: 16,
        lane_bytes: 11 * 1024,
        socket_send_bytes: 12,
        rpc_connections: 13,
        rpc_frame_bytes: 14 * 1024,
        rpc_async_bytes: 19 * 1024,
        rpc_timeout: seconds(15),
        head_bytes: 20 * 1024,
        headers: 21,
        heads_bytes: 22 * 1024,
        head_timeout: seconds(16),
        close_timeout: seconds(17),
        laggard_timeout: seconds(18),
        ping_interval: seconds(60),
        pong_timeout: seconds(20),
    };
    assert_eq!(*config(&file).limits, expected);
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
    let sum = worst_case::sum(&config.limits, 2, false);
    assert!(
        sum <= 256 << 20 && config.limits.outboxes_bytes < 64 << 20,
        "{sum} {:?}",
        config.limits
    );
    assert_eq!(notices, "");
    let told = config.summary().to_string();
    assert!(told.contains(" at worst of 512MiB (/sys/fs/cgroup/memory.max): outboxes "), "{told}");
    assert_eq!(*with_memory(two, 64 << 10).0.limits, Limits::default());
    // With topics that skip the logs count twice.
    let skips = "roadcast: { shards: 2, overflow: { skip: [prices] } }";
    assert!(worst_case::sum(&with_memory(skips, 512).0.limits, 2, true) <= 256 << 20);
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
