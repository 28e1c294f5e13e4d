//! Which of many alike events are worth a line in the log: the first at once, then at most one each
//! [`INTERVAL`]. Everything that a client or publisher can cause as often as it likes passes here:
//! it must neither fill the log nor be missing from it.
//!
//! A line says how many before it were left out, and [`LogRate::left_out`] is said at the end.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

/// Between two lines of one reason.
pub const INTERVAL: Duration = Duration::from_secs(10);

/// When each reason was last said, and what has not been said since. Reasons are few, a closed set:
/// they are never dropped.
#[derive(Debug)]
pub struct LogRate<R> {
    said: Vec<Last<R>>,
    interval: Duration,
}

#[derive(Debug)]
struct Last<R> {
    reason: R,
    at: Duration,
    unsaid: u64,
}

impl<R> Default for LogRate<R> {
    fn default() -> Self {
        Self { said: Vec::new(), interval: INTERVAL }
    }
}

impl<R> LogRate<R> {
    /// Says everything, at once.
    pub fn everything() -> Self {
        Self { said: Vec::new(), interval: Duration::ZERO }
    }
}

impl<R: Copy + PartialEq> LogRate<R> {
    /// An event at `now`, since any fixed moment. To be said: how many before it were not. `None`:
    /// not to be said.
    pub fn admit(&mut self, reason: R, now: Duration) -> Option<Unsaid> {
        let Some(said) = self.said.iter_mut().find(|said| said.reason == reason) else {
            self.said.push(Last { reason, at: now, unsaid: 0 });
            return Some(Unsaid(0));
        };
        if now.saturating_sub(said.at) < self.interval {
            said.unsaid += 1;
            return None;
        }
        said.at = now;
        Some(Unsaid(std::mem::take(&mut said.unsaid)))
    }

    /// The reasons of which events are unsaid, and how many; each once.
    pub fn left_out(&mut self) -> impl Iterator<Item = (R, LeftOut)> + '_ {
        let each = self
            .said
            .iter_mut()
            .map(|said| (said.reason, LeftOut(std::mem::take(&mut said.unsaid))));
        each.filter(|(_, left_out)| left_out.0 > 0)
    }
}

/// Causes of a reason that are told apart at a time.
const CAUSES_MAX: usize = 8;

/// The same for events whose cause is a text, which may be anybody's: each cause of a reason is
/// said for itself, up to `CAUSES_MAX` of them in an interval, and all others together. Texts
/// that differ in numbers alone, such as ids and times, are one cause.
#[derive(Debug)]
pub struct CauseRate<R> {
    /// A hash of the cause; `None`: any other.
    said: LogRate<(R, Option<u64>)>,
}

impl<R> Default for CauseRate<R> {
    fn default() -> Self {
        Self { said: LogRate::default() }
    }
}

impl<R: Copy + PartialEq> CauseRate<R> {
    /// As [`LogRate::admit`].
    pub fn admit(&mut self, reason: R, cause: &str, now: Duration) -> Option<Unsaid> {
        let named = (reason, Some(cause_of(cause)));
        let LogRate { said, interval } = &mut self.said;
        let is_named = |last: &Last<(R, Option<u64>)>| {
            let (of, cause) = last.reason;
            of == reason && cause.is_some()
        };
        let known = said.iter().any(|last| last.reason == named);
        if !known && said.iter().filter(|last| is_named(last)).count() >= CAUSES_MAX {
            // Whatever was said first makes room, if that was long ago.
            let named = said.iter().enumerate().filter(|(_, last)| is_named(last));
            let oldest = named.min_by_key(|(_, last)| last.at).map(|(at, last)| (at, last.at));
            match oldest {
                Some((at, since)) if now.saturating_sub(since) >= *interval => {
                    said.swap_remove(at);
                }
                _ => return self.said.admit((reason, None), now),
            }
        }
        self.said.admit(named, now)
    }
}

/// A hash of a text, but for its digits.
pub fn cause_of(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.bytes().filter(|byte| !byte.is_ascii_digit()).for_each(|byte| byte.hash(&mut hasher));
    hasher.finish()
}

/// How many alike events were left out before a line; what the line ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsaid(pub u64);

impl fmt::Display for Unsaid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, "; {}, {} s ago or more", LeftOut(more), INTERVAL.as_secs()),
        }
    }
}

/// How many alike events have not been said at all; what the line at the end says of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeftOut(pub u64);

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} more of these since this was last said", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_said_at_once_and_then_one_each_interval_with_the_number_unsaid() {
        let mut rate = LogRate::default();
        let second = Duration::from_secs;
        assert_eq!(rate.admit("a", second(5)), Some(Unsaid(0)));
        assert_eq!([6, 14].map(|at| rate.admit("a", second(at))), [None, None]);
        assert_eq!(rate.admit("b", second(14)), Some(Unsaid(0)), "each reason for itself");
        assert_eq!(rate.admit("a", second(15)), Some(Unsaid(2)));
        assert_eq!(rate.admit("a", second(16)), None);
        assert_eq!(rate.admit("a", second(100)), Some(Unsaid(1)));
    }

    #[test]
    fn each_cause_is_said_for_itself_as_long_as_they_are_few() {
        let mut rate = CauseRate::default();
        let second = Duration::from_secs;
        assert_eq!(rate.admit("a", "x", second(0)), Some(Unsaid(0)));
        assert_eq!(rate.admit("a", "y", second(1)), Some(Unsaid(0)), "another cause");
        assert_eq!(rate.admit("a", "x", second(2)), None);
        assert_eq!(rate.admit("a", "x7", second(2)), None, "the same with a number");
        let many = (1..100).map(|of| "z".repeat(of));
        let said = many.filter(|of| rate.admit("a", of, second(3)).is_some());
        assert_eq!(said.count(), CAUSES_MAX - 2 + 1, "the others together");
        assert_eq!(rate.admit("b", "x", second(3)), Some(Unsaid(0)), "another reason");
        assert_eq!(rate.admit("a", "x", second(10)), Some(Unsaid(2)));
        assert_eq!(rate.admit("a", "new", second(20)), Some(Unsaid(0)), "old ones make room");
        assert!(rate.said.said.len() <= CAUSES_MAX + 2);
    }

    #[test]
    fn what_was_left_out_is_there_for_the_end_and_only_once() {
        let mut rate = LogRate::default();
        for reason in ["a", "b", "a", "a"] {
            rate.admit(reason, Duration::ZERO);
        }
        assert_eq!(rate.left_out().collect::<Vec<_>>(), [("a", LeftOut(2))]);
        assert_eq!(rate.left_out().count(), 0);
    }

    #[test]
    fn a_line_says_how_many_were_left_out_where_some_were() {
        assert_eq!(Unsaid(0).to_string(), "");
        assert_eq!(
            Unsaid(7).to_string(),
            "; 7 more of these since this was last said, 10 s ago or more"
        );
    }
}
