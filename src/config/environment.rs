//! The environment's two ways into a configuration: `${VAR}` inside values, and `RR_…` overrides of
//! keys.

use std::collections::BTreeMap;

/// The environment as a configuration sees it; handed in, so that a test has its own.
pub type Environment = BTreeMap<String, String>;

/// What starts the name of a variable that overrides a key.
pub const PREFIX: &str = "RR_";

/// What RoadRunner sets for its workers: never overrides, also when Roadcast itself is started by
/// one.
pub const NEVER_OVERRIDES: [&str; 5] =
    ["RR_RPC", "RR_MODE", "RR_RELAY", "RR_VERSION", "RR_BROADCAST_PATH"];

/// Whether Kubernetes sets such a variable for a Service (its service links), as
/// `RR_ROADCAST_PORT=tcp://10.96.0.10:8080` for one that is called `rr-roadcast`. No key is spelled
/// so.
pub fn is_service_link(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];
    let service = ["_SERVICE_HOST", "_SERVICE_PORT"].iter().any(|end| name.ends_with(end));
    let address = || PROTOCOLS.iter().any(|protocol| value.starts_with(&format!("{protocol}://")));
    if service || name.contains("_SERVICE_PORT_") || (name.ends_with("_PORT") && address()) {
        return true;
    }
    // `_PORT_8080_TCP`, and behind it `_PROTO`, `_PORT` or `_ADDR`.
    name.match_indices("_PORT_").any(|(at, found)| {
        let mut words = name[at + found.len()..].split('_');
        let number = words.next().is_some_and(|word| word.parse::<u16>().is_ok());
        let protocol = words.next().map(str::to_ascii_lowercase);
        let last = words.next().is_none_or(|word| ["PROTO", "PORT", "ADDR"].contains(&word));
        number
            && protocol.is_some_and(|word| PROTOCOLS.contains(&word.as_str()))
            && last
            && words.next().is_none()
    })
}

/// Replaces `${VAR}` and `${VAR:-default}`; the default also stands for an empty variable, as in a
/// shell. A variable that is not set, or empty, and has no default becomes nothing and is added to
/// `empty`. All else stays as written, a lone `$` included.
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

/// A segment of a key as it appears in the name of a variable: capitals, anything but letters and
/// digits as `_`.
pub fn spelled(segment: &str) -> String {
    segment
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(text: &str) -> (String, Vec<String>) {
        let environment = [("A", "1"), ("EMPTY", ""), ("NESTED", "${A}")];
        let environment =
            environment.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
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
    fn service_links_are_told_by_their_form() {
        for (name, value) in [
            ("RR_ROADCAST_SERVICE_HOST", "10.96.0.10"),
            ("RR_ROADCAST_SERVICE_PORT", "8080"),
            ("RR_ROADCAST_SERVICE_PORT_RPC", "6001"),
            ("RR_ROADCAST_PORT", "tcp://10.96.0.10:8080"),
            ("RR_ROADCAST_PORT", "udp://10.96.0.10:8080"),
            ("RR_ROADCAST_PORT_8080_TCP", "tcp://10.96.0.10:8080"),
            ("RR_ROADCAST_PORT_8080_TCP_PROTO", "tcp"),
            ("RR_ROADCAST_PORT_8080_TCP_PORT", "8080"),
            ("RR_ROADCAST_PORT_8080_TCP_ADDR", "10.96.0.10"),
            ("RR_ROADCAST_PORT_53_UDP", "udp://10.96.0.10:53"),
        ] {
            assert!(is_service_link(name, value), "{name}={value}");
        }
        for (name, value) in [
            ("RR_ROADCAST_PORT", "8080"),
            ("RR_HTTP_ADDRESS", "tcp://10.96.0.10:8080"),
            ("RR_ROADCAST_PORT_8080_TCP_MODE", "x"),
            ("RR_ROADCAST_PORT_RPC_TCP", "x"),
            ("RR_ROADCAST_PORT_8080", "x"),
            ("RR_ROADCAST_SERVICE", "x"),
        ] {
            assert!(!is_service_link(name, value), "{name}={value}");
        }
        for key in crate::config::schema::KEYS.iter() {
            assert!(!is_service_link(&spelled(key.path), "tcp://10.96.0.10:8080"), "{}", key.path);
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
