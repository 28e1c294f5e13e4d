//! Roadcast and RoadRunner: JSON commands on the WebSocket, `broadcast.Publish` in protobuf by
//! goridge RPC.

use anyhow::{Result, bail};

use super::{Dialect, Link, TopicName};
use crate::frame;

const METHOD: &[u8] = b"broadcast.Publish";
const METHOD_ASYNC: &[u8] = b"broadcast.PublishAsync";
/// What the error answer of a call names that found no room.
const NO_ROOM: &[u8] = b"roadcast.limits.rpc_async_bytes";
const FLAG_ERROR: u8 = 0x40;
const FLAG_PROTO: u8 = 0x80;
/// Version 1, five words of header: three and two options.
const VERSION_AND_WORDS: u8 = 0x15;
/// Bytes of a header with its two options.
pub const HEADER_BYTES: usize = 20;

/// The dialect, with the number of the last call.
#[derive(Debug, Default)]
pub struct Goridge {
    call: u32,
    asynchronous: bool,
    refused: Vec<u32>,
}

impl Goridge {
    /// With `broadcast.PublishAsync`, whose calls may be refused for want of room.
    pub fn asynchronous() -> Self {
        Self { asynchronous: true, ..Self::default() }
    }

    fn method(&self) -> &'static [u8] {
        if self.asynchronous { METHOD_ASYNC } else { METHOD }
    }
}

/// Appends the header of a call or answer of `payload` bytes, of which `method` are the method's
/// name.
pub fn encode_header(out: &mut Vec<u8>, call: u32, method: usize, payload: usize) {
    let start = out.len();
    out.extend_from_slice(&[VERSION_AND_WORDS, FLAG_PROTO]);
    out.extend_from_slice(&(payload as u32).to_le_bytes());
    let crc = crc32fast::hash(&out[start..start + 6]);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out.extend_from_slice(&call.to_le_bytes());
    out.extend_from_slice(&(method as u32).to_le_bytes());
}

/// Bytes of the goridge frame at the head of `bytes`, and its flags; `None` while its header is not
/// whole.
pub fn measure(bytes: &[u8]) -> Option<(usize, u8)> {
    let header: &[u8; 12] = bytes.first_chunk()?;
    let words = usize::from(header[0] & 0x0F);
    let payload = u32::from_le_bytes([header[2], header[3], header[4], header[5]]) as usize;
    Some((words * 4 + payload, header[1]))
}

/// Bytes of a number as protobuf writes it.
fn varint_len(number: usize) -> usize {
    (1..).find(|bytes| number >> (7 * bytes) == 0).unwrap_or(1)
}

/// Appends a number as protobuf writes it.
pub fn push_varint(out: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn push_field(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    push_varint(out, bytes.len());
    out.extend_from_slice(bytes);
}

fn field_len(bytes: usize) -> usize {
    1 + varint_len(bytes) + bytes
}

impl Goridge {
    fn command(command: &str, topic: &TopicName, out: &mut Vec<u8>) {
        let text = format!(r#"{{"command":"{command}","topics":["{}"]}}"#, topic.name);
        frame::encode_masked(out, frame::TEXT, text.as_bytes());
    }
}

impl Dialect for Goridge {
    fn path(&self) -> &'static str {
        "/ws"
    }

    fn join(&self, topic: &TopicName, out: &mut Vec<u8>) {
        Self::command("join", topic, out);
    }

    fn joined(&self, message: &[u8]) -> Option<bool> {
        if message.starts_with(br#"{"topic":"@join""#) {
            Some(true)
        } else if message.starts_with(br##"{"topic":"#join""##) {
            Some(false)
        } else {
            None
        }
    }

    fn leave(&self, topic: &TopicName, out: &mut Vec<u8>) {
        Self::command("leave", topic, out);
    }

    fn left(&self, message: &[u8]) -> bool {
        message.starts_with(br#"{"topic":"@leave""#)
    }

    fn link(&self) -> Link {
        Link::Socket
    }

    fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Vec<u8>) {
        const COMMAND: &[u8] = b"publish";
        self.call = self.call.wrapping_add(1);
        let message =
            field_len(COMMAND.len()) + field_len(topic.name.len()) + field_len(payload.len());
        let method = self.method();
        encode_header(out, self.call, method.len(), method.len() + field_len(message));
        out.extend_from_slice(method);
        out.push(0x0A);
        push_varint(out, message);
        push_field(out, 0x0A, COMMAND);
        push_field(out, 0x12, topic.name.as_bytes());
        push_field(out, 0x1A, payload);
    }

    fn answers(&self) -> bool {
        true
    }

    fn read_answers(&mut self, bytes: &[u8]) -> Result<(usize, u64)> {
        let (mut read, mut answers) = (0, 0);
        while let Some((len, flags)) = measure(&bytes[read..]) {
            let Some(answer) = bytes.get(read..read + len) else { break };
            let call = answer.get(12..).and_then(|options| options.first_chunk());
            if let (true, true, Some(call)) =
                (flags & FLAG_ERROR != 0, memchr::memmem::find(answer, NO_ROOM).is_some(), call)
            {
                // The first call published the first publication.
                self.refused.push(u32::from_le_bytes(*call).wrapping_sub(1));
            } else if flags & FLAG_ERROR != 0 {
                bail!(
                    "a publish was answered: {}",
                    String::from_utf8_lossy(&answer[HEADER_BYTES.min(len)..])
                );
            }
            read += len;
            answers += 1;
        }
        Ok((read, answers))
    }

    fn take_refused(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publish_is_what_the_php_client_sends() {
        // The first frame of a recorded session, with its own call number.
        let mut out = Vec::new();
        Goridge::default().publish(
            &TopicName { index: 0, name: "foo".into() },
            b"hello, PHP",
            &mut out,
        );
        let (len, flags) = measure(&out).unwrap();
        assert_eq!((len, flags), (out.len(), FLAG_PROTO));
        assert_eq!(&out[HEADER_BYTES..HEADER_BYTES + METHOD.len()], METHOD);
        assert_eq!(
            &out[HEADER_BYTES + METHOD.len()..],
            b"\x0a\x1a\x0a\x07publish\x12\x03foo\x1a\x0ahello, PHP"
        );
    }

    #[test]
    fn answers_are_counted_whole_and_errors_are_told() {
        let mut bytes = Vec::new();
        for call in 0..3 {
            encode_header(&mut bytes, call, METHOD.len(), METHOD.len() + 2);
            bytes.extend_from_slice(METHOD);
            bytes.extend_from_slice(&[0x08, 0x01]);
        }
        let one = bytes.len() / 3;
        let mut dialect = Goridge::default();
        assert_eq!(dialect.read_answers(&bytes).unwrap(), (bytes.len(), 3));
        assert_eq!(dialect.read_answers(&bytes[..bytes.len() - 1]).unwrap(), (2 * one, 2));
        bytes[1] |= FLAG_ERROR;
        assert!(dialect.read_answers(&bytes).is_err());
    }

    #[test]
    fn a_call_that_found_no_room_is_told_apart_from_other_errors() {
        let mut dialect = Goridge::asynchronous();
        let mut calls = Vec::new();
        (0..3).for_each(|_| {
            dialect.publish(&TopicName { index: 0, name: "foo".into() }, b"x", &mut calls)
        });
        let answer = |call, text: &[u8]| {
            let mut bytes = Vec::new();
            encode_header(&mut bytes, call, 0, text.len());
            bytes[1] |= FLAG_ERROR;
            bytes.extend_from_slice(text);
            bytes
        };
        assert!(
            dialect.read_answers(&answer(2, b"over roadcast.limits.rpc_async_bytes (1)")).is_ok()
        );
        assert_eq!((dialect.take_refused(), dialect.take_refused()), (vec![1], vec![]));
        assert!(dialect.read_answers(&answer(3, b"roadcast is shutting down")).is_err());
    }

    #[test]
    fn lengths_of_numbers_are_right() {
        for (number, len) in [(0, 1), (127, 1), (128, 2), (16_383, 2), (16_384, 3)] {
            let mut out = Vec::new();
            push_varint(&mut out, number);
            assert_eq!((out.len(), varint_len(number)), (len, len), "{number}");
        }
    }
}
