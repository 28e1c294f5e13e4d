//! Which of many alike events are worth a line in the log: the first at once, then at most one each [`INTERVAL`].
//!
//! What a client or publisher can cause as often as it likes must neither fill the log nor be missing from it.

use std::time::Duration;

/// Between two lines of one reason.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// When each reason was last said, and what has not been said since. Reasons are few, a closed set: they are never dropped.
#[derive(Debug)]
pub struct LogRate<R> {
    said: Vec<Said<R>>,
}

#[derive(Debug)]
struct Said<R> {
    reason: R,
    at: Duration,
    unsaid: u64,
}

impl<R> Default for LogRate<R> {
    fn default() -> Self {
        Self { said: Vec::new() }
    }
}

impl<R: Copy + PartialEq> LogRate<R> {
    /// An event at `now`, since any fixed moment. To be said: how many before it were not. `None`: not to be said.
    pub fn admit(&mut self, reason: R, now: Duration) -> Option<u64> {
        let Some(said) = self.said.iter_mut().find(|said| said.reason == reason) else {
            self.said.push(Said { reason, at: now, unsaid: 0 });
            return Some(0);
        };
        if now.saturating_sub(said.at) < INTERVAL {
            said.unsaid += 1;
            return None;
        }
        said.at = now;
        Some(std::mem::take(&mut said.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_then_one_each_interval_with_the_number_unsaid() {
        let mut rate = LogRate::default();
        let second = Duration::from_secs;
        assert_eq!(rate.admit("a", second(5)), Some(0));
        assert_eq!([6, 14].map(|at| rate.admit("a", second(at))), [None, None]);
        assert_eq!(rate.admit("b", second(14)), Some(0), "each reason for itself");
        assert_eq!(rate.admit("a", second(15)), Some(2));
        assert_eq!(rate.admit("a", second(16)), None);
        assert_eq!(rate.admit("a", second(100)), Some(1));
    }
}
