//! The smallest language that does the work: `J` and a topic joins, `P`, a topic, a line feed and a
//! payload publishes. Spoken by the native uWebSockets peer, and its joins by the floor.

use anyhow::Result;

use super::{Dialect, Link, TopicName};
use crate::frame;

fn letter(letter: u8, topic: &TopicName, out: &mut Vec<u8>) {
    let mut text = vec![letter];
    text.extend_from_slice(topic.name.as_bytes());
    frame::encode_masked(out, frame::TEXT, &text);
}

/// What answers a join.
pub const JOINED: &[u8] = b"@join";
/// What answers a leave.
pub const LEFT: &[u8] = b"@leave";

/// A publisher is a WebSocket client, and nothing answers it.
#[derive(Debug, Default)]
pub struct Letters {
    text: Vec<u8>,
}

impl Dialect for Letters {
    fn path(&self) -> &'static str {
        "/ws"
    }

    fn join(&self, topic: &TopicName, out: &mut Vec<u8>) {
        letter(b'J', topic, out);
    }

    fn joined(&self, message: &[u8]) -> Option<bool> {
        (message == JOINED).then_some(true)
    }

    fn leave(&self, topic: &TopicName, out: &mut Vec<u8>) {
        letter(b'L', topic, out);
    }

    fn left(&self, message: &[u8]) -> bool {
        message == LEFT
    }

    fn link(&self) -> Link {
        Link::WebSocket
    }

    fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Vec<u8>) {
        self.text.clear();
        self.text.push(b'P');
        self.text.extend_from_slice(topic.name.as_bytes());
        self.text.push(b'\n');
        self.text.extend_from_slice(payload);
        frame::encode_masked(out, frame::TEXT, &self.text);
    }

    fn answers(&self) -> bool {
        false
    }

    fn read_answers(&mut self, bytes: &[u8]) -> Result<(usize, u64)> {
        Ok((bytes.len(), 0))
    }
}

/// The floor: a publish is the topic's place and the frame to copy, ready made.
#[derive(Debug, Default)]
pub struct Floor {
    text: Vec<u8>,
}

impl Dialect for Floor {
    fn path(&self) -> &'static str {
        "/ws"
    }

    fn join(&self, topic: &TopicName, out: &mut Vec<u8>) {
        letter(b'J', topic, out);
    }

    fn joined(&self, message: &[u8]) -> Option<bool> {
        (message == JOINED).then_some(true)
    }

    fn leave(&self, topic: &TopicName, out: &mut Vec<u8>) {
        letter(b'L', topic, out);
    }

    fn left(&self, message: &[u8]) -> bool {
        message == LEFT
    }

    fn link(&self) -> Link {
        Link::Socket
    }

    fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Vec<u8>) {
        self.text.clear();
        self.text.extend_from_slice(br#"{"topic":""#);
        self.text.extend_from_slice(topic.name.as_bytes());
        self.text.extend_from_slice(br#"","payload":""#);
        self.text.extend_from_slice(payload);
        self.text.extend_from_slice(br#""}"#);
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&topic.index.to_le_bytes());
        frame::encode_plain(out, frame::TEXT, &self.text);
        let len = (out.len() - start - 8) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    }

    fn answers(&self) -> bool {
        false
    }

    fn read_answers(&mut self, bytes: &[u8]) -> Result<(usize, u64)> {
        Ok((bytes.len(), 0))
    }
}
