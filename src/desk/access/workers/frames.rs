//! The goridge frames between server and worker, byte for byte as RoadRunner has them. Pure: bytes
//! in, values out.
//!
//! ```text
//! to a worker      pid?      CONTROL JSON   {"pid":<ours>}
//!                  question  option [n]     n bytes of context, no body
//!                  stop      CONTROL JSON   {"stop":true}
//!                  pong      no payload     the bit PONG
//! from a worker    pid       CONTROL        {"pid":<its own>}
//!                  answer    option [n]     n bytes of context, a body
//!                  part      the same       the bit MORE: the body goes on in the next frame
//!                  restart   option [n]     {"stop":true} as context, no body
//!                  error     ERROR          a text
//! ```
//!
//! PHP's frames have no codec bit, and none is asked for.

use serde::Deserialize;

use crate::escape;
use crate::rpc::{Decoded, decode_frame, encode_frame, flag, stream};

/// One answer of a worker, all of its parts together. A page of a framework's debugger is below
/// 1 MiB.
pub const ANSWER_BYTES_MAX: usize = 4 << 20;
/// How much is shown of what a worker said instead of a frame, or in an ERROR frame.
const SHOWN_BYTES: usize = 1024;

const STOP: &[u8] = br#"{"stop":true}"#;

/// Asks a new worker who it is.
pub fn pid_request() -> Vec<u8> {
    let json = format!(r#"{{"pid":{}}}"#, std::process::id());
    frame(flag::CONTROL | flag::JSON, &[], json.as_bytes())
}

/// A question. PHP takes one without context for the order to end: there is none.
pub fn question(context: &[u8]) -> Vec<u8> {
    debug_assert!(!context.is_empty(), "an empty question ends a worker");
    // A context is as long as a request's head at most, several times over.
    frame(0, &[context.len() as u32], context)
}

/// Has a worker end, once it has answered.
pub fn stop() -> Vec<u8> {
    frame(flag::CONTROL | flag::JSON, &[], STOP)
}

/// The answer to a part that asked whether anyone listens.
pub fn pong() -> Vec<u8> {
    let mut pong = frame(0, &[], b"");
    pong[10] = stream::PONG;
    pong
}

fn frame(flags: u8, options: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    encode_frame(&mut frame, flags, options, &[payload]);
    frame
}

/// What a worker has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// Its process id, over 0.
    Pid(u32),
    /// An answer, its parts joined.
    Answer {
        /// JSON.
        context: Vec<u8>,
        /// What follows it.
        body: Vec<u8>,
    },
    /// It wants to be replaced.
    Stop,
    /// It could not answer.
    Error(String),
    /// A part of an answer that wants a [`pong`].
    Ping,
}

/// What a worker said is none of that. Its bytes cannot be trusted any further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Garbled {
    /// Not a frame: text, most likely. What it begins with stands behind it in the log.
    #[error("stdout carries goridge frames alone, but it said: {0}")]
    Noise(String),
    /// Over [`ANSWER_BYTES_MAX`].
    #[error("an answer of over {} MiB", ANSWER_BYTES_MAX >> 20)]
    TooLong,
    /// The length of the context is missing, or more than there is.
    #[error("a frame with {options} options and {bytes} bytes, whose context does not fit")]
    Context {
        /// Options of the frame; one is right.
        options: usize,
        /// Bytes of its payload.
        bytes: usize,
    },
    /// A CONTROL frame that says neither `pid` nor `stop`.
    #[error("an unknown control frame: {0}")]
    Control(String),
}

/// Takes in what a worker writes, and tells what it says.
#[derive(Debug, Default)]
pub struct Ear {
    /// What has come and was not told yet.
    heard: Vec<u8>,
    /// The context and the body of an answer of which more is to come.
    parts: Option<(Vec<u8>, Vec<u8>)>,
}

impl Ear {
    /// Takes in bytes, however they are cut.
    pub fn hear(&mut self, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }

    /// Whether everything that has come has been told.
    pub fn is_empty(&self) -> bool {
        self.heard.is_empty() && self.parts.is_none()
    }

    /// The next that was said; `None`: more bytes are needed. After an error there is nothing more
    /// to be had.
    pub fn next_said(&mut self) -> Result<Option<Said>, Garbled> {
        loop {
            let (said, bytes) = match decode_frame(&self.heard, ANSWER_BYTES_MAX) {
                Ok(Decoded::Partial { .. }) => return Ok(None),
                Ok(Decoded::Whole { value, bytes }) => (understood(value, &mut self.parts)?, bytes),
                Err(crate::rpc::FrameError::TooLong { .. }) => return Err(Garbled::TooLong),
                Err(_) => return Err(Garbled::Noise(self.text())),
            };
            self.heard.drain(..bytes);
            if said.is_some() {
                return Ok(said);
            }
        }
    }

    /// What has come and is no frame, as a part of one line: for the log.
    pub fn text(&self) -> String {
        shown(&self.heard)
    }
}

/// What a frame says; `None`: a part of an answer.
fn understood(
    frame: crate::rpc::Frame<'_>,
    parts: &mut Option<(Vec<u8>, Vec<u8>)>,
) -> Result<Option<Said>, Garbled> {
    let payload = frame.payload;
    if frame.flags & flag::ERROR != 0 {
        return Ok(Some(Said::Error(shown(payload))));
    }
    if frame.flags & flag::CONTROL != 0 {
        return match serde_json::from_slice(payload) {
            Ok(Control { pid: Some(pid @ 1..), .. }) => Ok(Some(Said::Pid(pid))),
            Ok(Control { stop: true, .. }) => Ok(Some(Said::Stop)),
            _ => Err(Garbled::Control(shown(payload))),
        };
    }
    let mut options = frame.options();
    let split = options.next().filter(|_| options.len() == 0);
    let Some((context, body)) = split.and_then(|at| payload.split_at_checked(at as usize)) else {
        let options = frame.options().len();
        return Err(Garbled::Context { options, bytes: payload.len() });
    };
    let (more, ping) = (frame.stream & stream::MORE != 0, frame.stream & stream::PING != 0);
    if context == STOP && body.is_empty() && parts.is_none() && !more {
        return Ok(Some(Said::Stop));
    }
    // Only the first part has a context.
    let (context, body) = match parts.take() {
        None => (context.to_vec(), body.to_vec()),
        Some((first, mut joined)) => {
            joined.extend_from_slice(body);
            (first, joined)
        }
    };
    if context.len() + body.len() > ANSWER_BYTES_MAX {
        return Err(Garbled::TooLong);
    }
    if more {
        *parts = Some((context, body));
        return Ok(ping.then_some(Said::Ping));
    }
    Ok(Some(Said::Answer { context, body }))
}

#[derive(Deserialize)]
struct Control {
    #[serde(default)]
    pid: Option<u32>,
    #[serde(default)]
    stop: bool,
}

/// The beginning of what a worker said, as a part of one line.
pub(super) fn shown(bytes: &[u8]) -> String {
    let beginning = &bytes[..bytes.len().min(SHOWN_BYTES)];
    let text = String::from_utf8_lossy(beginning);
    let more = if bytes.len() > SHOWN_BYTES { " …" } else { "" };
    format!("{}{more}", escape::line(text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        hex.split_whitespace().map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
    }

    fn all(chunks: &[&[u8]]) -> Vec<Result<Said, Garbled>> {
        let (mut ear, mut all) = (Ear::default(), Vec::new());
        for chunk in chunks {
            ear.hear(chunk);
            loop {
                match ear.next_said() {
                    Ok(None) => break,
                    Ok(Some(said)) => all.push(Ok(said)),
                    Err(garbled) => {
                        all.push(Err(garbled));
                        return all;
                    }
                }
            }
        }
        all
    }

    fn part(bits: u8, context: &str, body: &str) -> Vec<u8> {
        let mut frame =
            frame(0, &[context.len() as u32], &[context.as_bytes(), body.as_bytes()].concat());
        frame[10] = bits;
        frame
    }

    /// As recorded: spiral/goridge 3 and 4, RoadRunner 2.3 to 2.11.
    #[test]
    fn frames_are_byte_for_byte_those_of_roadrunner_and_php() {
        let of = |flags, payload: &[u8]| frame(flags, &[], payload);
        let header = |frame: &[u8], header: &str| {
            assert_eq!(frame[..bytes(header).len()], bytes(header), "{header}");
        };
        header(&of(0x09, br#"{"pid":1234}"#), "13 09 0c 00 00 00 5f 0c 46 73 00 00");
        assert!(pid_request().starts_with(&[0x13, 0x09]));
        assert!(pid_request().ends_with(format!("{{\"pid\":{}}}", std::process::id()).as_bytes()));
        header(&stop(), "13 09 0d 00 00 00 3a 6b fa cb 00 00");
        assert_eq!(stop()[12..], *STOP);
        let answer = br#"{"status":200,"headers":{}}"#;
        header(&question(answer), "14 00 1b 00 00 00 b0 31 9d ae 00 00 1b 00 00 00");
        assert_eq!(question(answer)[16..], *answer);
        let pong = pong();
        assert_eq!((pong.len(), pong[0], pong[10]), (12, 0x13, 8));

        let pid = [&bytes("13 01 0c 00 00 00 9e 47 36 43 00 00")[..], br#"{"pid":5678}"#].concat();
        assert_eq!(all(&[&pid]), [Ok(Said::Pid(5678))]);
        let boom = [&bytes("13 40 04 00 00 00 88 1e 11 e3 00 00")[..], b"boom"].concat();
        assert_eq!(all(&[&boom]), [Ok(Said::Error("boom".into()))]);
        let restart =
            [&bytes("14 00 0d 00 00 00 f3 39 ef db 00 00 0d 00 00 00")[..], STOP].concat();
        assert_eq!(all(&[&restart]), [Ok(Said::Stop)]);
        let body = [&question(answer)[..2], &bytes("1d 00 00 00 ")[..]].concat();
        assert_eq!(body.len(), 6);
        let answer_and_body = part(0, r#"{"status":403}"#, "no");
        let expected = Said::Answer { context: br#"{"status":403}"#.into(), body: b"no".into() };
        assert_eq!(all(&[&answer_and_body]), [Ok(expected)]);
    }

    #[test]
    fn what_is_said_does_not_depend_on_how_it_is_cut() {
        let said = [part(0, "{}", "a"), frame(flag::ERROR, &[], b"b"), part(1, "{}", "c")].concat();
        let said = [said, part(0, "", "d"), b"noise".to_vec()].concat();
        let whole = all(&[&said]);
        assert_eq!(whole.len(), 4);
        for split in 0..said.len() {
            let (a, b) = said.split_at(split);
            let cut = all(&[a, b]);
            assert_eq!(cut[..3], whole[..3], "{split}");
            assert!(matches!(cut[3], Err(Garbled::Noise(_))), "{split}");
        }
    }

    #[test]
    fn the_parts_of_an_answer_are_joined_and_pings_told() {
        let parts = [part(1, "{}", "a"), part(5, "", "b"), part(1, "", ""), part(0, "", "c")];
        let expected = Said::Answer { context: b"{}".into(), body: b"abc".into() };
        assert_eq!(all(&[&parts.concat()]), [Ok(Said::Ping), Ok(expected)]);
        let joined = part(1, "{}", &"x".repeat(ANSWER_BYTES_MAX / 3));
        assert_eq!(all(&[&joined, &joined, &joined, &joined]), [Err(Garbled::TooLong)]);
    }

    #[test]
    fn what_is_no_frame_is_told_with_its_text() {
        let noise = all(&[b"Could not open input file: worker.php\n"]);
        let Err(Garbled::Noise(text)) = &noise[0] else { panic!("{noise:?}") };
        assert_eq!(text, "Could not open input file: worker.php");
        let hostile = all(&["\nPHP Warning:\x1b[2J\u{202e} ".as_bytes(), &[b'x'; 5000]]);
        let Err(Garbled::Noise(text)) = &hostile[0] else { panic!("{hostile:?}") };
        assert!(!text.contains(escape::dangerous), "{text}");
        let long = shown(&[b'x'; 5000]);
        assert!(long.len() < SHOWN_BYTES + 10 && long.ends_with(" …"), "{long}");
    }

    #[test]
    fn a_frame_whose_context_does_not_fit_is_none() {
        for (options, payload) in [(&[][..], &b""[..]), (&[1, 1], b"abc"), (&[4], b"abc")] {
            let expected = Garbled::Context { options: options.len(), bytes: payload.len() };
            assert_eq!(all(&[&frame(0, options, payload)]), [Err(expected)]);
        }
        let control = |json: &str| all(&[&frame(flag::CONTROL, &[], json.as_bytes())]).remove(0);
        for json in
            ["", "{}", r#"{"pid":0}"#, r#"{"pid":-1}"#, r#"{"pid":"7"}"#, "[]", r#"{"stop":false}"#]
        {
            assert_eq!(control(json), Err(Garbled::Control(json.to_owned())));
        }
        assert_eq!(control(r#"{"stop":true}"#), Ok(Said::Stop));
        let huge = [0x14, 0, 0xff, 0xff, 0xff, 0xff];
        let huge = [&huge[..], &crc32fast::hash(&huge).to_le_bytes(), &[0; 2]].concat();
        assert_eq!(all(&[&huge]), [Err(Garbled::TooLong)], "from its header alone");
    }
}
