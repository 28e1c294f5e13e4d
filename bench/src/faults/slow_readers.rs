//! Slow but alive: readers at a tenth of the rate, readers that pause 2 s of 10, and readers at a
//! tenth of the rate in a topic that skips.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::Ground;
use super::bed::{Bed, Setup, TOPICS};
use super::checks::Checks;
use crate::figures::ms;
use crate::fleet::beside::Beside;
use crate::fleet::drive::Pace;
use crate::fleet::readers::{Outcome, Readers, Reading};

const SUBSCRIBERS: usize = 500;
const SLOW: usize = 50;
const PAYLOAD: usize = 512;
const RATE: f64 = 1000.0;
/// Seven slices: a run has each reader pause twice.
const SLICE: Duration = Duration::from_secs(3);
const SLICES: usize = 7;
/// Bytes of a message on the wire: its payload, the envelope, the frame's head.
const MESSAGE_BYTES: f64 = (PAYLOAD + 33) as f64;

pub fn run(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let slowly = Reading::Slowly(RATE * MESSAGE_BYTES / 10.0);
    let pauses =
        Reading::WithPauses { period: Duration::from_secs(10), pause: Duration::from_secs(2) };
    let setup = Setup::new(SUBSCRIBERS, PAYLOAD);

    let from = checks.all().len();
    let done = format!(
        "{SLOW} readers at a tenth of the rate, {SLOW} that pause 2 s of 10, beside {SUBSCRIBERS}; {RATE} publish/s of {PAYLOAD} B"
    );
    checks.begin("slow-readers", done);
    let mut bed = Bed::new("slow", ground.place, &setup)?;
    let (p99, outcomes) = drive(ground, &mut bed, &[slowly, pauses])?;
    let now = bed.look()?;
    let [slow, paused] = &outcomes[..] else { return Ok(()) };
    let overflows = now.scrape.sum("overflows_total", "");
    checks.add(
        "at a tenth of the rate: closed with 1013, with a prefix without a gap",
        format!(
            "{overflows} closed past outbox_bytes; {slow}; {} messages, {} lost",
            slow.messages, slow.faults.lost
        ),
        slow.ended() == SLOW && overflows == SLOW as u64 && slow.faults.none() && slow.messages > 0,
    );
    checks.add(
        "with pauses within the outbox bound: everything in order",
        format!("{paused}; {} messages, {} lost", paused.messages, paused.faults.lost),
        paused.complete == SLOW && paused.open == SLOW && paused.faults.none(),
    );
    finish(ground, checks, &mut bed, p99, from)?;

    let from = checks.all().len();
    let done = format!(
        "{SLOW} readers at a tenth of the rate in a topic that skips, beside {SUBSCRIBERS}"
    );
    checks.begin("slow-readers", done);
    let mut bed = Bed::new("skipping", ground.place, &setup.with("overflow.skip", TOPICS))?;
    let (p99, outcomes) = drive(ground, &mut bed, &[slowly])?;
    let now = bed.look()?;
    let skipped = now.scrape.sum("deliveries_dropped_total", "reason=\"skipped\"");
    for slow in &outcomes {
        let gaps = slow.faults.lost;
        let others = crate::fleet::tally::Faults { lost: 0, ..slow.faults };
        checks.add(
            "they stay, the newest survives, gaps only and all of them counted",
            format!(
                "{slow}; {} messages, gaps of {gaps}, dropped as skipped {skipped}",
                slow.messages
            ),
            slow.open == SLOW
                && slow.complete == SLOW
                && others.none()
                && gaps == skipped
                && gaps > 0,
        );
    }
    finish(ground, checks, &mut bed, p99, from)
}

/// Drives a fleet for so long beside readers; says the healthy's p99, and what became of each kind.
fn drive(ground: &Ground<'_>, bed: &mut Bed, readings: &[Reading]) -> Result<(f64, Vec<Outcome>)> {
    let warm_up = bed.fleet.slice(Pace::Rate(RATE), ground.slice, None, None)?;
    bed.book(&warm_up)?;
    bed.remember()?;
    let mut all = Vec::new();
    for &reading in readings {
        all.push(Rc::new(RefCell::new(Readers::new(bed.beside(SLOW)?, reading, &bed.fleet)?)));
    }
    let mut beside: Vec<Box<dyn Beside>> = all.iter().map(|of| Box::new(of.clone()) as _).collect();
    let mut latency: Option<Histogram<u64>> = None;
    for number in 1..=SLICES {
        ground.progress.step(number, SLICES, &bed.label);
        let slice =
            bed.fleet.slice(Pace::Rate(RATE), SLICE, None, Some(&mut beside as &mut dyn Beside))?;
        bed.book(&slice)?;
        match &mut latency {
            // The bounds are the same, so it cannot fail.
            Some(latency) => drop(latency.add(&slice.latency)),
            None => latency = Some(slice.latency),
        }
    }
    let p99 = latency.map_or(0.0, |latency| ms(latency.value_at_percentile(99.0)));
    let outcomes =
        all.iter().map(|of| of.borrow_mut().catch_up(&bed.fleet, Duration::from_secs(2)));
    Ok((p99, outcomes.collect::<Result<_>>()?))
    // The readers end here.
}

fn finish(
    ground: &Ground<'_>,
    checks: &mut Checks,
    bed: &mut Bed,
    p99: f64,
    from: usize,
) -> Result<()> {
    checks.add("p99 of the healthy", format!("{p99:.2} ms"), true);
    bed.check(checks)?;
    ground.print(checks, from);
    Ok(())
}
