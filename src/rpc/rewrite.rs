//! JSON and MSGPACK bodies, rewritten into the protobuf layout that requests are read from.
//!
//! One pass, driven by the decoder: nothing is collected, so the size of the result is bound by
//! what has arrived (a base64 payload shrinks, a MessagePack topic grows by at most one byte plus
//! its length), whatever lengths the body claims. As in Go, keys are matched without regard to
//! case, the last of two equal keys counts, `null` and missing are empty, unknown fields are
//! skipped, and so are bytes behind a MSGPACK request.

use std::fmt;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use prost::encoding::{WireType, encode_key, encode_varint};
use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::layout::{Layout, MESSAGES};

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

/// Appends a protobuf field whose length is known only when its content has been written: its
/// length takes the five bytes of the longest varint that fits a frame.
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
        while let Some(field) =
            map.next_key_seed(Key { within: self.field, layout: self.layout })?
        {
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

    /// `null`: empty. Where the last one counts, it is written as empty, since one before it must
    /// not.
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
mod tests;
