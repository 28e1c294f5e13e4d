//! Connections that have joined and wait: what each costs in memory, of the server and of the
//! kernel.

use std::fs;

use anyhow::Result;

use super::{Case, Contender, fleet};
use crate::clock::Clock;
use crate::figures::{Metric, Round};
use crate::fleet::Plan;
use crate::process::{field_kib, rss_bytes};
use crate::progress::Progress;
use crate::stamp::STAMP_BYTES;

const WINDOW: usize = 128;

/// How long a server may take to tidy up before its memory is read.
const SETTLE: std::time::Duration = std::time::Duration::from_secs(2);

pub fn run(
    case: &Case,
    connections: usize,
    topics: u32,
    contenders: &mut [Contender],
    missing: &mut Vec<String>,
    progress: &Progress,
) -> Result<()> {
    let plan = Plan { topics, payload: STAMP_BYTES, window: 1, spin: false, publishers: 0 };
    // A server keeps what it has freed for its next use, so every round counts from its start.
    let starts: Vec<_> = contenders
        .iter()
        .map(|contender| contender.server.pid().and_then(|pid| rss_bytes(pid).ok()))
        .collect();
    for round in 1..=case.rounds {
        for (contender, start) in contenders.iter_mut().zip(&starts) {
            progress.step(round, case.rounds, &contender.record.label);
            let measured = measure(contender, connections, plan.clone(), *start);
            match measured {
                Ok(round) => contender.record.rounds.push(round),
                Err(error) => missing.push(format!("{}: {error:#}", contender.record.label)),
            }
        }
    }
    Ok(())
}

fn measure(
    contender: &Contender,
    connections: usize,
    plan: Plan,
    rss_at_start: Option<u64>,
) -> Result<Round> {
    let mut round = Round::new();
    let pid = contender.server.pid();
    let kernel_before = kernel_bytes()?;
    let mut fleet = fleet(&contender.server, plan, Clock::start())?;
    fleet.grow(connections, WINDOW)?;
    std::thread::sleep(SETTLE);
    fleet.turn(std::time::Duration::ZERO)?;
    let kib_each =
        |before: u64, after: u64| after.saturating_sub(before) as f64 / 1024.0 / connections as f64;
    if let (Some(before), Some(after)) = (rss_at_start, pid.map(rss_bytes).transpose()?) {
        round.insert(Metric::RssAtStart, before as f64 / 1024.0 / 1024.0);
        round.insert(Metric::RssPerConnection, kib_each(before, after));
    }
    round.insert(Metric::KernelPerConnection, kib_each(kernel_before, kernel_bytes()?));
    fleet.shrink(true);
    std::thread::sleep(SETTLE);
    Ok(round)
}

/// Bytes that the kernel holds for itself: slabs, page tables, stacks, and the buffers of TCP.
fn kernel_bytes() -> Result<u64> {
    let mut bytes = 0;
    for field in ["Slab:", "PageTables:", "KernelStack:"] {
        bytes += field_kib("/proc/meminfo", field)? * 1024;
    }
    let sockets = fs::read_to_string("/proc/net/sockstat")?;
    let tcp = sockets.lines().find(|line| line.starts_with("TCP:")).unwrap_or_default();
    let pages: u64 = tcp.rsplit(' ').next().and_then(|pages| pages.parse().ok()).unwrap_or(0);
    Ok(bytes + pages * 4096)
}
