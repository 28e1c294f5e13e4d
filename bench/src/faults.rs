//! Faults: what weak, slow and hostile clients do to a server, and what must hold for everybody
//! else.
//!
//! Each fault starts servers of its own, drives healthy subscribers whose every message is checked,
//! and prints what must hold beside what was measured.

mod access;
pub mod bed;
pub mod checks;
pub mod compare;
mod costly;
pub mod crowd;
pub mod habits;
mod hostile;
mod overrun;
mod slow_readers;
mod stopped_readers;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use crate::progress::Progress;
use crate::server::Place;
use crate::setting::SettingArgs;
use checks::Checks;

/// A fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fault {
    /// 1 % and 10 % of the subscribers stop reading
    StoppedReaders,
    /// Readers at a tenth of the rate, readers that pause, the same in a topic that skips
    SlowReaders,
    /// Publishers faster than delivery, with Publish and with PublishAsync
    Overrun,
    /// Slow heads, giant heads, giant frames, slow frames
    HostileInput,
    /// Small input that could cost much: leaves among 10,000 topics, calls of a million topics
    CostlyInput,
    /// 20,000 connections that send nothing
    HalfOpen,
    /// Floods of commands, of joins and leaves, of topics
    Floods,
    /// 10,000 clients at once whom tokens, or workers, let in
    AccessStorm,
}

/// What is run.
#[derive(Args, Debug)]
pub struct FaultArgs {
    /// Which faults [default: all]
    pub faults: Vec<Fault>,
    /// Rounds of a comparison; in each, every server has one slice
    #[arg(long, default_value_t = 11)]
    pub rounds: usize,
    /// Milliseconds of a slice
    #[arg(long, default_value_t = 1000)]
    pub slice_ms: u64,
    /// Seconds that publishers are faster than delivery
    #[arg(long, default_value_t = 60)]
    pub overrun_s: u64,
    /// How the load is made.
    #[command(flatten)]
    pub setting: SettingArgs,
}

/// What every fault is run with.
pub struct Ground<'a> {
    /// Where servers run.
    pub place: &'a Place,
    /// Tells how far it is.
    pub progress: &'a Progress,
    /// Rounds of a comparison.
    pub rounds: usize,
    /// Length of a slice.
    pub slice: Duration,
    /// How long publishers are faster than delivery.
    pub overrun: Duration,
}

/// Runs faults, prints each one's rows, and fails if anything did not hold.
pub fn run(args: &FaultArgs, place: &Place) -> Result<()> {
    let faults = if args.faults.is_empty() { Fault::value_variants() } else { &args.faults };
    let progress = Progress::new(faults.len());
    let ground = Ground {
        place,
        progress: &progress,
        rounds: args.rounds,
        slice: Duration::from_millis(args.slice_ms),
        overrun: Duration::from_secs(args.overrun_s),
    };
    let mut checks = Checks::default();
    for fault in faults {
        let name =
            fault.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        progress.case(&name);
        fault.run(&ground, &mut checks).with_context(|| name)?;
    }
    progress.end();
    if let Some(path) = &args.setting.json {
        write_json(path, &checks)?;
    }
    let broken = checks.all().iter().filter(|check| !check.held).count();
    println!("{} of {} held", checks.all().len() - broken, checks.all().len());
    if !checks.held() {
        bail!("{broken} did not hold");
    }
    Ok(())
}

fn write_json(path: &PathBuf, checks: &Checks) -> Result<()> {
    std::fs::write(path, serde_json::to_string_pretty(checks.all())?)
        .with_context(|| path.display().to_string())
}

impl Fault {
    fn run(self, ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
        match self {
            Self::StoppedReaders => stopped_readers::run(ground, checks),
            Self::SlowReaders => slow_readers::run(ground, checks),
            Self::Overrun => overrun::run(ground, checks),
            Self::HostileInput => hostile::input(ground, checks),
            Self::CostlyInput => costly::run(ground, checks),
            Self::HalfOpen => hostile::half_open(ground, checks),
            Self::Floods => hostile::floods(ground, checks),
            Self::AccessStorm => access::run(ground, checks),
        }
    }
}

impl Ground<'_> {
    /// Prints the rows from `from` on.
    fn print(&self, checks: &Checks, from: usize) {
        self.progress.print(&checks.table(from));
    }
}
