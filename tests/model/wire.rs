//! Both directions of the wire as a client sees them, written apart from the server's codecs.

use roadcast::lane::Wake;
use roadcast::ws::frame::Opcode;

/// Whether a wake-up has been signalled since it was last asked.
pub fn is_signalled(wake: &Wake) -> bool {
    rustix::io::read(wake, &mut [0; 8]).is_ok()
}

/// The request of a browser.
pub fn upgrade_request(path: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

/// A whole masked frame.
pub fn masked(opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    fragment(true, opcode, payload)
}

/// A masked fragment of a message.
pub fn fragment(last: bool, opcode: Opcode, payload: &[u8]) -> Vec<u8> {
    const KEY: [u8; 4] = [0x12, 0x00, 0xAB, 0xFF];
    let mut out = vec![u8::from(last) << 7 | opcode as u8];
    match payload.len() {
        length @ 0..=125 => out.push(0x80 | length as u8),
        length @ 126..=0xFFFF => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    out.extend_from_slice(&KEY);
    out.extend(payload.iter().enumerate().map(|(place, byte)| byte ^ KEY[place % 4]));
    out
}

/// The JSON of a command.
pub fn command(name: &str, broker: &str, topics: &[impl AsRef<str>]) -> String {
    let topics: Vec<&str> = topics.iter().map(AsRef::as_ref).collect();
    serde_json::json!({ "command": name, "broker": broker, "topics": topics }).to_string()
}

/// The JSON of a join with further fields.
pub fn join_with(broker: &str, topics: &[impl AsRef<str>], fields: &serde_json::Value) -> String {
    let mut join: serde_json::Value =
        serde_json::from_str(&command("join", broker, topics)).expect("JSON");
    join.as_object_mut()
        .expect("an object")
        .extend(fields.as_object().cloned().unwrap_or_default());
    join.to_string()
}

/// The reply that a client reads.
pub fn reply(topic: &str, topics: &[impl AsRef<str>]) -> String {
    let topics: Vec<String> = topics.iter().map(|topic| format!("{:?}", topic.as_ref())).collect();
    format!("{{\"topic\":\"{topic}\",\"payload\":[{}]}}", topics.join(","))
}

/// What is at the front of a server's stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub opcode: Opcode,
    /// Where the payload begins and the frame ends.
    pub payload: usize,
    pub end: usize,
}

/// The frame at the front of `bytes`, if it has arrived whole. A server's frames are whole
/// messages, unmasked, their length in the shortest form.
pub fn front(bytes: &[u8]) -> Option<Frame> {
    let (&first, &second) = (bytes.first()?, bytes.get(1)?);
    assert_eq!(first & 0xF0, 0x80, "one whole message, no reserved bits: {first:#x}");
    assert_eq!(second & 0x80, 0, "a server does not mask");
    let opcode = Opcode::of(first).expect("a known opcode");
    assert_ne!(opcode, Opcode::Continuation);
    let (payload, length) = match second {
        126 => {
            let length = usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?));
            assert!(length > 125, "the shortest form");
            (4, length)
        }
        127 => {
            let length = u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?) as usize;
            assert!(length > 0xFFFF, "the shortest form");
            (10, length)
        }
        length => (2, usize::from(length)),
    };
    assert!(length <= 125 || !opcode.is_control(), "control frames are short");
    let end = payload + length;
    (bytes.len() >= end).then_some(Frame { opcode, payload, end })
}

/// All frames of a stream, which must end with a whole one.
pub fn frames(mut stream: &[u8]) -> Vec<(Opcode, Vec<u8>)> {
    let mut frames = Vec::new();
    while !stream.is_empty() {
        let frame = front(stream).expect("the stream ends with a whole frame");
        frames.push((frame.opcode, stream[frame.payload..frame.end].to_vec()));
        stream = &stream[frame.end..];
    }
    frames
}

/// The message that a subscriber gets.
pub fn publication(topic: &str, payload: &str) -> String {
    format!("{{\"topic\":\"{topic}\",\"payload\":\"{payload}\"}}")
}
