//! RFC 6455 over real sockets: framing errors and their codes, fragments, control frames, any split
//! of the input.

use crate::common::{Client, RawClient, Scrape, Server, masked};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tungstenite::Message;

const JOIN: &str = r#"{"command":"join","topics":["news"]}"#;
const JOINED: &str = r#"{"topic":"@join","payload":["news"]}"#;

fn expect_joined(client: &mut RawClient) {
    let (first, payload) = client.frame().expect("a reply");
    assert_eq!((first, String::from_utf8_lossy(&payload).as_ref()), (0x81, JOINED));
}

#[test]
fn a_protocol_error_is_closed_with_its_code() {
    let server = Server::start(&["roadcast.limits.message_bytes=1000"]);
    let unmasked = vec![0x81, 2, b'h', b'i'];
    let longer = masked(0x81, &[b'x'; 1001]);
    let table: Vec<(&str, Vec<u8>, u16)> = vec![
        ("an unmasked frame (§5.1)", unmasked, 1002),
        ("a reserved bit (§5.2)", masked(0xc1, b"hi"), 1002),
        ("an unknown data opcode (§5.2)", masked(0x83, b"hi"), 1002),
        ("an unknown control opcode (§5.2)", masked(0x8b, b"hi"), 1002),
        ("a control frame in fragments (§5.5)", masked(0x09, b"hi"), 1002),
        ("a control frame over 125 bytes (§5.5)", masked(0x89, &[0; 126]), 1002),
        ("a continuation of nothing (§5.4)", masked(0x80, b"hi"), 1002),
        (
            "a new message between fragments (§5.4)",
            [masked(0x01, b"a"), masked(0x81, b"b")].concat(),
            1002,
        ),
        ("a Close with one byte (§5.5.1)", masked(0x88, &[3]), 1002),
        ("a Close with code 999 (§7.4)", masked(0x88, &999u16.to_be_bytes()), 1002),
        ("a Close with code 1005 (§7.4.1)", masked(0x88, &1005u16.to_be_bytes()), 1002),
        ("a Close with code 1006 (§7.4.1)", masked(0x88, &1006u16.to_be_bytes()), 1002),
        ("text that is not UTF-8 (§8.1)", masked(0x81, &[0xc3, 0x28]), 1007),
        ("text that ends inside a character", masked(0x81, &[0xe2, 0x82]), 1007),
        (
            "not UTF-8 across fragments",
            [masked(0x01, &[0xe2]), masked(0x80, &[0x28, 0xa1])].concat(),
            1007,
        ),
        ("a Close reason that is not UTF-8", masked(0x88, &[0x03, 0xe8, 0xff]), 1007),
        ("a message over the limit", longer, 1009),
        (
            "a header that announces 2^63 bytes",
            vec![0x81, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
            1002,
        ),
        (
            "a header that announces too much",
            vec![0x81, 0xff, 0, 0, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4],
            1009,
        ),
        (
            "fragments over the limit together",
            [masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 600])].concat(),
            1009,
        ),
    ];
    for (what, bytes, code) in table {
        let mut client = RawClient::connect(server.clients, "/ws");
        client.text(JOIN);
        expect_joined(&mut client);
        client.send(&bytes);
        // A length with its highest bit set is a protocol error (§5.2) as much as it is too large.
        if what.contains("2^63") {
            let (first, payload) = client.frame().expect("a Close");
            let code = u16::from_be_bytes([payload[0], payload[1]]);
            assert!(first == 0x88 && (code == 1002 || code == 1009), "{what}: {code}");
        } else {
            client.expect_close(code, what);
        }
    }
    let mut client = server.client();
    client.join(&["news"]);
}

#[test]
fn a_close_is_answered_with_its_own_code() {
    let server = Server::start(&[]);
    for code in [1000u16, 1001, 1011, 3000, 4999] {
        let mut client = RawClient::connect(server.clients, "/ws");
        client.send(&masked(0x88, &code.to_be_bytes()));
        assert_eq!(client.frame(), Some((0x88, code.to_be_bytes().to_vec())));
        client.expect_end();
    }
    let mut client = RawClient::connect(server.clients, "/ws");
    client.send(&masked(0x88, b""));
    let (first, payload) = client.frame().expect("a Close");
    assert!(
        first == 0x88 && (payload.is_empty() || payload == 1000u16.to_be_bytes()),
        "{payload:?}"
    );
    client.expect_end();
}

#[test]
fn a_ping_is_answered_with_its_payload_also_between_fragments() {
    let server = Server::start(&[]);
    let mut client = RawClient::connect(server.clients, "/ws");
    client.send(&masked(0x89, b""));
    assert_eq!(client.frame(), Some((0x8a, Vec::new())));
    let (head, tail) = JOIN.as_bytes().split_at(11);
    client.send(&masked(0x01, head));
    client.send(&masked(0x89, &[7; 125]));
    assert_eq!(client.frame(), Some((0x8a, vec![7; 125])));
    client.send(&masked(0x00, b""));
    client.send(&masked(0x8a, b"a pong nobody asked for"));
    client.send(&masked(0x80, tail));
    expect_joined(&mut client);
}

#[test]
fn a_command_may_be_text_or_binary() {
    let server = Server::start(&[]);
    let mut client = RawClient::connect(server.clients, "/ws");
    client.send(&masked(0x82, JOIN.as_bytes()));
    expect_joined(&mut client);
}

#[test]
fn input_may_be_split_anywhere() {
    let server = Server::start(&[]);
    let mut rng = StdRng::seed_from_u64(crate::common::seed());
    let mut publisher = server.publisher();
    let stream = [
        crate::common::upgrade_request("/ws", &[]).into_bytes(),
        masked(0x01, &JOIN.as_bytes()[..7]),
        masked(0x89, b"between"),
        masked(0x80, &JOIN.as_bytes()[7..]),
        masked(0x81, r#"{"command":"leave","topics":["später"]}"#.as_bytes()),
    ]
    .concat();
    for round in 0..40 {
        let mut client = RawClient::open(server.clients);
        let mut rest = &stream[..];
        while !rest.is_empty() {
            // The first round goes byte by byte; the others mix small and large pieces.
            let most = if round == 0 {
                1
            } else {
                *[2, 16, 200].get(rng.random_range(0..3)).unwrap_or(&2)
            };
            let (piece, tail) = rest.split_at(rng.random_range(1..=most.min(rest.len())));
            client.send(piece);
            rest = tail;
        }
        client.expect_upgraded();
        assert_eq!(client.frame(), Some((0x8a, b"between".to_vec())), "round {round}");
        expect_joined(&mut client);
        let (_, left) = client.frame().expect("a reply");
        assert_eq!(String::from_utf8_lossy(&left), r#"{"topic":"@leave","payload":["später"]}"#);
        publisher.publish(&["news"], b"split");
        assert_eq!(
            client.frame(),
            Some((0x81, br#"{"topic":"news","payload":"split"}"#.to_vec())),
            "round {round}"
        );
    }
}

#[test]
fn the_echo_path_returns_each_message_with_its_type() {
    let server =
        Server::start(&["roadcast.echo_path=/echo", "roadcast.limits.message_bytes=300000"]);
    let mut rng = StdRng::seed_from_u64(crate::common::seed());
    let mut client = Client::connect(server.clients, "/echo").expect("the echo path is served");
    for size in [0, 1, 125, 126, 127, 65_535, 65_536, 65_537, 300_000] {
        let text: String = (0..size).map(|_| rng.random_range('!'..='~')).collect();
        client.send_message(Message::text(text.clone()));
        assert_eq!(client.next_message(), Ok(Message::text(text)), "text of {size} bytes");
        let bytes: Vec<u8> = (0..size).map(|_| rng.random()).collect();
        client.send_message(Message::binary(bytes.clone()));
        assert_eq!(client.next_message(), Ok(Message::binary(bytes)), "{size} bytes");
    }
    client.close();
}

#[test]
fn an_echo_client_that_does_not_read_is_paused_and_loses_nothing() {
    let server = Server::start(&["roadcast.echo_path=/echo", "roadcast.ping_interval=0"]);
    let mut client = RawClient::connect(server.clients, "/echo");
    let mut other = server.client();
    other.join(&["news"]);
    // More than both kernels and the outbox hold: the writer must be made to wait, not be cut off.
    const MESSAGES: usize = 600;
    let payload = vec![0x5a; 60_000];
    let mut writer = client.again();
    let writing = std::thread::spawn(move || {
        let frame = masked(0x82, &payload);
        for _ in 0..MESSAGES {
            writer.send(&frame);
        }
    });
    server.publisher().publish(&["news"], b"others go on");
    other.expect("news", "others go on");
    for number in 0..MESSAGES {
        let (first, payload) =
            client.frame().unwrap_or_else(|| panic!("the end instead of echo {number}"));
        assert!(first == 0x82 && payload.len() == 60_000, "echo {number}");
    }
    writing.join().expect("everything was written");
}

#[test]
fn the_echo_path_is_off_unless_configured() {
    let server = Server::start(&[]);
    assert_eq!(Client::connect(server.clients, "/echo").err().expect("no such path").status, 404);
}

#[test]
fn a_client_that_answers_pings_stays_and_one_that_does_not_is_ended() {
    let server = Server::start(&["roadcast.ping_interval=100ms", "roadcast.pong_timeout=300ms"]);
    let mut silent = RawClient::connect(server.clients, "/ws");
    let mut lively = RawClient::connect(server.clients, "/ws");
    lively.text(JOIN);
    expect_joined(&mut lively);
    // Five intervals and more: past the moment where one without pongs has been ended.
    for _ in 0..8 {
        let (first, payload) = lively.frame().expect("a ping");
        assert_eq!(first, 0x89);
        lively.send(&masked(0x8a, &payload));
    }
    let (first, _) = silent.frame().expect("a ping");
    assert_eq!(first, 0x89);
    silent.expect_end();
    server.publisher().publish(&["news"], b"still here");
    loop {
        match lively.frame().expect("the publication") {
            (0x89, payload) => lively.send(&masked(0x8a, &payload)),
            other => {
                break assert_eq!(
                    other,
                    (0x81, br#"{"topic":"news","payload":"still here"}"#.to_vec())
                );
            }
        }
    }
}

/// It reads late, and so answers pings late; its kernel acknowledges what comes meanwhile.
#[test]
fn a_client_to_which_messages_flow_stays_however_late_it_reads() {
    let server = Server::start(&[
        "roadcast.ping_interval=500ms",
        "roadcast.pong_timeout=1s",
        "metrics.address=127.0.0.1:0",
    ]);
    let metrics = server.endpoint("metrics");
    let silent = || Scrape::of(metrics).sum("connections_ended_total", &["silent"]);
    let mut late = server.client();
    late.join(&["news"]);
    let mut publisher = server.publisher();
    let mut published = 0;
    // As long as it takes to find three, one after the other, who do not answer: it has been pinged
    // long before.
    for ended in 0..3 {
        let _silent = RawClient::connect(server.clients, "/ws");
        while silent() <= ended {
            publisher.publish(&["news"], published.to_string().as_bytes());
            published += 1;
            // So few that its socket is never full: a laggard is not pinged.
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }
    (0..published).for_each(|number: u32| late.expect("news", &number.to_string()));
    late.close();
}
