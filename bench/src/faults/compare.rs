//! The same load with a fault and without, slice by slice: what the fault costs everybody else.

use std::time::Duration;

use anyhow::Result;

use super::bed::Bed;
use super::checks::Checks;
use crate::figures::ms;
use crate::fleet::beside::Beside;
use crate::fleet::drive::Pace;
use crate::progress::Progress;
use crate::stats::Spread;

/// A server, whoever is beside its healthy subscribers, and their latencies.
pub struct Side {
    /// The server.
    pub bed: Bed,
    /// Who is beside its healthy subscribers.
    pub beside: Vec<Box<dyn Beside>>,
    /// Of each round, ms.
    pub p50: Vec<f64>,
    /// Of each round, ms.
    pub p99: Vec<f64>,
    /// The busiest slice of the generator.
    pub generator_busy: f64,
}

impl Side {
    /// A server with nobody beside.
    pub fn new(bed: Bed) -> Self {
        Self { bed, beside: Vec::new(), p50: Vec::new(), p99: Vec::new(), generator_busy: 0.0 }
    }
}

/// Rounds of slices at a rate.
#[derive(Clone, Copy, Debug)]
pub struct Rounds {
    /// How many, after a warm-up.
    pub rounds: usize,
    /// Length of a slice.
    pub slice: Duration,
    /// Publications a second.
    pub rate: f64,
}

impl Rounds {
    /// Drives the sides in turn, another first in each round. `seen` is told what a side's server
    /// holds after its slice.
    pub fn run(
        self,
        sides: &mut [Side],
        progress: &Progress,
        mut seen: impl FnMut(usize, &super::bed::Holding),
    ) -> Result<()> {
        for round in 1..=self.rounds {
            for turn in 0..sides.len() {
                let place = (turn + round) % sides.len();
                let side = &mut sides[place];
                progress.step(round, self.rounds, &side.bed.label);
                // What has come while others had their turn is not this slice's.
                side.beside.settle()?;
                let slice = side.bed.fleet.slice(
                    Pace::Rate(self.rate),
                    self.slice,
                    None,
                    Some(&mut side.beside as &mut dyn Beside),
                )?;
                side.p50.push(ms(slice.latency.value_at_percentile(50.0)));
                side.p99.push(ms(slice.latency.value_at_percentile(99.0)));
                side.generator_busy = side.generator_busy.max(slice.generator_busy);
                let holding = side.bed.book(&slice)?;
                seen(place, &holding);
            }
        }
        Ok(())
    }

    /// Runs one slice without anybody beside on each side, to warm up, and remembers what each
    /// server holds then.
    pub fn warm_up(self, sides: &mut [Side], progress: &Progress) -> Result<()> {
        for side in sides {
            progress.step(0, self.rounds, &side.bed.label);
            let slice = side.bed.fleet.slice(Pace::Rate(self.rate), self.slice / 2, None, None)?;
            side.bed.book(&slice)?;
            side.bed.remember()?;
        }
        Ok(())
    }
}

/// Checks that the p99 of healthy subscribers is within so many percent of that without the fault.
pub fn check_p99(checks: &mut Checks, calm: &Side, faulty: &Side, percent: u32) {
    let ratios = faulty.p99.iter().zip(&calm.p99).map(|(faulty, calm)| faulty / calm);
    let middle =
        |values: &[f64]| Spread::of(values.iter().copied()).map_or(0.0, |spread| spread.median);
    let Some(ratio) = Spread::of(ratios) else { return };
    let busy = calm.generator_busy.max(faulty.generator_busy);
    let limit = if busy > crate::figures::GENERATOR_LIMIT {
        ", the generator may be the limit"
    } else {
        ""
    };
    checks.add(
        format!("p99 of the healthy within {percent} % of a run without"),
        format!(
            "× {:.2} [{:.2} {:.2}]: {:.2} → {:.2} ms (p50 {:.2} → {:.2}), {} rounds, generator {:.0} % busy{limit}",
            ratio.median,
            ratio.low,
            ratio.high,
            middle(&calm.p99),
            middle(&faulty.p99),
            middle(&calm.p50),
            middle(&faulty.p50),
            faulty.p99.len(),
            busy * 100.0,
        ),
        ratio.median <= 1.0 + f64::from(percent) / 100.0,
    );
}
