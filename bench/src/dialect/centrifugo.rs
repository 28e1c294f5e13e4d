//! Centrifugo's JSON client protocol: commands and replies, several to a frame, a line each.

use anyhow::{Result, bail};

use super::{Dialect, Link, TopicName};
use crate::frame;

/// The dialect, with the number of the last command.
#[derive(Debug, Default)]
pub struct Centrifugo {
    id: u32,
    text: Vec<u8>,
}

impl Dialect for Centrifugo {
    fn path(&self) -> &'static str {
        "/connection/websocket"
    }

    fn join(&self, topic: &TopicName, out: &mut Vec<u8>) {
        let text = format!(
            "{{\"id\":1,\"connect\":{{}}}}\n{{\"id\":2,\"subscribe\":{{\"channel\":\"{}\"}}}}",
            topic.name
        );
        frame::encode_masked(out, frame::TEXT, text.as_bytes());
    }

    fn join_again(&self, topic: &TopicName, out: &mut Vec<u8>) {
        let text = format!(r#"{{"id":2,"subscribe":{{"channel":"{}"}}}}"#, topic.name);
        frame::encode_masked(out, frame::TEXT, text.as_bytes());
    }

    fn joined(&self, message: &[u8]) -> Option<bool> {
        let text = std::str::from_utf8(message).ok()?;
        if text.contains(r#""error""#) {
            return Some(false);
        }
        text.contains(r#""id":2"#).then_some(true)
    }

    fn leave(&self, topic: &TopicName, out: &mut Vec<u8>) {
        let text = format!(r#"{{"id":3,"unsubscribe":{{"channel":"{}"}}}}"#, topic.name);
        frame::encode_masked(out, frame::TEXT, text.as_bytes());
    }

    fn left(&self, message: &[u8]) -> bool {
        memchr::memmem::find(message, br#""id":3"#).is_some()
    }

    fn link(&self) -> Link {
        Link::WebSocket
    }

    fn greet(&self, out: &mut Vec<u8>) {
        frame::encode_masked(out, frame::TEXT, br#"{"id":1,"connect":{}}"#);
    }

    fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Vec<u8>) {
        // 1 is the greeting's.
        self.id = self.id.wrapping_add(1).max(2);
        self.text.clear();
        let head = format!(r#"{{"id":{},"publish":{{"channel":"{}","data":""#, self.id, topic.name);
        self.text.extend_from_slice(head.as_bytes());
        self.text.extend_from_slice(payload);
        self.text.extend_from_slice(br#""}}"#);
        frame::encode_masked(out, frame::TEXT, &self.text);
    }

    fn answers(&self) -> bool {
        true
    }

    fn read_answers(&mut self, bytes: &[u8]) -> Result<(usize, u64)> {
        let (mut read, mut answers) = (0, 0);
        while let frame::Head::Frame(frame) = frame::head(&bytes[read..]) {
            for line in frame.payload.split(|&byte| byte == b'\n') {
                if memchr::memmem::find(line, br#""error""#).is_some()
                    || frame.opcode == frame::CLOSE
                {
                    bail!("a publish was answered: {}", String::from_utf8_lossy(line));
                }
                answers += u64::from(memchr::memmem::find(line, br#""publish""#).is_some());
            }
            read += frame.bytes;
        }
        Ok((read, answers))
    }
}
