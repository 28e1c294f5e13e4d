//! A storm of connections: each shakes hands and joins.

use std::time::Instant;

use anyhow::Result;

use super::{Case, Contender, fleet};
use crate::clock::{Clock, thread_cpu};
use crate::figures::{Metric, Round, ms};
use crate::fleet::{Fleet, Plan};
use crate::progress::Progress;
use crate::stamp::STAMP_BYTES;

pub fn run(
    case: &Case,
    connections: usize,
    window: usize,
    contenders: &mut [Contender],
    missing: &mut Vec<String>,
    progress: &Progress,
) -> Result<()> {
    let clock = Clock::start();
    let plan = Plan { topics: 1, payload: STAMP_BYTES, window: 1, spin: case.spin, publishers: 0 };
    let mut entries = Vec::new();
    for contender in contenders {
        match fleet(&contender.server, plan.clone(), clock) {
            Ok(fleet) => entries.push((contender, fleet)),
            Err(error) => missing.push(format!("{}: {error:#}", contender.record.label)),
        }
    }
    case.rounds(entries, missing, progress, |server, fleet: &mut Fleet, record, _| {
        let (start, busy) = (Instant::now(), thread_cpu());
        let before = server.meter().map(|meter| meter.read()).transpose()?;
        fleet.grow(connections, window)?;
        let wall = start.elapsed().as_secs_f64();
        record.generator_busy =
            record.generator_busy.max((thread_cpu() - busy).as_secs_f64() / wall);
        let mut round = Round::new();
        round.insert(Metric::ConnectionsPerSecond, connections as f64 / wall);
        let [upgrades, joins] = fleet.take_answers();
        for (metric, answers, percent) in [
            (Metric::UpgradeP50, &upgrades, 50.0),
            (Metric::UpgradeP99, &upgrades, 99.0),
            (Metric::JoinP50, &joins, 50.0),
            (Metric::JoinP99, &joins, 99.0),
        ] {
            round.insert(metric, ms(answers.value_at_percentile(percent)));
        }
        if let (Some(before), Some(meter)) = (before, server.meter()) {
            let cpu = meter.read()?.since(before).total().as_secs_f64();
            round.insert(Metric::CpuPerConnection, cpu * 1e6 / connections as f64);
        }
        record.rounds.push(round);
        fleet.shrink(true);
        // The server shall be done with them before another is measured.
        std::thread::sleep(case.slice.min(std::time::Duration::from_millis(300)));
        Ok(())
    })
}
