//! The body of a publish call, read in place: messages and topics are iterators over its protobuf bytes.

use std::borrow::Cow;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::call::Layout;

/// Field number of a request's messages, in both layouts.
pub(super) const MESSAGES: u32 = 1;
/// Field number of a message's command, in both layouts.
const COMMAND: u32 = 1;

/// A request whose whole body has been checked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    layout: Layout,
    body: Cow<'a, [u8]>,
}

/// One message: a payload for each of its topics.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The broker that it names; empty means the default one, or all, as the layout says.
    pub broker: &'a str,
    /// Arbitrary bytes.
    pub payload: &'a [u8],
    topics: Topics<'a>,
}

/// The topics of one message, in order, empty ones included.
#[derive(Clone, Copy, Debug)]
pub struct Topics<'a> {
    number: u32,
    fields: &'a [u8],
}

/// Why bytes are not a request in protobuf.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WireError {
    #[error("{0}")]
    Wire(#[from] prost::DecodeError),
    #[error("field {0} is longer than what is left")]
    Truncated(u32),
    #[error("field {0} has another wire type than expected")]
    WireType(u32),
    #[error("field {0} is not UTF-8")]
    Utf8(u32),
}

/// Takes the next field off: its number, and its content if it is a length-delimited one.
#[inline]
fn next_field<'a>(fields: &mut &'a [u8]) -> Result<(u32, Option<&'a [u8]>), WireError> {
    // Nearly every field of a publish: its key is one byte, its length one or two.
    let (key, length, rest) = match *fields {
        [key @ 8..0x80, length @ 0..0x80, rest @ ..] => (*key, usize::from(*length), rest),
        [key @ 8..0x80, low @ 0x80..=0xFF, high @ 1..0x80, rest @ ..] => {
            (*key, usize::from(*low & 0x7F) | usize::from(*high) << 7, rest)
        }
        _ => return next_field_of_any_kind(fields),
    };
    match rest.split_at_checked(length) {
        Some((content, rest)) if key & 7 == WireType::LengthDelimited as u8 => {
            *fields = rest;
            Ok((u32::from(key >> 3), Some(content)))
        }
        _ => next_field_of_any_kind(fields),
    }
}

fn next_field_of_any_kind<'a>(fields: &mut &'a [u8]) -> Result<(u32, Option<&'a [u8]>), WireError> {
    let (number, wire_type) = decode_key(fields)?;
    if wire_type != WireType::LengthDelimited {
        skip_field(wire_type, number, fields, DecodeContext::default())?;
        return Ok((number, None));
    }
    let length = usize::try_from(decode_varint(fields)?).map_err(|_| WireError::Truncated(number))?;
    let (content, rest) = fields.split_at_checked(length).ok_or(WireError::Truncated(number))?;
    *fields = rest;
    Ok((number, Some(content)))
}

fn check_request(layout: Layout, mut fields: &[u8]) -> Result<(), WireError> {
    while !fields.is_empty() {
        let (number, content) = next_field(&mut fields)?;
        if number == MESSAGES {
            check_message(layout, content.ok_or(WireError::WireType(number))?)?;
        }
    }
    Ok(())
}

fn check_message(layout: Layout, mut fields: &[u8]) -> Result<(), WireError> {
    while !fields.is_empty() {
        let (number, content) = next_field(&mut fields)?;
        let text = number == COMMAND || number == layout.topics() || Some(number) == layout.broker();
        if text || number == layout.payload() {
            let content = content.ok_or(WireError::WireType(number))?;
            if text && std::str::from_utf8(content).is_err() {
                return Err(WireError::Utf8(number));
            }
        }
    }
    Ok(())
}

impl<'a> Request<'a> {
    /// Checks the body from end to end, so that reading it cannot fail half-way through publishing it.
    pub(super) fn new(layout: Layout, body: Cow<'a, [u8]>) -> Result<Self, WireError> {
        check_request(layout, &body)?;
        Ok(Self { layout, body })
    }

    /// Bytes of the whole body. Nothing in it is longer.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let mut fields = &*self.body;
        std::iter::from_fn(move || {
            while !fields.is_empty() {
                if let (MESSAGES, Some(content)) = next_field(&mut fields).ok()? {
                    return Some(Message::new(self.layout, content));
                }
            }
            None
        })
    }
}

impl<'a> Message<'a> {
    fn new(layout: Layout, content: &'a [u8]) -> Self {
        let topics = Topics { number: layout.topics(), fields: content };
        let mut message = Self { broker: "", payload: &[], topics };
        let mut fields = content;
        // Of a field that is not repeated, the last one counts.
        while let Ok((number, Some(content))) = next_field_or_skip(&mut fields) {
            if number == layout.payload() {
                message.payload = content;
            } else if Some(number) == layout.broker() {
                message.broker = std::str::from_utf8(content).unwrap_or_default();
            }
        }
        message
    }

    /// Its topics.
    pub fn topics(&self) -> Topics<'a> {
        self.topics
    }
}

/// As [`next_field`], past fields that are not length-delimited; `None` at the end.
fn next_field_or_skip<'a>(fields: &mut &'a [u8]) -> Result<(u32, Option<&'a [u8]>), WireError> {
    while !fields.is_empty() {
        let field = next_field(fields)?;
        if field.1.is_some() {
            return Ok(field);
        }
    }
    Ok((0, None))
}

impl<'a> Iterator for Topics<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            let (number, content) = next_field_or_skip(&mut self.fields).ok()?;
            let content = content?;
            if number == self.number {
                return std::str::from_utf8(content).ok();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;
    use rand::prelude::*;

    use super::super::proto::{broadcast, websockets};
    use super::*;

    type Read = Vec<(String, Vec<u8>, Vec<String>)>;

    fn read(layout: Layout, body: &[u8]) -> Result<Read, WireError> {
        let request = Request::new(layout, Cow::Borrowed(body))?;
        Ok(request
            .messages()
            .map(|m| (m.broker.into(), m.payload.into(), m.topics().map(String::from).collect()))
            .collect())
    }

    fn read_by_prost(layout: Layout, body: &[u8]) -> Result<Read, prost::DecodeError> {
        Ok(match layout {
            Layout::Broadcast => {
                let request = broadcast::Request::decode(body)?;
                request.messages.into_iter().map(|m| (String::new(), m.payload, m.topics)).collect()
            }
            Layout::Websockets => {
                let request = websockets::Request::decode(body)?;
                request.messages.into_iter().map(|m| (m.broker, m.payload, m.topics)).collect()
            }
        })
    }

    fn example(random: &mut StdRng) -> (Layout, Vec<u8>) {
        let layout = if random.random() { Layout::Broadcast } else { Layout::Websockets };
        let text = |random: &mut StdRng| "täpic-".repeat(random.random_range(0..3));
        let mut body = Vec::new();
        for _ in 0..random.random_range(0..4) {
            let (command, broker) = (text(random), text(random));
            let topics: Vec<_> = (0..random.random_range(0..4)).map(|_| text(random)).collect();
            let payload: Vec<u8> = (0..random.random_range(0..200)).map(|_| random.random()).collect();
            body.extend(match layout {
                Layout::Broadcast => {
                    let message = broadcast::Message { command, topics, payload };
                    broadcast::Request { messages: vec![message] }.encode_to_vec()
                }
                Layout::Websockets => {
                    let message = websockets::Message { command, broker, topics, payload };
                    websockets::Request { messages: vec![message] }.encode_to_vec()
                }
            });
        }
        (layout, body)
    }

    /// Whatever the bytes, this reader and the generated one agree, on the content and on what is no request.
    #[test]
    fn reading_in_place_agrees_with_the_generated_types() {
        let seed = 0x0b0d;
        let mut random = StdRng::seed_from_u64(seed);
        let mut refused = 0;
        for round in 0..20_000 {
            let (layout, mut body) = example(&mut random);
            for _ in 0..random.random_range(0..3) {
                if let Some(byte) = body.choose_mut(&mut random) {
                    *byte = random.random();
                }
            }
            let (ours, theirs) = (read(layout, &body), read_by_prost(layout, &body));
            refused += u32::from(theirs.is_err());
            assert_eq!(ours.ok(), theirs.ok(), "seed {seed} round {round}: {body:?}");
        }
        assert!((1_000..19_000).contains(&refused), "both outcomes are exercised: {refused} refused");
    }

    #[test]
    fn every_prefix_of_a_request_agrees_too() {
        let (layout, body) =
            (1..).map(|s| example(&mut StdRng::seed_from_u64(s))).find(|e| e.1.len() > 300).unwrap();
        for split in 0..body.len() {
            assert_eq!(read(layout, &body[..split]).ok(), read_by_prost(layout, &body[..split]).ok());
        }
    }

    #[test]
    fn no_bytes_are_an_empty_request() {
        assert_eq!(read(Layout::Broadcast, b""), Ok(vec![]));
    }

    #[test]
    fn a_length_beyond_the_body_is_refused() {
        assert_eq!(
            read(Layout::Broadcast, &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f]),
            Err(WireError::Truncated(1))
        );
    }

    #[test]
    fn nested_groups_end_at_a_bounded_depth() {
        assert!(read(Layout::Broadcast, &vec![0x1b; 1 << 20]).is_err());
    }
}
