//! A publisher on the RPC socket: goridge frames and protobuf messages written by hand.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use super::PATIENCE;

/// Codec flags of a goridge frame (byte 1).
pub const RAW: u8 = 0x04;
/// JSON bodies.
pub const JSON: u8 = 0x08;
/// MessagePack bodies.
pub const MSGPACK: u8 = 0x10;
/// Go's gob, which is not served.
pub const GOB: u8 = 0x20;
/// Set in an answer whose body is an error text.
pub const ERROR: u8 = 0x40;
/// Protobuf bodies.
pub const PROTO: u8 = 0x80;

/// An answer to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Sequence id of the call.
    pub sequence: u32,
    /// Method of the call.
    pub method: String,
    /// Codec and error flags.
    pub flags: u8,
    /// Body, or the error's text.
    pub body: Vec<u8>,
}

impl Answer {
    /// The text of an error answer.
    pub fn error(&self) -> &str {
        assert!(self.flags & ERROR != 0, "not an error: {self:?}");
        std::str::from_utf8(&self.body).expect("an error is text")
    }

    /// Whether it is the protobuf `ok: true`.
    pub fn is_ok(&self) -> bool {
        self.flags == PROTO && self.body == [0x08, 0x01]
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// One RPC connection.
pub struct Publisher {
    stream: Box<dyn Stream>,
    sequence: u32,
}

impl Publisher {
    /// Connects to an address as the server prints it.
    pub fn connect(address: &str) -> Self {
        let stream: Box<dyn Stream> = if let Some(path) = address.strip_prefix("unix://") {
            let stream = UnixStream::connect(path).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
            Box::new(stream)
        } else {
            let host = address
                .strip_prefix("tcp://")
                .unwrap_or_else(|| panic!("tcp:// or unix:// in {address}"));
            let stream = TcpStream::connect(host).expect("the server listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
            stream.set_nodelay(true).expect("no delay");
            Box::new(stream)
        };
        Self { stream, sequence: 0 }
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Sends a call and returns its sequence id.
    pub fn call(&mut self, method: &str, codec: u8, body: &[u8]) -> io::Result<u32> {
        self.sequence += 1;
        let payload = [method.as_bytes(), body].concat();
        self.send(&frame(codec, &[self.sequence, method.len() as u32], &payload))?;
        Ok(self.sequence)
    }

    /// Reads an answer; an error once the server has closed the connection.
    pub fn answer(&mut self) -> io::Result<Answer> {
        let mut head = [0; 12];
        self.stream.read_exact(&mut head)?;
        assert_eq!(head[0] >> 4, 1, "version of {head:?}");
        assert_eq!(head[6..10], crc32fast::hash(&head[..6]).to_le_bytes(), "checksum of {head:?}");
        assert_eq!(head[0] & 15, 5, "an answer has two options: {head:?}");
        let mut rest = vec![0; 8 + u32::from_le_bytes(head[2..6].try_into().unwrap()) as usize];
        self.stream.read_exact(&mut rest)?;
        let sequence = u32::from_le_bytes(rest[..4].try_into().unwrap());
        let method_end = 8 + u32::from_le_bytes(rest[4..8].try_into().unwrap()) as usize;
        let method = String::from_utf8(rest[8..method_end].to_vec()).expect("a method is text");
        Ok(Answer { sequence, method, flags: head[1], body: rest[method_end..].to_vec() })
    }

    /// Calls and returns the answer to it.
    pub fn ask(&mut self, method: &str, codec: u8, body: &[u8]) -> Answer {
        let sequence = self.call(method, codec, body).expect("the server reads");
        let answer = self.answer().expect("the server answers");
        assert_eq!((answer.sequence, answer.method.as_str()), (sequence, method));
        answer
    }

    /// Publishes one message and expects ok.
    pub fn publish(&mut self, topics: &[&str], payload: &[u8]) {
        let answer = self.ask("broadcast.Publish", PROTO, &messages(&[(topics, payload)]));
        assert!(answer.is_ok(), "{answer:?} {}", String::from_utf8_lossy(&answer.body));
    }

    /// Publishes all of `calls` (topic, payload), with up to `window` calls in flight, and expects
    /// ok for each.
    pub fn publish_all(
        &mut self,
        window: usize,
        calls: impl IntoIterator<Item = (String, Vec<u8>)>,
    ) {
        let mut open: HashMap<u32, ()> = HashMap::new();
        let settle = |publisher: &mut Self, open: &mut HashMap<u32, ()>| {
            let answer = publisher.answer().expect("the server answers");
            assert!(answer.is_ok(), "{answer:?} {}", String::from_utf8_lossy(&answer.body));
            open.remove(&answer.sequence).expect("an answer to a call in flight");
        };
        for (topic, payload) in calls {
            if open.len() == window {
                settle(self, &mut open);
            }
            let body = messages(&[(&[&topic], &payload)]);
            open.insert(
                self.call("broadcast.Publish", PROTO, &body).expect("the server reads"),
                (),
            );
        }
        while !open.is_empty() {
            settle(self, &mut open);
        }
    }

    /// Waits for the server to close the connection; answers before it are returned.
    pub fn expect_closed(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        loop {
            match self.answer() {
                Ok(answer) => answers.push(answer),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    panic!("the server keeps the connection open for {PATIENCE:?}")
                }
                Err(_) => return answers,
            }
        }
    }
}

/// A goridge frame of version 1 with its options.
pub fn frame(flags: u8, options: &[u32], payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x10 | (3 + options.len() as u8), flags];
    bytes.extend((payload.len() as u32).to_le_bytes());
    bytes.extend(crc32fast::hash(&bytes).to_le_bytes());
    bytes.extend([0, 0]);
    for option in options {
        bytes.extend(option.to_le_bytes());
    }
    bytes.extend(payload);
    bytes
}

/// A protobuf request of the `broadcast` layout: topics and payload of each message.
pub fn messages(messages: &[(&[&str], &[u8])]) -> Vec<u8> {
    let mut request = Vec::new();
    for (topics, payload) in messages {
        let mut message = Vec::new();
        for topic in *topics {
            field(&mut message, 2, topic.as_bytes());
        }
        field(&mut message, 3, payload);
        field(&mut request, 1, &message);
    }
    request
}

/// A length-delimited protobuf field.
pub fn field(bytes: &mut Vec<u8>, number: u8, content: &[u8]) {
    bytes.push(number << 3 | 2);
    let mut length = content.len();
    while length > 127 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes.extend(content);
}
