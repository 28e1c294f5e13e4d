//! Commands and replies of the client protocol, and the promise that a join makes.

use crate::common::{PROTO, Received, Server, field};
use tungstenite::Message;

fn reply(kind: &str, topics: &[&str]) -> Received {
    Received::Reply(kind.to_owned(), topics.iter().map(|topic| topic.to_string()).collect())
}

#[test]
fn replies_name_the_topics_as_asked_and_keep_the_order_of_the_commands() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for text in [
        r#"{"command":"join","topics":["foo","foo2"]}"#,
        r#"{"command":"leave","topics":["never-joined"]}"#,
        r#"{"command":"join","topics":["a","a","foo"]}"#,
        r#"{"command":"leave","topics":["foo"]}"#,
    ] {
        client.send(text);
    }
    assert_eq!(client.next(), reply("@join", &["foo", "foo2"]));
    assert_eq!(client.next(), reply("@leave", &["never-joined"]));
    assert_eq!(client.next(), reply("@join", &["a", "a", "foo"]));
    assert_eq!(client.next(), reply("@leave", &["foo"]));
    let mut publisher = server.publisher();
    publisher.publish(&["foo"], b"left");
    publisher.publish(&["a"], b"once");
    client.expect("a", "once");
    publisher.publish(&["foo2"], b"hello, PHP");
    client.expect("foo2", "hello, PHP");
}

#[test]
fn replies_are_compact_text_with_the_topic_first() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send_message(Message::binary(br#"{"command":"join","topics":["foo","foo2"]}"#.to_vec()));
    assert_eq!(
        client.next_message(),
        Ok(Message::text(r#"{"topic":"@join","payload":["foo","foo2"]}"#))
    );
    server.publisher().publish(&["foo"], b"hello, PHP");
    assert_eq!(
        client.next_message(),
        Ok(Message::text(r#"{"topic":"foo","payload":"hello, PHP"}"#))
    );
    client.send(r#"{"command":"leave","topics":["foo"]}"#);
    assert_eq!(client.next_message(), Ok(Message::text(r#"{"topic":"@leave","payload":["foo"]}"#)));
}

#[test]
fn commands_are_read_the_way_go_reads_json() {
    let server = Server::start(&[]);
    let mut client = server.client();
    let deep = "[".repeat(200) + &"]".repeat(200);
    let table: &[(&str, Received)] = &[
        (r#"{"Command":"join","TOPICS":["case"]}"#, reply("@join", &["case"])),
        (r#"{"command":"join","topics":["x"],"topics":["last"]}"#, reply("@join", &["last"])),
        (
            r#"{"more":{"deep":[1,2]},"command":"join","broker":null,"topics":["more"],"payload":"x"}"#,
            reply("@join", &["more"]),
        ),
        (r#"{"command":"join","broker":"default","topics":["named"]}"#, reply("@join", &["named"])),
        (
            r#"{"command":"join","topics":["\u00fcber \"quoted\" \\ \ud83d\ude80"]}"#,
            reply("@join", &["über \"quoted\" \\ 🚀"]),
        ),
        (r#"{"command":"join","topics":["room \ud83d"]}"#, reply("@join", &["room \u{fffd}"])),
        (r#"{"command":"join","topics":["field"],"payload":"\ud83d"}"#, reply("@join", &["field"])),
        (
            r#"{"command":"join","topics":["type"],"broker":5,"payload":[]}"#,
            reply("@join", &["type"]),
        ),
        (r#"{"command":"join","topics":["large"],"n":1e999999999}"#, reply("@join", &["large"])),
        (
            &format!(r#"{{"command":"join","topics":["deep"],"x":{deep}}}"#),
            reply("@join", &["deep"]),
        ),
    ];
    for (command, expected) in table {
        client.send(command);
        assert_eq!(&client.next(), expected, "{command}");
    }
}

#[test]
fn a_binary_command_need_not_be_utf8() {
    let server = Server::start(&[]);
    let mut client = server.client();
    client.send_message(Message::binary(
        b"{\"command\":\"join\",\"topics\":[\"a\xff\xe2\x82\"]}".to_vec(),
    ));
    assert_eq!(client.next(), reply("@join", &["a\u{fffd}\u{fffd}\u{fffd}"]));
    server.publisher().publish(&["a\u{fffd}\u{fffd}\u{fffd}"], b"reached");
    client.expect("a\u{fffd}\u{fffd}\u{fffd}", "reached");
}

/// Byte for byte what RoadRunner answers: it subscribes to nothing, or to a topic that nobody can
/// publish to.
#[test]
fn joins_that_name_nothing_are_answered_as_roadrunner_answers_them() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for (command, expected) in [
        (r#"{"command":"join","topics":[]}"#, r#"{"topic":"@join","payload":[]}"#),
        (r#"{"command":"join","topics":null}"#, r#"{"topic":"@join","payload":null}"#),
        (r#"{"command":"join"}"#, r#"{"topic":"@join","payload":null}"#),
        (r#"{"command":"leave"}"#, r#"{"topic":"@leave","payload":null}"#),
        (r#"{"command":"join","topics":[""]}"#, r#"{"topic":"@join","payload":[""]}"#),
        (r#"{"command":"join","topics":[null,"a"]}"#, r#"{"topic":"@join","payload":["","a"]}"#),
        (r#"{"command":"leave","topics":["",null]}"#, r#"{"topic":"@leave","payload":["",""]}"#),
    ] {
        client.send(command);
        assert_eq!(client.next_message(), Ok(Message::text(expected)), "{command}");
    }
    server.publisher().publish(&["", "a"], b"once");
    client.expect("a", "once");
}

#[test]
fn what_is_not_a_command_is_ignored() {
    let server = Server::start(&[]);
    let mut client = server.client();
    for text in [
        "",
        "hello",
        "null",
        "[]",
        "{",
        r#"{"command":"join","topics":"not a list"}"#,
        r#"{"command":"join","topics":[1,2]}"#,
        r#"{"command":"dance","topics":["x"]}"#,
        r#"{"command":"headers","topics":["x"]}"#,
        r#"{"topics":["x"]}"#,
        &"[".repeat(50_000),
    ] {
        client.send(text);
    }
    client.send_message(Message::binary(vec![0xff, 0xfe, 0x00]));
    client.join(&["after-all-that"]);
}

#[test]
fn a_join_past_a_limit_is_refused_as_a_whole_and_the_connection_stays() {
    let server = Server::start(&[
        "roadcast.limits.topics_per_connection=3",
        "roadcast.limits.topic_bytes=8",
    ]);
    let mut client = server.client();
    client.join(&["a", "b"]);
    client.send(r#"{"command":"join","topics":["c","d"]}"#);
    assert_eq!(client.next(), reply("#join", &["c", "d"]));
    client.send(r#"{"command":"join","topics":["too-long-"]}"#);
    assert_eq!(client.next(), reply("#join", &["too-long-"]));
    client.join(&["a", "c"]);
    client.leave(&["a"]);
    client.join(&["d"]);
    let mut publisher = server.publisher();
    for topic in ["a", "b", "c", "d"] {
        publisher.publish(&[topic], topic.as_bytes());
    }
    for topic in ["b", "c", "d"] {
        // Across topics no order is promised; one publication at a time has one.
        client.expect(topic, topic);
    }
}

#[test]
fn topics_past_their_limit_on_a_shard_are_refused() {
    let server = Server::start(&["roadcast.shards=1", "roadcast.limits.topics=2"]);
    let mut client = server.client();
    client.join(&["a", "b"]);
    client.send(r#"{"command":"join","topics":["c"]}"#);
    assert_eq!(client.next(), reply("#join", &["c"]));
    client.leave(&["a"]);
    client.join(&["b"]);
}

#[test]
fn whoever_has_read_the_join_reply_misses_nothing_and_gets_nothing_twice() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    // Enough connections that both shards have several; each topic is new to its shard, known, or
    // given up before.
    let mut clients: Vec<_> = (0..8).map(|_| server.client()).collect();
    for round in 0..60 {
        let topic = format!("topic-{}", round % 7);
        let count = clients.len();
        for (number, client) in clients.iter_mut().enumerate() {
            client.join(&[&topic]);
            publisher.publish(&[&topic], format!("{round}:{number}").as_bytes());
        }
        for (number, client) in clients.iter_mut().enumerate() {
            // What was published just before it joined may be on its way still: it may come, the
            // later ones must.
            let mut first = client.next();
            for earlier in 0..number {
                if first == Received::Message(topic.clone(), format!("{round}:{earlier}")) {
                    first = client.next();
                }
            }
            assert_eq!(first, Received::Message(topic.clone(), format!("{round}:{number}")));
            for later in number + 1..count {
                client.expect(&topic, &format!("{round}:{later}"));
            }
            client.leave(&[&topic]);
        }
    }
}

#[test]
fn nothing_follows_the_leave_reply() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    let mut client = server.client();
    for round in 0..50 {
        client.join(&["news"]);
        assert!(client.command("leave", &["news"]));
        publisher.publish(&["news"], format!("{round}").as_bytes());
        // Before the reply the publication may still come, after it never.
        match client.next() {
            Received::Message(_, payload) => {
                assert_eq!(payload, round.to_string());
                client.expect_reply("@leave", &["news"]);
            }
            other => assert_eq!(other, reply("@leave", &["news"])),
        }
    }
}

#[test]
fn a_payload_arrives_as_a_json_string_whatever_its_bytes() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    let mut client = server.client();
    client.join(&["bytes"]);
    let every_byte: Vec<u8> = (0..=255).collect();
    let payloads: &[&[u8]] = &[
        b"",
        b"\"quotes\" and \\ and /",
        b"\x00\x01\x1f\x7f\n\r\t\x08\x0c",
        "<b>&amp;</b> \u{2028}\u{2029} äöü 🚀 \u{fffd}".as_bytes(),
        b"{\"json\":[1,2,3]}",
        &every_byte,
        b"cut \xf0\x9f\x9a",
        b"\xed\xa0\x80 a lone surrogate",
    ];
    for payload in payloads {
        publisher.publish(&["bytes"], payload);
        client.expect("bytes", &go_text(payload));
    }
}

/// Text as Go's encoder makes it: each byte that is not part of a valid character becomes U+FFFD.
fn go_text(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push('\u{fffd}'));
    }
    text
}

#[test]
fn topics_of_two_brokers_with_one_name_are_two_topics() {
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("two-brokers");
    std::fs::create_dir_all(&directory).expect("a directory for the test");
    let file = directory.join("rr.yaml");
    std::fs::write(
        &file,
        "broadcast:\n  default: { driver: memory, config: {} }\n  second: { driver: memory, config: {} }\n",
    )
    .expect("a configuration file");
    let server = Server::start_with(&["-c", file.to_str().expect("a path in UTF-8")], &[]);
    let mut first = server.client();
    let mut second = server.client();
    first.join(&["news"]);
    second.send(r#"{"command":"join","broker":"second","topics":["news"]}"#);
    assert_eq!(second.next(), reply("@join", &["news"]));
    let mut publisher = server.publisher();
    let mut message = Vec::new();
    field(&mut message, 2, b"second");
    field(&mut message, 3, b"news");
    field(&mut message, 4, b"only the second");
    let mut request = Vec::new();
    field(&mut request, 1, &message);
    assert!(publisher.ask("websockets.Publish", PROTO, &request).is_ok());
    second.expect("news", "only the second");
    publisher.publish(&["news"], b"both");
    first.expect("news", "both");
    second.expect("news", "both");
}
