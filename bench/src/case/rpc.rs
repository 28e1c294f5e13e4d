//! Publishes through one RPC connection, pipelined and driven by their answers.

use anyhow::Result;

use super::{Case, Contender, book, fanout, fleet};
use crate::clock::Clock;
use crate::figures::Metric;
use crate::fleet::drive::Pace;
use crate::fleet::{Fleet, Plan};
use crate::progress::Progress;

pub fn run(
    case: &Case,
    (window, payload, subscribers): (u32, usize, usize),
    contenders: &mut [Contender],
    missing: &mut Vec<String>,
    progress: &Progress,
) -> Result<()> {
    let clock = Clock::start();
    // Answers may run far ahead of deliveries.
    let plan = Plan { topics: 1, payload, window: 1 << 18, spin: case.spin, publishers: 1 };
    let mut entries = Vec::new();
    for contender in contenders {
        if !contender.server.kind.dialect().answers() {
            missing.push(format!("{}: it answers no publish", contender.record.label));
            continue;
        }
        let built = fleet(&contender.server, plan.clone(), clock).and_then(|mut fleet| {
            if contender.server.kind.has_subscribers() {
                fleet.grow(subscribers, 1)?;
            }
            Ok(fleet)
        });
        match built {
            Ok(fleet) => entries.push((contender, fleet)),
            Err(error) => missing.push(format!("{}: {error:#}", contender.record.label)),
        }
    }
    case.rounds(entries, missing, progress, |server, fleet: &mut Fleet, record, length| {
        let slice = fleet.slice(Pace::Unanswered(window), length, server.meter(), None)?;
        book(record, &slice);
        let mut round = fanout::round(&slice);
        round.remove(&Metric::CpuPerDelivery);
        round.remove(&Metric::DeliveriesPerSecond);
        if slice.answered > 0 {
            let answered = slice.answered as f64;
            round.insert(Metric::PublishesPerSecond, answered / slice.wall.as_secs_f64());
            if let Some(cpu) = slice.cpu {
                round.insert(Metric::CpuPerPublish, cpu.total().as_secs_f64() * 1e6 / answered);
            }
        }
        record.rounds.push(round);
        Ok(())
    })
}
