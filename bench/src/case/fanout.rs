//! Fan-out, many topics, slow readers, and fan-out while clients come and go.

use std::time::Duration;

use anyhow::{Result, ensure};

use super::{Case, Contender, FanOut, book, fleet};
use crate::clock::Clock;
use crate::figures::{Metric, Round, ms};
use crate::fleet::beside::Beside;
use crate::fleet::churn::Churn;
use crate::fleet::drive::{Pace, Slice};
use crate::fleet::{Fleet, Plan};
use crate::progress::Progress;
use crate::server::{Kind, Server};

/// Handshakes under way while a fleet is built, which is not measured.
const WINDOW: usize = 128;

/// Clients that come and go, in turn.
const CHURNING: usize = 64;

/// Publications under way that an open loop follows: of a server that does not keep up for a long
/// while.
const OPEN_WINDOW: usize = 1 << 18;

pub fn run(
    case: &Case,
    work: &FanOut,
    contenders: &mut [Contender],
    missing: &mut Vec<String>,
    progress: &Progress,
) -> Result<()> {
    let clock = Clock::start();
    let window = match work.pace {
        Pace::InFlight(window) | Pace::Unanswered(window) => 2 * window as usize,
        Pace::Rate(_) => OPEN_WINDOW,
    };
    let plan = Plan {
        topics: work.topics,
        payload: work.payload,
        window,
        spin: case.spin,
        publishers: work.publishers,
    };
    let mut entries = Vec::new();
    for contender in contenders {
        if work.slow_percent > 0.0
            && matches!(contender.server.kind, Kind::Floor | Kind::FloorPlain)
        {
            missing.push(format!("{}: it blocks on a slow reader", contender.record.label));
            continue;
        }
        let subscribers = contender.subscribers.unwrap_or(work.subscribers);
        progress.say(&format!("{subscribers} subscribers join {}", contender.server.label));
        let slow = (subscribers as f64 * work.slow_percent / 100.0).round() as usize;
        let built = fleet(&contender.server, plan.clone(), clock).and_then(|mut fleet| {
            fleet.grow(subscribers, WINDOW)?;
            fleet.stop_reading(slow)?;
            Ok((fleet, churn(work, &contender.server, &plan, clock)?))
        });
        match built {
            Ok(clients) => entries.push((contender, clients)),
            Err(error) => missing.push(format!("{}: {error:#}", contender.record.label)),
        }
    }
    type Clients = (Fleet, Option<Churn>);
    case.rounds(
        entries,
        missing,
        progress,
        |server, (fleet, churn): &mut Clients, record, length| {
            let beside = churn.as_mut().map(|churn| churn as &mut dyn Beside);
            let slice = fleet.slice(work.pace, length, server.meter(), beside)?;
            book(record, &slice);
            let mut round = round(&slice);
            if churn.is_some() {
                round.insert(
                    Metric::ActionsPerSecond,
                    slice.actions as f64 / slice.wall.as_secs_f64(),
                );
            }
            record.rounds.push(round);
            ensure!(
                !slice.saturated,
                "it does not keep up: a slice had not arrived 20 s after its end"
            );
            Ok(())
        },
    )
}

/// The clients that come and go beside the fleet, if the workload has any.
fn churn(work: &FanOut, server: &Server, plan: &Plan, clock: Clock) -> Result<Option<Churn>> {
    if work.churn == 0 {
        return Ok(None);
    }
    let plan = Plan { publishers: 0, spin: false, window: 1, ..plan.clone() };
    let mut beside = fleet(server, plan, clock)?;
    beside.grow(CHURNING, CHURNING)?;
    Ok(Some(Churn::new(beside, f64::from(work.churn))))
}

/// The figures of a slice of deliveries.
pub fn round(slice: &Slice) -> Round {
    let mut round = Round::new();
    let deliveries = slice.deliveries as f64;
    if slice.deliveries > 0 {
        if let Some(cpu) = slice.cpu {
            let total = cpu.total().as_secs_f64();
            round.insert(Metric::CpuPerDelivery, total * 1e6 / deliveries);
            round.insert(Metric::SoftirqShare, cpu.softirq.as_secs_f64() * 100.0 / total.max(1e-9));
        }
        round.insert(Metric::LatencyP50, ms(slice.latency.value_at_percentile(50.0)));
        round.insert(Metric::LatencyP99, ms(slice.latency.value_at_percentile(99.0)));
    }
    round.insert(
        Metric::DeliveriesPerSecond,
        deliveries / slice.wall.max(Duration::from_nanos(1)).as_secs_f64(),
    );
    round
}
