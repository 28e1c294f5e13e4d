//! Publishers faster than delivery: `Publish` answers slow down and lose nothing, `PublishAsync` is
//! refused past its bound, and memory stays within its bounds.

use std::time::Duration;

use anyhow::Result;
use hdrhistogram::Histogram;

use super::Ground;
use super::bed::{Bed, Setup, mib};
use super::checks::Checks;
use crate::figures::ms;
use crate::fleet::drive::{Pace, Slice};

const SUBSCRIBERS: usize = 200;
const PUBLISHERS: u32 = 4;
/// Large, so that the server has more to do than the generator: readers that are slower than it
/// would be slow readers.
const PAYLOAD: usize = 16 * 1024;
/// Calls under way of all publishers: more than a lane and a log hold.
const CALLS: u32 = 2048;
/// What the server can do easily.
const CALM: f64 = 200.0;
/// Calls of `PublishAsync` a second: more than can be delivered.
const ASYNC: f64 = 8000.0;
/// `log_bytes` twice over (a log moves when it grows), `lane_bytes`, `rpc_async_bytes`, and of each
/// publisher what is read and answered: all defaults. 32 MiB for the allocator, and for laggards.
const RSS: u64 = (2 * 16 + 8 + 2 * PUBLISHERS as u64 + 32) << 20;

pub fn run(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    for asynchronous in [false, true] {
        let from = checks.all().len();
        let method = if asynchronous { "PublishAsync" } else { "Publish" };
        let length = if asynchronous { ground.overrun / 4 } else { ground.overrun };
        let pace = if asynchronous { Pace::Rate(ASYNC) } else { Pace::Unanswered(CALLS) };
        checks.begin(
            "overrun",
            format!(
                "{PUBLISHERS} publishers with {method} of {PAYLOAD} B to {SUBSCRIBERS} subscribers of {PUBLISHERS} topics, {} for {} s",
                match asynchronous {
                    true => format!("{ASYNC} calls/s"),
                    false => format!("{CALLS} calls under way"),
                },
                length.as_secs()
            ),
        );
        let mut setup = Setup::new(SUBSCRIBERS, PAYLOAD);
        setup.asynchronous = asynchronous;
        setup.plan.publishers = PUBLISHERS;
        setup.plan.topics = PUBLISHERS;
        let mut bed = Bed::new(method, ground.place, &setup)?;
        let calm = bed.fleet.slice(Pace::Rate(CALM), ground.slice * 3, None, None)?;
        bed.book(&calm)?;
        bed.remember()?;
        let begin = std::time::Instant::now();
        let mut total = Totals::default();
        while begin.elapsed() < length {
            ground.progress.say(&format!(
                "{method}, {} of {} s",
                begin.elapsed().as_secs(),
                length.as_secs()
            ));
            let slice = bed.fleet.slice(pace, Duration::from_secs(5).min(length), None, None)?;
            total.add(&slice);
            bed.book(&slice)?;
        }
        total.check(checks, &calm, &mut bed, asynchronous)?;
        let before = bed.before().map_or(0, |before| before.rss);
        checks.add(
            "bounded memory",
            format!(
                "RSS {:.1} MiB before, peak {:.1} of {:.0}",
                mib(before),
                mib(bed.rss_peak),
                mib(before + RSS)
            ),
            bed.rss_peak <= before + RSS,
        );
        let calm = bed.fleet.slice(Pace::Rate(CALM), ground.slice * 3, None, None)?;
        let holding = bed.book(&calm)?;
        checks.add(
            "answers as before once it is over",
            answers(&calm.answer_latency),
            calm.refused == 0 && holding.scrape.sum("ready", "") == 1,
        );
        bed.check(checks)?;
        ground.print(checks, from);
    }
    Ok(())
}

fn answers(of: &Histogram<u64>) -> String {
    let at = |percent| ms(of.value_at_percentile(percent));
    format!("p50 {:.2} ms, p99 {:.2}, max {:.2}", at(50.0), at(99.0), ms(of.max()))
}

#[derive(Default)]
struct Totals {
    answered: u64,
    refused: u64,
    deliveries: u64,
    seconds: f64,
    generator_busy: f64,
    held_back: u64,
    answer_latency: Option<Histogram<u64>>,
}

impl Totals {
    fn add(&mut self, slice: &Slice) {
        self.answered += slice.answered;
        self.refused += slice.refused;
        self.deliveries += slice.deliveries;
        self.seconds += slice.wall.as_secs_f64();
        self.generator_busy = self.generator_busy.max(slice.generator_busy);
        self.held_back += slice.held_back;
        match &mut self.answer_latency {
            // The bounds are the same, so it cannot fail.
            Some(all) => drop(all.add(&slice.answer_latency)),
            None => self.answer_latency = Some(slice.answer_latency.clone()),
        }
    }

    fn check(
        &self,
        checks: &mut Checks,
        calm: &Slice,
        bed: &mut Bed,
        asynchronous: bool,
    ) -> Result<()> {
        let now = bed.look()?;
        let ok = self.answered - self.refused;
        checks.add(
            "it was an overrun: publications met full lanes",
            format!(
                "{} of {ok} taken; {:.0} deliveries/s, generator {:.0} % busy",
                now.scrape.sum("lane_stalls_total", ""),
                self.deliveries as f64 / self.seconds,
                self.generator_busy * 100.0
            ),
            now.scrape.sum("lane_stalls_total", "") > 0,
        );
        let during = self.answer_latency.as_ref().map_or_else(String::new, answers);
        let slower = self.answer_latency.as_ref().is_some_and(|during| {
            during.value_at_percentile(50.0) > calm.answer_latency.value_at_percentile(50.0)
        });
        checks.add(
            if asynchronous {
                "PublishAsync is answered all the same"
            } else {
                "Publish answers slow down"
            },
            format!("before {}; during {during}", answers(&calm.answer_latency)),
            asynchronous || slower,
        );
        let lost = now.scrape.sum("publications_lost_after_ok_total", "");
        checks.add(
            "nothing answered ok is lost",
            format!(
                "{ok} ok, {} delivered, {} lost, {lost} lost after ok, {} subscribers closed",
                self.deliveries, bed.faults.lost, bed.faults.closed
            ),
            bed.faults.none()
                && lost == 0
                && self.deliveries == ok * (SUBSCRIBERS / PUBLISHERS as usize) as u64,
        );
        let counted = now.scrape.sum("rpc_errors_total", "kind=\"async\"");
        if asynchronous {
            checks.add(
                "past rpc_async_bytes refused with an error, counted",
                format!("{} of {} refused, {counted} counted", self.refused, self.answered),
                self.refused == counted && counted > 0,
            );
        } else {
            checks.add(
                "no Publish is refused",
                format!("{} of {}", self.refused, self.answered),
                counted == 0,
            );
        }
        Ok(())
    }
}
