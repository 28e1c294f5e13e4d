//! `roadcast.access.rules`, as rules.

use super::super::error::ConfigError;
use super::super::reader::Reader;
use super::super::setting::{Row, Setting};
use super::RULES;
use crate::access::{Join, Pattern, Rule, Rules};

/// Rules in one configuration.
const RULES_MAX: usize = 1000;

/// The rules, with what holds where none of them decides.
pub fn read(read: &Reader<'_>, default: Join) -> Rules {
    let rows = read.settings.rows(RULES);
    if let Some(row) = rows.get(RULES_MAX) {
        let problem = format!("more than {RULES_MAX} rules; let one pattern match many topics");
        read.refuse(ConfigError::value(&row.origin, RULES, problem));
    }
    let rules = rows.iter().take(RULES_MAX).map(|row| rule(read, row)).collect();
    Rules { rules, default, one_by_one: read.flag("roadcast.validate_each_topic") }
}

/// One that is wrong keeps its place, so that rules stand as their rows do.
fn rule(read: &Reader<'_>, row: &Row) -> Rule {
    let (mut topics, mut join) = (None, None);
    let mut unset = false;
    for (name, setting) in &row.cells {
        let refuse = |problem: String| {
            let problem = setting.hidden(problem);
            read.refuse(ConfigError::value(&setting.origin, RULES, problem));
        };
        if let Err(problem) = setting.is_set() {
            refuse(problem);
            unset = true;
            continue;
        }
        match name.to_ascii_lowercase().as_str() {
            "topics" => topics = Some(patterns(setting, refuse)),
            "join" => match join_of(setting) {
                Ok(found) => join = Some(found),
                Err(problem) => {
                    refuse(problem);
                    join = Some(Join::Deny);
                }
            },
            _ => refuse(format!("no such key: {name}; a rule holds `topics` and `join`")),
        }
    }
    let missing = match (&topics, &join) {
        (None, _) => "says nothing of `topics`",
        (_, None) => "says nothing of `join`",
        _ => "",
    };
    // What is wrong with one of them is told already.
    if !missing.is_empty() && !unset {
        let problem =
            format!("a rule {missing}; for example {{ topics: \"news.*\", join: allow }}");
        read.refuse(ConfigError::value(&row.origin, RULES, problem));
    }
    let place = row.origin.to_string();
    Rule { topics: topics.unwrap_or_default(), join: join.unwrap_or(Join::Deny), place }
}

fn join_of(setting: &Setting) -> Result<Join, String> {
    let word = match setting.words.as_slice() {
        [word] if !setting.list => word.as_str(),
        _ => "",
    };
    let problem = || format!("join: \"{word}\" is not known; allowed: {}", Join::WORDS.join(", "));
    Join::of(word).ok_or_else(problem)
}

fn patterns(setting: &Setting, refuse: impl Fn(String)) -> Vec<Pattern> {
    let mut patterns = Vec::new();
    // A list says where one ends; a text with a comma may be one topic or two.
    if let [one] = setting.words.as_slice()
        && !setting.list
        && one.contains(',')
    {
        refuse(format!(
            "topics: \"{one}\" has a comma; write [\"a\", \"b\"] for two patterns, [\"a,b\"] for one \
             with a comma"
        ));
        return patterns;
    }
    for word in &setting.words {
        match Pattern::parse(word) {
            Ok(pattern) => patterns.push(pattern),
            Err(problem) => refuse(format!("topics: {problem}")),
        }
    }
    if setting.words.is_empty() {
        refuse("topics: is an empty list; a rule names the topics that it is about".to_owned());
    }
    patterns
}
