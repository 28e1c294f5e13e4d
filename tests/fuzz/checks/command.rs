//! Commands: read as serde_json, under the same rules, reads them.

use std::fmt;

use roadcast::command::{Command, Malformed, parse};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// Command, broker, topics. Only join and leave have the latter two.
type Outcome = Option<(String, String, Vec<String>)>;

pub fn check(bytes: &[u8]) {
    let mut message = bytes.to_vec();
    let ours = match parse(&mut message) {
        Ok(Command::Join { broker, topics }) => named("join", broker, topics.iter()),
        Ok(Command::Leave { broker, topics }) => named("leave", broker, topics.iter()),
        Ok(Command::Headers) => named("headers", "", [].iter()),
        Ok(Command::Other { name }) => named(name, "", [].iter()),
        // Deeper than it reads, while serde_json reads on.
        Err(Malformed::TooDeep) => return,
        Err(_) => None,
    };
    match model(bytes) {
        Ok(model) => assert_eq!(ours, model, "{}", String::from_utf8_lossy(bytes)),
        // Ours takes any number in a field that it skips.
        Err(error) if error.to_string().starts_with("number out of range") => {}
        Err(error) => assert_eq!(ours, None, "{error}: {}", String::from_utf8_lossy(bytes)),
    }
}

fn named<'a>(name: &str, broker: &str, topics: impl Iterator<Item = &'a &'a str>) -> Outcome {
    Some((name.into(), broker.into(), topics.map(|topic| topic.to_string()).collect()))
}

fn model(message: &[u8]) -> Result<Outcome, serde_json::Error> {
    match serde_json::from_slice(message) {
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
    let (mut command, mut broker, mut topics) = (String::new(), String::new(), vec![]);
    for (name, value) in fields {
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
