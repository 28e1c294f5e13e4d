//! What becomes of a subscriber that does not keep up, topic by topic.

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

/// Names of topics: one name, or all that begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    start: Box<str>,
    /// The whole name must be `start`.
    exact: bool,
}

impl Pattern {
    /// Reads a pattern: a name, or the beginning of names and a `*` behind it. Fails with what is
    /// wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let start = text.strip_suffix('*');
        let exact = start.is_none();
        let start = start.unwrap_or(text);
        if text.is_empty() {
            return Err(
                "a pattern is a topic's name, or the beginning of names and a `*`".to_owned()
            );
        }
        if start.contains('*') {
            return Err(format!(
                "\"{text}\": a `*` stands at the end of a pattern, for any rest of a name"
            ));
        }
        Ok(Self { start: start.into(), exact })
    }

    fn matches(&self, topic: &str) -> bool {
        if self.exact { *self.start == *topic } else { topic.starts_with(&*self.start) }
    }
}

/// The policy of each topic. Without patterns: [`Overflow::Disconnect`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Topics with [`Overflow::Skip`].
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
        let named = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(topic));
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
    fn a_pattern_is_a_name_or_the_beginning_of_names() {
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

    #[test]
    fn a_star_in_the_middle_is_refused() {
        assert!(Pattern::parse("a*b").unwrap_err().contains("at the end"));
        assert!(Pattern::parse("**").is_err());
        assert!(Pattern::parse("").is_err());
    }
}
