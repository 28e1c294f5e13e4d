//! A soak: faults at random under a seed, beside healthy subscribers whose every message is
//! checked, and a one-page report.
//!
//! Each episode picks one to three faults. The balance is checked in a scrape after every slice;
//! after an episode the offenders leave, and the server must hold what it held before.

mod guest;
mod report;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use rand::prelude::*;

use crate::faults::bed::{Bed, Setup};
use crate::faults::checks::Checks;
use crate::figures::ms;
use crate::fleet::beside::Beside;
use crate::fleet::drive::Pace;
use crate::progress::Progress;
use crate::server::Place;
use crate::setting::SettingArgs;
use guest::{Guest, Kind};
use report::{Episode, Report};

/// How long, under which seed.
#[derive(Args, Debug)]
pub struct SoakArgs {
    /// Minutes
    #[arg(long, default_value_t = 10.0)]
    pub minutes: f64,
    /// Seed of everything that is random [default: from the clock]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Write the report to this file, too
    #[arg(long)]
    pub report: Option<PathBuf>,
    /// How the load is made.
    #[command(flatten)]
    pub setting: SettingArgs,
}

const SUBSCRIBERS: usize = 600;
const TOPICS: u32 = 3;
const PAYLOAD: usize = 256;
/// Publications a second, unless publishers are to be faster than delivery.
const RATE: f64 = 400.0;
/// Calls under way then: more than the lanes hold.
const CALLS: u32 = 1024;
const SLICE: Duration = Duration::from_secs(1);

/// The configuration: two shards, a topic that skips, and lanes and logs so small that publishers
/// meet them.
fn setup() -> Setup {
    let mut setup = Setup::new(SUBSCRIBERS, PAYLOAD)
        .with("shards", "2")
        .with("overflow.skip", "t00002")
        .with("limits.lane_entries", "256")
        .with("limits.publication_bytes", "64KiB")
        .with("limits.log_bytes", "1MiB")
        .with("limits.outbox_bytes", "1MiB")
        .with("limits.head_timeout", "3s")
        .with("limits.laggard_timeout", "10s");
    setup.plan.topics = TOPICS;
    setup.plan.publishers = 2;
    setup
}

/// Runs a soak, prints its report, and fails if anything did not hold.
pub fn run(args: &SoakArgs, place: &Place) -> Result<()> {
    let clock = || std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed =
        args.seed.unwrap_or_else(|| clock().map_or(1, |since| u64::from(since.subsec_nanos())));
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let progress = Progress::new(1);
    progress.case("soak");
    let mut bed = Bed::new("soak", place, &setup())?;
    let warm_up = bed.fleet.slice(Pace::Rate(RATE), SLICE, None, None)?;
    bed.book(&warm_up)?;
    bed.remember()?;

    let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
    let mut report = Report::new(seed);
    while Instant::now() < end {
        let number = report.episodes.len() + 1;
        let episode = episode(&mut random, &mut bed, &mut report, &progress, number);
        report.episodes.push(episode.with_context(|| format!("episode {number} of seed {seed}"))?);
    }
    let mut checks = Checks::default();
    checks.begin("soak", format!("{} episodes under seed {seed}", report.episodes.len()));
    let last = bed.look()?;
    report.check(&mut checks, &last);
    bed.check(&mut checks)?;
    progress.end();
    let text = report.text(&checks, &last, bed.deliveries);
    println!("{text}");
    if let Some(path) = &args.report {
        std::fs::write(path, &text).with_context(|| path.display().to_string())?;
    }
    if !checks.held() {
        bail!("something did not hold under seed {seed}");
    }
    Ok(())
}

/// One episode: some guests, some slices, and back to quiet.
fn episode(
    random: &mut StdRng,
    bed: &mut Bed,
    report: &mut Report,
    progress: &Progress,
    number: usize,
) -> Result<Episode> {
    let mut kinds = Kind::ALL.to_vec();
    kinds.shuffle(random);
    kinds.truncate(random.random_range(1..=3));
    let slices = random.random_range(4..=12);
    let overrun = random.random_ratio(1, 6);
    let mut guests = Vec::new();
    for kind in kinds {
        guests.push(Guest::new(kind, random, bed)?);
    }
    let mut names: Vec<String> = guests.iter().map(|guest| guest.name.clone()).collect();
    if overrun {
        names.push(format!("overrun with {CALLS} calls under way"));
    }
    let names = names.join(", ");
    let mut beside: Vec<Box<dyn Beside>> = guests.iter().map(Guest::beside).collect();
    let pace = if overrun { Pace::Unanswered(CALLS) } else { Pace::Rate(RATE) };
    let (mut p99, mut deliveries) = (0.0_f64, 0);
    for slice in 1..=slices {
        progress.step(slice, slices, &format!("episode {number}: {names}"));
        let slice = bed.fleet.slice(pace, SLICE, None, Some(&mut beside as &mut dyn Beside))?;
        bed.book(&slice)?;
        deliveries += slice.deliveries;
        p99 = p99.max(ms(slice.latency.value_at_percentile(99.0)));
    }
    drop(beside);
    for guest in guests {
        guest.end(bed, report)?;
    }
    let open = bed.before().map_or(0, |before| before.scrape.sum("connections_open", ""));
    let quiet = bed.wait(Duration::from_secs(30), |now| {
        let empty = ["outbox_bytes", "log_bytes", "deliveries_queued"];
        now.scrape.sum("connections_open", "") == open
            && now.scrape.sum("topics", "") <= u64::from(2 * TOPICS)
            && empty.iter().all(|name| now.scrape.sum(name, "") == 0)
    })?;
    let now = bed.look()?;
    let wrong = bed.faults;
    Ok(Episode { faults: names, slices, deliveries, p99, quiet, rss: now.rss, wrong })
}
