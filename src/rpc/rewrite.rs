//! JSON and MSGPACK bodies, rewritten into the protobuf layout that requests are read from.
//!
//! One pass, driven by the decoder: nothing is collected, so the size of the result is bound by what has arrived
//! (a base64 payload shrinks, a MessagePack topic grows by at most one byte plus its length), whatever lengths the
//! body claims. As in Go, keys are matched without regard to case, the last of two equal keys counts, `null` and
//! missing are empty, unknown fields are skipped, and so are bytes behind a MSGPACK request.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::call::Layout;
use super::request::MESSAGES;

/// Nesting of unknown MSGPACK fields, at most. A request itself has four levels.
const MSGPACK_DEPTH_MAX: usize = 32;

/// Go's `base64.StdEncoding`: padded, and lenient about the last bits.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical)
        .with_decode_allow_trailing_bits(true),
);

/// Rewrites a JSON body.
pub(super) fn json(layout: Layout, body: &[u8]) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    if !body.is_empty() {
        let mut json = serde_json::Deserializer::from_slice(body);
        Field::Request.write(&mut out, layout, true).deserialize(&mut json)?;
        json.end()?;
    }
    Ok(out)
}

/// Rewrites a MSGPACK body.
pub(super) fn msgpack(layout: Layout, body: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    if !body.is_empty() {
        let mut msgpack = rmp_serde::Deserializer::from_read_ref(body);
        msgpack.set_max_depth(MSGPACK_DEPTH_MAX);
        Field::Request
            .write(&mut out, layout, false)
            .deserialize(&mut msgpack)
            .map_err(|error| error.to_string())?;
    }
    Ok(out)
}

/// Appends a protobuf field of known content.
pub(super) fn field(out: &mut Vec<u8>, number: u32, content: &[u8]) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(content.len() as u64, out);
    out.extend_from_slice(content);
}

/// Appends a protobuf field whose length is known only when its content has been written: its length takes the
/// five bytes of the longest varint that fits a frame.
fn field_written<E>(
    out: &mut Vec<u8>,
    number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    encode_key(number, WireType::LengthDelimited, out);
    let length_at = out.len();
    out.extend([0; 5]);
    let start = out.len();
    write(out)?;
    let mut length = out.len() - start;
    for (place, byte) in out[length_at..start].iter_mut().enumerate() {
        *byte = (length & 0x7f) as u8 | if place < 4 { 0x80 } else { 0 };
        length >>= 7;
    }
    Ok(())
}

/// What is expected next.
#[derive(Clone, Copy, PartialEq)]
enum Field {
    Request,
    Messages,
    Message,
    Broker,
    Topics,
    Topic,
    Payload,
}

impl Field {
    fn write(self, out: &mut Vec<u8>, layout: Layout, base64: bool) -> Write<'_> {
        Write { field: self, out, layout, base64 }
    }
}

/// Writes what a decoder meets.
struct Write<'o> {
    field: Field,
    out: &'o mut Vec<u8>,
    layout: Layout,
    /// Whether the text of a payload is base64.
    base64: bool,
}

impl Write<'_> {
    fn next(&mut self, field: Field) -> Write<'_> {
        field.write(self.out, self.layout, self.base64)
    }

    fn number(&self) -> u32 {
        match self.field {
            Field::Topic | Field::Topics => self.layout.topics(),
            Field::Payload => self.layout.payload(),
            Field::Broker => self.layout.broker().unwrap_or_default(),
            Field::Request | Field::Messages | Field::Message => MESSAGES,
        }
    }

    /// Writes the fields of a request or a message; says whether it has messages or topics.
    fn object<'de, A: MapAccess<'de>>(&mut self, mut map: A) -> Result<bool, A::Error> {
        // Where the messages or topics so far are: a second key of that name replaces them.
        let mut repeated = self.out.len()..self.out.len();
        while let Some(field) = map.next_key_seed(Key { within: self.field, layout: self.layout })? {
            match field {
                Some(field @ (Field::Topics | Field::Messages)) => {
                    self.out.drain(repeated);
                    let start = self.out.len();
                    map.next_value_seed(self.next(field))?;
                    repeated = start..self.out.len();
                }
                Some(field) => map.next_value_seed(self.next(field))?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(!repeated.is_empty())
    }
}

/// A key, read as the field that it names within an object.
struct Key {
    within: Field,
    layout: Layout,
}

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Option<Field>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Option<Field>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Key {
    type Value = Option<Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Option<Field>, E> {
        let is = |name| key.eq_ignore_ascii_case(name);
        Ok(match self.within {
            Field::Request if is("messages") => Some(Field::Messages),
            Field::Message if is("topics") => Some(Field::Topics),
            Field::Message if is("payload") => Some(Field::Payload),
            Field::Message if is("broker") && self.layout.broker().is_some() => Some(Field::Broker),
            _ => None,
        })
    }
}

impl<'de> DeserializeSeed<'de> for Write<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Write<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.field {
            Field::Request => "a request with messages",
            Field::Messages => "an array of messages",
            Field::Message => "a message with topics and payload",
            Field::Broker => "the name of a broker",
            Field::Topics => "an array of topics",
            Field::Topic => "the name of a topic",
            Field::Payload if self.base64 => "a payload in base64",
            Field::Payload => "a payload of bytes",
        })
    }

    /// `null`: empty. Where the last one counts, it is written as empty, since one before it must not.
    fn visit_unit<E: Error>(self) -> Result<(), E> {
        if matches!(self.field, Field::Topic | Field::Payload | Field::Broker) {
            field(self.out, self.number(), b"");
        }
        Ok(())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if self.field != Field::Payload || !self.base64 {
            return self.visit_bytes(text.as_bytes());
        }
        field_written(self.out, self.layout.payload(), |out| {
            // Go skips line breaks.
            let joined;
            let text = if text.contains(['\r', '\n']) {
                joined = text.replace(['\r', '\n'], "");
                &joined
            } else {
                text
            };
            BASE64
                .decode_vec(text, out)
                .map_err(|error| E::custom(format_args!("payload is not base64: {error}")))
        })
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<(), E> {
        match self.field {
            Field::Broker | Field::Topic | Field::Payload => {
                field(self.out, self.number(), bytes);
                Ok(())
            }
            _ => Err(E::invalid_type(serde::de::Unexpected::Other("a string"), &self)),
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, map: A) -> Result<(), A::Error> {
        match self.field {
            Field::Request => self.object(map).map(|_| ()),
            Field::Message => {
                let (layout, base64, start) = (self.layout, self.base64, self.out.len());
                let mut has_topics = false;
                field_written(self.out, MESSAGES, |out| {
                    has_topics = Field::Message.write(out, layout, base64).object(map)?;
                    Ok(())
                })?;
                if !has_topics {
                    // Nothing to publish: six bytes for each `{}` would be growth for nothing.
                    self.out.truncate(start);
                }
                Ok(())
            }
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Map, &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut elements: A) -> Result<(), A::Error> {
        match self.field {
            Field::Messages => {
                while elements.next_element_seed(self.next(Field::Message))?.is_some() {}
                Ok(())
            }
            Field::Topics => {
                while elements.next_element_seed(self.next(Field::Topic))?.is_some() {}
                Ok(())
            }
            // Bytes as an array of numbers, as Go takes them.
            Field::Payload => field_written(self.out, self.layout.payload(), |out| {
                while let Some(byte) = elements.next_element::<u8>()? {
                    out.push(byte);
                }
                Ok(())
            }),
            _ => Err(A::Error::invalid_type(serde::de::Unexpected::Seq, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use rand::prelude::*;
    use serde_json::json;

    use super::super::Request;
    use super::*;

    type Read = Vec<(String, Vec<u8>, Vec<String>)>;

    fn read(layout: Layout, body: Vec<u8>) -> Read {
        Request::new(layout, Cow::Owned(body))
            .unwrap()
            .messages()
            .map(|m| (m.broker.into(), m.payload.into(), m.topics().map(String::from).collect()))
            .collect()
    }

    fn from_json(layout: Layout, body: &str) -> Result<Read, String> {
        json(layout, body.as_bytes()).map(|out| read(layout, out)).map_err(|e| e.to_string())
    }

    fn from_msgpack(layout: Layout, body: &[u8]) -> Result<Read, String> {
        msgpack(layout, body).map(|out| read(layout, out))
    }

    fn message(broker: &str, payload: &[u8], topics: &[&str]) -> (String, Vec<u8>, Vec<String>) {
        (broker.into(), payload.into(), topics.iter().map(|t| t.to_string()).collect())
    }

    #[test]
    fn json_is_read_as_go_writes_it() {
        let body =
            r#"{"messages":[{"command":"","topics":["foo","bär"],"payload":"aGVsbG8="},{"topics":["b"]}]}"#;
        let expected = vec![message("", b"hello", &["foo", "bär"]), message("", b"", &["b"])];
        assert_eq!(from_json(Layout::Broadcast, body), Ok(expected));
        let body = r#"{"messages":[{"command":"","broker":"bus","topics":["foo"],"payload":"aGVsbG8="}]}"#;
        assert_eq!(from_json(Layout::Websockets, body), Ok(vec![message("bus", b"hello", &["foo"])]));
        assert_eq!(from_json(Layout::Broadcast, body), Ok(vec![message("", b"hello", &["foo"])]));
    }

    #[test]
    fn empty_null_and_missing_are_empty() {
        for body in ["", "null", "{}", r#"{"messages":null}"#, r#"{"messages":[null,{},{"topics":null}]}"#] {
            assert_eq!(from_json(Layout::Broadcast, body), Ok(vec![]), "{body}");
        }
        let body = r#"{"messages":[{"topics":["a",null],"payload":null,"broker":null,"command":null}]}"#;
        assert_eq!(from_json(Layout::Websockets, body), Ok(vec![message("", b"", &["a", ""])]));
        for body in [&b""[..], b"\xc0", b"\x80", b"\x81\xa8Messages\xc0"] {
            assert_eq!(from_msgpack(Layout::Broadcast, body), Ok(vec![]), "{body:x?}");
        }
    }

    #[test]
    fn keys_match_in_any_case_and_the_last_of_equal_ones_counts() {
        let body = r#"{"Messages":[{"topics":["lost"]}],"MESSAGES":[{"PayLoad":"bG9zdA==","Topics":["lost","lost"],
            "payload":"aGVsbG8=","broker":"x","topics":["a"],"deep":{"er":[[[{"topics":["no"]}]]]},"Broker":"bus"}]}"#;
        assert_eq!(from_json(Layout::Websockets, body), Ok(vec![message("bus", b"hello", &["a"])]));
    }

    #[test]
    fn base64_is_taken_as_go_takes_it() {
        let payload = |text: &str| {
            from_json(Layout::Broadcast, &json!({"messages":[{"topics":["a"],"payload":text}]}).to_string())
                .map(|messages| messages[0].1.clone())
        };
        assert_eq!(payload("aGVs\r\nbG8=\n"), Ok(b"hello".to_vec()));
        assert_eq!(payload("aGVsbG9="), Ok(b"hello".to_vec()), "bits behind the last byte");
        assert_eq!(payload("+/+/"), Ok(vec![0xfb, 0xff, 0xbf]));
        for text in ["aGVsbG8", "a", "-_-_", "aGVs bG8="] {
            let error = payload(text).unwrap_err();
            assert!(error.contains("payload is not base64"), "{text}: {error}");
        }
        let numbers = r#"{"messages":[{"topics":["a"],"payload":[1,255]}]}"#;
        assert_eq!(from_json(Layout::Broadcast, numbers), Ok(vec![message("", &[1, 255], &["a"])]));
    }

    #[test]
    fn what_is_no_request_is_refused_with_a_reason() {
        for body in [
            "{",
            "[]",
            "1",
            r#""x""#,
            r#"{"messages":{}}"#,
            r#"{"messages":[1]}"#,
            "{} x",
            r#"{"messages":[{"topics":"a"}]}"#,
            r#"{"messages":[{"topics":[1]}]}"#,
            r#"{"messages":[{"topics":["a"],"payload":7}]}"#,
            r#"{"messages":[{"payload":[256]}]}"#,
        ] {
            assert!(!from_json(Layout::Broadcast, body).unwrap_err().is_empty(), "{body}");
        }
        for body in [&b"\x90"[..], b"\x01", b"\xa1x", b"\x81\xa8Messages\x91\x01", b"\xc1"] {
            assert!(!from_msgpack(Layout::Broadcast, body).unwrap_err().is_empty(), "{body:x?}");
        }
    }

    #[test]
    fn msgpack_takes_both_spellings_and_bytes_or_text() {
        let go =
            b"\x81\xa8Messages\x91\x83\xa7Command\xa0\xa6Topics\x92\xa1a\xc4\x01b\xa7Payload\xc4\x02\xff\x00";
        assert_eq!(from_msgpack(Layout::Broadcast, go), Ok(vec![message("", &[0xff, 0], &["a", "b"])]));
        let json = b"\x81\xa8messages\x91\x83\xa6broker\xa3bus\xa6topics\x91\xa1a\xa7payload\xa2hi";
        assert_eq!(from_msgpack(Layout::Websockets, json), Ok(vec![message("bus", b"hi", &["a"])]));
    }

    #[test]
    fn claimed_lengths_and_nesting_cost_nothing() {
        for claim in [
            b"\xdf\xff\xff\xff\xff",
            b"\xdd\xff\xff\xff\xff",
            b"\xdb\xff\xff\xff\xff",
            b"\xc6\xff\xff\xff\xff",
        ] {
            for prefix in [
                &b""[..],
                b"\x81\xa8Messages",
                b"\x81\xa8Messages\x91\x81\xa6Topics",
                b"\x81\xa8Messages\x91\x81\xa7Payload",
                b"\x81\xa1x",
            ] {
                assert!(msgpack(Layout::Broadcast, &[prefix, claim].concat()).is_err());
            }
        }
        for nest in [&b"\x91"[..], b"\x81\xa1x", b"\x81\x91"] {
            let body = [b"\x81\xa1x".to_vec(), nest.repeat(1 << 20)].concat();
            assert!(msgpack(Layout::Broadcast, &body).is_err());
        }
        let deep = format!(r#"{{"x":{}}}"#, "[".repeat(1 << 20));
        assert!(json(Layout::Broadcast, deep.as_bytes()).is_err());
        let deep = format!(r#"{{"x":{}{}}}"#, r#"{"x":"#.repeat(1 << 20), "}".repeat(1 << 20));
        assert!(json(Layout::Broadcast, deep.as_bytes()).is_err());
    }

    #[test]
    fn the_result_is_at_most_about_twice_the_body() {
        let mut tiny = b"\x81\xa8Messages\xdd\x00\x0f\xff\xff".to_vec();
        tiny.extend([0x80].repeat(0xfffff));
        assert!(msgpack(Layout::Broadcast, &tiny).unwrap().is_empty());
        let mut topics = b"\x81\xa8Messages\x91\x81\xa6Topics\xdd\x00\x0f\xff\xff".to_vec();
        topics.extend([0xa0].repeat(0xfffff));
        assert!(msgpack(Layout::Broadcast, &topics).unwrap().len() <= 2 * topics.len());
    }

    /// Random bodies against a plain reading of the same JSON.
    #[test]
    fn json_agrees_with_a_plain_reading_of_it() {
        let seed = 77;
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..2_000 {
            let mut expected = Vec::new();
            let mut messages = Vec::new();
            for _ in 0..random.random_range(0..4) {
                let topics: Vec<String> = (0..random.random_range(1..4))
                    .map(|_| format!("t\u{1}é{}", random.random::<u8>()))
                    .collect();
                let payload: Vec<u8> = (0..random.random_range(0..300)).map(|_| random.random()).collect();
                messages.push(json!({"payload": BASE64.encode(&payload), "topics": topics}));
                expected.push((String::new(), payload, topics));
            }
            let body = json!({ "messages": messages }).to_string();
            assert_eq!(from_json(Layout::Broadcast, &body), Ok(expected), "seed {seed} round {round}");
        }
    }

    #[test]
    fn garbage_never_panics() {
        let mut random = StdRng::seed_from_u64(3);
        let seeds: [&[u8]; 2] = [
            b"\x81\xa8Messages\x91\x83\xa7Command\xa0\xa6Topics\x92\xa1a\xc4\x01b\xa7Payload\xc4\x02\xff\x00",
            br#"{"messages":[{"topics":["a"],"payload":"aGVsbG8="}]}"#,
        ];
        for _ in 0..20_000 {
            let mut body = seeds.choose(&mut random).unwrap().to_vec();
            for _ in 0..random.random_range(1..5) {
                *body.choose_mut(&mut random).unwrap() = random.random();
            }
            let layout = if random.random() { Layout::Broadcast } else { Layout::Websockets };
            // What is taken at all is well-formed.
            let _ = json(layout, &body).map(|out| read(layout, out));
            let _ = msgpack(layout, &body).map(|out| Request::new(layout, Cow::Owned(out)));
        }
    }
}
