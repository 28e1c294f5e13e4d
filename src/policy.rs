//! What holds of a topic, by its name: what becomes of a subscriber that does not keep up, and what
//! is kept of its publications.

use std::time::Duration;

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

/// What is kept of a topic's publications, for those who were away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Publications at most, the newest ones. Not 0.
    pub size: usize,
    /// None is kept for longer.
    pub ttl: Duration,
    /// How long they are kept, and the topic's place in its order, while nobody has joined it and
    /// nothing is published.
    pub idle: Duration,
}

/// What holds of the topics that a pattern names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRule {
    /// Needs no session.
    pub pattern: Pattern,
    /// `None`: as the lists say.
    pub overflow: Option<Overflow>,
    /// `None`: nothing is kept.
    pub history: Option<History>,
}

/// The policy of each topic. Without patterns: [`Overflow::Disconnect`], and nothing is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// The first that names a topic decides.
    pub topics: Vec<TopicRule>,
    /// Topics with [`Overflow::Skip`]; none of these patterns needs a session.
    pub skip: Vec<Pattern>,
    /// Exceptions from `skip`.
    pub disconnect: Vec<Pattern>,
}

impl Policies {
    /// Whether any topic may have [`Overflow::Skip`].
    pub fn skips(&self) -> bool {
        let skips = |rule: &TopicRule| rule.overflow == Some(Overflow::Skip);
        !self.skip.is_empty() || self.topics.iter().any(skips)
    }

    /// Whether publications of any topic are kept.
    pub fn keeps(&self) -> bool {
        self.topics.iter().any(|rule| rule.history.is_some())
    }

    /// The rule of a topic, by its place.
    pub fn rule(&self, topic: &str) -> Option<usize> {
        self.topics.iter().position(|rule| rule.pattern.matches(topic, Values::default()))
    }

    /// What is kept of a topic, with the place of the rule that says so.
    pub fn history(&self, topic: &str) -> Option<(usize, History)> {
        let place = self.rule(topic)?;
        Some((place, self.topics[place].history?))
    }

    /// The policy of a topic, of whichever broker.
    pub fn overflow(&self, topic: &str) -> Overflow {
        if let Some(overflow) = self.rule(topic).and_then(|place| self.topics[place].overflow) {
            return overflow;
        }
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
            ..Policies::default()
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

    #[test]
    fn the_first_rule_that_names_a_topic_decides_and_what_it_does_not_say_the_lists_do() {
        let rule = |pattern: &str, overflow, size: usize| {
            let second = Duration::from_secs(1);
            let history = (size > 0).then_some(History { size, ttl: second, idle: second });
            TopicRule { pattern: Pattern::parse(pattern).unwrap(), overflow, history }
        };
        let policies = Policies {
            topics: vec![
                rule("chat.a", None, 0),
                rule("chat.*", Some(Overflow::Disconnect), 3),
                rule("*", None, 5),
            ],
            skip: patterns(&["*"]),
            ..Policies::default()
        };
        let size = |topic| policies.history(topic).map(|(place, history)| (place, history.size));
        assert_eq!((size("chat.a"), size("chat.b"), size("x")), (None, Some((1, 3)), Some((2, 5))));
        let of = |topic| policies.overflow(topic);
        assert_eq!((of("chat.a"), of("chat.b")), (Overflow::Skip, Overflow::Disconnect));
        assert!(policies.keeps() && policies.skips() && !Policies::default().keeps());
    }
}
