use std::fmt;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::*;

/// The outcome in a form that both parsers give: command, broker, topics. Only join and leave have
/// the latter two. A join that asks for gaps is called `join gaps`.
type Outcome = Option<(String, String, Option<Vec<String>>)>;

/// As it is, and made long by white space: long messages have a reader of their own.
fn outcome(message: &[u8]) -> Outcome {
    let short = outcome_of(message);
    assert_eq!(outcome_of(&lengthened(message)), short, "{}", message.escape_ascii());
    short
}

fn lengthened(message: &[u8]) -> Vec<u8> {
    [message, &[b' '; long::FROM]].concat()
}

fn outcome_of(message: &[u8]) -> Outcome {
    let owned =
        |topics: Option<Topics<'_>>| Some(topics?.iter().map(|topic| topic.to_string()).collect());
    Some(match parse(message, &mut Vec::new()).ok()? {
        Command::Join { broker, topics, gaps, .. } => {
            (if gaps { "join gaps" } else { "join" }.into(), broker.into(), owned(topics))
        }
        Command::Leave { broker, topics } => ("leave".into(), broker.into(), owned(topics)),
        Command::Token { token } => ("token".into(), token.into(), None),
        Command::Headers => ("headers".into(), String::new(), None),
        Command::Other { name } => (name.into(), String::new(), None),
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

/// The same rules on top of serde_json. `Err` where it reads less: numbers out of range, half a
/// surrogate pair.
fn model(message: &[u8]) -> Result<Outcome, serde_json::Error> {
    let mut text = String::new();
    for chunk in message.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{FFFD}'));
    }
    match serde_json::from_str(&text) {
        Ok(Fields(fields)) => Ok(model_outcome(&fields)),
        Err(error) if error.to_string().contains("number out of range") => Err(error),
        Err(error) if error.to_string().contains("hex escape") => Err(error),
        Err(_) => Ok(None),
    }
}

fn model_outcome(fields: &[(String, Value)]) -> Outcome {
    let string = |value: &Value| match value {
        Value::Null => Some(String::new()),
        value => value.as_str().map(String::from),
    };
    let (mut command, mut broker, mut topics) = (String::new(), String::new(), None);
    let mut gaps = false;
    for (name, value) in fields {
        match name.to_ascii_lowercase().as_str() {
            "command" => command = string(value)?,
            "broker" => broker = string(value).unwrap_or_default(),
            "topics" if value.is_null() => topics = None,
            "topics" => topics = Some(value.as_array()?.iter().map(string).collect::<Option<_>>()?),
            "gaps" => gaps = *value == Value::Bool(true),
            _ => {}
        }
    }
    match command.as_str() {
        "join" if gaps => Some(("join gaps".into(), broker, topics)),
        "join" | "leave" => Some((command, broker, topics)),
        _ => Some((command, String::new(), None)),
    }
}

#[test]
fn commands_are_read_as_tabled() {
    let join = |topics: &[&str]| {
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        Some(("join".to_owned(), String::new(), Some(topics)))
    };
    let unnamed = Some(("join".to_owned(), String::new(), None));
    let other = |name: &str| Some((name.to_owned(), String::new(), None));
    let table: &[(&str, Outcome)] = &[
        (r#"{"command":"join","topics":["foo","foo2"]}"#, join(&["foo", "foo2"])),
        (r#"{"topics":["foo"],"payload":"x","command":"join","broker":""}"#, join(&["foo"])),
        (r#"{"Command":"join","TOPICS":["foo"],"bROKER":null}"#, join(&["foo"])),
        (
            r#"{"command":"leave","topics":["a"],"command":"join","topics":["b"],"Topics":["c"]}"#,
            join(&["c"]),
        ),
        (r#"{"command":"join","topics":["a"],"topics":null}"#, unnamed.clone()),
        (r#"{"command":"join","topics":[null,"","a","a"]}"#, join(&["", "", "a", "a"])),
        (r#"{"command":"join"}"#, unnamed.clone()),
        (" \n\t{ \"command\" : \"join\" , \"topics\" : [ ] }\r\n ", join(&[])),
        (
            r#"{"command":"j\u006fin","topics":["a\"\\\/\b\f\n\r\t\u20ac\ud83d\ude00"]}"#,
            join(&["a\"\\/\u{8}\u{c}\n\r\t€😀"]),
        ),
        (
            r#"{"a":{"command":"x","b":[{},[[1]],{"topics":[]}]},"n":[1.5e3,-0,true,null],"command":"join","i":123456789012345678901234567890,"topics":["t"]}"#,
            join(&["t"]),
        ),
        (r#"{"payload":5,"command":"join"}"#, unnamed.clone()),
        (r#"{"broker":{"command":"leave"},"command":"join","topics":["a"]}"#, join(&["a"])),
        (
            r#"{"command":"leave","broker":"bus","topics":["a"]}"#,
            Some(("leave".into(), "bus".into(), Some(vec!["a".into()]))),
        ),
        (
            r#"{"command":"join","broker":"bus","topics":["a"],"gaps":true}"#,
            Some(("join gaps".into(), "bus".into(), Some(vec!["a".into()]))),
        ),
        (r#"{"Gaps": true,"command":"join"}"#, Some(("join gaps".into(), String::new(), None))),
        (r#"{"gaps":true,"command":"join","topics":["a"],"gaps":false}"#, join(&["a"])),
        (r#"{"gaps":true,"command":"join","topics":["a"],"gaps":null}"#, join(&["a"])),
        (r#"{"command":"join","topics":["a"],"gaps":"true"}"#, join(&["a"])),
        (r#"{"command":"join","topics":["a"],"gaps":1}"#, join(&["a"])),
        (r#"{"command":"join","topics":["a"],"gaps":[true,{"gaps":true}]}"#, join(&["a"])),
        (
            r#"{"command":"leave","topics":["a"],"gaps":true}"#,
            Some(("leave".into(), String::new(), Some(vec!["a".into()]))),
        ),
        (r#"{"command":"headers","payload":null}"#, other("headers")),
        (r#"{"command":"Join"}"#, other("Join")),
        (r#"{"command":null}"#, other("")),
        ("{}", other("")),
    ];
    for (message, expected) in table {
        assert_eq!(outcome(message.as_bytes()), *expected, "{message}");
        assert_eq!(model(message.as_bytes()).unwrap(), *expected, "the model: {message}");
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
        (b"{\"command\":\"\\ud80\"}", Malformed::NotJson),
        (b"{\"command\":\"\\q\"}", Malformed::NotJson),
        (b"{\"x\":\"\\u12g4\"}", Malformed::NotJson),
        (b"{\"x\":\"\n\"}", Malformed::NotJson),
        (b"{\"x\":01}", Malformed::NotJson),
        (b"{\"x\":1.}", Malformed::NotJson),
        (b"{\"x\":-}", Malformed::NotJson),
        (b"{\"x\":nul}", Malformed::NotJson),
        (b"{\"gaps\":tru}", Malformed::NotJson),
        (b"{\"x\":[1,]}", Malformed::NotJson),
        (b"{\"x\":[1}]", Malformed::NotJson),
        (b"{\"x\":{\"y\":1,}}", Malformed::NotJson),
        (b"{\"x\":{\"y\"}}", Malformed::NotJson),
        (b"{\"x\" 1}", Malformed::NotJson),
        (b"{\"topics\":[,]}", Malformed::NotJson),
        (b"\xEF\xBB\xBF{}", Malformed::NotJson),
        (b"\0", Malformed::NotJson),
        (b"null", Malformed::NotAnObject),
        (b"[{\"command\":\"join\"}]", Malformed::NotAnObject),
        (b"\"join\"", Malformed::NotAnObject),
        (b"1", Malformed::NotAnObject),
        (b"{\"command\":1}", Malformed::CommandNotString),
        (b"{\"command\":[\"join\"]}", Malformed::CommandNotString),
        (b"{\"topics\":\"foo\"}", Malformed::TopicsNotStrings),
        (b"{\"topics\":{\"foo\":\"foo\"}}", Malformed::TopicsNotStrings),
        (b"{\"topics\":[\"foo\",1]}", Malformed::TopicsNotStrings),
        (b"{\"topics\":[[\"foo\"]]}", Malformed::TopicsNotStrings),
        (b"{\"topics\":7,\"topics\":[]}", Malformed::TopicsNotStrings),
    ];
    for (message, expected) in table {
        for message in [message.to_vec(), lengthened(message)] {
            assert_eq!(
                parse(&message, &mut Vec::new()),
                Err(*expected),
                "{}",
                message.escape_ascii()
            );
        }
        assert!(expected.to_string().len() < 50, "the reason is short whatever the message holds");
    }
}

#[test]
fn half_a_surrogate_pair_and_bytes_that_are_not_utf8_become_replacements() {
    let topics = |message: &[u8]| outcome(message).expect("a command").2.expect("topics");
    let table: &[(&[u8], &str)] = &[
        (br#"room \ud83d"#, "room \u{FFFD}"),
        (br#"\ude00\ud83d\ud83d\ude00x"#, "\u{FFFD}\u{FFFD}😀x"),
        (br#"\uD83d\n\ud83d\u0041\udbff"#, "\u{FFFD}\n\u{FFFD}A\u{FFFD}"),
        (b"a\xff\xed\xa0\x80b", "a\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}b"),
        (b"\xe2\x82\\u00e9\xf0\x9f\x9a", "\u{FFFD}\u{FFFD}é\u{FFFD}\u{FFFD}\u{FFFD}"),
    ];
    for (inside, expected) in table {
        let message = [&br#"{"command":"join","topics":[""#[..], inside, br#""]}"#].concat();
        assert_eq!(topics(&message), [*expected], "{}", message.escape_ascii());
        let ignored = [
            &br#"{"x":{""#[..],
            inside,
            br#"":[""#,
            inside,
            br#""]},"command":"join","topics":["a"]}"#,
        ];
        assert_eq!(topics(&ignored.concat()), ["a"], "{}", message.escape_ascii());
    }
}

#[test]
fn a_number_that_is_skipped_may_have_any_size() {
    for number in [
        "1e999999999",
        "-1E-999999999",
        &"7".repeat(500_000),
        &format!("0.{}", "3".repeat(500_000)),
    ] {
        let message = format!(r#"{{"n":{number},"command":"headers"}}"#);
        assert_eq!(
            parse(message.as_bytes(), &mut Vec::new()),
            Ok(Command::Headers),
            "{:.20}",
            number
        );
    }
}

#[test]
fn nesting_is_read_as_deep_as_go_reads_it_and_overflows_no_stack() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth - 1), "]".repeat(depth - 1));
        format!(r#"{{"x":{open}{close},"command":"headers"}}"#).into_bytes()
    };
    for depth in [2, 200, DEPTH_MAX] {
        assert_eq!(parse(&nested(depth), &mut Vec::new()), Ok(Command::Headers), "{depth} deep");
    }
    assert_eq!(parse(&nested(DEPTH_MAX + 1), &mut Vec::new()), Err(Malformed::TooDeep));
    assert_eq!(parse(&nested(1_000_000), &mut Vec::new()), Err(Malformed::TooDeep));
    assert_eq!(parse(&vec![b'['; 64 * 1024], &mut Vec::new()), Err(Malformed::TooDeep));
    assert_eq!(
        parse("{\"a\":".repeat(13_000).as_bytes(), &mut Vec::new()),
        Err(Malformed::TooDeep)
    );
}

/// A message that is JSON more often than not.
fn random_message(rng: &mut StdRng) -> Vec<u8> {
    const NAMES: [&str; 10] = [
        "command",
        "Command",
        "broker",
        "topics",
        "TOPICS",
        "payload",
        "gaps",
        "x",
        "",
        "top\\u0069cs",
    ];
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
                true if name == "gaps" => VALUES[rng.random_range(0..3)],
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
        let Ok(expected) = model(&message) else { continue };
        read += usize::from(expected.is_some());
        assert_eq!(
            outcome(&message),
            expected,
            "seed {seed}: {:?}",
            String::from_utf8_lossy(&message)
        );
    }
    assert!((5_000..19_000).contains(&read), "both kinds are tried: {read} of 20000 are commands");
}
