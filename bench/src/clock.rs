//! The run's clock and the CPU clocks of processes and cores.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

/// Nanoseconds of a tick, the unit of stamps and latencies. A stamp's 32 bits last for seven
/// minutes.
pub const TICK_NANOS: u64 = 100;

/// The clock that stamps are taken from.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Self {
        Self { start: Instant::now() }
    }

    /// Ticks since the start, wrapping.
    #[inline]
    pub fn ticks(&self) -> u32 {
        self.ticks_at(Instant::now())
    }

    /// Ticks from the start to `instant`, wrapping.
    #[inline]
    pub fn ticks_at(&self, instant: Instant) -> u32 {
        ((instant - self.start).as_nanos() as u64 / TICK_NANOS) as u32
    }
}

/// CPU time that a server has used.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    /// Of the process and its children, all threads.
    pub process: Duration,
    /// Of the softirq threads of its cores, which do part of its sending.
    pub softirq: Duration,
}

impl CpuTime {
    /// Both together.
    pub fn total(self) -> Duration {
        self.process + self.softirq
    }

    /// What was used since `earlier`.
    pub fn since(self, earlier: Self) -> Self {
        Self {
            process: self.process.saturating_sub(earlier.process),
            softirq: self.softirq.saturating_sub(earlier.softirq),
        }
    }
}

/// The CPU clocks of one server.
#[derive(Debug)]
pub struct CpuMeter {
    processes: Vec<ClockId>,
    softirqs: Vec<u32>,
}

impl CpuMeter {
    /// Measures a process, the children that it has now, and the softirq threads of `cores`.
    pub fn new(pid: u32, cores: &[usize]) -> Result<Self> {
        let mut pids = vec![pid];
        let mut seen = 0;
        while let Some(&pid) = pids.get(seen) {
            pids.extend(children(pid));
            seen += 1;
        }
        let processes = pids
            .into_iter()
            .map(|pid| {
                clock_getcpuclockid(Pid::from_raw(pid as i32)).context("the CPU clock of a server")
            })
            .collect::<Result<_>>()?;
        let softirqs = cores.iter().map(|&core| softirq_thread(core)).collect::<Result<_>>()?;
        Ok(Self { processes, softirqs })
    }

    /// What has been used so far.
    pub fn read(&self) -> Result<CpuTime> {
        let mut time = CpuTime::default();
        for clock in &self.processes {
            time.process += Duration::from(clock.now().context("the server has ended")?);
        }
        for pid in &self.softirqs {
            let path = format!("/proc/{pid}/schedstat");
            let text = fs::read_to_string(&path).with_context(|| path.clone())?;
            let nanos = text.split_whitespace().next().and_then(|nanos| nanos.parse().ok());
            time.softirq += Duration::from_nanos(nanos.with_context(|| path)?);
        }
        Ok(time)
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu() -> Duration {
    ClockId::CLOCK_THREAD_CPUTIME_ID.now().map(Duration::from).unwrap_or_default()
}

/// The processes that the threads of `pid` have started.
fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .flatten()
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|pids| {
            pids.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// The process id of `ksoftirqd/CORE`.
fn softirq_thread(core: usize) -> Result<u32> {
    let name = format!("ksoftirqd/{core}");
    fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .find(|pid| {
            fs::read_to_string(format!("/proc/{pid}/comm"))
                .is_ok_and(|comm| comm.trim_end() == name)
        })
        .with_context(|| format!("{name} is not to be seen in /proc"))
}
