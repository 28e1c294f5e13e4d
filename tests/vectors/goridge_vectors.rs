//! The frames that the real PHP client sends and expects, both directions, byte for byte, at every
//! split.

use std::borrow::Cow;

use rand::prelude::*;
use roadcast::rpc::{self, Call, Codec, Decoded, Layout, Method, Publish};

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    method: String,
    messages: Vec<Message>,
    request: String,
    response: String,
}

#[derive(serde::Deserialize)]
struct Message {
    topics: Vec<String>,
    payload: String,
}

fn vectors() -> Vec<Vector> {
    let lines = include_str!("goridge.jsonl").lines();
    let vectors: Vec<Vector> = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(vectors.len(), 5);
    vectors
}

pub fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn call(request: &[u8]) -> Call<'_> {
    match rpc::decode(request, 1 << 20).unwrap() {
        Decoded::Whole { value, bytes } if bytes == request.len() => value,
        other => panic!("{other:?}"),
    }
}

#[test]
fn requests_are_read() {
    for vector in vectors() {
        let request = bytes(&vector.request);
        for split in 0..request.len() {
            let decoded = rpc::decode(&request[..split], 1 << 20).unwrap();
            assert!(
                matches!(decoded, Decoded::Partial { bytes } if bytes > split),
                "{} {split}",
                vector.name
            );
        }
        let call = call(&request);
        assert_eq!(call.method, vector.method.as_bytes());
        assert_eq!(call.codec, Some(Codec::Proto));
        let publish = Publish { layout: Layout::Broadcast, asynchronous: false };
        assert_eq!(call.method(), Ok(Method::Publish(publish)));

        let request = call.request(Layout::Broadcast).unwrap();
        let read: Vec<_> = request
            .messages()
            .map(|message| {
                (message.topics().map(String::from).collect::<Vec<_>>(), message.payload.to_vec())
            })
            .collect();
        let expected: Vec<_> =
            vector.messages.into_iter().map(|m| (m.topics, m.payload.into_bytes())).collect();
        assert_eq!(read, expected, "{}", vector.name);
    }
}

#[test]
fn responses_are_written() {
    for vector in vectors() {
        let (request, mut out) = (bytes(&vector.request), Vec::new());
        match vector.name.as_str() {
            "answer error frame" => {
                rpc::encode_error(
                    &mut out,
                    &call(&request),
                    "rpc: can't find method broadcast.Foo",
                );
            }
            name => rpc::encode_ok(&mut out, &call(&request), name != "answer ok=false"),
        }
        assert_eq!(out, bytes(&vector.response), "{}", vector.name);
    }
}

#[test]
fn requests_are_written() {
    for (place, vector) in vectors().into_iter().enumerate() {
        let mut body = Vec::new();
        for message in &vector.messages {
            body.extend(rpc::publish_body(
                message.topics.iter().map(String::as_str),
                message.payload.as_bytes(),
            ));
        }
        let mut out = Vec::new();
        rpc::encode_call(&mut out, place as u32 + 1, &vector.method, Codec::Proto, &body);
        assert_eq!(out, bytes(&vector.request), "{}", vector.name);
    }
}

#[test]
fn responses_are_read() {
    for (place, vector) in vectors().into_iter().enumerate() {
        let response = bytes(&vector.response);
        for split in 0..response.len() {
            assert!(matches!(
                rpc::decode_answer(&response[..split], 1 << 20),
                Ok(Decoded::Partial { .. })
            ));
        }
        let Ok(Decoded::Whole { value, .. }) = rpc::decode_answer(&response, 1 << 20) else {
            panic!()
        };
        assert_eq!((value.sequence, value.method), (place as u32 + 1, vector.method.as_bytes()));
        let expected = match vector.name.as_str() {
            "answer error frame" => Err("rpc: can't find method broadcast.Foo".to_string()),
            name => Ok(name != "answer ok=false"),
        };
        assert_eq!(value.ok(), expected);
    }
}

/// A back end that sends anything at all gets a decision, never a panic, and a buffer of a bounded
/// size.
#[test]
fn garbage_never_panics() {
    let seed = 0x6f72;
    let mut random = StdRng::seed_from_u64(seed);
    let good: Vec<Vec<u8>> = vectors().iter().map(|vector| bytes(&vector.request)).collect();
    for _ in 0..50_000 {
        let mut frame = good.choose(&mut random).unwrap().clone();
        for _ in 0..random.random_range(1..4) {
            *frame.choose_mut(&mut random).unwrap() = random.random();
        }
        if random.random() {
            // With a right checksum, what lies behind it is reached.
            let checksum = crc32fast::hash(&frame[..6]);
            frame[6..10].copy_from_slice(&checksum.to_le_bytes());
        }
        match rpc::decode(&frame, 1 << 16) {
            Ok(Decoded::Partial { bytes }) => assert!((frame.len() + 1..=1 << 16).contains(&bytes)),
            Ok(Decoded::Whole { value, .. }) => {
                let _: Result<_, Cow<'_, str>> = value.method().map_err(|e| e.to_string().into());
                for layout in [Layout::Broadcast, Layout::Websockets] {
                    for codec in [Codec::Proto, Codec::Json, Codec::Msgpack, Codec::Raw, Codec::Gob]
                    {
                        let call = Call { codec: Some(codec), ..value };
                        if let Ok(request) = call.request(layout) {
                            request.messages().for_each(|message| message.topics().for_each(drop));
                        }
                    }
                }
            }
            Err(violation) => assert!(!violation.to_string().is_empty()),
        }
    }
}
