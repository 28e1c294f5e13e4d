//! Calls and their answers: the vectors, every line of the error table, both layouts, every codec.

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The recorded frames of the PHP client that are answered with ok, and those answers.
fn vectors() -> Vec<(Vec<u8>, Vec<u8>)> {
    include_str!("../../../tests/vectors/goridge.jsonl")
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .filter(|vector| !vector["name"].as_str().unwrap().starts_with("answer"))
        .map(|vector| {
            (
                bytes(vector["request"].as_str().unwrap()),
                bytes(vector["response"].as_str().unwrap()),
            )
        })
        .collect()
}

fn exchange(stream: &mut (impl Read + Write)) {
    let vectors = vectors();
    assert_eq!(vectors.len(), 3);
    for (request, response) in vectors {
        stream.write_all(&request).unwrap();
        let mut answered = vec![0; response.len()];
        stream.read_exact(&mut answered).unwrap();
        assert_eq!(answered, response);
    }
}

over_both!(the_recorded_frames_are_answered_byte_for_byte_over_tcp_and_unix);
fn the_recorded_frames_are_answered_byte_for_byte_over_tcp_and_unix(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits::default());
    hub.interest(0, 5, DEFAULT, "channel-2");
    exchange(&mut hub.connect());
    for (sequence, payload) in [(1, "message"), (2, "another message"), (3, "third message")] {
        let expected = format!(r#"{{"topic":"channel-2","payload":"{payload}"}}"#);
        assert_eq!(hub.published(0), (5, sequence, expected));
    }

    let path = std::env::temp_dir().join(format!("roadcast-hub-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = UnixListener::bind(&path).unwrap();
    let hub =
        start_on(runtime, RpcListener::Unix(listener), hub.address, 1, Limits::default(), GRACE);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    exchange(&mut stream);
    std::fs::remove_file(&path).unwrap();
    drop(hub);
}

over_both!(calls_may_arrive_byte_by_byte);
fn calls_may_arrive_byte_by_byte(runtime: Runtime) {
    let hub = start(runtime, 1, Limits::default());
    let mut stream = hub.connect();
    for byte in [publish(1, &["a"], b"x"), publish(2, &["b"], b"y")].concat() {
        stream.write_all(&[byte]).unwrap();
    }
    assert_eq!((answer(&mut stream), answer(&mut stream)), ((1, Ok(true)), (2, Ok(true))));
}

over_both!(every_bad_call_is_told_why_and_the_connection_lives);
fn every_bad_call_is_told_why_and_the_connection_lives(runtime: Runtime) {
    let limits = Limits { publication_bytes: 100, topic_bytes: 10, ..Limits::default() };
    let mut hub = start(runtime, 1, limits);
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    let proto = |body: &[u8]| call(1, "broadcast.Publish", Codec::Proto, body);
    let mut no_codec = Vec::new();
    rpc::encode_frame(&mut no_codec, 0, &[1, 17], &[b"broadcast.Publish"]);
    let served = "served are PROTO, JSON, MSGPACK and RAW";
    let broker = |name: &str| {
        let body = format!(r#"{{"messages":[{{"broker":"{name}","topics":["foo"]}}]}}"#);
        call(1, "websockets.PublishAsync", Codec::Json, body.as_bytes())
    };
    let cases = [
        (call(1, "kv.Set", Codec::Proto, b""), "rpc: can't find service kv.Set".to_string()),
        (call(1, "broadcast.Foo", Codec::Gob, b""), "rpc: can't find method broadcast.Foo".into()),
        (call(1, "Publish", Codec::Json, b""), "rpc: service/method request ill-formed: Publish".into()),
        (call(1, "broadcast.Publish", Codec::Gob, b"x"), format!("rpc: the call's flags name GOB, {served}")),
        (no_codec, format!("rpc: the call's flags name no codec, {served}")),
        (proto(b"\x0a\x05x"), "rpc: can't decode PROTO body: field 1 is longer than what is left".into()),
        (
            call(1, "websockets.Publish", Codec::Raw, b"\x0a\x03\x12\x01\xff"),
            "rpc: can't decode RAW body: field 2 is not UTF-8".into(),
        ),
        (
            call(1, "broadcast.Publish", Codec::Json, b"{"),
            "rpc: can't decode JSON body: EOF while parsing an object at line 1 column 1".into(),
        ),
        (
            call(1, "broadcast.Publish", Codec::Msgpack, b"\x01"),
            "rpc: can't decode MSGPACK body: invalid type: integer `1`, expected a request with messages"
                .into(),
        ),
        (broker("nobus"), r#"unknown broker "nobus", configured are: bus, default"#.into()),
        (
            proto(&rpc::publish_body(["elevenbytes"], b"")),
            "topic name of 11 bytes is over roadcast.limits.topic_bytes (10)".into(),
        ),
        // Wanted or not makes no difference.
        (
            proto(&rpc::publish_body(["foo"], &[b'x'; 100])),
            "publication of 132 bytes as encoded for clients is over roadcast.limits.publication_bytes (100)"
                .into(),
        ),
        (
            proto(&rpc::publish_body(["bar"], &[b'x'; 100])),
            "publication of 132 bytes as encoded for clients is over roadcast.limits.publication_bytes (100)"
                .into(),
        ),
    ];
    for (request, text) in cases {
        stream.write_all(&request).unwrap();
        assert_eq!(answer(&mut stream), (1, Err(text)));
    }
    stream.write_all(&publish(2, &["foo"], b"fine")).unwrap();
    assert_eq!(answer(&mut stream), (2, Ok(true)));
    assert_eq!(hub.published(0).2, r#"{"topic":"foo","payload":"fine"}"#);
    for (name, value) in [
        ("errors_method", 3),
        ("errors_codec", 2),
        ("errors_body", 4),
        ("errors_broker", 1),
        ("errors_size", 3),
        ("rpc_violations", 0),
        ("calls", 14),
    ] {
        hub.counts(name, value);
    }
}

over_both!(the_list_of_services_is_answered_in_the_codec_of_the_call);
/// `Broadcast::isAvailable()` of the PHP package asks this, with the JSON codec and the argument
/// `true`.
fn the_list_of_services_is_answered_in_the_codec_of_the_call(runtime: Runtime) {
    let hub = start(runtime, 1, Limits::default());
    let mut stream = hub.connect();
    let mut ask = |codec: Codec, body: &[u8]| {
        stream.write_all(&call(7, "informer.List", codec, body)).unwrap();
        let mut header = [0; 20];
        stream.read_exact(&mut header).unwrap();
        let mut payload = vec![0; u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize];
        stream.read_exact(&mut payload).unwrap();
        assert!(payload.starts_with(b"informer.List"));
        (header[1], payload.split_off("informer.List".len()))
    };
    let json = br#"["broadcast","websockets"]"#;
    assert_eq!(ask(Codec::Json, b"true"), (rpc::flag::JSON, json.to_vec()));
    assert_eq!(ask(Codec::Json, b"false"), (rpc::flag::JSON, json.to_vec()));
    let (flags, list) = ask(Codec::Msgpack, b"\xc3");
    assert_eq!(flags, rpc::flag::MSGPACK);
    assert_eq!(rmp_serde::from_slice::<Vec<String>>(&list).unwrap(), ["broadcast", "websockets"]);
    // Recorded from Go's encoder.
    let gob = bytes("0b7f020102ff8000010c000019ff8000020962726f6164636173740a776562736f636b657473");
    assert_eq!(ask(Codec::Gob, &bytes("03020001")), (rpc::flag::GOB, gob));
    for codec in [Codec::Proto, Codec::Raw] {
        assert_eq!(ask(codec, b"").0, codec.flag() | rpc::flag::ERROR);
    }
    hub.counts("calls", 6);
    hub.counts("errors_method", 0);
}

over_both!(what_is_not_goridge_closes_the_connection_behind_the_answers_that_are_due);
fn what_is_not_goridge_closes_the_connection_behind_the_answers_that_are_due(runtime: Runtime) {
    let hub = start(runtime, 1, Limits { rpc_frame_bytes: 1024, ..Limits::default() });
    let good = publish(1, &["a"], b"x");
    let mut checksum = good.clone();
    checksum[6] ^= 1;
    let mut frames =
        vec![b"GET / HTTP/1.1\r\n\r\n".to_vec(), vec![0x12; 12], vec![0x1e; 12], checksum];
    frames.push(publish(1, &["a"], &[0; 1024]));
    for (options, name) in
        [(&[][..], "no"), (&[1], "one"), (&[1, 2, 3], "three"), (&[1, 100], "method")]
    {
        let mut out = Vec::new();
        rpc::encode_frame(&mut out, rpc::flag::PROTO, options, &[name.as_bytes()]);
        frames.push(out);
    }
    let count = frames.len() as u64;
    for frame in frames {
        let mut stream = hub.connect();
        stream.write_all(&[&good[..], &frame].concat()).unwrap();
        assert_eq!(answer(&mut stream), (1, Ok(true)));
        assert!(is_closed(&mut stream), "{frame:x?}");
    }
    hub.counts("rpc_violations", count);
    hub.counts("rpc_open", 0);
}

over_both!(the_service_decides_the_layout_and_the_brokers);
fn the_service_decides_the_layout_and_the_brokers(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits::default());
    hub.interest(0, 0, BUS, "foo");
    hub.interest(0, 1, DEFAULT, "foo");
    let mut stream = hub.connect();
    let mut ask = |method: &str, codec, body: &[u8]| {
        stream.write_all(&call(1, method, codec, body)).unwrap();
        answer_ok(&mut stream);
    };
    let websockets = |broker: &str| {
        use prost::Message as _;
        let (broker, topics, payload) = (broker.into(), vec!["foo".into()], b"w".into());
        let message =
            rpc::proto::websockets::Message { broker, topics, payload, ..Default::default() };
        rpc::proto::websockets::Request { messages: vec![message] }.encode_to_vec()
    };
    ask("broadcast.Publish", Codec::Proto, &rpc::publish_body(["foo"], b"b"));
    ask("broadcast.PublishAsync", Codec::Raw, &rpc::publish_body(["foo"], b"r"));
    ask("broadcast.Publish", Codec::Json, br#"{"messages":[{"topics":["foo"],"payload":"ag=="}]}"#);
    ask(
        "broadcast.Publish",
        Codec::Msgpack,
        b"\x81\xa8Messages\x91\x82\xa6Topics\x91\xa3foo\xa7Payload\xc4\x01m",
    );
    ask("websockets.Publish", Codec::Proto, &websockets("bus"));
    ask("websockets.PublishAsync", Codec::Proto, &websockets(""));
    let text = |payload: &str| format!(r#"{{"topic":"foo","payload":"{payload}"}}"#);
    for (place, payload) in ["b", "r", "j", "m"].into_iter().enumerate() {
        let sequence = place as u64 + 1;
        assert_eq!(hub.published(0), (0, sequence, text(payload)));
        assert_eq!(hub.published(0), (1, sequence, text(payload)));
    }
    assert_eq!(hub.published(0), (0, 5, text("w")));
    assert_eq!(hub.published(0), (1, 5, text("w")));
}

/// An answer in any codec.
fn answer_ok(stream: &mut TcpStream) {
    let mut header = [0; 20];
    stream.read_exact(&mut header).unwrap();
    assert_eq!(header[1] & rpc::flag::ERROR, 0);
    let mut payload = vec![0; u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize];
    stream.read_exact(&mut payload).unwrap();
}

over_both!(empty_requests_and_topics_are_ok_and_a_topic_named_twice_gets_it_twice);
fn empty_requests_and_topics_are_ok_and_a_topic_named_twice_gets_it_twice(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits::default());
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    for body in
        [vec![], rpc::publish_body([], b"nobody"), rpc::publish_body(["", "foo", "", "foo"], b"x")]
    {
        stream.write_all(&call(1, "broadcast.Publish", Codec::Proto, &body)).unwrap();
        assert_eq!(answer(&mut stream), (1, Ok(true)));
    }
    assert_eq!((hub.published(0).1, hub.published(0).1), (1, 2));
    assert!(hub.shards[0].down.is_empty());
    hub.counts("empty_topics", 2);
}

over_both!(pipelined_calls_are_answered_and_published_in_order);
fn pipelined_calls_are_answered_and_published_in_order(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits::default());
    for (index, topic) in ["a", "b", "c"].into_iter().enumerate() {
        hub.interest(0, index as u32, BUS, topic);
    }
    let mut stream = hub.connect();
    let count = 3000;
    let mut calls = Vec::new();
    for number in 0..count {
        calls.extend(publish(
            number,
            &[["a", "b", "c"][number as usize % 3]],
            number.to_string().as_bytes(),
        ));
    }
    let mut writing = stream.try_clone().unwrap();
    let writer = std::thread::spawn(move || writing.write_all(&calls).unwrap());
    for number in 0..count {
        assert_eq!(answer(&mut stream), (number, Ok(true)));
    }
    writer.join().unwrap();
    for number in 0..count {
        let (topic, sequence, text) = hub.published(0);
        assert_eq!((topic, sequence), (number % 3, u64::from(number / 3) + 1));
        assert!(text.ends_with(&format!(r#""payload":"{number}"}}"#)));
    }
}
