//! The publish socket: layouts, codecs, pipelining, and each line of the table of bad input.

use crate::common::{
    Answer, ERROR, GOB, JSON, MSGPACK, PROTO, Publisher, RAW, Server, field, goridge_frame,
    messages,
};

/// A call as the PHP client sent it when it was recorded, and the answer it understood.
const RECORDED_CALL: &str = "15803600000064257f860000010000001100000062726f6164636173742e5075626c6973680a2312096368616e6e656c2d311a166d65737361676520666f72206368616e6e656c202331";
const RECORDED_ANSWER: &str =
    "158013000000687a93110000010000001100000062726f6164636173742e5075626c6973680801";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex"))
        .collect()
}

#[test]
fn what_the_php_client_sends_is_delivered_and_answered_as_it_expects() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.join(&["channel-1"]);
    let mut publisher = server.publisher();
    publisher.send(&bytes(RECORDED_CALL)).expect("the server reads");
    client.expect("channel-1", "message for channel #1");
    let answer = publisher.answer().expect("an answer");
    let again = goridge_frame(
        answer.flags,
        &[answer.sequence, answer.method.len() as u32],
        &[answer.method.as_bytes(), &answer.body].concat(),
    );
    assert_eq!(again, bytes(RECORDED_ANSWER));
}

/// What `Broadcast::isAvailable()` of `spiral/roadrunner-broadcast` 2.0.0 sends, recorded: true if
/// `websockets` is in the list.
#[test]
fn the_php_client_finds_that_broadcasting_is_available() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    let call = "150811000000b0490c3a0000010000000d000000696e666f726d65722e4c69737474727565";
    publisher.send(&bytes(call)).expect("the server reads");
    let body = br#"["broadcast","websockets"]"#.to_vec();
    let expected = Answer { sequence: 1, method: "informer.List".to_owned(), flags: JSON, body };
    assert_eq!(publisher.answer().expect("an answer"), expected);
}

#[test]
fn each_codec_of_each_layout_delivers() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.join(&["foo", "bar"]);
    let mut publisher = server.publisher();

    let named = |broker: &[u8], payload: &[u8]| {
        let mut message = Vec::new();
        field(&mut message, 2, broker);
        field(&mut message, 3, b"foo");
        field(&mut message, 4, payload);
        let mut request = Vec::new();
        field(&mut request, 1, &message);
        request
    };
    // {"Messages":[{"Command":"","Topics":["foo"],"Payload":bin("msgpack")}]}
    let msgpack =
        b"\x81\xa8Messages\x91\x83\xa7Command\xa0\xa6Topics\x91\xa3foo\xa7Payload\xc4\x07msgpack"
            .to_vec();
    // The same with a broker and the JSON spelling of the names.
    let msgpack_named =
        b"\x81\xa8messages\x91\x83\xa6broker\xa7default\xa6topics\x91\xa3foo\xa7payload\xc4\x07msgpack"
            .to_vec();
    let json = br#"{"messages":[{"command":"","topics":["foo"],"payload":"anNvbg=="}]}"#.to_vec();
    let json_named =
        br#"{"messages":[{"command":"","broker":"default","topics":["foo"],"payload":"anNvbg=="}]}"#.to_vec();
    let json_ok = br#"{"ok":true}"#.to_vec();
    let msgpack_ok = b"\x81\xa2Ok\xc3".to_vec();
    let proto_ok = vec![8, 1];
    let table = [
        ("broadcast", PROTO, messages(&[(&["foo"], b"proto")]), "proto", &proto_ok),
        ("broadcast", RAW, messages(&[(&["foo"], b"raw")]), "raw", &proto_ok),
        ("broadcast", JSON, json, "json", &json_ok),
        ("broadcast", MSGPACK, msgpack, "msgpack", &msgpack_ok),
        ("websockets", PROTO, named(b"default", b"proto"), "proto", &proto_ok),
        ("websockets", PROTO, named(b"", b"no broker"), "no broker", &proto_ok),
        ("websockets", RAW, named(b"default", b"raw"), "raw", &proto_ok),
        ("websockets", JSON, json_named, "json", &json_ok),
        ("websockets", MSGPACK, msgpack_named, "msgpack", &msgpack_ok),
    ];
    for (service, codec, body, payload, ok) in table {
        for method in ["Publish", "PublishAsync"] {
            let method = format!("{service}.{method}");
            let answer = publisher.ask(&method, codec, &body);
            assert_eq!(
                (answer.flags, &answer.body),
                (codec, ok),
                "{method} {codec:#x}: {}",
                lossy(&answer)
            );
            client.expect("foo", payload);
        }
    }
}

#[test]
fn the_go_client_which_sets_gob_beside_protobuf_is_served() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.join(&["foo"]);
    let answer = server.publisher().ask(
        "broadcast.Publish",
        PROTO | GOB,
        &messages(&[(&["foo"], b"from Go")]),
    );
    assert!(answer.flags & (PROTO | ERROR) == PROTO && answer.body == [8, 1], "{answer:?}");
    client.expect("foo", "from Go");
}

fn lossy(answer: &Answer) -> String {
    String::from_utf8_lossy(&answer.body).into_owned()
}

#[test]
fn one_message_goes_to_each_topic_it_names_and_twice_where_it_names_one_twice() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    let mut foo = server.client();
    let mut bar = server.client();
    foo.join(&["foo"]);
    bar.join(&["bar"]);
    // The empty topic is skipped.
    publisher.publish(&["foo", "bar", "", "foo"], b"hello");
    publisher.publish(&["foo", "bar"], b"next");
    foo.expect("foo", "hello");
    foo.expect("foo", "hello");
    foo.expect("foo", "next");
    bar.expect("bar", "hello");
    bar.expect("bar", "next");
}

#[test]
fn an_empty_request_is_ok() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    for (codec, body) in [
        (PROTO, &b""[..]),
        (RAW, b""),
        (JSON, b""),
        (JSON, b"{}"),
        (JSON, br#"{"messages":null}"#),
        (MSGPACK, b""),
    ] {
        let answer = publisher.ask("broadcast.Publish", codec, body);
        assert_eq!(answer.flags & ERROR, 0, "{codec:#x} {body:?}: {}", lossy(&answer));
    }
}

#[test]
fn a_call_that_cannot_be_served_is_answered_with_why_and_the_connection_lives() {
    let server = Server::start(&[
        "roadcast.limits.publication_bytes=1024",
        "roadcast.limits.topic_bytes=16",
    ]);
    let mut publisher = server.publisher();
    let unknown_broker = {
        let mut message = Vec::new();
        field(&mut message, 2, b"nowhere");
        field(&mut message, 3, b"foo");
        let mut request = Vec::new();
        field(&mut request, 1, &message);
        request
    };
    let too_large = messages(&[(&["foo"], &[b'x'; 1025])]);
    let long_topic = messages(&[(&["seventeen-letters"], b"x")]);
    let exact = [
        ("kv.Set", PROTO, &b""[..], "rpc: can't find service kv.Set"),
        ("broadcast.Foo", PROTO, b"", "rpc: can't find method broadcast.Foo"),
        ("websockets.Foo", PROTO, b"", "rpc: can't find method websockets.Foo"),
        ("nodot", PROTO, b"", "rpc: service/method request ill-formed: nodot"),
        ("", PROTO, b"", "rpc: service/method request ill-formed: "),
    ];
    for (method, codec, body, text) in exact {
        let answer = publisher.ask(method, codec, body);
        assert_eq!((answer.error(), answer.flags), (text, codec | ERROR));
    }
    let naming: [(&str, u8, &[u8], &[&str]); 9] = [
        ("broadcast.Publish", PROTO, b"\xff\xff\xff", &["proto"]),
        ("broadcast.Publish", RAW, b"\x0a\x7f", &["raw"]),
        ("broadcast.Publish", JSON, b"{\"messages\":", &["json"]),
        ("broadcast.Publish", JSON, br#"{"messages":[{"payload":"not base64!"}]}"#, &["json"]),
        ("broadcast.Publish", MSGPACK, b"\xc1", &["msgpack"]),
        ("broadcast.Publish", GOB, b"", &["proto", "json", "msgpack", "raw"]),
        ("broadcast.Publish", 0, b"", &["proto", "json", "msgpack", "raw"]),
        ("websockets.Publish", PROTO, &unknown_broker, &["nowhere"]),
        ("broadcast.Publish", PROTO, &too_large, &["publication_bytes"]),
    ];
    for (method, codec, body, words) in naming {
        let answer = publisher.ask(method, codec, body);
        let text = answer.error().to_lowercase();
        for word in words {
            assert!(text.contains(word), "`{word}` in the answer to {method} {codec:#x}: {text}");
        }
    }
    assert!(publisher.ask("broadcast.Publish", PROTO, &long_topic).error().contains("topic"));
    publisher.publish(&["foo"], b"the connection lives");
}

#[test]
fn a_frame_that_is_none_ends_its_connection_alone() {
    let server = Server::start(&["roadcast.limits.rpc_frame_bytes=1024"]);
    let mut client = server.client();
    client.join(&["foo"]);
    let mut neighbour = server.publisher();
    let good = || {
        goridge_frame(
            PROTO,
            &[1, 17],
            &[b"broadcast.Publish", &messages(&[(&["foo"], b"x")])[..]].concat(),
        )
    };
    let sealed = |mut bytes: Vec<u8>| {
        let checksum = crc32fast::hash(&bytes[..6]).to_le_bytes();
        bytes[6..10].copy_from_slice(&checksum);
        bytes
    };
    let with = |at: usize, value: u8| {
        let mut bytes = good();
        bytes[at] = value;
        bytes
    };
    let table = [
        ("a wrong checksum", with(6, good()[6] ^ 1)),
        ("version 2", sealed(with(0, 0x25))),
        ("version 0", sealed(with(0, 0x05))),
        ("a header of 2 words", sealed(with(0, 0x12))),
        ("a header of 14 words", sealed(with(0, 0x1e))),
        ("no options", goridge_frame(PROTO, &[], b"broadcast.Publish")),
        ("one option", goridge_frame(PROTO, &[1], b"broadcast.Publish")),
        ("three options", goridge_frame(PROTO, &[1, 17, 0], b"broadcast.Publish")),
        ("a method longer than the payload", goridge_frame(PROTO, &[1, 18], b"broadcast.Publish")),
        ("a payload over the limit", goridge_frame(PROTO, &[1, 17], &[b'x'; 1025])),
        (
            "an announced payload of 4 GiB",
            sealed([&[0x15, PROTO, 255, 255, 255, 255], &[0; 14][..]].concat()),
        ),
        ("HTTP", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:6001\r\n\r\n".to_vec()),
    ];
    for (what, bytes) in table {
        let mut publisher = server.publisher();
        publisher.publish(&["foo"], b"before");
        client.expect("foo", "before");
        // The server may close before it has read everything.
        let _ = publisher.send(&bytes);
        assert_eq!(publisher.expect_closed(), [], "after {what}");
        neighbour.publish(&["foo"], what.as_bytes());
        client.expect("foo", what);
    }
}

#[test]
fn a_frame_that_stops_half_way_ends_its_connection() {
    let server = Server::start(&["roadcast.limits.rpc_timeout=200ms"]);
    let frame = goridge_frame(PROTO, &[1, 17], b"broadcast.Publish");
    for kept in [1, 11, 12, 19, frame.len() - 1] {
        let mut publisher = server.publisher();
        publisher.send(&frame[..kept]).expect("the server reads");
        assert_eq!(publisher.expect_closed(), [], "{kept} bytes");
    }
}

#[test]
fn calls_may_be_pipelined_and_split_anywhere() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.join(&["foo"]);
    let mut publisher = server.publisher();
    let mut stream = Vec::new();
    for number in 1..=9u32 {
        let body = messages(&[(&["foo"], format!("{number}").as_bytes())]);
        stream.extend(goridge_frame(
            PROTO,
            &[number, 17],
            &[b"broadcast.Publish", &body[..]].concat(),
        ));
    }
    for size in [1, 2, 3, 5, 7, 11, 13, 64, stream.len()] {
        stream.chunks(size).for_each(|piece| publisher.send(piece).expect("the server reads"));
        let mut answered: Vec<u32> = (0..9)
            .map(|_| {
                let answer = publisher.answer().expect("an answer");
                assert!(answer.is_ok(), "{answer:?}");
                answer.sequence
            })
            .collect();
        answered.sort_unstable();
        assert_eq!(answered, (1..=9).collect::<Vec<u32>>(), "pieces of {size}");
        (1..=9).for_each(|number| client.expect("foo", &number.to_string()));
    }
}

#[test]
fn a_message_with_many_topics_and_messages_is_worked_through() {
    let server = Server::start(&["roadcast.limits.lane_entries=64"]);
    let mut client = server.client();
    let names: Vec<String> = (0..300).map(|number| format!("topic-{number}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    client.join(&topics);
    // 300 topics × 4 messages is far more than a lane of 64 entries holds.
    let payloads: [&[u8]; 4] = [b"0", b"1", b"2", b"3"];
    let request: Vec<(&[&str], &[u8])> =
        payloads.iter().map(|payload| (&topics[..], *payload)).collect();
    assert!(server.publisher().ask("broadcast.Publish", PROTO, &messages(&request)).is_ok());
    let mut heard = std::collections::HashMap::<String, Vec<String>>::new();
    for _ in 0..1200 {
        let crate::common::Received::Message(topic, payload) = client.next() else {
            panic!("a publication")
        };
        heard.entry(topic).or_default().push(payload);
    }
    assert_eq!(heard.len(), 300);
    assert!(heard.values().all(|payloads| payloads == &["0", "1", "2", "3"]), "{heard:?}");
}

#[test]
fn publishers_past_their_limit_are_closed_at_once() {
    let server = Server::start(&["roadcast.limits.rpc_connections=2"]);
    let mut first = server.publisher();
    let mut second = server.publisher();
    first.publish(&["foo"], b"x");
    second.publish(&["foo"], b"x");
    assert_eq!(server.publisher().expect_closed(), []);
    first.publish(&["foo"], b"x");
}

#[test]
fn a_unix_socket_serves_the_same() {
    let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("rpc-{}.sock", std::process::id()));
    let server = Server::start(&[&format!("roadcast.rpc.listen=unix://{}", path.display())]);
    assert_eq!(server.publish, format!("unix://{}", path.display()));
    let mut client = server.client();
    client.join(&["foo"]);
    Publisher::connect(&server.publish).publish(&["foo"], b"over a file");
    client.expect("foo", "over a file");
}
