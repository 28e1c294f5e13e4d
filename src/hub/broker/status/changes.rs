//! Which changes of a broker are a line in the log. Pure: the time is an argument.
//!
//! An outage lasts from when the broker is not up any more until it is up again. A line says that
//! it has begun; one why the broker is down, unless that was the same line; one, each time that
//! this becomes another reason; and one that it is over. What comes between `down` and `up` is a
//! step of the way back, which `roadcast brokers` shows.
//!
//! Reasons may alternate, as of two connections: the first other one is said at once, and then at
//! most one in [`INTERVAL`].

use std::time::{Duration, Instant};

use super::BrokerState;
use crate::log_rate::INTERVAL;

/// A line that is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// It is in that state.
    Is,
    /// It is down as before, for another reason.
    StillDown,
    /// It is up again.
    UpAgain {
        /// How long it was not.
        away: Duration,
        /// Topics that have a gap.
        gaps: u64,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// It has been up.
    known: bool,
    outage: Option<Outage>,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    /// Gaps that were counted before it.
    gaps: u64,
    said: Option<Said>,
}

/// The reason that was said last.
#[derive(Debug)]
struct Said {
    why: String,
    at: Instant,
    /// It was not the first one.
    another: bool,
}

impl Changes {
    /// How the broker stands now, and how many gaps have been counted: what is to be said of it.
    pub(super) fn stands(
        &mut self,
        state: BrokerState,
        why: Option<&str>,
        gaps: u64,
        now: Instant,
    ) -> Option<Line> {
        if state == BrokerState::Up {
            let outage = self.outage.take()?;
            let again = std::mem::replace(&mut self.known, true);
            let away = now.saturating_duration_since(outage.since);
            let gaps = gaps.saturating_sub(outage.gaps);
            return Some(if again { Line::UpAgain { away, gaps } } else { Line::Is });
        }
        let begins = self.outage.is_none();
        let outage = self.outage.get_or_insert(Outage { since: now, gaps, said: None });
        if state != BrokerState::Down {
            return begins.then_some(Line::Is);
        }
        let why = why.unwrap_or_default();
        let another = match &outage.said {
            None => false,
            Some(said) if said.why == why => return None,
            Some(Said { another: true, at, .. })
                if now.saturating_duration_since(*at) < INTERVAL =>
            {
                return None;
            }
            Some(_) => true,
        };
        outage.said = Some(Said { why: why.to_owned(), at: now, another });
        Some(if another { Line::StillDown } else { Line::Is })
    }
}

#[cfg(test)]
mod tests {
    use super::BrokerState::{Connecting, Down, Resubscribing, Up};
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn an_outage_is_told_when_it_begins_and_when_it_is_over() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        assert_eq!(changes.stands(Connecting, None, 0, now), Some(Line::Is));
        assert_eq!(changes.stands(Resubscribing, None, 0, now), None);
        assert_eq!(changes.stands(Up, None, 0, now), Some(Line::Is), "the first time");
        assert_eq!(changes.stands(Up, None, 1, now), None);
        assert_eq!(changes.stands(Down, Some("closed"), 1, now), Some(Line::Is));
        assert_eq!(changes.stands(Resubscribing, None, 4, now + 2 * SECOND), None);
        // It was the same outage.
        assert_eq!(changes.stands(Down, Some("closed"), 4, now + 2 * SECOND), None);
        let over = Line::UpAgain { away: 3 * SECOND, gaps: 5 };
        assert_eq!(changes.stands(Up, None, 6, now + 3 * SECOND), Some(over));
        assert_eq!(changes.stands(Resubscribing, None, 6, now + 4 * SECOND), Some(Line::Is));
        let over = Line::UpAgain { away: SECOND, gaps: 0 };
        assert_eq!(changes.stands(Up, None, 6, now + 5 * SECOND), Some(over));
    }

    #[test]
    fn one_that_is_not_there_at_the_start_is_told_with_the_first_reason() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        assert_eq!(changes.stands(Connecting, None, 0, now), Some(Line::Is));
        assert_eq!(changes.stands(Down, Some("refused"), 0, now), Some(Line::Is));
        assert_eq!(changes.stands(Up, None, 0, now + SECOND), Some(Line::Is));
    }

    #[test]
    fn another_reason_is_told_once_and_two_that_alternate_at_most_once_an_interval() {
        let (mut changes, now) = (Changes::default(), Instant::now());
        let mut down = |why, at| changes.stands(Down, Some(why), 0, now + at * SECOND);
        assert_eq!(down("closed", 0), Some(Line::Is));
        assert_eq!(down("refused", 0), Some(Line::StillDown), "the first is told at once");
        assert_eq!(down("refused", 1), None);
        assert_eq!(down("password", 3), None);
        assert_eq!(down("password", 10), Some(Line::StillDown), "as it is still so");
        let alternating = (11..=50).filter(|at| {
            let why = if at % 2 == 0 { "refused" } else { "password" };
            down(why, *at).is_some()
        });
        assert_eq!(alternating.count(), 3);
        assert_eq!(down("refused", 100), None, "it was said last");
        assert_eq!(down("password", 100), Some(Line::StillDown));
    }
}
