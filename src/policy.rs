//! What becomes of a subscriber that does not keep up, topic by topic.

use crate::access::{Pattern, Values};

/// What happens when more waits for a subscriber than its outbox may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// The connection is closed with 1013.
    #[default]
    Disconnect,
    /// The connection lives: of what the topic owes it the newest publication survives, older ones
    /// are dropped.
    Skip,
}

/// What becomes of a subscriber that may have missed a publication of its broker, and did not ask
/// to be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// Nothing.
    #[default]
    Silent,
    /// The connection is closed with 1012, so that the client comes again and loads what it lacks.
    Close,
}

/// The policy of each topic. Without patterns: [`Overflow::Disconnect`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Topics with [`Overflow::Skip`]; none of these patterns needs a session.
    pub skip: Vec<Pattern>,
    /// Exceptions from `skip`.
    pub disconnect: Vec<Pattern>,
}

impl Policies {
    /// Whether any topic may have [`Overflow::Skip`].
    pub fn skips(&self) -> bool {
        !self.skip.is_empty()
    }

    /// The policy of a topic, of whichever broker.
    pub fn overflow(&self, topic: &str) -> Overflow {
        let named = |patterns: &[Pattern]| {
            patterns.iter().any(|pattern| pattern.matches(topic, Values::default()))
        };
        if named(&self.skip) && !named(&self.disconnect) {
            Overflow::Skip
        } else {
            Overflow::Disconnect
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    #[test]
    fn the_exceptions_win_and_what_is_in_neither_list_disconnects() {
        let policies = Policies {
            skip: patterns(&["prices", "ticks.*", "böse*"]),
            disconnect: patterns(&["ticks.final*", "ticks.x"]),
        };
        for (topic, skips) in [
            ("prices", true),
            ("prices2", false),
            ("ticks.", true),
            ("ticks.a", true),
            ("ticks", false),
            ("böse", true),
            ("ticks.finals", false),
            ("ticks.x", false),
            ("ticks.xy", true),
            ("", false),
        ] {
            let expected = if skips { Overflow::Skip } else { Overflow::Disconnect };
            assert_eq!(policies.overflow(topic), expected, "{topic}");
        }
        assert_eq!(
            Policies { skip: patterns(&["*"]), ..Policies::default() }.overflow("any"),
            Overflow::Skip
        );
        assert_eq!(Policies::default().overflow("any"), Overflow::Disconnect);
    }
}
