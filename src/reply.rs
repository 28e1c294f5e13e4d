//! Replies: what a client reads in answer to its own commands.

use crate::json_string;
use crate::position::Position;
use crate::ws::frame::{self, Opcode};

/// Which answer to a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// The join is done: every later publication of these topics follows.
    Joined,
    /// The join is refused: none of these topics is joined by it.
    JoinRefused,
    /// The leave is done: no publication of these topics follows.
    Left,
    /// No answer, but for clients that asked for it: publications of these topics may be missing
    /// between what the client has read and what follows.
    Gap,
}

/// What the answer to a join says of one topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Positions {
    /// Of its last publication so far; `None`: nothing is kept of it.
    pub position: Option<Position>,
    /// Whether all that the client has missed follows, where it had read something.
    pub recovered: Option<bool>,
}

impl Reply {
    fn topic(self) -> &'static str {
        match self {
            Self::Joined => "@join",
            Self::JoinRefused => "#join",
            Self::Left => "@leave",
            Self::Gap => "@gap",
        }
    }
}

/// Appends the answer to a token: `{"topic":"@token","payload":[]}`, or `#token` if it is refused.
pub fn encode_token(out: &mut Vec<u8>, good: bool) {
    let payload: &[u8] = match good {
        true => br#"{"topic":"@token","payload":[]}"#,
        false => br##"{"topic":"#token","payload":[]}"##,
    };
    frame::encode(out, Opcode::Text, payload);
}

/// Appends a whole text frame, `{"topic":"@join","payload":["foo","foo2"]}`: the topics as asked,
/// in their order. `None` is a command that named no list, and reads `null`.
pub fn encode(out: &mut Vec<u8>, reply: Reply, topics: Option<&[impl AsRef<str>]>) {
    let (head, payload_len) = (head(reply), payload_len(reply, topics));
    out.reserve(frame::header_len(payload_len) + payload_len);
    frame::encode_header(out, Opcode::Text, payload_len);
    let start = out.len();
    head.iter().for_each(|part| out.extend_from_slice(part));
    match topics {
        None => out.extend_from_slice(b"null"),
        Some(topics) => encode_list(out, topics),
    }
    out.push(b'}');
    debug_assert_eq!(out.len() - start, payload_len);
}

/// Bytes of what [`encode`] appends.
pub fn encoded_len(reply: Reply, topics: Option<&[impl AsRef<str>]>) -> usize {
    let payload_len = payload_len(reply, topics);
    frame::header_len(payload_len) + payload_len
}

fn head(reply: Reply) -> [&'static [u8]; 3] {
    [r#"{"topic":""#, reply.topic(), r#"","payload":"#].map(str::as_bytes)
}

fn payload_len(reply: Reply, topics: Option<&[impl AsRef<str>]>) -> usize {
    let list = topics.map_or("null".len(), |topics| {
        let names: usize = topics
            .iter()
            .map(|topic| json_string::escaped_len(topic.as_ref().as_bytes()) + 2)
            .sum();
        names + topics.len().saturating_sub(1) + 2
    });
    head(reply).iter().map(|part| part.len()).sum::<usize>() + list + 1
}

/// The answer to a join whose client counts what it reads, of that without:
/// `{"topic":"@join","payload":["a"],"positions":{"a":{"offset":12,"epoch":"k3x"}},
/// "recovered":{"a":true}}`.
pub fn with_positions<'a>(joined: &[u8], topics: &[(&'a str, &'a Positions)]) -> Vec<u8> {
    let payload = frame::payload(joined);
    let mut text = payload[..payload.len() - 1].to_vec();
    let positions = topics.iter().filter_map(|(name, of)| Some((*name, of.position?)));
    object(&mut text, "positions", positions, |text, position: Position| {
        let Position { offset, epoch } = position;
        text.extend_from_slice(format!(r#"{{"offset":{offset},"epoch":"{epoch}"}}"#).as_bytes());
    });
    let recovered = topics.iter().filter_map(|(name, of)| Some((*name, of.recovered?)));
    if recovered.clone().next().is_some() {
        object(&mut text, "recovered", recovered, |text, recovered: bool| {
            text.extend_from_slice(recovered.to_string().as_bytes());
        });
    }
    text.push(b'}');
    let mut out = Vec::with_capacity(frame::HEADER_BYTES_MAX + text.len());
    frame::encode(&mut out, Opcode::Text, &text);
    out
}

/// Appends `,"name":{"topic":value}`.
fn object<'a, T>(
    out: &mut Vec<u8>,
    name: &str,
    fields: impl Iterator<Item = (&'a str, T)>,
    value: impl Fn(&mut Vec<u8>, T),
) {
    out.extend_from_slice(format!(r#","{name}":{{"#).as_bytes());
    for (index, (topic, field)) in fields.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        json_string::pieces(topic.as_bytes(), |piece| out.extend_from_slice(piece));
        out.extend_from_slice(b"\":");
        value(out, field);
    }
    out.push(b'}');
}

/// Makes an answer that was encoded as [`Reply::Joined`] one that is [`Reply::JoinRefused`]: they
/// differ in one byte.
pub fn refuse(joined: &mut [u8]) {
    let name = Reply::Joined.topic().as_bytes();
    if let Some(at) = joined.windows(name.len()).position(|window| window == name) {
        joined[at] = b'#';
    }
}

fn encode_list(out: &mut Vec<u8>, topics: &[impl AsRef<str>]) {
    out.push(b'[');
    for (index, topic) in topics.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.push(b'"');
        json_string::pieces(topic.as_ref().as_bytes(), |piece| out.extend_from_slice(piece));
        out.push(b'"');
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::Epoch;

    fn payload<'a>(reply: Reply, topics: impl Into<Option<&'a [&'a str]>>) -> String {
        let mut out = b"before".to_vec();
        let topics = topics.into();
        encode(&mut out, reply, topics);
        let frame = &out[6..];
        assert_eq!(encoded_len(reply, topics), frame.len());
        assert_eq!(frame[0], 0x81, "a whole text frame");
        assert_eq!(frame::frame_len(frame), frame.len());
        let header = match frame[1] {
            0..=125 => 2,
            126 => 4,
            _ => 10,
        };
        String::from_utf8(frame[header..].to_vec()).unwrap()
    }

    #[test]
    fn a_join_that_is_refused_late_reads_as_one_that_is_refused_at_once() {
        for topics in [&["foo"][..], &["@join", "x"], &[]] {
            let (mut late, mut at_once) = (Vec::new(), Vec::new());
            encode(&mut late, Reply::Joined, Some(topics));
            encode(&mut at_once, Reply::JoinRefused, Some(topics));
            refuse(&mut late);
            assert_eq!(late, at_once);
        }
    }

    #[test]
    fn replies_read_as_the_protocol_has_them() {
        let topics = &["foo", "foo2"][..];
        assert_eq!(payload(Reply::Joined, topics), r#"{"topic":"@join","payload":["foo","foo2"]}"#);
        assert_eq!(
            payload(Reply::JoinRefused, topics),
            r##"{"topic":"#join","payload":["foo","foo2"]}"##
        );
        assert_eq!(payload(Reply::Left, &["foo"][..]), r#"{"topic":"@leave","payload":["foo"]}"#);
        assert_eq!(payload(Reply::Joined, &[][..]), r#"{"topic":"@join","payload":[]}"#);
        assert_eq!(payload(Reply::Gap, &["foo"][..]), r#"{"topic":"@gap","payload":["foo"]}"#);
        assert_eq!(payload(Reply::Left, None), r#"{"topic":"@leave","payload":null}"#);
    }

    #[test]
    fn positions_and_what_was_recovered_stand_behind_the_topics() {
        let topics = &["a", "ключ\"", "plain"];
        let mut joined = Vec::new();
        encode(&mut joined, Reply::Joined, Some(topics));
        let of = |offset, recovered| Positions {
            position: Some(Position { offset, epoch: Epoch::parse("k3x").unwrap() }),
            recovered,
        };
        let (first, second, third) = (of(12, None), of(0, Some(false)), Positions::default());
        let named = [(topics[0], &first), (topics[1], &second), (topics[2], &third)];
        let frame = with_positions(&joined, &named);
        let read: serde_json::Value = serde_json::from_slice(frame::payload(&frame)).unwrap();
        let expected = serde_json::json!({
            "topic": "@join",
            "payload": topics,
            "positions": {
                "a": { "offset": 12, "epoch": "k3x" },
                "ключ\"": { "offset": 0, "epoch": "k3x" },
            },
            "recovered": { "ключ\"": false },
        });
        assert_eq!(read, expected);
        let none = with_positions(&joined, &[("plain", &third)]);
        assert!(frame::payload(&none).ends_with(br#"],"positions":{}}"#));
    }

    #[test]
    fn any_topic_reads_back_as_it_was_asked() {
        let long = "x".repeat(70_000);
        for topics in [vec!["a\"b", "\\", "\u{0}\n", "", "ключ", "\u{2028}😀"], vec![long.as_str()]]
        {
            let read: serde_json::Value =
                serde_json::from_str(&payload(Reply::Joined, &topics[..])).unwrap();
            assert_eq!(read, serde_json::json!({ "topic": "@join", "payload": topics }));
        }
    }
}
