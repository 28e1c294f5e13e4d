//! Rules: who may join which topics.
//!
//! ```yaml
//! rules:
//!   - { topics: "user.{user}.*", join: allow }
//!   - { topics: ["admin.*", "internal.*"], join: deny }
//!   - { topics: "room.*", join: ask }
//! ```
//!
//! They stand in an order; the first that matches a topic decides on it, and where none does, the
//! default. A join is accepted or refused as a whole, and one question is put for all of its topics
//! that are to be asked about. Judging one that is allowed takes no memory: it happens at every
//! join of a shard.

use std::collections::BTreeSet;
use std::fmt;

use super::{Identity, Pattern, Values};

/// What a rule says of a join.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Join {
    /// Whoever asks may.
    #[default]
    Allow,
    /// Nobody may.
    Deny,
    /// Who has a token whose claim `topics` has a pattern that fits. One without that claim has
    /// none.
    Token,
    /// Workers, or the callback, are asked.
    Ask,
}

/// One rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The topics that it is about: those that one of these means.
    pub topics: Vec<Pattern>,
    /// What it says.
    pub join: Join,
    /// Where it was written, for people.
    pub place: String,
}

/// All rules. By default nobody is asked about anything, and everything is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// In their order.
    pub rules: Vec<Rule>,
    /// What holds for topics that no rule is about.
    pub default: Join,
    /// Whether each topic is a question of its own. A topic with a comma is then refused where
    /// somebody is to be asked: to whoever is asked about it, it would look like two.
    pub one_by_one: bool,
}

/// What is to become of a join.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement<'t> {
    /// It is carried out.
    Allow,
    /// It is refused.
    Deny,
    /// It is carried out if whoever is asked about these topics of it, in the order of the join,
    /// allows them all. Never empty.
    Ask(Vec<&'t str>),
}

impl Join {
    /// The words of a configuration.
    pub const WORDS: &[&str] = &["allow", "deny", "token", "ask"];

    /// What a word means.
    pub fn of(word: &str) -> Option<Self> {
        let all = [Self::Allow, Self::Deny, Self::Token, Self::Ask];
        all.into_iter().find(|join| join.word().eq_ignore_ascii_case(word))
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Token => "token",
            Self::Ask => "ask",
        }
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

impl Rule {
    fn is_about(&self, topic: &str, values: Values<'_>) -> bool {
        self.topics.iter().any(|pattern| pattern.matches(topic, values))
    }
}

impl Rules {
    /// Whether every join of everyone is allowed, so that nothing needs to be judged.
    pub fn open(&self) -> bool {
        self.default == Join::Allow && self.rules.iter().all(|rule| rule.join == Join::Allow)
    }

    /// What is to become of a join of these topics by somebody, or by nobody in particular.
    pub fn judge<'t>(
        &self,
        identity: Option<&Identity>,
        topics: &'t [impl AsRef<str>],
    ) -> Judgement<'t> {
        let mut asked = Vec::new();
        for topic in topics {
            let topic = topic.as_ref();
            match self.decide(identity, topic).0 {
                Join::Allow => {}
                Join::Token if identity.is_some_and(|identity| identity.may_join(topic)) => {}
                Join::Ask if !(self.one_by_one && topic.contains(',')) => asked.push(topic),
                Join::Deny | Join::Token | Join::Ask => return Judgement::Deny,
            }
        }
        if asked.is_empty() { Judgement::Allow } else { Judgement::Ask(asked) }
    }

    /// The first of these topics that is not allowed at once, and the rule that says so; `None`:
    /// the default.
    pub fn not_allowed<'t>(
        &self,
        identity: Option<&Identity>,
        topics: &'t [impl AsRef<str>],
    ) -> Option<(&'t str, Option<&Rule>)> {
        topics.iter().map(AsRef::as_ref).find_map(|topic| {
            let (_, rule) = self.decide(identity, topic);
            let is_allowed = self.judge(identity, &[topic]) == Judgement::Allow;
            (!is_allowed).then_some((topic, rule))
        })
    }

    /// What holds for a topic, and the rule that says so; `None`: the default.
    pub fn decide(&self, identity: Option<&Identity>, topic: &str) -> (Join, Option<&Rule>) {
        let values = identity.map(Identity::values).unwrap_or_default();
        let rule = self.rules.iter().find(|rule| rule.is_about(topic, values));
        (rule.map_or(self.default, |rule| rule.join), rule)
    }

    /// The claims of a token that rules name: those that a session keeps.
    pub fn claims(&self) -> BTreeSet<&str> {
        let patterns = self.rules.iter().flat_map(|rule| &rule.topics);
        patterns.flat_map(Pattern::claims).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).unwrap()
    }

    fn rules(rules: &[(&str, Join)], default: Join) -> Rules {
        let rule = |(topics, join): &(&str, Join)| {
            let topics = topics.split(' ').map(pattern).collect();
            Rule { topics, join: *join, place: String::new() }
        };
        Rules { rules: rules.iter().map(rule).collect(), default, one_by_one: false }
    }

    fn user(name: &str) -> Identity {
        Identity { user: Some(name.into()), ..Identity::default() }
    }

    #[test]
    fn the_first_rule_that_is_about_a_topic_decides() {
        let rules = rules(
            &[
                ("user.{user}.*", Join::Allow),
                ("user.* admin.*", Join::Deny),
                ("room.*", Join::Ask),
                ("room.lobby", Join::Deny),
            ],
            Join::Token,
        );
        let who = user("7");
        for (topic, expected) in [
            ("user.7.x", Join::Allow),
            ("user.8.x", Join::Deny),
            ("admin.a", Join::Deny),
            ("room.lobby", Join::Ask),
            ("news", Join::Token),
        ] {
            assert_eq!(rules.decide(Some(&who), topic).0, expected, "{topic}");
        }
        assert_eq!(rules.decide(None, "user.7.x").0, Join::Deny);
        assert_eq!(rules.decide(None, "news"), (Join::Token, None));
    }

    #[test]
    fn a_join_is_refused_as_a_whole_and_one_question_has_all_its_topics() {
        let rules = rules(&[("a.*", Join::Allow), ("q.*", Join::Ask)], Join::Deny);
        let judge = |topics: &[&'static str]| match rules.judge(None, topics) {
            Judgement::Allow => "allow".to_owned(),
            Judgement::Deny => "deny".to_owned(),
            Judgement::Ask(topics) => topics.join(" "),
        };
        assert_eq!(judge(&["a.1", "a.2"]), "allow");
        assert_eq!(judge(&["a.1", "b"]), "deny");
        assert_eq!(judge(&["q.1", "b"]), "deny");
        assert_eq!(judge(&["q.2", "a.1", "q.1", "q.2"]), "q.2 q.1 q.2");
        assert_eq!(judge(&[]), "allow");
        let (topic, rule) = rules.not_allowed(None, &["a.1", "q.1", "b"]).unwrap();
        assert_eq!((topic, rule.unwrap().join), ("q.1", Join::Ask));
        assert_eq!(rules.not_allowed(None, &["a.1", "b"]), Some(("b", None)));
        assert_eq!(rules.not_allowed(None, &["a.1"]), None);
    }

    #[test]
    fn a_token_lets_in_where_one_of_its_topics_fits() {
        let rules = rules(&[], Join::Token);
        let topics = |topics: Option<&[&str]>| Identity {
            topics: topics.map(|topics| topics.iter().copied().map(pattern).collect()),
            ..user("7")
        };
        let may = |who: &Identity| rules.judge(Some(who), &["own.7", "news.a"]);
        assert_eq!(may(&topics(Some(&["news.*", "own.{user}"]))), Judgement::Allow);
        assert_eq!(may(&topics(Some(&["news.*"]))), Judgement::Deny);
        assert_eq!(may(&topics(Some(&[]))), Judgement::Deny);
        assert_eq!(may(&topics(None)), Judgement::Deny);
        assert_eq!(rules.judge(None, &["news.a"]), Judgement::Deny);
    }

    #[test]
    fn one_by_one_a_topic_with_a_comma_is_not_asked_about() {
        let mut rules = rules(&[("own.*", Join::Allow)], Join::Ask);
        assert_eq!(rules.judge(None, &["x,private-y"]), Judgement::Ask(vec!["x,private-y"]));
        rules.one_by_one = true;
        assert_eq!(rules.judge(None, &["x,private-y"]), Judgement::Deny);
        assert_eq!(rules.judge(None, &["own.x,y"]), Judgement::Allow);
    }

    #[test]
    fn rules_say_which_claims_they_need_and_whether_they_keep_anybody_out() {
        let some =
            rules(&[("{org}.{user} {team}.*", Join::Allow), ("{org}", Join::Deny)], Join::Ask);
        assert_eq!(some.claims().into_iter().collect::<Vec<_>>(), ["org", "team"]);
        assert!(!some.open() && !rules(&[("a", Join::Deny)], Join::Allow).open());
        assert!(Rules::default().open() && rules(&[("a", Join::Allow)], Join::Allow).open());
    }

    #[test]
    fn words_are_what_they_say() {
        for word in Join::WORDS {
            assert_eq!(Join::of(word).unwrap().word(), *word);
        }
        assert_eq!((Join::of("ALLOW"), Join::of("open")), (Some(Join::Allow), None));
    }
}
