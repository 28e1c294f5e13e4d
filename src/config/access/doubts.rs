//! What is hardly meant so in rules, in limits of users and in the pool of workers.

use std::collections::BTreeMap;

use super::super::error::{Notice, Origin};
use super::super::reader::Reader;
use super::super::setting::Row;
use super::{COMMAND, RULES};
use crate::access::{AccessSettings, Asked, Join, Pattern, Rule, Rules};

const PER_USER: &str = "roadcast.limits.connections_per_user";
const BEYOND: &str = "roadcast.limits.connections_per_user_beyond";
const OVERFLOW: [&str; 2] = ["roadcast.overflow.skip", "roadcast.overflow.disconnect"];

/// Pairs of patterns that are compared: rules beyond are not looked at.
const COMPARED_MAX: usize = 1_000_000;

/// One line each, with the place where it was written.
pub fn doubts(access: &AccessSettings, read: &Reader<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    for (row, rule) in read.settings.rows(RULES).iter().zip(&access.rules.rules) {
        for (pattern, doubt) in rule.topics.iter().filter_map(|of| Some((of, of.doubt()?))) {
            notices.push(of_rule(row, format!(": \"{pattern}\": {doubt}")));
        }
    }
    for key in OVERFLOW {
        let sound = |word: &str| Ok(Pattern::parse_without_session(word).ok());
        for pattern in read.words(key, sound).into_iter().flatten() {
            let Some(doubt) = pattern.doubt() else { continue };
            let text = read.settings.told(key, format!(": \"{pattern}\": {doubt}"));
            notices.push(warning(&read.origin(key), key, &text));
        }
    }
    for (place, covered) in covered(&access.rules) {
        let row = &read.settings.rows(RULES)[place];
        notices.push(of_rule(row, decides_nothing(&access.rules.rules[place], &covered)));
    }
    notices.extend(per_user(access, read));
    if let Asked::Workers(workers) = &access.asked {
        let supervisor = workers.pool.supervisor.as_ref();
        if supervisor.is_none_or(|supervisor| supervisor.exec_ttl.is_zero()) {
            let origin = read.origin(COMMAND);
            notices.push(Notice::info(format!(
                "{origin}: {COMMAND}: nothing ends a worker that never answers; \
                 websockets.pool.supervisor.exec_ttl does (10s, say)"
            )));
        }
    }
    notices
}

fn warning(origin: &Origin, key: &str, text: &str) -> Notice {
    Notice::warning(format!("{origin}: {key}{text}"))
}

/// The same of a rule, told by what stands in the file.
fn of_rule(row: &Row, text: String) -> Notice {
    let hidden = row.cells.iter().fold(text, |text, (_, setting)| setting.hidden(text));
    warning(&row.origin, RULES, &hidden)
}

/// Limits of users that nothing comes of.
fn per_user(access: &AccessSettings, read: &Reader<'_>) -> Option<Notice> {
    let max = read.number(PER_USER);
    if max > 0 && !access.asks() {
        let text = ": has no effect: neither tokens, workers nor a callback say who a client is \
                    (docs/access.md); roadcast.limits.connections_per_address goes by addresses";
        return Some(warning(&read.origin(PER_USER), PER_USER, text));
    }
    let beyond = read.origin(BEYOND);
    let text = ": has no effect without roadcast.limits.connections_per_user";
    (max == 0 && beyond != Origin::Default).then(|| warning(&beyond, BEYOND, text))
}

/// Patterns of one rule that never decide, and what comes before each.
struct Covered<'r> {
    patterns: Vec<&'r Pattern>,
    /// Before the first of them.
    by: &'r Rule,
    pattern: &'r Pattern,
}

/// By the place of the rule.
fn covered(rules: &Rules) -> BTreeMap<usize, Covered<'_>> {
    let all = rules.rules.iter().enumerate();
    let all = all.flat_map(|(place, rule)| rule.topics.iter().map(move |of| (place, rule, of)));
    let all: Vec<(usize, &Rule, &Pattern)> = all.collect();
    let mut found: BTreeMap<usize, Covered<'_>> = BTreeMap::new();
    let mut compared = 0;
    for (index, &(place, _, pattern)) in all.iter().enumerate() {
        compared += index;
        if compared > COMPARED_MAX {
            break;
        }
        let earlier = all[..index].iter().filter(|(earlier, ..)| *earlier < place);
        let mut covering = earlier.filter(|(.., before)| before.covers(pattern));
        if let Some((_, by, before)) = covering.next() {
            let first = || Covered { patterns: Vec::new(), by, pattern: before };
            found.entry(place).or_insert_with(first).patterns.push(pattern);
        }
    }
    found
}

fn decides_nothing(rule: &Rule, covered: &Covered<'_>) -> String {
    let named = || {
        let names: Vec<_> = covered.patterns.iter().map(|of| format!("\"{of}\"")).collect();
        format!("{} of this rule", names.join(", "))
    };
    let all = covered.patterns.len() == rule.topics.len();
    let what = if all { "this rule".to_owned() } else { named() };
    let Covered { by, pattern, .. } = covered;
    let open = rule.join == Join::Deny && by.join != Join::Deny;
    let then = if open { ", so nobody is kept out here; put this one first" } else { "" };
    let verb = if all || covered.patterns.len() == 1 { "decides" } else { "decide" };
    let (join, place) = (by.join, &by.place);
    format!(": {what} {verb} nothing: \"{pattern}\" ({join}, {place}) comes before it{then}")
}
