//! The environment's two ways into a configuration: `${VAR}` inside values, and `RR_…` overrides of keys.

use std::collections::BTreeMap;

/// The environment as a configuration sees it; handed in, so that a test has its own.
pub type Environment = BTreeMap<String, String>;

/// What starts the name of a variable that overrides a key.
pub const PREFIX: &str = "RR_";

/// What RoadRunner sets for its workers: never overrides, also when Roadcast itself is started by one.
pub const NEVER_OVERRIDES: [&str; 5] = ["RR_RPC", "RR_MODE", "RR_RELAY", "RR_VERSION", "RR_BROADCAST_PATH"];

/// Replaces `${VAR}` and `${VAR:-default}`; the default also stands for an empty variable, as in a shell. A variable
/// that is not set, or empty, and has no default becomes nothing and is added to `empty`. All else stays as written, a lone
/// `$` included.
pub fn expand(text: &str, environment: &Environment, empty: &mut Vec<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((inside, after)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        match (environment.get(name).filter(|value| !value.is_empty()), default) {
            (Some(value), _) => out.push_str(value),
            (None, Some(default)) => out.push_str(default),
            (None, None) => empty.push(name.to_owned()),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// Whether a `${` has no `}` behind it.
pub fn is_unclosed(text: &str) -> bool {
    text.rfind("${").is_some_and(|at| !text[at..].contains('}'))
}

/// A segment of a key as it appears in the name of a variable: capitals, anything but letters and digits as `_`.
pub fn spelled(segment: &str) -> String {
    segment.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> (String, Vec<String>) {
        let environment = [("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        let mut empty = Vec::new();
        (expand(text, &environment, &mut empty), empty)
    }

    #[test]
    fn variables_and_their_defaults_are_expanded() {
        for (text, expected) in [
            ("tcp://h:${A}", "tcp://h:1"),
            ("${A}${A:-2}", "11"),
            ("${NONE:-2}", "2"),
            ("${EMPTY:-2}", "2"),
            ("${NONE:-}", ""),
            ("p$$ $A ${A", "p$$ $A ${A"),
            ("${NESTED}", "${A}"),
        ] {
            assert_eq!(expanded(text), (expected.to_owned(), vec![]), "{text}");
        }
    }

    #[test]
    fn a_variable_that_is_not_closed_stays_and_is_noticed() {
        for (text, unclosed) in
            [("${A", true), ("${A}${A", true), ("${A}", false), ("$A}", false), ("}${", true)]
        {
            assert_eq!(is_unclosed(text), unclosed, "{text}");
        }
        assert_eq!(expanded("a${A").0, "a${A");
    }

    #[test]
    fn a_variable_without_a_value_is_reported() {
        assert_eq!(
            expanded("a${NONE}b${EMPTY}"),
            ("ab".to_owned(), vec!["NONE".to_owned(), "EMPTY".to_owned()])
        );
    }
}
