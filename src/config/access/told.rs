//! Who is asked for what, and what would become of a join, as lines for people.

use std::fmt::Write;

use crate::access::{AccessSettings, Asked, Identity, Join, Judgement, KeySource, Rule};

/// What continues a line of a summary.
const INDENT: &str = "               ";

impl AccessSettings {
    /// Who is asked for what: a line for the upgrade, and one for each rule.
    pub fn summary(&self) -> String {
        if !self.guarded() {
            return "access         open: everyone may connect and join".to_owned();
        }
        let mut out = format!("access         connect: {}", self.at_upgrade());
        for (place, rule) in self.rules.rules.iter().enumerate() {
            let begin = if place == 0 { "join:" } else { "     " };
            let topics: Vec<_> = rule.topics.iter().map(ToString::to_string).collect();
            let (number, join, topics) = (place + 1, rule.join, topics.join(", "));
            let _ =
                write!(out, "\n{INDENT}{begin} {number:>2} {join:<5}  {topics}  ({})", rule.place);
        }
        let all = |rule: &Rule| rule.topics.iter().any(|topic| topic.to_string() == "*");
        if self.rules.rules.iter().any(all) {
            return out;
        }
        let begin = if self.rules.rules.is_empty() { "join:" } else { "     " };
        let other = if self.rules.rules.is_empty() { "any topic" } else { "any other topic" };
        let _ = write!(out, "\n{INDENT}{begin}    {:<5}  {other}", self.rules.default);
        out
    }

    /// Who is asked at the upgrade, in that order.
    fn at_upgrade(&self) -> String {
        let asked = match &self.asked {
            Asked::Nobody => None,
            Asked::Workers(workers) if workers.pool.debug => {
                Some("the workers of server.command are asked, a fresh one each".to_owned())
            }
            Asked::Workers(workers) => Some(format!(
                "the workers of server.command ({}) are asked",
                workers.pool.num_workers
            )),
            Asked::Callback(_) => Some("roadcast.access.http.url is asked".to_owned()),
        };
        let Some(tokens) = &self.tokens else {
            return asked.unwrap_or_else(|| "nobody is asked".to_owned());
        };
        let keys = match tokens.keys {
            KeySource::Secret(_) => "by a secret",
            KeySource::PublicKey(_) => "by a public key",
            KeySource::Jwks(_) => "by a set of keys",
        };
        let wanted = if tokens.required { "is required" } else { "is checked where there is one" };
        let then = match asked {
            Some(asked) if tokens.suffices => format!("; without one {asked}"),
            Some(asked) => format!(", then {asked}"),
            None => String::new(),
        };
        format!("a token {wanted} {keys}{then}")
    }

    /// What would become of a join of these topics by somebody, and which line decides on each.
    pub fn told_join(&self, identity: Option<&Identity>, topics: &[String]) -> String {
        let mut out = String::new();
        for topic in topics {
            let (join, rule) = self.rules.decide(identity, topic);
            let begin = if out.is_empty() { "join           " } else { INDENT };
            let by = self.decided_by(rule);
            let fits = identity.is_some_and(|identity| identity.may_join(topic));
            let note = match join {
                Join::Token if fits => "; the token has it",
                Join::Token => "; no token here has it",
                Join::Ask if self.rules.one_by_one && topic.contains(',') => {
                    "; refused for its comma (roadcast.validate_each_topic)"
                }
                _ => "",
            };
            let _ = writeln!(out, "{begin}{topic}: {join}, by {by}{note}");
        }
        let who = match identity.and_then(|identity| identity.user.as_deref()) {
            Some(user) => format!("the user \"{user}\""),
            None => "nobody in particular".to_owned(),
        };
        let asked = match self.asked {
            Asked::Callback(_) => "the callback is asked",
            _ => "the workers are asked",
        };
        let whole = match self.rules.judge(identity, topics) {
            Judgement::Allow => "allowed".to_owned(),
            Judgement::Deny => "refused".to_owned(),
            Judgement::Ask(topics) => format!("{asked} about {}", topics.join(", ")),
        };
        let _ = write!(out, "{INDENT}as a whole, by {who}: {whole}");
        out
    }

    fn decided_by(&self, rule: Option<&Rule>) -> String {
        let place = |rule: &Rule| self.rules.rules.iter().position(|known| known == rule);
        match rule {
            Some(rule) => {
                format!("rule {} ({})", place(rule).map_or(0, |at| at + 1), rule.place)
            }
            None if !self.guarded() => "default: nobody is asked".to_owned(),
            None => "default: no rule matches it".to_owned(),
        }
    }
}
