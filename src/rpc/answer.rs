//! Answers, and the caller's side: calls out, answers in.

use super::call::Call;
use super::error::ECHO_BYTES_MAX;
use super::frame::{self, Decoded, FrameError, flag};
use super::layout::{Layout, MESSAGES};
use super::rewrite::field;
use super::{Codec, proto, shortened};

/// Bytes of an error text, at most.
const ERROR_BYTES_MAX: usize = 4 * ECHO_BYTES_MAX;

pub(super) fn encode(out: &mut Vec<u8>, call: &Call<'_>, flags: u8, body: &[u8]) {
    // A name past this bound belongs to no method; the sequence is what pairs an answer with its
    // call.
    let method = &call.method[..call.method.len().min(ECHO_BYTES_MAX)];
    let flags = flags | call.codec.map_or(0, Codec::flag);
    frame::encode(out, flags, &[call.sequence, method.len() as u32], &[method, body]);
}

/// Appends the answer `ok` to a call, in the call's codec.
pub fn encode_ok(out: &mut Vec<u8>, call: &Call<'_>, ok: bool) {
    // Go's JSON and protobuf leave out what is empty.
    let body: &[u8] = match (call.codec, ok) {
        (Some(Codec::Json), true) => br#"{"ok":true}"#,
        (Some(Codec::Json), false) => b"{}",
        (Some(Codec::Msgpack), true) => b"\x81\xa2Ok\xc3",
        (Some(Codec::Msgpack), false) => b"\x81\xa2Ok\xc2",
        (_, true) => b"\x08\x01",
        (_, false) => b"",
    };
    encode(out, call, 0, body);
}

/// Appends an error answer to a call. A text over 4 KiB is cut.
pub fn encode_error(out: &mut Vec<u8>, call: &Call<'_>, text: &str) {
    encode(out, call, flag::ERROR, shortened(text, ERROR_BYTES_MAX).as_bytes());
}

/// Appends a call. Panics when name and body reach 4 GiB.
pub fn encode_call(out: &mut Vec<u8>, sequence: u32, method: &str, codec: Codec, body: &[u8]) {
    let length = u32::try_from(method.len()).expect("a method name is shorter than 4 GiB");
    frame::encode(out, codec.flag(), &[sequence, length], &[method.as_bytes(), body]);
}

/// The body of a `broadcast.Publish` call in PROTO: one message, its payload for each of the
/// topics.
pub fn publish_body<'a>(topics: impl IntoIterator<Item = &'a str>, payload: &[u8]) -> Vec<u8> {
    let (layout, mut message, mut body) = (Layout::Broadcast, Vec::new(), Vec::new());
    for topic in topics {
        field(&mut message, layout.topics(), topic.as_bytes());
    }
    if !payload.is_empty() {
        field(&mut message, layout.payload(), payload);
    }
    field(&mut body, MESSAGES, &message);
    body
}

/// An answer in place, as the caller reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The number of the call that it answers.
    pub sequence: u32,
    /// The method called.
    pub method: &'a [u8],
    /// How the body is encoded, if the flags say so.
    pub codec: Option<Codec>,
    /// Whether the body is an error text.
    pub error: bool,
    /// What follows the method's name.
    pub body: &'a [u8],
}

/// Decodes the answer at the beginning of a buffer.
pub fn decode_answer(
    buffer: &[u8],
    frame_bytes_max: usize,
) -> Result<Decoded<Answer<'_>>, FrameError> {
    let (frame, bytes) = match frame::decode(buffer, frame_bytes_max)? {
        Decoded::Whole { value, bytes } => (value, bytes),
        Decoded::Partial { bytes } => return Ok(Decoded::Partial { bytes }),
    };
    // A call and an answer differ in their flags and bodies only.
    let Decoded::Whole { value: call, .. } = super::decode(buffer, frame_bytes_max)? else {
        return Ok(Decoded::Partial { bytes });
    };
    let error = frame.flags & flag::ERROR != 0;
    let value = Answer {
        sequence: call.sequence,
        method: call.method,
        codec: call.codec,
        error,
        body: call.body,
    };
    Ok(Decoded::Whole { value, bytes })
}

impl Answer<'_> {
    /// What a publish call came to: whether it is ok, or the server's error text, or why the body
    /// cannot be read. Reads PROTO and RAW bodies, those of the calls that [`publish_body`] makes.
    pub fn ok(&self) -> Result<bool, String> {
        use prost::Message as _;
        if self.error {
            return Err(String::from_utf8_lossy(self.body).into_owned());
        }
        proto::broadcast::Response::decode(self.body)
            .map(|response| response.ok)
            .map_err(|error| format!("unreadable answer: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn call(codec: Option<Codec>) -> Call<'static> {
        Call { sequence: 0x01020304, method: b"broadcast.Publish", codec, body: &[] }
    }

    fn answer(encode: impl FnOnce(&mut Vec<u8>)) -> (u8, Vec<u8>) {
        let mut out = Vec::new();
        encode(&mut out);
        let Ok(Decoded::Whole { value, bytes }) = decode_answer(&out, 1 << 16) else { panic!() };
        assert_eq!(
            (value.sequence, value.method, bytes),
            (0x01020304, &b"broadcast.Publish"[..], out.len())
        );
        (out[1], value.body.to_vec())
    }

    #[test]
    fn the_answer_is_in_the_codec_of_the_call() {
        for (codec, yes, no) in [
            (Codec::Proto, &b"\x08\x01"[..], &b""[..]),
            (Codec::Raw, b"\x08\x01", b""),
            (Codec::Json, br#"{"ok":true}"#, b"{}"),
            (Codec::Msgpack, b"\x81\xa2Ok\xc3", b"\x81\xa2Ok\xc2"),
        ] {
            assert_eq!(
                answer(|out| encode_ok(out, &call(Some(codec)), true)),
                (codec.flag(), yes.to_vec())
            );
            assert_eq!(
                answer(|out| encode_ok(out, &call(Some(codec)), false)),
                (codec.flag(), no.to_vec())
            );
        }
    }

    #[test]
    fn an_error_answer_repeats_the_codec_of_the_call_even_one_not_served() {
        for codec in [Some(Codec::Proto), Some(Codec::Gob), None] {
            let (flags, body) = answer(|out| encode_error(out, &call(codec), "no"));
            assert_eq!(
                (flags, &body[..]),
                (flag::ERROR | codec.map_or(0, Codec::flag), &b"no"[..])
            );
        }
    }

    #[test]
    fn an_endless_method_name_or_text_is_not_echoed() {
        let mut out = Vec::new();
        let name = vec![b'x'; 1 << 20];
        encode_error(&mut out, &Call { method: &name, ..call(None) }, &"y".repeat(1 << 20));
        assert!(out.len() < 8192);
        assert!(matches!(decode_answer(&out, 1 << 16), Ok(Decoded::Whole { .. })));
    }

    #[test]
    fn the_body_written_by_hand_is_that_of_the_generated_types() {
        let topics = ["foo".to_string(), "".into(), "x".repeat(300)];
        for payload in [&b""[..], b"hello"] {
            let message = proto::broadcast::Message {
                topics: topics.to_vec(),
                payload: payload.into(),
                ..Default::default()
            };
            let body = publish_body(topics.iter().map(String::as_str), payload);
            assert_eq!(body, proto::broadcast::Request { messages: vec![message] }.encode_to_vec());
        }
    }

    #[test]
    fn the_caller_reads_ok_error_and_nonsense() {
        let read = |error, body: &'static [u8]| {
            Answer { sequence: 1, method: b"", codec: Some(Codec::Proto), error, body }.ok()
        };
        assert_eq!(read(false, b"\x08\x01"), Ok(true));
        assert_eq!(read(false, b""), Ok(false));
        assert_eq!(read(true, b"broken"), Err("broken".into()));
        assert!(read(false, b"\xff").is_err());
    }
}
