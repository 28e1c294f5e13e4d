//! Commands: what a client asks for, one JSON object a message (RFC 8259).
//!
//! Field names are matched without regard to (ASCII) case, of a field given twice the last counts, `null` is an empty
//! string or list, fields of other names are skipped whatever they hold.
//!
//! A JSON escape of half a surrogate pair (`"\ud800"`) makes the whole message malformed: no topic can have that name.

use simd_json::{Buffers, ErrorType, Node};
use smallvec::SmallVec;

/// The topics of a command, in the order asked. Most commands name few.
pub type Topics<'a> = SmallVec<[&'a str; 4]>;

/// What a client asks for. The strings lie in the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// Subscribe to these topics.
    Join {
        /// The configured broker's name; empty: the default one.
        broker: &'a str,
        /// May be empty, and may name a topic twice.
        topics: Topics<'a>,
    },
    /// Give these topics up.
    Leave {
        /// The configured broker's name; empty: the default one.
        broker: &'a str,
        /// May be empty, and may name a topic twice.
        topics: Topics<'a>,
    },
    /// Accepted, without effect.
    Headers,
    /// Not known here.
    Other {
        /// As sent, however long; empty if the field is missing.
        name: &'a str,
    },
}

/// Why a message is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The text is not JSON, or not UTF-8.
    #[error("not valid JSON")]
    NotJson,
    /// Arrays and objects lie within each other more than [`DEPTH_MAX`] deep.
    #[error("nested more than {DEPTH_MAX} deep")]
    TooDeep,
    /// JSON, but not an object.
    #[error("not an object")]
    NotAnObject,
    /// A field that has to be a string.
    #[error("`{0}` is not a string")]
    NotAString(&'static str),
    /// The topics have to be an array of strings.
    #[error("`topics` is not an array of strings")]
    TopicsNotStrings,
}

/// How deep arrays and objects of a message may lie within each other, those of unknown fields included. A guess: a
/// command needs 2.
pub const DEPTH_MAX: usize = 32;

/// Parses a message in place; it is scratch afterwards. While it runs, it holds at worst about 30 times the message's
/// bytes, for a message of nothing but brackets.
pub fn parse(message: &mut [u8]) -> Result<Command<'_>, Malformed> {
    let mut buffers = Buffers::with_max_depth(message.len(), DEPTH_MAX);
    let tape =
        simd_json::to_tape_with_buffers(message, &mut buffers).map_err(|error| match error.error() {
            ErrorType::DepthLimitExceeded => Malformed::TooDeep,
            _ => Malformed::NotJson,
        })?;
    let mut nodes = match &tape.0[..] {
        [Node::Object { .. }, fields @ ..] => fields,
        _ => return Err(Malformed::NotAnObject),
    };

    let (mut command, mut broker, mut topics) = ("", "", Topics::new());
    while let [Node::String(name), value, rest @ ..] = nodes {
        // The nodes of a value follow it.
        let (within, behind) = rest.split_at_checked(node_count(value)).ok_or(Malformed::NotJson)?;
        if name.eq_ignore_ascii_case("command") {
            command = string(value).ok_or(Malformed::NotAString("command"))?;
        } else if name.eq_ignore_ascii_case("broker") {
            broker = string(value).ok_or(Malformed::NotAString("broker"))?;
        } else if name.eq_ignore_ascii_case("topics") {
            topics = strings(value, within).ok_or(Malformed::TopicsNotStrings)?;
        }
        nodes = behind;
    }
    Ok(match command {
        "join" => Command::Join { broker, topics },
        "leave" => Command::Leave { broker, topics },
        "headers" => Command::Headers,
        name => Command::Other { name },
    })
}

/// How many nodes lie within this one.
fn node_count(node: &Node<'_>) -> usize {
    match node {
        Node::Object { count, .. } | Node::Array { count, .. } => *count,
        Node::String(_) | Node::Static(_) => 0,
    }
}

fn string<'a>(node: &Node<'a>) -> Option<&'a str> {
    match node {
        Node::String(string) => Some(string),
        node if is_null(node) => Some(""),
        _ => None,
    }
}

fn strings<'a>(node: &Node<'a>, within: &[Node<'a>]) -> Option<Topics<'a>> {
    match node {
        Node::Array { .. } => within.iter().map(string).collect(),
        node if is_null(node) => Some(Topics::new()),
        _ => None,
    }
}

fn is_null(node: &Node<'_>) -> bool {
    matches!(node, Node::Static(simd_json::StaticNode::Null))
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};
    use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
    use serde_json::Value;

    use super::*;

    /// The outcome in a form that both parsers give: command, broker, topics. Only join and leave have the latter two.
    type Outcome = Option<(String, String, Vec<String>)>;

    fn outcome(message: &[u8]) -> Outcome {
        let mut message = message.to_vec();
        let owned = |topics: Topics<'_>| topics.iter().map(|topic| topic.to_string()).collect();
        Some(match parse(&mut message).ok()? {
            Command::Join { broker, topics } => ("join".into(), broker.into(), owned(topics)),
            Command::Leave { broker, topics } => ("leave".into(), broker.into(), owned(topics)),
            Command::Headers => ("headers".into(), String::new(), vec![]),
            Command::Other { name } => (name.into(), String::new(), vec![]),
        })
    }

    /// An object's fields in their order, doubles included.
    struct Fields(Vec<(String, Value)>);

    impl<'de> Deserialize<'de> for Fields {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct FieldsVisitor;
            impl<'de> Visitor<'de> for FieldsVisitor {
                type Value = Fields;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an object")
                }
                fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
                    let mut fields = Vec::new();
                    while let Some(field) = map.next_entry()? {
                        fields.push(field);
                    }
                    Ok(Fields(fields))
                }
            }
            deserializer.deserialize_map(FieldsVisitor)
        }
    }

    /// The same rules on top of serde_json.
    fn model(message: &[u8]) -> Outcome {
        let Fields(fields) = serde_json::from_slice(message).ok()?;
        let string = |value: &Value| match value {
            Value::Null => Some(String::new()),
            value => value.as_str().map(String::from),
        };
        let (mut command, mut broker, mut topics) = (String::new(), String::new(), vec![]);
        for (name, value) in &fields {
            match name.to_ascii_lowercase().as_str() {
                "command" => command = string(value)?,
                "broker" => broker = string(value)?,
                "topics" if value.is_null() => topics = vec![],
                "topics" => topics = value.as_array()?.iter().map(string).collect::<Option<_>>()?,
                _ => {}
            }
        }
        match command.as_str() {
            "join" | "leave" => Some((command, broker, topics)),
            _ => Some((command, String::new(), vec![])),
        }
    }

    #[test]
    fn commands_are_read_as_tabled() {
        let join = |topics: &[&str]| {
            Some(("join".to_owned(), String::new(), topics.iter().map(|topic| topic.to_string()).collect()))
        };
        let other = |name: &str| Some((name.to_owned(), String::new(), vec![]));
        let table: &[(&str, Outcome)] = &[
            (r#"{"command":"join","topics":["foo","foo2"]}"#, join(&["foo", "foo2"])),
            (r#"{"topics":["foo"],"payload":"x","command":"join","broker":""}"#, join(&["foo"])),
            (r#"{"Command":"join","TOPICS":["foo"],"bROKER":null}"#, join(&["foo"])),
            (
                r#"{"command":"leave","topics":["a"],"command":"join","topics":["b"],"Topics":["c"]}"#,
                join(&["c"]),
            ),
            (r#"{"command":"join","topics":["a"],"topics":null}"#, join(&[])),
            (r#"{"command":"join","topics":[null,"","a","a"]}"#, join(&["", "", "a", "a"])),
            (r#"{"command":"join"}"#, join(&[])),
            (" \n\t{ \"command\" : \"join\" , \"topics\" : [ ] }\r\n ", join(&[])),
            (
                r#"{"command":"j\u006fin","topics":["a\"\\\/\b\f\n\r\t\u20ac\ud83d\ude00"]}"#,
                join(&["a\"\\/\u{8}\u{c}\n\r\t€😀"]),
            ),
            (
                r#"{"a":{"command":"x","b":[{},[[1]],{"topics":[]}]},"n":[1.5e3,-0,true,null],"command":"join","i":123456789012345678901234567890,"topics":["t"]}"#,
                join(&["t"]),
            ),
            (r#"{"payload":5,"command":"join"}"#, join(&[])),
            (
                r#"{"command":"leave","broker":"bus","topics":["a"]}"#,
                Some(("leave".into(), "bus".into(), vec!["a".into()])),
            ),
            (r#"{"command":"headers","payload":null}"#, other("headers")),
            (r#"{"command":"Join"}"#, other("Join")),
            (r#"{"command":null}"#, other("")),
            ("{}", other("")),
        ];
        for (message, expected) in table {
            assert_eq!(outcome(message.as_bytes()), *expected, "{message}");
            assert_eq!(model(message.as_bytes()), *expected, "the model: {message}");
        }
    }

    #[test]
    fn a_malformed_message_is_refused_with_its_reason() {
        let table: &[(&[u8], Malformed)] = &[
            (b"", Malformed::NotJson),
            (b" ", Malformed::NotJson),
            (b"{", Malformed::NotJson),
            (b"{\"command\":\"join\"}}", Malformed::NotJson),
            (b"{\"command\":\"join\",}", Malformed::NotJson),
            (b"{\"command\":\"jo\nin\"}", Malformed::NotJson),
            (b"{\"command\":\"jo\xFFin\"}", Malformed::NotJson),
            (b"{\"command\":\"\\ud800\"}", Malformed::NotJson),
            (b"{\"command\":\"\\ude00\"}", Malformed::NotJson),
            (b"\xEF\xBB\xBF{}", Malformed::NotJson),
            (b"\0", Malformed::NotJson),
            (b"null", Malformed::NotAnObject),
            (b"[{\"command\":\"join\"}]", Malformed::NotAnObject),
            (b"\"join\"", Malformed::NotAnObject),
            (b"1", Malformed::NotAnObject),
            (b"{\"command\":1}", Malformed::NotAString("command")),
            (b"{\"command\":[\"join\"]}", Malformed::NotAString("command")),
            (b"{\"broker\":{}}", Malformed::NotAString("broker")),
            (b"{\"topics\":\"foo\"}", Malformed::TopicsNotStrings),
            (b"{\"topics\":{\"foo\":\"foo\"}}", Malformed::TopicsNotStrings),
            (b"{\"topics\":[\"foo\",1]}", Malformed::TopicsNotStrings),
            (b"{\"topics\":[[\"foo\"]]}", Malformed::TopicsNotStrings),
            (b"{\"topics\":7,\"topics\":[]}", Malformed::TopicsNotStrings),
        ];
        for (message, expected) in table {
            assert_eq!(
                parse(&mut message.to_vec()),
                Err(*expected),
                "{:?}",
                String::from_utf8_lossy(message)
            );
            assert!(expected.to_string().len() < 50, "the reason is short whatever the message holds");
        }
    }

    #[test]
    fn deep_nesting_is_refused_and_overflows_no_stack() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
            format!(r#"{{"x":{open}{close},"command":"headers"}}"#).into_bytes()
        };
        assert_eq!(parse(&mut nested(DEPTH_MAX)), Ok(Command::Headers));
        assert_eq!(parse(&mut nested(DEPTH_MAX + 1)), Err(Malformed::TooDeep));
        assert_eq!(parse(&mut nested(30_000)), Err(Malformed::TooDeep));
        assert_eq!(parse(&mut vec![b'['; 64 * 1024]), Err(Malformed::TooDeep));
        assert_eq!(parse(&mut "{\"a\":".repeat(13_000).into_bytes()), Err(Malformed::TooDeep));
    }

    /// A message that is JSON more often than not.
    fn random_message(rng: &mut StdRng) -> Vec<u8> {
        const NAMES: [&str; 9] =
            ["command", "Command", "broker", "topics", "TOPICS", "payload", "x", "", "top\\u0069cs"];
        const VALUES: [&str; 14] = [
            "null",
            "true",
            "-1.5e2",
            "\"join\"",
            "\"leave\"",
            "\"headers\"",
            "\"\"",
            "\"é\\u20ac\\n\"",
            "[]",
            "{}",
            "[\"a\",\"b\"]",
            "[\"a\",null]",
            "[1,[{\"command\":[]}]]",
            "{\"topics\":[\"z\"],\"n\":[{}]}",
        ];
        let fields: Vec<String> = (0..rng.random_range(0..6))
            .map(|_| {
                let name = NAMES[rng.random_range(0..NAMES.len())];
                let value = match rng.random_bool(0.6) {
                    true if name.eq_ignore_ascii_case("topics") => {
                        "[\"foo\",\"😀\",\"long enough for a vector\"]"
                    }
                    true => VALUES[rng.random_range(3..8)],
                    false => VALUES[rng.random_range(0..VALUES.len())],
                };
                let space = ["", " ", "\n\t "][rng.random_range(0..3)];
                format!("\"{name}\"{space}:{space}{value}{space}")
            })
            .collect();
        let mut message = format!("{{{}}}", fields.join(",")).into_bytes();
        if rng.random_bool(0.4) {
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..=message.len());
                match rng.random_range(0..3) {
                    0 => message.truncate(at),
                    1 => message.insert(at, b"\"\\{}[]:,0e-\x00\xFF u"[rng.random_range(0..15)]),
                    _ if at < message.len() => message[at] = rng.random(),
                    _ => {}
                }
            }
        }
        message
    }

    #[test]
    fn random_messages_are_read_as_serde_json_reads_them() {
        let mut read = 0;
        for seed in 0..20_000 {
            let message = random_message(&mut StdRng::seed_from_u64(seed));
            let expected = model(&message);
            read += usize::from(expected.is_some());
            assert_eq!(outcome(&message), expected, "seed {seed}: {:?}", String::from_utf8_lossy(&message));
        }
        assert!((5_000..19_000).contains(&read), "both kinds are tried: {read} of 20000 are commands");
    }
}
