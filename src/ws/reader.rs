//! Reads what a client sends: frames in any split of the input become messages and control frames
//! (RFC 6455 §5).
//!
//! Invariants worth naming:
//! - **An idle connection holds nothing.** State exists only while the input has ended within a
//!   frame or a message.
//! - **A message that lies whole in the input is not copied**: it is unmasked where it is and
//!   handed out from there.
//! - **Each byte is worked on once.** What has arrived of a message is unmasked, checked and put
//!   aside as it arrives.
//! - **Memory follows bytes, not claims.** The buffer grows with what has arrived, up to the bound
//!   on a message.
//! - **The outcome does not depend on the split** of the input. For that, a header is judged byte
//!   by byte in order.

mod header;
#[cfg(test)]
mod tests;
mod utf8;

use std::ops::Range;

use self::header::Header;
use self::utf8::Utf8;
use super::close::CloseCode;
use super::frame::{self, CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Opcode};

/// The bounds on what a client may send.
#[derive(Clone, Copy, Debug)]
pub struct ReaderLimits {
    /// Bytes of one message, all its fragments together. A header that claims more ends the
    /// connection with 1009.
    pub message_bytes_max: usize,
}

/// What a client has sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming<'a> {
    /// A whole text message, valid UTF-8. Mutable, so that it can be parsed in place.
    Text(&'a mut [u8]),
    /// A whole binary message.
    Binary(&'a mut [u8]),
    /// A ping, to be answered by a pong with the same payload of at most 125 bytes (RFC 6455
    /// §5.5.3).
    Ping(&'a [u8]),
    /// A pong, asked for or not. Its payload is dropped.
    Pong,
    /// The client's Close, with its code if it gave one. Nothing is to be read after it.
    Close(Option<CloseCode>),
}

/// How the client has broken the protocol. The connection fails: Close with this code (RFC 6455
/// §7.1.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} ({code})")]
pub struct Violation {
    /// 1002, 1007 or 1009.
    pub code: CloseCode,
    /// A few words for the Close frame and the log.
    pub reason: &'static str,
}

impl Violation {
    const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::PROTOCOL_ERROR, reason }
    }

    const NOT_UTF8: Self = Self { code: CloseCode::INVALID_PAYLOAD, reason: "text is not UTF-8" };
    const TOO_BIG: Self = Self { code: CloseCode::TOO_BIG, reason: "message too big" };
}

/// The reading side of one connection: 8 bytes while nothing is under way.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
}

/// What has arrived of a frame or message that is not complete.
#[derive(Debug)]
struct Partial {
    /// The beginning of a header: `header[..header_len]`.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// The frame whose payload is arriving, and how much of it has arrived.
    frame: Option<(Header, usize)>,
    /// The message whose fragments are arriving.
    message: Option<Fragments>,
    /// Unmasked bytes of that message; of the one handed out last until the next call of
    /// [`Reader::read`].
    bytes: Vec<u8>,
    /// Unmasked payload of the control frame under way. It may stand between two fragments.
    control: [u8; CONTROL_BYTES_MAX],
}

#[derive(Debug)]
struct Fragments {
    opcode: Opcode,
    utf8: Utf8,
}

/// Where the payload of something complete lies.
enum Place {
    Input(Range<usize>),
    Message,
    Control(usize),
}

enum Step {
    /// All input is consumed.
    InputEnds,
    /// There may be more to do with the rest of the input.
    Continues,
    Found(Opcode, Place),
}

impl Reader {
    /// Reads on, up to the next that is whole. Returns how many bytes of `input` are consumed and
    /// what they have led to.
    ///
    /// Call it again with the rest of the input until it returns `Ok(None)`: then all input is
    /// consumed. That last call also frees what the one before it handed out. `input` is unmasked
    /// in place. After a violation or an [`Incoming::Close`] it is not to be called again.
    pub fn read<'a>(
        &'a mut self,
        input: &'a mut [u8],
        limits: ReaderLimits,
    ) -> (usize, Result<Option<Incoming<'a>>, Violation>) {
        self.release();
        let mut consumed = 0;
        let (opcode, place) = loop {
            let (used, progress) = match self.advance(&mut input[consumed..], limits) {
                Ok(advanced) => advanced,
                Err(violation) => {
                    self.partial = None;
                    return (consumed, Err(violation));
                }
            };
            let before = consumed;
            consumed += used;
            match progress {
                Step::InputEnds => return (consumed, Ok(None)),
                Step::Continues => {}
                Step::Found(opcode, Place::Input(range)) => {
                    break (opcode, Place::Input(before + range.start..before + range.end));
                }
                Step::Found(opcode, place) => break (opcode, place),
            }
        };

        let payload: &mut [u8] = match (place, &mut self.partial) {
            (Place::Input(range), _) => &mut input[range],
            (Place::Message, Some(partial)) => &mut partial.bytes,
            (Place::Control(length), Some(partial)) => &mut partial.control[..length],
            (Place::Message | Place::Control(_), None) => &mut [],
        };
        let incoming = match opcode {
            Opcode::Text => Incoming::Text(payload),
            Opcode::Ping => Incoming::Ping(payload),
            Opcode::Pong => Incoming::Pong,
            Opcode::Close => match parse_close(payload) {
                Ok(code) => Incoming::Close(code),
                Err(violation) => return (consumed, Err(violation)),
            },
            // A continuation is never found: it completes the message that another opcode began.
            Opcode::Binary | Opcode::Continuation => Incoming::Binary(payload),
        };
        (consumed, Ok(Some(incoming)))
    }

    /// Drops the state once nothing is under way.
    fn release(&mut self) {
        if self.partial.as_ref().is_some_and(|partial| partial.is_idle()) {
            self.partial = None;
        }
    }

    /// Reads one header, or the payload that follows one.
    fn advance(
        &mut self,
        input: &mut [u8],
        limits: ReaderLimits,
    ) -> Result<(usize, Step), Violation> {
        if let Some(partial) = &mut self.partial
            && partial.frame.is_some()
        {
            return partial.read_payload(input, limits);
        }
        if input.is_empty() {
            return Ok((0, Step::InputEnds));
        }
        let Some((header, used)) = self.read_header(input, limits)? else {
            return Ok((input.len(), Step::InputEnds));
        };
        let alone =
            header.opcode.is_control() || (header.fin && header.opcode != Opcode::Continuation);
        if let Some(payload) = input.get_mut(used..used + header.payload_len)
            && alone
        {
            frame::unmask(payload, header.key, 0);
            if header.opcode == Opcode::Text && std::str::from_utf8(payload).is_err() {
                return Err(Violation::NOT_UTF8);
            }
            let end = used + header.payload_len;
            return Ok((end, Step::Found(header.opcode, Place::Input(used..end))));
        }
        let partial = self.partial.get_or_insert_default();
        if matches!(header.opcode, Opcode::Text | Opcode::Binary) {
            partial.message = Some(Fragments { opcode: header.opcode, utf8: Utf8::default() });
        }
        partial.frame = Some((header, 0));
        Ok((used, Step::Continues))
    }

    /// A header and the bytes of input it took; `None` when it is not complete, and what there is
    /// of it is put aside.
    fn read_header(
        &mut self,
        input: &[u8],
        limits: ReaderLimits,
    ) -> Result<Option<(Header, usize)>, Violation> {
        let Some(partial) = &mut self.partial else {
            let parsed = Header::parse(input, None, limits)?;
            if parsed.is_none() {
                let partial = self.partial.insert(Box::default());
                partial.put_aside_header(input);
            }
            return Ok(parsed);
        };
        let before = partial.header_len;
        partial.put_aside_header(input);
        let message_bytes = partial.message.as_ref().map(|_| partial.bytes.len());
        let parsed = Header::parse(&partial.header[..partial.header_len], message_bytes, limits)?;
        if parsed.is_some() {
            partial.header_len = 0;
        }
        Ok(parsed.map(|(header, length)| (header, length - before)))
    }
}

impl Partial {
    fn is_idle(&self) -> bool {
        self.header_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    fn put_aside_header(&mut self, input: &[u8]) {
        let room = &mut self.header[self.header_len..];
        let taken = room.len().min(input.len());
        room[..taken].copy_from_slice(&input[..taken]);
        self.header_len += taken;
    }

    /// Takes what has arrived of the payload of the frame under way.
    fn read_payload(
        &mut self,
        input: &mut [u8],
        limits: ReaderLimits,
    ) -> Result<(usize, Step), Violation> {
        let Some((header, arrived)) = self.frame else { return Ok((0, Step::Continues)) };
        let taken = input.len().min(header.payload_len - arrived);
        let payload = &mut input[..taken];
        frame::unmask(payload, header.key, arrived);
        let arrived = arrived + taken;
        if header.opcode.is_control() {
            self.control[arrived - taken..arrived].copy_from_slice(payload);
        } else {
            if let Some(message) = &mut self.message
                && message.opcode == Opcode::Text
                && !message.utf8.accept(payload)
            {
                return Err(Violation::NOT_UTF8);
            }
            grow(&mut self.bytes, taken, limits.message_bytes_max);
            self.bytes.extend_from_slice(payload);
        }
        if arrived < header.payload_len {
            self.frame = Some((header, arrived));
            return Ok((taken, Step::InputEnds));
        }

        self.frame = None;
        if header.opcode.is_control() {
            return Ok((taken, Step::Found(header.opcode, Place::Control(arrived))));
        }
        match self.message.take_if(|_| header.fin) {
            Some(message) if !message.utf8.is_complete() => Err(Violation::NOT_UTF8),
            Some(message) => Ok((taken, Step::Found(message.opcode, Place::Message))),
            None => Ok((taken, Step::Continues)),
        }
    }
}

impl Default for Partial {
    fn default() -> Self {
        Self {
            header: [0; HEADER_BYTES_MAX],
            header_len: 0,
            frame: None,
            message: None,
            bytes: Vec::new(),
            control: [0; CONTROL_BYTES_MAX],
        }
    }
}

/// Makes room for `more` bytes: doubled, so that many small pieces cost no more than one, but never
/// past what a message may have.
fn grow(bytes: &mut Vec<u8>, more: usize, bytes_max: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let capacity = (bytes.capacity() * 2).min(bytes_max).max(needed);
        bytes.reserve_exact(capacity - bytes.len());
    }
}

/// RFC 6455 §5.5.1: empty, or a code and a reason in UTF-8.
fn parse_close(payload: &[u8]) -> Result<Option<CloseCode>, Violation> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return match payload {
            [] => Ok(None),
            _ => Err(Violation::protocol("close code is cut off")),
        };
    };
    let code = CloseCode(u16::from_be_bytes(*code));
    if !code.may_be_received() {
        return Err(Violation::protocol("close code must not be sent"));
    }
    if std::str::from_utf8(reason).is_err() {
        return Err(Violation {
            code: CloseCode::INVALID_PAYLOAD,
            reason: "close reason is not UTF-8",
        });
    }
    Ok(Some(code))
}
