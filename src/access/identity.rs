//! Who a client is.

use super::pattern::{Pattern, Values};

/// What a token says of a client, or a worker or callback that let it in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its user: a token's `sub`, or the header `Roadcast-User`. `None`: nobody in particular.
    pub user: Option<Box<str>>,
    /// What others may be told of it: any JSON, as text.
    pub info: Option<Box<str>>,
    /// Those text claims of its token that a rule names.
    pub claims: Vec<(Box<str>, Box<str>)>,
    /// What its token lets it join; `None`: it says nothing of that.
    pub topics: Option<Vec<Pattern>>,
}

impl Identity {
    /// What stands for the words in a pattern's braces.
    pub fn values(&self) -> Values<'_> {
        Values { user: self.user.as_deref(), claims: &self.claims }
    }

    /// Whether its token says that it may join this topic.
    pub fn may_join(&self, topic: &str) -> bool {
        let mut patterns = self.topics.iter().flatten();
        patterns.any(|pattern| pattern.matches(topic, self.values()))
    }
    /// Takes what workers or the callback say of who it is, where they say something.
    pub fn learn(&mut self, said: Self) {
        self.user = said.user.or(self.user.take());
        self.info = said.info.or(self.info.take());
    }

    /// What it holds of memory, as bounds count it.
    pub fn cost(&self) -> usize {
        let text = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        let claims = self.claims.iter().map(|(name, value)| CLAIM_BYTES + name.len() + value.len());
        let topics = self.topics.iter().flatten().map(Pattern::cost);
        text(&self.user) + text(&self.info) + claims.sum::<usize>() + topics.sum::<usize>()
    }
}

/// What a claim costs beyond its name and value.
const CLAIM_BYTES: usize = 32;
