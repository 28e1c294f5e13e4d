//! Memory that goes back when many topics have gone.
//!
//! Tables shrink by themselves. Names are small allocations among others, which the allocator keeps: from time to time, when
//! much has gone, it is told to give back what is free.

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

/// When so much has gone that giving back is worth it.
#[derive(Debug, Default)]
struct Ebb {
    /// The highest since memory was last given back.
    high: u64,
}

impl Ebb {
    /// Says what is there now; returns whether to give back.
    fn is_worth_it(&mut self, bytes: u64) -> bool {
        let gone = self.high.saturating_sub(bytes);
        if gone < WORTH_IT {
            self.high = self.high.max(bytes);
            return false;
        }
        self.high = bytes;
        true
    }
}

/// Starts the thread that looks after it, which ends with the process.
pub fn start(shards: Vec<Arc<ShardCounters>>) -> io::Result<()> {
    let run = move || {
        let mut ebb = Ebb::default();
        loop {
            sleep(INTERVAL);
            let there = shards.iter().map(|shard| shard.standing().subscriptions_bytes).sum();
            if ebb.is_worth_it(there) {
                let begin = Instant::now();
                give_back_free_pages();
                tracing::debug!(took = ?begin.elapsed(), "memory of topics given back");
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
        for (mib, expected) in steps {
            assert_eq!(ebb.is_worth_it(mib << 20), expected, "{mib} MiB");
        }
    }
}
