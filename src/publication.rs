//! Publications: a message as every subscriber of a topic reads it, encoded once for all of them.

use std::cell::OnceCell;
use std::sync::Arc;

use crate::json_string;
use crate::ws::frame::{self, Opcode};

/// The encoded frame of a publication would be larger than allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the publication takes {bytes} bytes as encoded for clients")]
pub struct TooLarge {
    /// Bytes of the whole frame.
    pub bytes: usize,
}

const BEFORE_TOPIC: &[u8] = br#"{"topic":""#;
const BEFORE_PAYLOAD: &[u8] = br#"","payload":""#;
const AFTER_PAYLOAD: &[u8] = br#""}"#;
const BEFORE_OFFSET: &[u8] = br#","offset":"#;

/// A payload for any number of topics, whose length as clients read it is measured once, when it is
/// first needed.
#[derive(Debug)]
pub struct Payload<'a> {
    bytes: &'a [u8],
    escaped_len: OnceCell<usize>,
}

impl<'a> Payload<'a> {
    /// Any bytes: each one that is not part of valid UTF-8 becomes U+FFFD.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, escaped_len: OnceCell::new() }
    }

    /// The bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    fn escaped_len(&self) -> usize {
        *self.escaped_len.get_or_init(|| json_string::escaped_len(self.bytes))
    }

    /// Bytes of the frame that [`Payload::encode`] makes for a topic, or why it refuses.
    pub fn frame_len(&self, topic: &str, bytes_max: usize) -> Result<usize, TooLarge> {
        checked(text_len(json_string::escaped_len(topic.as_bytes()), self.escaped_len()), bytes_max)
    }

    /// The whole text frame, `{"topic":"foo","payload":"hello"}`. A frame of more than `bytes_max`
    /// bytes, its header included, is refused before anything is allocated.
    pub fn encode(&self, topic: &str, bytes_max: usize) -> Result<Arc<[u8]>, TooLarge> {
        let (topic, payload_len) = (topic.as_bytes(), self.escaped_len());
        let topic_len = json_string::escaped_len(topic);
        let text_len = text_len(topic_len, payload_len);
        let bytes = checked(text_len, bytes_max)?;

        let mut out = Vec::with_capacity(bytes);
        frame::encode_header(&mut out, Opcode::Text, text_len);
        out.extend_from_slice(BEFORE_TOPIC);
        append(&mut out, topic, topic_len);
        out.extend_from_slice(BEFORE_PAYLOAD);
        append(&mut out, self.bytes, payload_len);
        out.extend_from_slice(AFTER_PAYLOAD);
        debug_assert_eq!(out.len(), bytes);
        Ok(out.into())
    }
}

/// As [`Payload::encode`], of a payload for one topic.
pub fn encode(topic: &str, payload: &[u8], bytes_max: usize) -> Result<Arc<[u8]>, TooLarge> {
    Payload::new(payload).encode(topic, bytes_max)
}

/// The frame with its offset, `{"topic":"foo","payload":"hello","offset":13}`, of a frame without.
pub fn at(frame: &[u8], offset: u64) -> Arc<[u8]> {
    let text = frame::payload(frame);
    let text = &text[..text.len() - 1];
    let digits = offset.to_string();
    let text_len = text.len() + BEFORE_OFFSET.len() + digits.len() + 1;
    let mut out = Vec::with_capacity(frame::header_len(text_len) + text_len);
    frame::encode_header(&mut out, Opcode::Text, text_len);
    out.extend_from_slice(text);
    out.extend_from_slice(BEFORE_OFFSET);
    out.extend_from_slice(digits.as_bytes());
    out.push(b'}');
    out.into()
}

/// Bytes that the frame of a publication whose topic and payload have `bytes` together cannot
/// exceed: a byte becomes six at most (`\u0001`).
pub fn bytes_bound(bytes: usize) -> usize {
    text_len(0, bytes.saturating_mul(6)).saturating_add(frame::HEADER_BYTES_MAX)
}

fn text_len(topic_len: usize, payload_len: usize) -> usize {
    const AROUND: usize = BEFORE_TOPIC.len() + BEFORE_PAYLOAD.len() + AFTER_PAYLOAD.len();
    payload_len.saturating_add(topic_len + AROUND)
}

/// The length of the whole frame.
fn checked(text_len: usize, bytes_max: usize) -> Result<usize, TooLarge> {
    let bytes = frame::header_len(text_len).saturating_add(text_len);
    if bytes > bytes_max { Err(TooLarge { bytes }) } else { Ok(bytes) }
}

fn append(out: &mut Vec<u8>, text: &[u8], escaped_len: usize) {
    if escaped_len == text.len() {
        // Every change makes text longer, so none is needed: the common case is one copy.
        out.extend_from_slice(text);
    } else {
        json_string::pieces(text, |piece| out.extend_from_slice(piece));
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    fn text(frame: &[u8]) -> &str {
        assert_eq!(frame[0], 0x81, "a whole text frame");
        assert_eq!(frame::frame_len(frame), frame.len());
        let header = match frame[1] {
            0..=125 => 2,
            126 => 4,
            _ => 10,
        };
        std::str::from_utf8(&frame[header..]).unwrap()
    }

    #[test]
    fn a_publication_reads_as_the_protocol_has_it() {
        let frame = encode("foo", b"hello, PHP", 1024).unwrap();
        assert_eq!(text(&frame), r#"{"topic":"foo","payload":"hello, PHP"}"#);
        assert_eq!(text(&encode("", b"", 1024).unwrap()), r#"{"topic":"","payload":""}"#);
    }

    #[test]
    fn a_frame_with_an_offset_is_that_without_one_and_the_offset() {
        for (length, offset) in [(0, 0), (5, 13), (90, 1), (100, u64::MAX), (65_500, 7)] {
            let payload = "x".repeat(length);
            let frame = at(&encode("foo", payload.as_bytes(), usize::MAX).unwrap(), offset);
            let expected = format!(r#"{{"topic":"foo","payload":"{payload}","offset":{offset}}}"#);
            assert_eq!(text(&frame), expected);
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_are_replaced_one_by_one() {
        let frame = encode("foo", b"a\xff\xe2\x82\"", 1024).unwrap();
        assert_eq!(
            text(&frame),
            "{\"topic\":\"foo\",\"payload\":\"a\u{FFFD}\u{FFFD}\u{FFFD}\\\"\"}"
        );
    }

    #[test]
    fn a_frame_over_the_bound_is_refused_with_its_size() {
        for length in [0, 10, 90, 130, 65_500, 70_000] {
            let payload = vec![b'\n'; length];
            let frame = encode("foo", &payload, usize::MAX).unwrap();
            assert_eq!(encode("foo", &payload, frame.len()).unwrap(), frame);
            assert_eq!(
                encode("foo", &payload, frame.len() - 1),
                Err(TooLarge { bytes: frame.len() })
            );
        }
    }

    #[test]
    fn random_publications_read_back_through_serde_json() {
        let seed = 0x5EED_0002;
        let mut rng = StdRng::seed_from_u64(seed);
        let mut random_text = |longest: usize| -> String {
            let characters = rng.random_range(0..=longest);
            (0..characters)
                .map(|_| {
                    if rng.random_bool(0.9) {
                        rng.random_range(' '..='~')
                    } else {
                        rng.random::<char>()
                    }
                })
                .collect()
        };
        for round in 0..1_000 {
            let (topic, payload) = (random_text(30), random_text(300));
            let frame = encode(&topic, payload.as_bytes(), usize::MAX).unwrap();
            let read: serde_json::Value = serde_json::from_str(text(&frame)).unwrap();
            let expected = serde_json::json!({ "topic": topic, "payload": payload });
            assert_eq!(read, expected, "seed {seed:#x} round {round}");
        }
    }
}
