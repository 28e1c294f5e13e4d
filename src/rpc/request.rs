//! The body of a publish call, read in place: messages and topics are iterators over its protobuf
//! bytes.
//!
//! Whatever the body is made of, nobody has to walk far at once: it is checked piece by piece
//! ([`Checking`]), and the walks over messages and topics say how many bytes they have gone over,
//! also when these have held nothing ([`Step`]).

use std::borrow::Cow;
use std::ops::Range;

use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use smallvec::SmallVec;

use super::Codec;
use super::error::CallError;
use super::layout::{COMMAND, Layout, MESSAGES};

/// Of a message of more bytes, what is to be known of all of it is remembered when it is checked,
/// as of the first one: most calls have no other.
const LARGE_BYTES: usize = 16 * 1024;
/// Bytes that a walk looks at in one step, and one field more.
const WALK_BYTES: usize = 16 * 1024;
/// Fewer bytes than this behind the last thing found are no step.
const TAIL_BYTES: usize = 256;
/// Bytes of a group, which nobody knows and which is skipped at once.
const GROUP_BYTES_MAX: usize = 64 * 1024;

/// A request whose whole body has been checked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    layout: Layout,
    body: Cow<'a, [u8]>,
    /// What has been read of the first message and of each large one, in order.
    known: SmallVec<[Read; 1]>,
}

/// A request whose body is being checked from end to end, so that reading it cannot fail half-way
/// through publishing it.
#[derive(Debug)]
pub struct Checking<'a> {
    layout: Layout,
    codec: Codec,
    body: Cow<'a, [u8]>,
    /// Bytes checked.
    at: usize,
    /// The message under way: where it is, and what has been read of it.
    message: Option<(Range<usize>, Read)>,
    known: SmallVec<[Read; 1]>,
}

/// Where a message has what it names once: of a field that is not repeated, the last one counts.
#[derive(Clone, Debug, Default)]
struct Read {
    broker: Range<usize>,
    payload: Range<usize>,
    /// From its first topic to its last one.
    topics: Range<usize>,
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

/// A step of a walk.
#[derive(Clone, Copy, Debug)]
pub struct Step<T> {
    /// What it has found, if anything.
    pub found: Option<T>,
    /// Bytes that it has gone over, without the content found, where that is still to be walked.
    pub bytes: usize,
}

impl<T> Step<T> {
    fn without(bytes: usize) -> Option<Self> {
        (bytes > TAIL_BYTES).then_some(Self { found: None, bytes })
    }
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
    #[error("field {0} is a group that does not end within {GROUP_BYTES_MAX} bytes")]
    Group(u32),
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
        let within = &fields[..fields.len().min(GROUP_BYTES_MAX)];
        let mut rest = within;
        match skip_field(wire_type, number, &mut rest, DecodeContext::default()) {
            Err(_) if within.len() < fields.len() && wire_type == WireType::StartGroup => {
                return Err(WireError::Group(number));
            }
            skipped => skipped?,
        }
        *fields = &fields[within.len() - rest.len()..];
        return Ok((number, None));
    }
    let length =
        usize::try_from(decode_varint(fields)?).map_err(|_| WireError::Truncated(number))?;
    let (content, rest) = fields.split_at_checked(length).ok_or(WireError::Truncated(number))?;
    *fields = rest;
    Ok((number, Some(content)))
}

impl<'a> Checking<'a> {
    pub(super) fn new(layout: Layout, codec: Codec, body: Cow<'a, [u8]>) -> Self {
        Self { layout, codec, body, at: 0, message: None, known: SmallVec::new() }
    }

    /// Checks about so many more bytes. Says whether these were the last ones.
    pub fn step(&mut self, bytes: usize) -> Result<bool, CallError<'static>> {
        let stop = self.at.saturating_add(bytes);
        self.check_until(stop).map_err(|error| undecodable(self.codec, error))
    }

    fn check_until(&mut self, stop: usize) -> Result<bool, WireError> {
        let body = &*self.body;
        loop {
            if let Some((place, read)) = &mut self.message {
                self.at = check_message(self.layout, body, self.at..place.end, stop, read)?;
                if self.at < place.end {
                    return Ok(false);
                }
                if self.known.is_empty() || place.len() > LARGE_BYTES {
                    self.known.push(std::mem::take(read));
                }
                self.message = None;
            }
            let mut fields = &body[self.at..];
            if fields.is_empty() {
                return Ok(true);
            }
            if self.at >= stop {
                return Ok(false);
            }
            let (number, content) = next_field(&mut fields)?;
            self.at = body.len() - fields.len();
            if number == MESSAGES {
                let content = content.ok_or(WireError::WireType(number))?;
                let place = self.at - content.len()..self.at;
                self.at = place.start;
                self.message = Some((place, Read::default()));
            }
        }
    }

    /// The request, once the last step has been done.
    pub fn request(self) -> Request<'a> {
        debug_assert!(self.at == self.body.len() && self.message.is_none(), "checked to its end");
        Request { layout: self.layout, body: self.body, known: self.known }
    }
}

/// Checks the fields of a message in `place`; says how far it came, which is the end or about
/// `stop`.
fn check_message(
    layout: Layout,
    body: &[u8],
    place: Range<usize>,
    stop: usize,
    read: &mut Read,
) -> Result<usize, WireError> {
    let end = place.end;
    let mut fields = &body[place];
    while !fields.is_empty() {
        let begin = end - fields.len();
        if begin >= stop {
            return Ok(begin);
        }
        let (number, content) = next_field(&mut fields)?;
        let is_broker = Some(number) == layout.broker();
        let text = number == COMMAND || number == layout.topics() || is_broker;
        if text || number == layout.payload() {
            let content = content.ok_or(WireError::WireType(number))?;
            if text && std::str::from_utf8(content).is_err() {
                return Err(WireError::Utf8(number));
            }
            let behind = end - fields.len();
            if is_broker {
                read.broker = behind - content.len()..behind;
            } else if number == layout.topics() {
                let first = if read.topics.is_empty() { begin } else { read.topics.start };
                read.topics = first..behind;
            } else if !text {
                read.payload = behind - content.len()..behind;
            }
        }
    }
    Ok(end)
}

#[cold]
fn undecodable(codec: Codec, error: WireError) -> CallError<'static> {
    CallError::Body { codec, reason: error.to_string() }
}

impl<'a> Request<'a> {
    /// Checks a whole body at once.
    pub(super) fn new(
        layout: Layout,
        codec: Codec,
        body: Cow<'a, [u8]>,
    ) -> Result<Self, CallError<'static>> {
        let failed = |error| undecodable(codec, error);
        let mut known = SmallVec::new();
        let mut fields = &*body;
        while !fields.is_empty() {
            let (number, content) = next_field(&mut fields).map_err(failed)?;
            if number == MESSAGES {
                let content = content.ok_or(WireError::WireType(number)).map_err(failed)?;
                let end = body.len() - fields.len();
                let place = end - content.len()..end;
                let keep = known.is_empty() || place.len() > LARGE_BYTES;
                let mut read = Read::default();
                check_message(layout, &body, place, usize::MAX, &mut read).map_err(failed)?;
                if keep {
                    known.push(read);
                }
            }
        }
        Ok(Self { layout, body, known })
    }
}

impl Request<'_> {
    /// Bytes of the whole body. Nothing in it is longer.
    pub fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The messages, in order.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.walk().filter_map(|step| step.found)
    }

    /// The messages, in order, step by step.
    pub fn walk(&self) -> impl Iterator<Item = Step<Message<'_>>> {
        let (mut fields, mut known, mut is_first) = (&*self.body, self.known.iter(), true);
        std::iter::from_fn(
            #[inline(always)]
            move || {
                let begin = fields.len();
                while !fields.is_empty() && begin - fields.len() <= WALK_BYTES {
                    let (MESSAGES, Some(content)) = next_field(&mut fields).ok()? else { continue };
                    let bytes = begin - fields.len();
                    return Some(
                        match std::mem::take(&mut is_first) || content.len() > LARGE_BYTES {
                            true => Step {
                                found: Some(self.read(known.next()?)),
                                bytes: bytes - content.len(),
                            },
                            false => {
                                Step { found: Some(Message::new(self.layout, content)), bytes }
                            }
                        },
                    );
                }
                Step::without(begin - fields.len())
            },
        )
    }

    /// A message of which it is remembered what it names once.
    fn read(&self, read: &Read) -> Message<'_> {
        Message {
            broker: match &self.body[read.broker.clone()] {
                [] => "",
                name => std::str::from_utf8(name).unwrap_or_default(),
            },
            payload: &self.body[read.payload.clone()],
            topics: Topics {
                number: self.layout.topics(),
                fields: &self.body[read.topics.clone()],
            },
        }
    }
}

impl<'a> Message<'a> {
    fn new(layout: Layout, content: &'a [u8]) -> Self {
        let topics = Topics { number: layout.topics(), fields: content };
        let mut message = Self { broker: "", payload: &[], topics };
        let mut fields = content;
        // Of a field that is not repeated, the last one counts.
        while !fields.is_empty()
            && let Ok((number, content)) = next_field(&mut fields)
        {
            let Some(content) = content else { continue };
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

impl<'a> Topics<'a> {
    /// The topics, in order, step by step.
    pub fn walk(mut self) -> impl Iterator<Item = Step<&'a str>> {
        std::iter::from_fn(move || self.step())
    }

    #[inline]
    fn step(&mut self) -> Option<Step<&'a str>> {
        let begin = self.fields.len();
        while !self.fields.is_empty() && begin - self.fields.len() <= WALK_BYTES {
            if let (number, Some(content)) = next_field(&mut self.fields).ok()?
                && number == self.number
            {
                let topic = std::str::from_utf8(content).ok()?;
                return Some(Step {
                    found: Some(topic),
                    bytes: begin - self.fields.len() - topic.len(),
                });
            }
        }
        Step::without(begin - self.fields.len())
    }
}

impl<'a> Iterator for Topics<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        loop {
            if let Some(topic) = self.step()?.found {
                return Some(topic);
            }
        }
    }
}

#[cfg(test)]
mod tests;
