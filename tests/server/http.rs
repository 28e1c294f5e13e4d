//! The HTTP side of the client address: what is upgraded, and how everything else is answered.

use crate::common::{
    Client, RawClient, Received, Server, get, http, masked, read_http, upgrade_request,
};

/// The upgrade request without the line that starts with `name`.
fn without(name: &str) -> String {
    upgrade_request("/ws", &[])
        .split_inclusive("\r\n")
        .filter(|line| !line.starts_with(name))
        .collect()
}

/// The upgrade request with one line in place of the line that starts with `name`.
fn with(name: &str, line: &str) -> String {
    let replace =
        |old: &str| if old.starts_with(name) { format!("{line}\r\n") } else { old.to_owned() };
    upgrade_request("/ws", &[]).split_inclusive("\r\n").map(replace).collect()
}

#[test]
fn what_is_not_an_upgrade_of_our_path_is_refused_with_its_reason() {
    let server = Server::start(&[]);
    let long = format!("X-Long: {}", "x".repeat(32 * 1024));
    let many = ["X-Short: x"; 200];
    let table: &[(&str, String, &[u16])] = &[
        ("another path", upgrade_request("/other", &[]), &[404]),
        ("a path that only begins like ours", upgrade_request("/wsx", &[]), &[404]),
        ("the root, without --demo", "GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &[404]),
        ("no upgrade at all", "GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), &[400, 426]),
        ("no Upgrade header", without("Upgrade:"), &[400, 426]),
        ("an upgrade to something else", with("Upgrade:", "Upgrade: h2c"), &[400, 426]),
        ("no Connection header", without("Connection:"), &[400, 426]),
        ("no key", without("Sec-WebSocket-Key:"), &[400]),
        (
            "a key of the wrong length",
            with("Sec-WebSocket-Key:", "Sec-WebSocket-Key: dGhl"),
            &[400],
        ),
        (
            "a key that is not base64",
            with("Sec-WebSocket-Key:", "Sec-WebSocket-Key: ???=5jb25nZQ!!sbub25jZQ=="),
            &[400],
        ),
        ("another version", with("Sec-WebSocket-Version:", "Sec-WebSocket-Version: 8"), &[426]),
        ("no version", without("Sec-WebSocket-Version:"), &[400, 426]),
        ("another method", with("GET", "POST /ws HTTP/1.1"), &[405]),
        ("a method in lower case", with("GET", "get /ws HTTP/1.1"), &[501]),
        ("HTTP/1.0", with("GET", "GET /ws HTTP/1.0"), &[400]),
        ("TLS", "\u{16}\u{3}\u{1}\u{2}".to_owned(), &[400]),
        ("a PROXY header", format!("{PROXY}{}", upgrade_request("/ws", &[])), &[400]),
        ("a head over 32 KiB", upgrade_request("/ws", &[&long]), &[431]),
        ("over 200 headers", upgrade_request("/ws", &many), &[431]),
        ("bytes that are no HTTP", "\u{1}\u{2}\u{3}\r\n\r\n".to_owned(), &[400]),
    ];
    for (what, request, expected) in table {
        let answer = http(server.clients, request.as_bytes());
        assert!(expected.contains(&answer.status), "{what}: {expected:?}, not {}", answer.head);
    }
    server.client().join(&["still-serving"]);
}

const PROXY: &str = "PROXY TCP4 192.0.2.1 192.0.2.2 4711 8080\r\n";

#[test]
fn empty_lines_before_the_request_are_ignored() {
    let server = Server::start(&[]);
    for lines in ["\r\n", "\r\n\r\n", "\n"] {
        let request = format!("{lines}{}", upgrade_request("/ws", &[]));
        assert_eq!(http(server.clients, request.as_bytes()).status, 101, "{lines:?}");
    }
}

#[test]
fn a_request_may_have_the_cookies_that_proxies_pass_on() {
    let cookies: Vec<String> =
        (0..4).map(|n| format!("Cookie: c{n}={}", "x".repeat(7 * 1024))).collect();
    let more: Vec<String> = (0..150).map(|n| format!("X-Header-{n}: y")).collect();
    let lines: Vec<&str> = cookies.iter().chain(&more).map(String::as_str).collect();
    let request = upgrade_request("/ws", &lines);
    assert!(request.len() > 30 * 1024, "{}", request.len());
    let server = Server::start(&[]);
    assert_eq!(http(server.clients, request.as_bytes()).status, 101);
    let server = Server::start(&["roadcast.limits.head_bytes=8KiB"]);
    let answer = http(server.clients, request.as_bytes());
    assert_eq!(answer.status, 431);
    assert!(String::from_utf8_lossy(&answer.body).contains("more than 8192 bytes"));
    server.says("request refused with 431: roadcast.limits.head_bytes", 1);
    let server = Server::start(&["roadcast.limits.headers=100"]);
    assert_eq!(http(server.clients, request.as_bytes()).status, 431);
    server.says("request refused with 431: roadcast.limits.headers", 1);
}

#[test]
fn a_subprotocol_that_is_listed_is_agreed() {
    let server = Server::start(&["roadcast.subprotocols=graphql-ws,chat"]);
    let agreed = |offers: &str| {
        let request = upgrade_request("/ws", &[&format!("Sec-WebSocket-Protocol: {offers}")]);
        let answer = http(server.clients, request.as_bytes());
        assert_eq!(answer.status, 101);
        answer.header("sec-websocket-protocol").map(str::to_owned)
    };
    assert_eq!(agreed("mqtt, chat, graphql-ws").as_deref(), Some("chat"));
    assert_eq!(agreed("mqtt"), None);
}

#[test]
fn a_load_balancers_probe_of_the_traffic_port_is_answered_and_counts_for_nobody() {
    let server = Server::start(&[
        "roadcast.shards=1",
        "roadcast.health_path=/up",
        "roadcast.limits.handshakes_per_address=1",
        "http.trusted_subnets=127.0.0.1",
    ]);
    for _ in 0..20 {
        assert_eq!(get(server.clients, "/up"), 200);
    }
    server.client().join(&["news"]);
    assert_eq!(get(Server::start(&[]).clients, "/up"), 404, "off unless a path is named");
}

#[test]
fn the_log_says_why_a_request_is_refused_once_a_reason() {
    let server = Server::start(&["roadcast.shards=1"]);
    let table = [
        ("\u{16}\u{3}\u{1}\u{2}".to_owned(), "TLS, which is not served here"),
        (format!("{PROXY}{}", upgrade_request("/ws", &[])), "a PROXY protocol header"),
        ("\r\n\r\n\0\r\nQUIT\n\u{21}\u{11}\0\u{c}".to_owned(), ""),
        (with("GET", "GET /ws HTTP/1.0"), "HTTP/1.0"),
        ("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "no upgrade to a WebSocket"),
        (with("GET", "get /ws HTTP/1.1"), "no method of HTTP"),
        (
            with("Sec-WebSocket-Version:", "Sec-WebSocket-Version: 8"),
            "another version of the WebSocket",
        ),
        (without("Host:"), "not one valid Host header"),
    ];
    for _ in 0..3 {
        for (request, _) in &table {
            assert!(http(server.clients, request.as_bytes()).status >= 400);
        }
    }
    for (_, why) in table.iter().filter(|(_, why)| !why.is_empty()) {
        let line = server.says(why, 1);
        assert!(line.contains("request refused with") && line.contains("127.0.0.1:"), "{line}");
    }
}

#[test]
fn a_client_of_another_version_is_told_ours() {
    let server = Server::start(&[]);
    let answer =
        http(server.clients, with("Sec-WebSocket-Version:", "Sec-WebSocket-Version: 8").as_bytes());
    assert_eq!(answer.status, 426);
    assert_eq!(
        answer.header("sec-websocket-version"),
        Some("13"),
        "RFC 6455 §4.4: {}",
        answer.head
    );
}

#[test]
fn header_names_and_tokens_are_matched_without_regard_to_case() {
    let server = Server::start(&[]);
    let request = upgrade_request("/ws", &[])
        .replace("Upgrade: websocket", "upgrade: WebSocket")
        .replace("Connection: Upgrade", "CONNECTION: keep-alive, upgrade");
    assert_eq!(http(server.clients, request.as_bytes()).status, 101);
}

#[test]
fn a_query_does_not_change_the_path() {
    let server = Server::start(&[]);
    assert_eq!(http(server.clients, upgrade_request("/ws?token=1", &[]).as_bytes()).status, 101);
}

#[test]
fn the_path_is_the_configured_one() {
    let server = Server::start(&["websockets.path=/live/socket"]);
    assert_eq!(Client::connect(server.clients, "/ws").err().expect("not our path").status, 404);
    let mut client = Client::connect(server.clients, "/live/socket").expect("our path");
    client.join(&["news"]);
}

#[test]
fn an_origin_outside_the_rule_is_refused_with_403() {
    let server = Server::start(&["websockets.allowed_origin=https://*my.site.com"]);
    let table = [
        (Some("https://my.site.com"), true),
        (Some("https://some.my.site.com"), true),
        (Some("HTTPS://Some.My.Site.Com"), true),
        (Some("https://my.site.com.evil.example"), false),
        (Some("http://my.site.com"), false),
        (Some("https://site.com"), false),
        (None, false),
    ];
    for (origin, allowed) in table {
        match Client::connect_from(server.clients, "/ws", origin) {
            Ok(_) => assert!(allowed, "{origin:?} gets in"),
            Err(refusal) => assert_eq!((refusal.status, allowed), (403, false), "{origin:?}"),
        }
    }
    // The path is looked at first: who asks for something else learns nothing about the rule.
    assert_eq!(Client::connect(server.clients, "/other").err().expect("not our path").status, 404);
}

#[test]
fn a_head_slower_than_its_limit_ends_the_connection() {
    let server = Server::start(&["roadcast.limits.head_timeout=200ms"]);
    let mut stream = std::net::TcpStream::connect(server.clients).expect("the server listens");
    stream.set_read_timeout(Some(crate::common::PATIENCE)).expect("a read timeout");
    std::io::Write::write_all(&mut stream, b"GET /ws HTTP/1.1\r\nHost: x\r\n")
        .expect("the server reads");
    // An answer on the way out (408) is as good as none.
    match read_http(&mut stream) {
        Ok(answer) => assert_eq!(answer.status, 408, "{}", answer.head),
        Err(error) => {
            assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the connection stays open")
        }
    }
    server.client().join(&["still-serving"]);
}

#[test]
fn bytes_right_behind_the_upgrade_request_are_not_lost() {
    let server = Server::start(&[]);
    let command = masked(0x81, br#"{"command":"join","topics":["news"]}"#);
    let mut client = RawClient::connect_with(server.clients, "/ws", &command);
    let (first, payload) = client.frame().expect("a reply");
    assert_eq!(first, 0x81);
    assert_eq!(String::from_utf8_lossy(&payload), r#"{"topic":"@join","payload":["news"]}"#);
    server.publisher().publish(&["news"], b"hello");
    assert_eq!(client.frame(), Some((0x81, br#"{"topic":"news","payload":"hello"}"#.to_vec())));
}

#[test]
fn connections_past_the_limit_are_answered_with_503_until_one_ends() {
    let server = Server::start(&["roadcast.limits.connections=3"]);
    let mut inside: Vec<Client> = (0..3).map(|_| server.client()).collect();
    for client in &mut inside {
        client.join(&["news"]);
    }
    assert_eq!(Client::connect(server.clients, "/ws").err().expect("full").status, 503);
    inside.pop().expect("three of them").close();
    // The freed place is counted on its shard, which may see our next attempt first.
    let mut newcomer = loop {
        match Client::connect(server.clients, "/ws") {
            Ok(client) => break client,
            Err(refusal) => assert_eq!(refusal.status, 503),
        }
    };
    newcomer.join(&["news"]);
    server.publisher().publish(&["news"], b"for three");
    for client in inside.iter_mut().chain([&mut newcomer]) {
        assert_eq!(client.next(), Received::Message("news".to_owned(), "for three".to_owned()));
    }
}

#[test]
fn the_demo_page_is_served_when_asked_for() {
    let server = Server::start_with(&["--demo"], &[]);
    let answer = http(server.clients, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(answer.status, 200, "{}", answer.head);
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    let page = String::from_utf8(answer.body).expect("UTF-8");
    assert!(page.contains(&server.publish), "the page names the RPC address {}", server.publish);
    assert_eq!(http(server.clients, upgrade_request("/other", &[]).as_bytes()).status, 404);
    server.client().join(&["news"]);
}

#[test]
fn each_reason_for_a_refusal_is_said_once_with_what_was_sent() {
    let server = Server::start(&[
        "roadcast.shards=1",
        "roadcast.limits.connections=2",
        "websockets.allowed_origin=https://*my.site",
        "roadcast.limits.topic_bytes=8",
        "roadcast.limits.topics_per_connection=2",
        "roadcast.limits.subscriptions_bytes_per_connection=1KiB",
    ]);
    for _ in 0..3 {
        assert_eq!(
            http(server.clients, upgrade_request("/a?token=secret", &[]).as_bytes()).status,
            404
        );
        let evil = upgrade_request("/ws", &["Origin: https://evil.site"]);
        assert_eq!(http(server.clients, evil.as_bytes()).status, 403);
    }
    let log = server.says("refused with 404", 1);
    assert!(log.contains("/a") && log.contains("127.0.0.1:") && !log.contains("secret"), "{log}");
    let log = server.says("refused with 403", 1);
    assert!(log.contains("https://evil") && log.contains("allowed_origin"), "{log}");

    let connect = || Client::connect_from(server.clients, "/ws", Some("https://my.site"));
    let (mut client, _other) = (connect().expect("room"), connect().expect("room"));
    for _ in 0..2 {
        assert_eq!(connect().err().expect("full").status, 503);
        for (command, expected) in [
            (r#"{"command":"join","topics":["much-too-long"]}"#, "#join"),
            (r#"{"command":"join","topics":["a","b","c"]}"#, "#join"),
            (r#"{"command":"join","topics":["a","b"]}"#, "#join"),
            (r#"{"command":"join","broker":"none","topics":["a"]}"#, "@join"),
        ] {
            client.send(command);
            match client.next() {
                Received::Reply(kind, _) => assert_eq!(kind, expected),
                other => panic!("{other:?}"),
            }
        }
    }
    for words in [
        "refused with 503: roadcast.limits.connections",
        "roadcast.limits.topic_bytes",
        "topics_per_connection",
        "subscriptions_bytes_per_connection",
        "the default one is taken",
    ] {
        server.says(words, 1);
    }
}
