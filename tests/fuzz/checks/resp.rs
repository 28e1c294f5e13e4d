//! What a Redis says: what it means does not depend on how it is cut, keeps the bounds, and is
//! again what our encoder makes of it.

use roadcast::resp::{self, DEPTH_MAX, LINE_BYTES_MAX, Pushed, Value, Violation};

use super::{SINGLE_BYTES_MAX, pieces};

/// First byte: the bound on strings, and how the rest is cut.
pub fn check(bytes: &[u8]) {
    let Some((&first, bytes)) = bytes.split_first() else { return };
    let bulk_max = usize::from(first) * 8;
    for read in [answers as Read, messages] {
        let whole = stream([bytes], bulk_max, read);
        assert_eq!(whole, stream(pieces(bytes, first), bulk_max, read), "in pieces");
        if bytes.len() <= SINGLE_BYTES_MAX {
            assert_eq!(whole, stream(bytes.chunks(1), bulk_max, read), "byte by byte");
        }
    }
    commands(bytes, first);
}

/// One thing that was read, written again; bytes that it takes; bytes behind them to be skipped.
type Found = (Vec<u8>, usize, u64);
type Read = fn(&[u8], usize) -> Result<Option<Found>, Violation>;

/// All that can be read, the bytes coming in these pieces, as a connection holds them.
fn stream<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    bulk_max: usize,
    read: Read,
) -> Vec<Result<Found, Violation>> {
    let (mut buffer, mut at, mut skip, mut all) = (Vec::new(), 0, 0, Vec::new());
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(buffer.len() - at);
            (at, skip) = (at + skipped, skip - skipped as u64);
            match read(&buffer[at..], bulk_max) {
                Ok(None) => break,
                Ok(Some(found)) => {
                    assert!((1..=buffer.len() - at).contains(&found.1), "{found:?}");
                    (at, skip) = (at + found.1, found.2);
                    all.push(Ok(found));
                }
                Err(problem) => {
                    all.push(Err(problem));
                    return all;
                }
            }
        }
    }
    all
}

fn answers(bytes: &[u8], bulk_max: usize) -> Result<Option<Found>, Violation> {
    let Some((value, taken)) = resp::value(bytes, bulk_max)? else {
        let more = without_an_end(bytes, bulk_max);
        assert_ne!(resp::value(&more, bulk_max), Ok(None), "it waits for ever");
        return Ok(None);
    };
    assert_bounds(&value, bulk_max, 0);
    let mut again = Vec::new();
    encode(&mut again, &value);
    assert!(again.len() <= taken, "nothing grows");
    assert_eq!(resp::value(&again, bulk_max), Ok(Some((value, again.len()))));
    Ok(Some((again, taken, 0)))
}

/// Messages are those values that have their form.
fn messages(bytes: &[u8], bulk_max: usize) -> Result<Option<Found>, Violation> {
    let value = resp::value(bytes, bulk_max);
    let found = resp::pushed(bytes, bulk_max);
    match (&found, &value) {
        (Ok(Some((Pushed::Long { channel, skip }, taken))), _) => {
            let length = skip - 2;
            assert!(channel.len() <= bulk_max && length > bulk_max as u64);
            assert!(value.is_err(), "too long for an answer");
            assert!(bytes[..*taken].ends_with(b"\r\n"), "it is told by its head");
        }
        (Ok(Some((found, taken))), Ok(Some((value, whole)))) => {
            assert_eq!((Some(found), taken), (pushed(value).as_ref(), whole));
        }
        (Ok(Some(found)), _) => panic!("{found:?} is no value, but {value:?}"),
        (Ok(None), _) => {
            assert!(!matches!(value, Ok(Some(_))), "it is all there");
            let more = without_an_end(bytes, bulk_max);
            assert_ne!(resp::pushed(&more, bulk_max), Ok(None), "it waits for ever");
        }
        (Err(_), Ok(Some((value, _)))) => assert_eq!(pushed(value), None),
        // A message is known by its beginning.
        (Err(_), Ok(None) | Err(_)) => {}
    }
    Ok(found?.map(|(found, taken)| match found {
        Pushed::Long { skip, .. } => (format!("{found:?}").into_bytes(), taken, skip),
        found => (format!("{found:?}").into_bytes(), taken, 0),
    }))
}

/// What a whole value is to one who subscribes; `None`: nothing.
fn pushed<'a>(value: &Value<'a>) -> Option<Pushed<'a>> {
    match value {
        Value::Error(why) => return Some(Pushed::Error(why)),
        Value::Status(b"PONG") => return Some(Pushed::Pong),
        _ => {}
    }
    match value.values() {
        [Value::Bulk(b"pong"), Value::Bulk(_)] => Some(Pushed::Pong),
        [Value::Bulk(kind), name, last] => match (*kind, name, last) {
            (_, Value::Array(_), _) | (_, _, Value::Array(_)) => None,
            (b"message" | b"smessage", Value::Bulk(channel), Value::Bulk(payload)) => {
                Some(Pushed::Message { channel, payload })
            }
            (b"subscribe" | b"ssubscribe", Value::Bulk(channel), Value::Integer(_)) => {
                Some(Pushed::Subscribed(channel))
            }
            (b"unsubscribe" | b"sunsubscribe", Value::Bulk(channel), Value::Integer(_)) => {
                Some(Pushed::Unsubscribed(channel))
            }
            _ => Some(Pushed::Other),
        },
        _ => None,
    }
}

/// What is waited for ends with a line or a string: here neither ends well.
fn without_an_end(bytes: &[u8], bulk_max: usize) -> Vec<u8> {
    let mut more = [bytes, b"\r\n"].concat();
    more.resize(more.len() + bulk_max + 2, b'x');
    more
}

fn assert_bounds(value: &Value<'_>, bulk_max: usize, depth: usize) {
    match value {
        Value::Status(line) | Value::Error(line) => {
            assert!(line.len() < LINE_BYTES_MAX && !line.contains(&b'\n'));
        }
        Value::Bulk(bytes) => assert!(bytes.len() <= bulk_max),
        Value::Array(values) => {
            assert!(depth < DEPTH_MAX);
            values.iter().for_each(|value| assert_bounds(value, bulk_max, depth + 1));
        }
        Value::Integer(_) | Value::Nil => {}
    }
}

fn encode(out: &mut Vec<u8>, value: &Value<'_>) {
    let mut line = |kind: &[u8], text: &[u8]| {
        [kind, text, b"\r\n"].iter().for_each(|part| out.extend_from_slice(part));
    };
    match value {
        Value::Status(text) => line(b"+", text),
        Value::Error(text) => line(b"-", text),
        Value::Integer(number) => line(b":", number.to_string().as_bytes()),
        Value::Nil => line(b"$", b"-1"),
        Value::Bulk(bytes) => {
            line(b"$", bytes.len().to_string().as_bytes());
            line(b"", bytes);
        }
        Value::Array(values) => {
            line(b"*", values.len().to_string().as_bytes());
            values.iter().for_each(|value| encode(out, value));
        }
    }
}

/// What we say is an array of the words that were meant, whatever stands in them.
fn commands(bytes: &[u8], cut: u8) {
    let words: Vec<&[u8]> = bytes.split(|byte| *byte == b' ').collect();
    let command = |words: &[&[u8]]| {
        let mut out = Vec::new();
        resp::command(&mut out, words.iter().copied());
        let meant = Value::Array(words.iter().map(|word| Value::Bulk(word)).collect());
        assert_eq!(resp::value(&out, bytes.len().max(9)), Ok(Some((meant, out.len()))));
        out
    };
    command(&words);
    let Ok(texts) = words.iter().map(|word| str::from_utf8(word)).collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    // The first word: a prefix and a topic.
    let (prefix, topic) = texts[0].split_at_checked(usize::from(cut)).unwrap_or(("", texts[0]));
    let mut out = Vec::new();
    resp::publish(&mut out, "SPUBLISH", prefix, topic, bytes);
    assert_eq!(out, command(&[b"SPUBLISH", words[0], bytes]));
    out.clear();
    resp::channels(&mut out, b"SUBSCRIBE", "", &texts);
    let channels: Vec<&[u8]> = [&b"SUBSCRIBE"[..]].into_iter().chain(words.clone()).collect();
    assert_eq!(out, command(&channels));
    // As a subscriber has it.
    let sent = command(&[b"message", words[0], bytes]);
    let message = Pushed::Message { channel: words[0], payload: bytes };
    assert_eq!(resp::pushed(&sent, bytes.len().max(9)), Ok(Some((message, sent.len()))));
}
