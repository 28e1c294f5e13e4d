//! Goal: nothing secret reaches a log, a summary or an error, and nothing that a client sends can
//! forge a line of the log or command a terminal. Method: the real binary, with a secret in every
//! place of a configuration; clients and publishers that send hostile text wherever the server
//! takes some; every byte that it writes is looked at, in each encoding.

use std::process::Command;

use crate::common::{ERROR, JSON, PROTO, RawClient, Server, Site, http, masked, upgrade_request};

const SECRET: &str = "hunter2-s3cret";

/// The log is read by a thread: whoever wants all of it waits for this.
const LAST_LINE: &str = "stopped by SIGTERM after";

/// A file as RoadRunner's users have it, with a secret wherever one stands.
const FILE: &str = r#"
version: "3"
rpc: { listen: "tcp://127.0.0.1:0" }
http: { address: "127.0.0.1:0", ssl: { key: "hunter2-s3cret" }, headers: { x: "hunter2-s3cret" } }
server: { command: "php worker.php --token=hunter2-s3cret", env: [ { TOKEN: "hunter2-s3cret" } ] }
websockets: { broker: default, pool: { token: "hunter2-s3cret" } }
broadcast: { default: { driver: memory, config: { password: "hunter2-s3cret" } } }
redis: { addrs: ["redis://x:hunter2-s3cret@localhost"], username: "hunter2-s3cret", password: "${REDIS_PASSWORD}", sentinel_password: "hunter2-s3cret", pasword: "hunter2-s3cret" }
kv: { redis: { password: "hunter2-s3cret" } }
logs: { level: debug, file_logger_options: { x: "hunter2-s3cret" } }
roadcast: { access: open, shards: 1 }
"#;

#[test]
fn no_secret_of_a_configuration_is_printed_or_logged() {
    let site = Site::new(FILE);
    let secrets = |command: &mut Command| {
        command
            .env("REDIS_PASSWORD", SECRET)
            .env("RR_REDIS_PASSWORD", SECRET)
            .env("RR_KV_PASSWORD", SECRET);
        command.args([
            "-o",
            &format!("redis.password={SECRET}"),
            "-o",
            &format!("kv.password={SECRET}"),
        ]);
    };
    let mut check = site.roadcast(&["check"]);
    secrets(&mut check);
    let output = check.output().expect("it runs");
    let told = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    assert!(output.status.success() && told.contains("redis.password"), "the key is named: {told}");
    assert!(!told.contains(SECRET), "{told}");

    let mut serve = site.roadcast(&["serve"]);
    secrets(&mut serve);
    let mut server = Server::spawn(serve);
    drop(server.client());
    server.signal(10);
    server.says("counts by now, shard 0", 1);
    server.signal(15);
    assert_eq!(server.wait().code(), Some(0));
    server.says(LAST_LINE, 1);
    let told = format!("{}\n{}", server.printed.join("\n"), server.log());
    assert!(told.contains("redis.pasword: no such key") && !told.contains(SECRET), "{told}");
}

#[test]
fn an_error_repeats_no_value_that_may_be_a_secret() {
    for (file, arguments) in [
        ("http: { address: \"${REDIS_PASSWORD}\" }", &[][..]),
        ("rpc: { listen: \"tcp://${REDIS_PASSWORD}\" }", &[]),
        ("http: { trusted_subnets: \"10.0.0.0/8, ${REDIS_PASSWORD}\" }", &[]),
        ("websockets: { pubsubs: \"memory,${REDIS_PASSWORD}\" }", &[]),
        ("roadcast: { overflow: { skip: \"news,*${REDIS_PASSWORD}\" } }", &[]),
        ("redis: hunter2-s3cret", &[]),
        ("redis: { password: \"hunter2-s3cret }", &[]),
        ("redis:\n  password: hunter2-s3cret\n bad", &[]),
        ("", &["-o", "redis.password hunter2-s3cret"]),
        ("", &["-o", "redis.pasword=hunter2-s3cret"]),
        ("", &["-o", "logs.mode=${REDIS_PASSWORD}"]),
    ] {
        let site = Site::new(file);
        for word in ["check", "serve"] {
            let mut command = site.roadcast(&[word]);
            let output =
                command.args(arguments).env("REDIS_PASSWORD", SECRET).output().expect("it runs");
            let told = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
            assert_eq!(output.status.code(), Some(1), "{file} {arguments:?}: {told}");
            assert!(!told.contains(SECRET), "{file} {arguments:?}: {told}");
        }
    }
}

#[test]
fn a_query_which_may_hold_a_token_is_not_logged() {
    let server = Server::start(&["logs.level=debug"]);
    for path in ["/ws?token=hunter2-s3cret", "/other?token=hunter2-s3cret"] {
        http(
            server.clients,
            upgrade_request(path, &["Cookie: s=hunter2-s3cret", "Authorization: hunter2-s3cret"])
                .as_bytes(),
        );
    }
    server.says("request refused with 404", 1);
    assert!(!server.log().contains(SECRET), "{}", server.log());
}

/// What would forge a line, paint or steer a terminal, or turn text round.
const HOSTILE: &str = "x\r\n2026-01-01T00:00:00Z  ERROR  forged\n{\"level\":\"error\",\"msg\":\"forged\"}\u{1b}[2J\u{1b}]0;t\u{7}\
                       \u{9b}31m\u{85}\u{2028}\u{2029}\u{202e}\u{2066}\u{2069}\u{200f}\0\u{7f}\u{8}\t\\ \"q\" end";

/// Everything that breaks out of a line, or out of its reader's trust.
fn dangerous(c: char) -> bool {
    c != '\n' && c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The only origin that is let in, so that hostile ones are refused and named.
const ORIGIN: &str = "https://good";

fn raw_client(server: &Server) -> RawClient {
    let mut client = RawClient::open(server.clients);
    client.send(upgrade_request("/ws", &[&format!("Origin: {ORIGIN}")]).as_bytes());
    client.expect_upgraded();
    client
}

/// The same in another order: of events alike only the first is logged.
fn turned<T, const N: usize>(mut items: [T; N], round: usize) -> [T; N] {
    items.rotate_left(round % N);
    items
}

/// Sends hostile text wherever the server may repeat some.
fn attack(server: &Server, round: usize) {
    // Commands and topics, as JSON lets them be written.
    let quoted = serde_json::to_string(HOSTILE).expect("a string");
    let mut client = raw_client(server);
    client.text(&format!(r#"{{"command":{quoted},"topics":["a"]}}"#));
    let long = serde_json::json!(HOSTILE.repeat(20));
    let joins = [
        format!(r#"{{"command":"join","broker":{quoted},"topics":["a"]}}"#),
        format!(r#"{{"command":"join","topics":[{long}]}}"#),
        format!(r#"{{"command":"join","broker":"none","topics":[{quoted}]}}"#),
    ];
    for join in turned(joins, round) {
        client.text(&join);
        client.frame().expect("#join");
    }
    // Messages that are no command, with the text in what the parser may quote.
    let messages = [
        HOSTILE.to_owned(),
        format!("{{\"command\":{quoted}"),
        format!(r#"{{"command":{{{quoted}:1}}}}"#),
    ];
    for message in messages {
        let mut client = raw_client(server);
        client.text(&message);
        client.send(&masked(0x89, b""));
        assert!(client.frame().is_some(), "a pong: it lives");
    }
    // A binary message with bytes that are no text, a Close with a hostile reason, a violation.
    let mut client = raw_client(server);
    client.send(&masked(0x82, b"\xff\xfe\x1b[31m\n"));
    client.send(&masked(0x81, b"\xff\x1b[31m"));
    client.expect_close(1007, "bytes that are no UTF-8");
    let mut client = raw_client(server);
    client.send(&masked(0x88, &[&1000u16.to_be_bytes()[..], &HOSTILE.as_bytes()[..60]].concat()));
    client.expect_end();

    // Requests: what HTTP allows in a path and an origin, and what it does not.
    let latin: Vec<u8> = b"/\xc2\x9b31m\xe2\x80\xae\xff\xfe".to_vec();
    let paths =
        [&latin[..], "/\u{2028}\u{202e}\u{9b}x".as_bytes(), b"/%1b[31m\"forged\"=", b"/\x1b[31m"];
    for path in turned(paths, round) {
        let request = [b"GET ", path, b" HTTP/1.1\r\nHost: x\r\n\r\n"].concat();
        assert!(matches!(http(server.clients, &request).status, 400 | 404));
    }
    let origins = [
        "https://\u{202e}moc.\u{2028}live\u{2066}".as_bytes(),
        "https://\u{9b}31m\u{85}".as_bytes(),
        b"https://\xff\xfe\xc2\x9b",
        b"https://a\"  level=ERROR",
        b"https://\x1b[2J",
    ];
    for origin in turned(origins, round) {
        let request = upgrade_request("/ws", &["Origin: @"]);
        let (before, after) = request.split_once('@').expect("its place");
        let request = [before.as_bytes(), origin, after.as_bytes()].concat();
        assert!(matches!(http(server.clients, &request).status, 400 | 403), "{origin:?}");
    }

    // RPC: the method, the codec's bodies, the broker, the topic, and a peer that speaks no
    // goridge.
    let mut publisher = server.publisher();
    let methods = [
        HOSTILE.replace('.', ""),
        format!("broadcast.{HOSTILE}"),
        format!("{}.Publish", HOSTILE.replace('.', "")),
    ];
    for method in turned(methods, round) {
        let answer = publisher.ask(&method, PROTO, b"");
        assert!(answer.flags & ERROR != 0, "{answer:?}");
    }
    let broker = format!(r#"{{"messages":[{{"broker":{quoted},"topics":["a"],"payload":""}}]}}"#);
    let topic =
        serde_json::json!({ "messages": [{ "topics": [HOSTILE.repeat(20)], "payload": "" }] })
            .to_string();
    let field = format!(r#"{{"messages":[{{{quoted}:1,"topics":{quoted}}}]}}"#);
    let calls = [
        ("websockets", broker),
        ("broadcast", topic),
        ("broadcast", HOSTILE.to_owned()),
        ("broadcast", field),
    ];
    for (service, body) in turned(calls, round) {
        let answer = publisher.ask(&format!("{service}.Publish"), JSON, body.as_bytes());
        assert!(answer.flags & ERROR != 0, "{answer:?}");
    }
    // A peer that speaks no goridge.
    let mut stranger = server.publisher();
    stranger.send(HOSTILE.as_bytes()).expect("the server reads");
    stranger.expect_closed();
}

#[test]
fn no_client_can_forge_a_line_of_the_log() {
    for (mode, round) in ["development", "production", "raw"]
        .into_iter()
        .flat_map(|mode| [0, 1, 2].map(|n| (mode, n)))
    {
        let settings = [
            &format!("logs.mode={mode}")[..],
            "logs.level=debug",
            "roadcast.shards=1",
            &format!("websockets.allowed_origin={ORIGIN}"),
        ];
        let mut server = Server::start(&settings);
        attack(&server, round);
        server.signal(15);
        assert_eq!(server.wait().code(), Some(0));
        server.says(LAST_LINE, 1);
        let log = server.log();
        for part in [
            "unknown command",
            "malformed command",
            "join refused",
            "refused with 403",
            "refused with 404",
            "broke the WebSocket protocol",
            "RPC call",
            "RPC connection closed",
        ] {
            assert!(
                log.contains(part),
                "{mode} {round}: nothing of this kind was logged: {part}\n{log}"
            );
        }
        let foul: Vec<&str> = log.lines().filter(|line| line.chars().any(dangerous)).collect();
        assert!(foul.is_empty(), "{mode} {round}: {foul:#?}");
        log.lines().for_each(|line| assert_ours(mode, line));
    }
}

/// A line that the server has written: it begins as its mode's lines do, and not with what a client
/// has sent.
fn assert_ours(mode: &str, line: &str) {
    match mode {
        "production" => {
            let value: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
            assert!(
                value["logger"].as_str().is_some_and(|logger| logger.starts_with("roadcast")),
                "{line}"
            );
            assert_ne!(value["msg"], "forged", "{line}");
        }
        "development" => {
            let level = line.split_whitespace().nth(1);
            assert!(
                level.is_some_and(|level| ["DEBUG", "INFO", "WARN", "ERROR"].contains(&level)),
                "{line}"
            );
            assert!(!line.starts_with("2026-01-01T00:00:00Z"), "{line}");
        }
        _ => assert!(!line.starts_with("2026-01-01") && !line.starts_with('{'), "{line}"),
    }
}
