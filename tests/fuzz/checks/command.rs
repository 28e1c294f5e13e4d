//! Commands: read as serde_json, under the same rules, reads them, where it reads all that a client
//! may send.

use std::borrow::Cow;
use std::fmt;

use roadcast::command::{Command, Topics, parse};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Command, broker, topics. Only join and leave have the latter two. A join that asks for gaps is
/// called `join gaps`.
type Outcome = Option<(String, String, Option<Vec<String>>)>;

/// Short, and made long by white space: each has a reader of its own.
pub fn check(bytes: &[u8]) {
    compare(bytes);
    compare(&[bytes, &[b' '; 256]].concat());
}

fn compare(bytes: &[u8]) {
    let ours = match parse(bytes, &mut Vec::new()) {
        Ok(Command::Join { broker, topics, gaps, .. }) => {
            named(if gaps { "join gaps" } else { "join" }, &broker, topics)
        }
        Ok(Command::Leave { broker, topics }) => named("leave", &broker, topics),
        Ok(Command::Headers) => named("headers", "", None),
        Ok(Command::Token { .. }) => named("token", "", None),
        Ok(Command::Other { name }) => named(&name, "", None),
        Err(_) => None,
    };
    match model(bytes) {
        Ok(model) => assert_eq!(ours, model, "{}", String::from_utf8_lossy(bytes)),
        // What ours takes: numbers of any size in a field that it skips, half a surrogate pair,
        // more depth.
        Err(error)
            if ["number out of range", "hex escape", "recursion limit"]
                .iter()
                .any(|less| error.to_string().contains(less)) => {}
        Err(error) => assert_eq!(ours, None, "{error}: {}", String::from_utf8_lossy(bytes)),
    }
}

fn named(name: &str, broker: &str, topics: Option<Topics<'_>>) -> Outcome {
    Some((
        name.into(),
        broker.into(),
        topics.map(|topics| topics.into_iter().map(Cow::into_owned).collect()),
    ))
}

fn model(message: &[u8]) -> Result<Outcome, serde_json::Error> {
    // Each byte that is not part of UTF-8 is one U+FFFD.
    let mut text = String::new();
    for chunk in message.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| '\u{FFFD}'));
    }
    match serde_json::from_str(&text) {
        Ok(Fields(fields)) => Ok(outcome(&fields)),
        // JSON, but no object.
        Err(error) if error.is_data() => Ok(None),
        Err(error) => Err(error),
    }
}

fn outcome(fields: &[(String, Value)]) -> Outcome {
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
