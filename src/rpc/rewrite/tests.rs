//! JSON and MSGPACK bodies, read back through the request they are rewritten into.

use std::borrow::Cow;

use rand::prelude::*;
use serde_json::json;

use super::super::{Codec, Request};
use super::*;

type Read = Vec<(String, Vec<u8>, Vec<String>)>;

fn read(layout: Layout, body: Vec<u8>) -> Read {
    Request::new(layout, Codec::Json, Cow::Owned(body))
        .unwrap()
        .messages()
        .map(|m| (m.broker.into(), m.payload.into(), m.topics().map(String::from).collect()))
        .collect()
}

fn from_json(layout: Layout, body: &str) -> Result<Read, String> {
    json(layout, body.as_bytes()).map(|out| read(layout, out)).map_err(|e| e.to_string())
}

fn from_msgpack(layout: Layout, body: &[u8]) -> Result<Read, String> {
    msgpack(layout, body).map(|out| read(layout, out))
}

fn message(broker: &str, payload: &[u8], topics: &[&str]) -> (String, Vec<u8>, Vec<String>) {
    (broker.into(), payload.into(), topics.iter().map(|t| t.to_string()).collect())
}

#[test]
fn json_is_read_as_go_writes_it() {
    let body = r#"{"messages":[{"command":"","topics":["foo","bär"],"payload":"aGVsbG8="},{"topics":["b"]}]}"#;
    let expected = vec![message("", b"hello", &["foo", "bär"]), message("", b"", &["b"])];
    assert_eq!(from_json(Layout::Broadcast, body), Ok(expected));
    let body =
        r#"{"messages":[{"command":"","broker":"bus","topics":["foo"],"payload":"aGVsbG8="}]}"#;
    assert_eq!(from_json(Layout::Websockets, body), Ok(vec![message("bus", b"hello", &["foo"])]));
    assert_eq!(from_json(Layout::Broadcast, body), Ok(vec![message("", b"hello", &["foo"])]));
}

#[test]
fn empty_null_and_missing_are_empty() {
    for body in
        ["", "null", "{}", r#"{"messages":null}"#, r#"{"messages":[null,{},{"topics":null}]}"#]
    {
        assert_eq!(from_json(Layout::Broadcast, body), Ok(vec![]), "{body}");
    }
    let body =
        r#"{"messages":[{"topics":["a",null],"payload":null,"broker":null,"command":null}]}"#;
    assert_eq!(from_json(Layout::Websockets, body), Ok(vec![message("", b"", &["a", ""])]));
    for body in [&b""[..], b"\xc0", b"\x80", b"\x81\xa8Messages\xc0"] {
        assert_eq!(from_msgpack(Layout::Broadcast, body), Ok(vec![]), "{body:x?}");
    }
}

#[test]
fn keys_match_in_any_case_and_the_last_of_equal_ones_counts() {
    let body = r#"{"Messages":[{"topics":["lost"]}],"MESSAGES":[{"PayLoad":"bG9zdA==","Topics":["lost","lost"],
        "payload":"aGVsbG8=","broker":"x","topics":["a"],"deep":{"er":[[[{"topics":["no"]}]]]},"Broker":"bus"}]}"#;
    assert_eq!(from_json(Layout::Websockets, body), Ok(vec![message("bus", b"hello", &["a"])]));
}

#[test]
fn base64_is_taken_as_go_takes_it() {
    let payload = |text: &str| {
        from_json(
            Layout::Broadcast,
            &json!({"messages":[{"topics":["a"],"payload":text}]}).to_string(),
        )
        .map(|messages| messages[0].1.clone())
    };
    assert_eq!(payload("aGVs\r\nbG8=\n"), Ok(b"hello".to_vec()));
    assert_eq!(payload("aGVsbG9="), Ok(b"hello".to_vec()), "bits behind the last byte");
    assert_eq!(payload("+/+/"), Ok(vec![0xfb, 0xff, 0xbf]));
    for text in ["aGVsbG8", "a", "-_-_", "aGVs bG8="] {
        let error = payload(text).unwrap_err();
        assert!(error.contains("payload is not base64"), "{text}: {error}");
    }
    let numbers = r#"{"messages":[{"topics":["a"],"payload":[1,255]}]}"#;
    assert_eq!(from_json(Layout::Broadcast, numbers), Ok(vec![message("", &[1, 255], &["a"])]));
}

#[test]
fn what_is_no_request_is_refused_with_a_reason() {
    for body in [
        "{",
        "[]",
        "1",
        r#""x""#,
        r#"{"messages":{}}"#,
        r#"{"messages":[1]}"#,
        "{} x",
        r#"{"messages":[{"topics":"a"}]}"#,
        r#"{"messages":[{"topics":[1]}]}"#,
        r#"{"messages":[{"topics":["a"],"payload":7}]}"#,
        r#"{"messages":[{"payload":[256]}]}"#,
    ] {
        assert!(!from_json(Layout::Broadcast, body).unwrap_err().is_empty(), "{body}");
    }
    for body in [&b"\x90"[..], b"\x01", b"\xa1x", b"\x81\xa8Messages\x91\x01", b"\xc1"] {
        assert!(!from_msgpack(Layout::Broadcast, body).unwrap_err().is_empty(), "{body:x?}");
    }
}

#[test]
fn msgpack_takes_both_spellings_and_bytes_or_text() {
    let go =
        b"\x81\xa8Messages\x91\x83\xa7Command\xa0\xa6Topics\x92\xa1a\xc4\x01b\xa7Payload\xc4\x02\xff\x00";
    assert_eq!(from_msgpack(Layout::Broadcast, go), Ok(vec![message("", &[0xff, 0], &["a", "b"])]));
    let json = b"\x81\xa8messages\x91\x83\xa6broker\xa3bus\xa6topics\x91\xa1a\xa7payload\xa2hi";
    assert_eq!(from_msgpack(Layout::Websockets, json), Ok(vec![message("bus", b"hi", &["a"])]));
}

#[test]
fn claimed_lengths_and_nesting_cost_nothing() {
    for claim in [
        b"\xdf\xff\xff\xff\xff",
        b"\xdd\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
    ] {
        for prefix in [
            &b""[..],
            b"\x81\xa8Messages",
            b"\x81\xa8Messages\x91\x81\xa6Topics",
            b"\x81\xa8Messages\x91\x81\xa7Payload",
            b"\x81\xa1x",
        ] {
            assert!(msgpack(Layout::Broadcast, &[prefix, claim].concat()).is_err());
        }
    }
    for nest in [&b"\x91"[..], b"\x81\xa1x", b"\x81\x91"] {
        let body = [b"\x81\xa1x".to_vec(), nest.repeat(1 << 20)].concat();
        assert!(msgpack(Layout::Broadcast, &body).is_err());
    }
    let deep = format!(r#"{{"x":{}}}"#, "[".repeat(1 << 20));
    assert!(json(Layout::Broadcast, deep.as_bytes()).is_err());
    let deep = format!(r#"{{"x":{}{}}}"#, r#"{"x":"#.repeat(1 << 20), "}".repeat(1 << 20));
    assert!(json(Layout::Broadcast, deep.as_bytes()).is_err());
}

#[test]
fn the_result_is_at_most_about_twice_the_body() {
    let mut tiny = b"\x81\xa8Messages\xdd\x00\x0f\xff\xff".to_vec();
    tiny.extend([0x80].repeat(0xfffff));
    assert!(msgpack(Layout::Broadcast, &tiny).unwrap().is_empty());
    let mut topics = b"\x81\xa8Messages\x91\x81\xa6Topics\xdd\x00\x0f\xff\xff".to_vec();
    topics.extend([0xa0].repeat(0xfffff));
    assert!(msgpack(Layout::Broadcast, &topics).unwrap().len() <= 2 * topics.len());
}

/// Random bodies against a plain reading of the same JSON.
#[test]
fn json_agrees_with_a_plain_reading_of_it() {
    let seed = 77;
    let mut random = StdRng::seed_from_u64(seed);
    for round in 0..2_000 {
        let mut expected = Vec::new();
        let mut messages = Vec::new();
        for _ in 0..random.random_range(0..4) {
            let topics: Vec<String> = (0..random.random_range(1..4))
                .map(|_| format!("t\u{1}é{}", random.random::<u8>()))
                .collect();
            let payload: Vec<u8> =
                (0..random.random_range(0..300)).map(|_| random.random()).collect();
            messages.push(json!({"payload": BASE64.encode(&payload), "topics": topics}));
            expected.push((String::new(), payload, topics));
        }
        let body = json!({ "messages": messages }).to_string();
        assert_eq!(from_json(Layout::Broadcast, &body), Ok(expected), "seed {seed} round {round}");
    }
}

#[test]
fn garbage_never_panics() {
    let mut random = StdRng::seed_from_u64(3);
    let seeds: [&[u8]; 2] = [
        b"\x81\xa8Messages\x91\x83\xa7Command\xa0\xa6Topics\x92\xa1a\xc4\x01b\xa7Payload\xc4\x02\xff\x00",
        br#"{"messages":[{"topics":["a"],"payload":"aGVsbG8="}]}"#,
    ];
    for _ in 0..20_000 {
        let mut body = seeds.choose(&mut random).unwrap().to_vec();
        for _ in 0..random.random_range(1..5) {
            *body.choose_mut(&mut random).unwrap() = random.random();
        }
        let layout = if random.random() { Layout::Broadcast } else { Layout::Websockets };
        // What is taken at all is well-formed.
        let _ = json(layout, &body).map(|out| read(layout, out));
        let _ =
            msgpack(layout, &body).map(|out| Request::new(layout, Codec::Msgpack, Cow::Owned(out)));
    }
}
