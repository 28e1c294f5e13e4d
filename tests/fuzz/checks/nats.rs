//! What a NATS server says: what it means does not depend on how it is cut, and keeps the bounds.
//! What we say is one line, whatever stands in it.

use roadcast::nats::{self, Connect, Decoder, Info, LINE_BYTES_MAX, ProtocolError};
use roadcast::nats::{Refusal, SUBJECT_BYTES_MAX, Said};

use super::{SINGLE_BYTES_MAX, pieces};

/// Servers of a cluster that are heeded.
const URLS_MAX: usize = 64;

/// First byte: the bound on payloads, and how the rest is cut.
pub fn check(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let payload_bytes_max = usize::from(first) * 8;
    let whole = read([bytes], payload_bytes_max);
    assert_eq!(whole, read(pieces(bytes, first), payload_bytes_max), "in pieces");
    if bytes.len() <= SINGLE_BYTES_MAX {
        assert_eq!(whole, read(bytes.chunks(1), payload_bytes_max), "byte by byte");
    }
    for heard in &whole {
        understand(heard);
    }
    let Ok(text) = str::from_utf8(bytes) else { return };
    let prefix = ["", "app."][usize::from(first & 1)];
    say(prefix, text);
    names(prefix, text);
    refusals(text);
}

#[derive(Debug, PartialEq)]
enum Heard {
    Info(Vec<u8>),
    Message(u64, Vec<u8>),
    TooLong(u64, usize),
    Ping,
    Pong,
    Ok,
    Error(String),
    NotNats,
    Wrong(ProtocolError),
}

fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>, payload_bytes_max: usize) -> Vec<Heard> {
    let mut decoder = Decoder::new(payload_bytes_max);
    let (mut buffer, mut at, mut all) = (Vec::new(), 0, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let input = &buffer[at..];
            let (taken, said) = match decoder.next(input) {
                Ok((0, None)) => break,
                Ok(next) => next,
                Err(problem) => {
                    let text = problem.to_string();
                    assert!(text.len() < 256 && !text.contains(|c: char| c.is_control()), "{text}");
                    all.push(match problem {
                        // It says what has come so far.
                        ProtocolError::NotNats(_) => Heard::NotNats,
                        problem => Heard::Wrong(problem),
                    });
                    return all;
                }
            };
            assert!((1..=input.len()).contains(&taken), "whatever comes takes something");
            at += taken;
            all.extend(said.map(|said| match said {
                Said::Info(json) => Heard::Info(json.to_vec()),
                Said::Message { sid, payload } => {
                    assert!(payload.len() <= payload_bytes_max && payload.len() + 2 < taken);
                    Heard::Message(sid, payload.to_vec())
                }
                Said::TooLong { sid, bytes } => Heard::TooLong(sid, bytes),
                Said::Ping => Heard::Ping,
                Said::Pong => Heard::Pong,
                Said::Ok => Heard::Ok,
                Said::Error(text) => Heard::Error(text.to_owned()),
            }));
        }
    }
    assert_waits_for_no_more_than_a_message(&mut decoder, &buffer[at..], payload_bytes_max);
    all
}

/// What is waited for ends with a line, or with the longest headers and payload that are held: here
/// neither ends well.
fn assert_waits_for_no_more_than_a_message(
    decoder: &mut Decoder,
    input: &[u8],
    payload_bytes_max: usize,
) {
    assert!(input.contains(&b'\n') || input.len() < LINE_BYTES_MAX, "a line has its bound");
    let mut more = input.to_vec();
    more.extend_from_slice(b"\r\n");
    more.resize(more.len() + LINE_BYTES_MAX + payload_bytes_max + 2, b'x');
    assert_ne!(decoder.next(&more), Ok((0, None)), "it waits for ever");
}

fn understand(heard: &Heard) {
    match heard {
        Heard::Info(json) => {
            let Some(info) = Info::parse(json) else { return };
            assert!(info.urls().count() <= URLS_MAX);
            assert!(info.urls().map(str::len).sum::<usize>() <= json.len(), "nothing grows");
        }
        Heard::Error(text) => {
            assert!(!text.contains('\n'), "one line");
            if let Refusal::Publish(subject) | Refusal::Subscribe(subject) = Refusal::of(text) {
                assert!(subject.len() <= text.len(), "nothing grows");
            }
        }
        Heard::Message(sid, payload) => {
            let mut again = format!("MSG a {sid} {}\r\n", payload.len()).into_bytes();
            again.extend_from_slice(payload);
            again.extend_from_slice(b"\r\n");
            let said = Ok((again.len(), Some(Said::Message { sid: *sid, payload })));
            assert_eq!(Decoder::new(payload.len()).next(&again), said);
        }
        _ => {}
    }
}

/// A publication as its subscriber has it, a subscription, a greeting.
fn say(prefix: &str, text: &str) {
    let mut out = Vec::new();
    let mut connect = Connect::new(text);
    (connect.user, connect.pass) = (Some(text), Some(text));
    connect.encode(&mut out);
    let line = out.strip_prefix(b"CONNECT ").and_then(|line| line.strip_suffix(b"\r\n"));
    let line = line.filter(|line| !line.contains(&b'\n')).expect("one line");
    let json: serde_json::Value = serde_json::from_slice(line).expect("JSON");
    assert_eq!(
        (&json["user"], &json["pass"], &json["name"]),
        (&text.into(), &text.into(), &text.into())
    );

    let Ok(subject) = nats::subject(prefix, text) else { return };
    out.clear();
    nats::publish(&mut out, &subject, text.as_bytes());
    let line = format!("PUB {subject} ");
    let rest = out.strip_prefix(line.as_bytes()).expect("the verb and the subject");
    // A server puts the number of the subscription in between.
    let message = [format!("MSG {subject} 7 ").as_bytes(), rest].concat();
    let payload = text.as_bytes();
    let said = Ok((message.len(), Some(Said::Message { sid: 7, payload })));
    assert_eq!(Decoder::new(payload.len()).next(&message), said);
    out.clear();
    nats::subscribe(&mut out, &subject, 7);
    let words: Vec<&[u8]> = out.split(|byte| byte.is_ascii_whitespace()).collect();
    assert_eq!(words, [b"SUB", subject.as_bytes(), b"7", b"", b""]);
}

/// Each topic has one subject, which no other has.
fn names(prefix: &str, text: &str) {
    if let Ok(subject) = nats::subject(prefix, text) {
        assert!(subject.len() <= SUBJECT_BYTES_MAX);
        let never = |c: char| c.is_ascii_control() || matches!(c, ' ' | '*' | '>');
        assert!(!subject.contains(never) && subject.split('.').all(|token| !token.is_empty()));
        assert_eq!(nats::topic(prefix, &subject).as_deref(), Some(text), "{subject}");
    }
    if let Some(topic) = nats::topic(prefix, text)
        && let Ok(subject) = nats::subject(prefix, &topic)
    {
        assert_eq!(subject, text, "the subject of {topic:?}");
    }
}

/// A subject that a server quotes, as Go does.
fn refusals(text: &str) {
    let quoted = text.replace('\\', r"\\").replace('"', "\\\"");
    let refused = Refusal::of(&format!("Permissions Violation for Publish to \"{quoted}\""));
    assert_eq!(refused, Refusal::Publish(text.to_owned()));
    let refused =
        Refusal::of(&format!("permissions violation for subscription to \"{quoted}\", x"));
    assert_eq!(refused, Refusal::Subscribe(text.to_owned()));
    let _ = Refusal::of(text);
}
