//! When a worker that works well is to be replaced all the same. Pure.

use std::fmt;
use std::time::Duration;

use super::settings::{Supervision, WorkerSettings};

/// What is known of a worker between two questions.
#[derive(Clone, Copy, Debug)]
pub struct Life {
    /// Since its start.
    pub age: Duration,
    /// Since its last answer, or its start.
    pub idle: Duration,
    /// What it has answered.
    pub answers: u64,
}

/// Why it is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// `max_jobs`.
    Jobs,
    /// `ttl`.
    Age,
    /// `idle_ttl`.
    Idle,
    /// `max_worker_memory`: so many bytes are resident.
    Memory(u64),
}

impl fmt::Display for Due {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Jobs => write!(f, "websockets.pool.max_jobs"),
            Self::Age => write!(f, "websockets.pool.supervisor.ttl"),
            Self::Idle => write!(f, "websockets.pool.supervisor.idle_ttl"),
            Self::Memory(bytes) => {
                write!(f, "websockets.pool.supervisor.max_worker_memory, at {} MiB", bytes >> 20)
            }
        }
    }
}

/// Whether a worker has answered as often as it may.
pub fn jobs_due(settings: &WorkerSettings, answers: u64) -> Option<Due> {
    (settings.max_jobs > 0 && answers >= settings.max_jobs).then_some(Due::Jobs)
}

/// What a look at a worker says; its memory is looked at only where it matters.
pub fn due(of: &Supervision, life: Life, memory: impl FnOnce() -> Option<u64>) -> Option<Due> {
    if of.ttl.is_some_and(|ttl| life.age >= ttl) {
        return Some(Due::Age);
    }
    // RoadRunner counts idleness from the first question on.
    if life.answers > 0 && of.idle_ttl.is_some_and(|ttl| life.idle >= ttl) {
        return Some(Due::Idle);
    }
    let bytes_max = of.memory_bytes_max?;
    memory().filter(|bytes| *bytes >= bytes_max).map(Due::Memory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONE: Supervision = Supervision {
        watch_tick: Duration::from_secs(1),
        ttl: None,
        idle_ttl: None,
        exec_ttl: None,
        memory_bytes_max: None,
    };

    fn life(age_s: u64, idle_s: u64, answers: u64) -> Life {
        Life { age: Duration::from_secs(age_s), idle: Duration::from_secs(idle_s), answers }
    }

    #[test]
    fn each_bound_is_looked_at_by_itself() {
        let minute = Some(Duration::from_secs(60));
        let memory = || Some(64 << 20);
        assert_eq!(due(&NONE, life(1 << 40, 1 << 40, 9), || unreachable!()), None);
        let ttl = Supervision { ttl: minute, ..NONE };
        assert_eq!([59, 60].map(|age| due(&ttl, life(age, 0, 0), memory)), [None, Some(Due::Age)]);
        let idle = Supervision { idle_ttl: minute, ..NONE };
        let of = |idle_s, answers| due(&idle, life(100, idle_s, answers), memory);
        assert_eq!([of(60, 0), of(59, 1), of(60, 1)], [None, None, Some(Due::Idle)]);
        for (bound, expected) in [(64 << 20, Some(Due::Memory(64 << 20))), ((64 << 20) + 1, None)] {
            let bound = Supervision { memory_bytes_max: Some(bound), ..NONE };
            assert_eq!(due(&bound, life(1, 1, 1), memory), expected);
            assert_eq!(due(&bound, life(1, 1, 1), || None), None, "it has gone");
        }
    }

    #[test]
    fn max_jobs_counts_answers_and_zero_is_for_ever() {
        let of = |max_jobs, answers| {
            jobs_due(&WorkerSettings { max_jobs, ..WorkerSettings::default() }, answers)
        };
        assert_eq!([of(0, u64::MAX), of(2, 1), of(2, 2)], [None, None, Some(Due::Jobs)]);
    }
}
