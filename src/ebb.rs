//! Memory that goes back when many topics, or many questions about clients, have gone.
//!
//! Tables shrink by themselves. Names and questions are small allocations among others, which the
//! allocator keeps: from time to time, when much has gone, it is told to give back what is free.

use std::io;
use std::sync::Arc;
use std::thread::{Builder, sleep};
use std::time::{Duration, Instant};

use crate::ring::give_back_free_pages;
use crate::shard::ShardCounters;

/// How often it is looked at.
const INTERVAL: Duration = Duration::from_secs(2);

/// Bytes that must have gone: giving back less is not worth its time.
const WORTH_IT: u64 = 8 << 20;

/// Between two times: each locks the allocator's heaps, and clients that join and leave could have
/// it done again and again.
const REST: Duration = Duration::from_secs(30);

/// When so much has gone it does not wait for that.
const WORTH_IT_AT_ONCE: u64 = 10 * WORTH_IT;

/// When so much has gone that giving back is worth it.
#[derive(Debug, Default)]
struct Ebb {
    /// The highest since memory was last given back.
    high: u64,
    /// When that was, since the thread's start.
    gave_back: Option<Duration>,
}

impl Ebb {
    /// Says what is there now, and the most that was since this was last called; returns whether to
    /// give back.
    fn is_worth_it(&mut self, high: u64, bytes: u64, now: Duration) -> bool {
        self.high = self.high.max(high).max(bytes);
        let rests = self.gave_back.is_some_and(|at| now.saturating_sub(at) < REST);
        if self.high - bytes < if rests { WORTH_IT_AT_ONCE } else { WORTH_IT } {
            return false;
        }
        self.high = bytes;
        self.gave_back = Some(now);
        true
    }
}

/// Starts the thread that looks after it, which ends with the process.
pub fn start(shards: Vec<Arc<ShardCounters>>) -> io::Result<()> {
    let run = move || {
        let (mut ebb, started) = (Ebb::default(), Instant::now());
        loop {
            sleep(INTERVAL);
            let (mut there, mut high) = (0, 0);
            for (now, most) in shards.iter().map(|shard| shard.take_small()) {
                there += now;
                high += most;
            }
            if ebb.is_worth_it(high, there, started.elapsed()) {
                let begin = Instant::now();
                give_back_free_pages();
                tracing::debug!(took = ?begin.elapsed(), "memory of what has gone given back");
            }
        }
    };
    Builder::new().name("memory".into()).spawn(run).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_given_back_once_when_much_has_gone() {
        let mut ebb = Ebb::default();
        let steps = [
            (100, false),
            (95, false),
            // Less and less, by and by: it counts from the highest.
            (93, false),
            (92, true),
            (92, false),
            (85, false),
            (200, false),
            (0, true),
            (0, false),
        ];
        for (step, (mib, expected)) in steps.into_iter().enumerate() {
            assert_eq!(
                ebb.is_worth_it(mib << 20, mib << 20, REST * step as u32),
                expected,
                "{mib} MiB"
            );
        }
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_given_back() {
        let mut ebb = Ebb::default();
        assert!(!ebb.is_worth_it(1 << 20, 1 << 20, REST));
        assert!(ebb.is_worth_it(24 << 20, 0, 2 * REST));
    }

    #[test]
    fn clients_that_come_and_go_have_it_given_back_once_in_a_while() {
        let mut ebb = Ebb::default();
        let second = Duration::from_secs;
        let times = (0..60).filter(|step| {
            let bytes = if step % 2 == 0 { 2 * WORTH_IT } else { 0 };
            ebb.is_worth_it(bytes, bytes, second(2 * step))
        });
        assert_eq!(times.collect::<Vec<_>>(), [1, 17, 33, 49]);
        // What has gone meanwhile is given back when it has rested; very much at once.
        assert!(!ebb.is_worth_it(12 * WORTH_IT, 12 * WORTH_IT, second(120)));
        assert!(ebb.is_worth_it(2 * WORTH_IT, 2 * WORTH_IT, second(121)));
        assert!(!ebb.is_worth_it(WORTH_IT, WORTH_IT, second(122)));
        assert!(ebb.is_worth_it(WORTH_IT, WORTH_IT, second(151)));
    }
}
