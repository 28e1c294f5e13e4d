//! 1 % and 10 % of the subscribers stop reading: the others do not notice, each laggard is closed
//! by its bound, and its memory comes back.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::Ground;
use super::bed::{Bed, Setup, mib};
use super::checks::Checks;
use super::compare::{Rounds, Side, check_p99};
use crate::fleet::beside::Beside;
use crate::fleet::drive::Pace;
use crate::fleet::readers::{Readers, Reading};

const SUBSCRIBERS: usize = 2000;
const PAYLOAD: usize = 256;
const RATE: f64 = 1000.0;
/// Half of the default, so that all of them are over it within the rounds.
const OUTBOX: &str = "1MiB";
/// From the last round to the end of the last laggard: `laggard_timeout`, `close_timeout` and a
/// tick.
const END: Duration = Duration::from_secs(40);

pub fn run(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let setup = |stopped: usize| {
        Setup::new(SUBSCRIBERS - stopped, PAYLOAD).with("limits.outbox_bytes", OUTBOX)
    };
    let stopped = [0, SUBSCRIBERS / 100, SUBSCRIBERS / 10];
    let labels = ["none stop", "1 % stop", "10 % stop"];
    let mut sides = Vec::new();
    let mut laggards = Vec::new();
    for (label, stopped) in labels.into_iter().zip(stopped) {
        ground.progress.say(&format!("{SUBSCRIBERS} subscribers, {label}"));
        sides.push(Side::new(Bed::new(label, ground.place, &setup(stopped))?));
    }
    let rounds = Rounds { rounds: ground.rounds, slice: ground.slice, rate: RATE };
    rounds.warm_up(&mut sides, ground.progress)?;
    for (side, stopped) in sides.iter_mut().zip(stopped).skip(1) {
        let readers = Readers::new(side.bed.beside(stopped)?, Reading::Never, &side.bed.fleet)?;
        let readers = Rc::new(RefCell::new(readers));
        side.beside.push(Box::new(readers.clone()));
        laggards.push(readers);
    }
    let began = Instant::now();
    let mut outbox_peak = vec![0; sides.len()];
    rounds.run(&mut sides, ground.progress, |place, now| {
        outbox_peak[place] = now.scrape.sum("outbox_bytes", "").max(outbox_peak[place]);
    })?;

    let (calm, faulty) = sides.split_at_mut(1);
    for ((side, readers), outbox_peak) in faulty.iter_mut().zip(&laggards).zip(&outbox_peak[1..]) {
        let from = checks.all().len();
        let stopped = readers.borrow().len();
        let done = format!(
            "{} of {SUBSCRIBERS} subscribers, {RATE} publish/s of {PAYLOAD} B, outbox_bytes {OUTBOX}",
            side.bed.label
        );
        checks.begin("stopped-readers", done);
        check_p99(checks, &calm[0], side, 10);
        // Publishing goes on until the last of them has gone.
        let bed = &mut side.bed;
        let mut gone = None;
        while gone.is_none() && began.elapsed() < END * 3 {
            ground.progress.say(&format!("{}: until all laggards are closed", bed.label));
            let slice = bed.fleet.slice(
                Pace::Rate(RATE),
                ground.slice,
                None,
                Some(&mut side.beside as &mut dyn Beside),
            )?;
            let now = bed.book(&slice)?;
            if now.scrape.sum("connections_open", "") as usize == SUBSCRIBERS - stopped {
                gone = Some((began.elapsed(), now));
            }
        }
        let now = bed.look()?;
        let (overflows, too_slow) = (
            now.scrape.sum("overflows_total", ""),
            now.scrape.sum("connections_ended_total", "reason=\"too_slow\""),
        );
        checks.add(
            format!("each of the {stopped} laggards closed by its bound"),
            format!(
                "{overflows} past outbox_bytes (1013), {} by laggard_timeout, the last {} after it stopped",
                too_slow.saturating_sub(overflows),
                match &gone {
                    Some((after, _)) => format!("{:.0} s", after.as_secs_f64()),
                    None => "never".to_owned(),
                },
            ),
            gone.is_some() && overflows.max(too_slow) == stopped as u64,
        );
        let bound = stopped as u64 * (1 << 20);
        checks.add(
            "outboxes within their bounds",
            format!("peak {:.1} MiB of {:.0}", mib(*outbox_peak), mib(bound)),
            *outbox_peak <= bound,
        );
        let outcome = readers.borrow_mut().catch_up(&bed.fleet, Duration::from_secs(1))?;
        checks.add(
            "what each had received is a prefix without a gap",
            format!(
                "{} messages: {} lost, {} doubled, {} reordered, {} damaged",
                outcome.messages,
                outcome.faults.lost,
                outcome.faults.doubled,
                outcome.faults.reordered,
                outcome.faults.damaged
            ),
            outcome.faults.none() && outcome.messages > 0 && outcome.ended() == stopped,
        );
        bed.check(checks)?;
        ground.print(checks, from);
    }
    Ok(())
}
