//! Each request of the table is judged whole, with WebSocket bytes behind it, and as its bytes
//! trickle in.

use super::*;
use crate::http::arrival::Arrival;
use crate::http::head::Room;

mod bounds;

fn rules() -> Rules {
    Rules {
        path: "/ws".into(),
        echo_path: Some("/echo".into()),
        origin: OriginRule::new("https://*my.site.com"),
        demo: true,
        health_path: Some("/up".into()),
        subprotocols: vec!["chat.v2".into(), "chat".into()],
        tokens: false,
        bounds: Bounds::default(),
    }
}

const HOST: &str = "Host: server.example.com\r\n";
const ORIGIN: &str = "Origin: https://my.site.com\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\nConnection: Upgrade\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
/// The key of RFC 6455 §1.3.
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn request(line: &str, headers: &[&str]) -> String {
    format!("{line}\r\n{}\r\n", headers.concat())
}

/// What a connection is told that has sent this, of which so much had been seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Answer {
        answer: Answer,
        /// Bytes that are not the WebSocket's.
        head_len: usize,
    },
}

fn parse(bytes: &[u8], seen_before: usize, rules: &Rules) -> Told {
    let (head_len, head) = match Arrival::of(bytes, seen_before, rules.bounds.bytes) {
        Arrival::Incomplete => return Told::Nothing,
        Arrival::Complete(len) => (len, Ok(&bytes[..len])),
        Arrival::Hopeless(fault) => (bytes.len(), Err(fault)),
    };
    let mut room = Room::new();
    let head = head.and_then(|head| Head::parse(head, &mut room));
    Told::Answer { answer: answer(head.as_ref().map_err(|fault| *fault), rules), head_len }
}

/// Feeds the request one byte at a time, the way a connection would: until it is judged.
fn trickle(request: &[u8], rules: &Rules) -> Told {
    let mut seen = 0;
    for end in 1..=request.len() {
        match parse(&request[..end], seen, rules) {
            Told::Nothing => seen = end,
            complete => return complete,
        }
    }
    Told::Nothing
}

fn judge_every_way(request: &str, rules: &Rules) -> Answer {
    let request = request.as_bytes();
    let whole = parse(request, 0, rules);
    assert_eq!(trickle(request, rules), whole);
    for split in 0..request.len() {
        if parse(&request[..split], 0, rules) == Told::Nothing {
            assert_eq!(parse(request, split, rules), whole, "split at {split}");
        }
    }
    let with_more = [request, b"\x81\x80\r\n\r\n"].concat();
    let Told::Answer { answer, head_len } = parse(&with_more, 0, rules) else {
        panic!("incomplete")
    };
    assert_eq!(
        Told::Answer { answer: answer.clone(), head_len },
        whole,
        "what follows the head is not its part"
    );
    assert_eq!(head_len, request.len());
    answer
}

fn status(answer: &Answer) -> u16 {
    match answer {
        Answer::Upgrade { .. } => 101,
        Answer::DemoPage { .. } | Answer::Healthy { .. } => 200,
        Answer::Refuse { fault, .. } => fault.status(),
    }
}

#[test]
fn the_request_of_the_rfc_is_answered_as_the_rfc_does() {
    let request = request(
        "GET /ws HTTP/1.1",
        &[HOST, UPGRADE, KEY, ORIGIN, "Sec-WebSocket-Protocol: chat, superchat\r\n", VERSION],
    );
    let expected = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Protocol: chat\r\n\r\n";
    assert_eq!(
        judge_every_way(&request, &rules()),
        Answer::Upgrade { endpoint: Endpoint::Client, response: expected.into() }
    );
}

#[test]
fn requests_are_answered_with_the_status_of_the_first_rule_they_break() {
    let all = [HOST, ORIGIN, UPGRADE, VERSION, KEY];
    let with = |more: &str| request("GET /ws HTTP/1.1", &[&all[..], &[more]].concat());
    let without = |left_out: &str| {
        let kept: Vec<_> = all.into_iter().filter(|header| *header != left_out).collect();
        request("GET /ws HTTP/1.1", &kept)
    };
    let instead = |old: &str, new: &str| with("").replace(old, new);
    let table = [
        (with(""), 101),
        (request("GET /ws?token=a/b HTTP/1.1", &all), 101),
        (request("GET /echo HTTP/1.1", &all), 101),
        (request("GET ws://server.example.com/ws?x HTTP/1.1", &all), 101),
        (request("GET http://server.example.com:8080/ws HTTP/1.1", &all), 101),
        // Empty lines in front are ignored.
        (format!("\r\n{}", with("")), 101),
        (format!("\r\n\r\n{}", with("")), 101),
        (format!("\n\r\n\n{}", with("")), 101),
        (format!("{}{}", "\r\n".repeat(8), with("")), 101),
        (with("").replace("\r\n", "\n"), 101),
        (instead("Connection: Upgrade", "connection: keep-alive,  uPGRADE"), 101),
        (instead("Connection: Upgrade", "Connection: keep-alive\r\nConnection: Upgrade"), 101),
        (instead("Upgrade: websocket", "UPGRADE: h2c, WebSocket"), 101),
        (with("Content-Length: 0\r\n"), 101),
        // The path is judged first, then the origin, then the handshake.
        (request("POST /other HTTP/1.0", &[]), 404),
        (request("GET /ws/ HTTP/1.1", &all), 404),
        (request("GET /WS HTTP/1.1", &all), 404),
        (request("GET /other?/ws HTTP/1.1", &all), 404),
        (request("GET /other://ws/ws HTTP/1.1", &all), 404),
        (request("GET http://server.example.com HTTP/1.1", &all), 404),
        (request("OPTIONS * HTTP/1.1", &all), 404),
        (request("POST /ws HTTP/1.0", &[]), 403),
        (without(ORIGIN), 403),
        (instead("https://my.site.com", "https://site.com"), 403),
        (with(ORIGIN), 400),
        (request("POST /ws HTTP/1.1", &all), 405),
        (request("HEAD /ws HTTP/1.1", &all), 405),
        // Methods are compared as they stand.
        (request("get /ws HTTP/1.1", &all), 501),
        (request("Get /ws HTTP/1.1", &all), 501),
        (request("BREW /ws HTTP/1.1", &all), 501),
        (request("get /other HTTP/1.1", &all), 404),
        (request("GET /ws HTTP/1.0", &all), 400),
        (without(HOST), 400),
        (with(HOST), 400),
        (with("Content-Length: 5\r\n"), 400),
        (with("Transfer-Encoding: chunked\r\n"), 400),
        (without(UPGRADE), 426),
        (instead("Upgrade: websocket\r\n", ""), 426),
        (instead("Upgrade: websocket", "Upgrade: h2c"), 426),
        (instead("Connection: Upgrade\r\n", ""), 426),
        (without(VERSION), 426),
        (instead("Version: 13", "Version: 8"), 426),
        (with(VERSION), 426),
        (without(KEY), 400),
        (with(KEY), 400),
        (instead("dGhlIHNhbXBsZSBub25jZQ==", ""), 400),
        (instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ"), 400),
        (instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZQ+x"), 400),
        (instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZ!=="), 400),
        (instead("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25jZR=="), 101),
        // Not HTTP at all, but with the end of a head.
        (request("GET /ws HTTP/2.0", &all), 400),
        (request("GET  /ws HTTP/1.1", &all), 400),
        (request("GET /ws", &all), 400),
        (with("No colon\r\n"), 400),
        (with(" folded\r\n"), 400),
        (with("Name : value\r\n"), 400),
        (with("Name: a\0b\r\n"), 400),
    ];
    for (request, expected) in table {
        assert_eq!(status(&judge_every_way(&request, &rules())), expected, "{request}");
    }
}

#[test]
fn each_path_leads_to_its_endpoint() {
    let endpoint = |path: &str, rules: &Rules| {
        let line = format!("GET {path} HTTP/1.1");
        match judge_every_way(&request(&line, &[HOST, ORIGIN, UPGRADE, VERSION, KEY]), rules) {
            Answer::Upgrade { endpoint, .. } => Some(endpoint),
            _ => None,
        }
    };
    assert_eq!(endpoint("/ws", &rules()), Some(Endpoint::Client));
    assert_eq!(endpoint("/echo", &rules()), Some(Endpoint::Echo));
    assert_eq!(endpoint("/echo", &Rules { echo_path: None, ..rules() }), None);
    assert_eq!(endpoint("/", &Rules { path: "/".into(), ..rules() }), Some(Endpoint::Client));
    assert_eq!(
        endpoint("ws://host?x", &Rules { path: "/".into(), ..rules() }),
        Some(Endpoint::Client)
    );
}

#[test]
fn the_demo_page_is_served_at_the_root_when_it_is_on() {
    let get = request("GET /?x HTTP/1.1", &[HOST]);
    assert_eq!(judge_every_way(&get, &rules()), Answer::DemoPage { head_only: false });
    let head = request("HEAD / HTTP/1.0", &[]);
    assert_eq!(judge_every_way(&head, &rules()), Answer::DemoPage { head_only: true });
    assert_eq!(status(&judge_every_way(&get, &Rules { demo: false, ..rules() })), 404);
    let Answer::Refuse { fault: Fault::Method, response } =
        judge_every_way(&request("POST / HTTP/1.1", &[HOST]), &rules())
    else {
        panic!("the page is there for GET and HEAD")
    };
    assert!(String::from_utf8(response).unwrap().contains("\r\nAllow: GET, HEAD\r\n"));
    let upgrade = request("GET / HTTP/1.1", &[HOST, ORIGIN, UPGRADE, VERSION, KEY]);
    assert_eq!(status(&judge_every_way(&upgrade, &rules())), 404);
}

#[test]
fn the_first_offer_that_is_listed_is_agreed() {
    let agreed = |lines: &[&str], rules: &Rules| -> Vec<String> {
        let headers: Vec<String> =
            lines.iter().map(|line| format!("Sec-WebSocket-Protocol: {line}\r\n")).collect();
        let all = [HOST, ORIGIN, UPGRADE, VERSION, KEY]
            .into_iter()
            .chain(headers.iter().map(String::as_str));
        let request = request("GET /ws HTTP/1.1", &all.collect::<Vec<_>>());
        let Answer::Upgrade { response, .. } = judge_every_way(&request, rules) else {
            panic!("{request}")
        };
        let response = String::from_utf8(response).unwrap();
        let lines =
            response.lines().filter_map(|line| line.strip_prefix("Sec-WebSocket-Protocol: "));
        lines.map(str::to_owned).collect()
    };
    let none = Vec::<String>::new();
    assert_eq!(agreed(&["chat"], &rules()), ["chat"]);
    assert_eq!(agreed(&["other, chat ,chat.v2"], &rules()), ["chat"], "the client's order counts");
    assert_eq!(agreed(&["other", "chat.v2,chat"], &rules()), ["chat.v2"]);
    for offers in [&[][..], &["other"], &["Chat"], &["chat.v"], &[""], &[",,"]] {
        assert_eq!(agreed(offers, &rules()), none, "{offers:?}");
    }
    assert_eq!(agreed(&["chat"], &Rules { subprotocols: Vec::new(), ..rules() }), none);

    // A token is never sent back, also where a rule names it.
    let with_tokens = Rules { tokens: true, ..rules() };
    assert_eq!(agreed(&["roadcast, token.a.b.c"], &with_tokens), ["roadcast"]);
    assert_eq!(agreed(&["token.a.b.c", "roadcast"], &with_tokens), ["roadcast"]);
    assert_eq!(agreed(&["token.a.b.c, chat, roadcast"], &with_tokens), ["chat"]);
    assert_eq!(agreed(&["roadcast, token.a.b.c"], &rules()), none);
    assert_eq!(agreed(&["token.a.b.c"], &rules()), none);
}

/// With a 101 that agrees none a browser would fail, and say nothing of tokens.
#[test]
fn a_token_without_another_subprotocol_is_refused_with_what_to_offer() {
    let with_tokens = Rules { tokens: true, ..rules() };
    let named = Rules { subprotocols: vec!["token.a".into()], ..with_tokens.clone() };
    for (offers, rules) in
        [("token.a.b.c", &with_tokens), ("other, token.a", &with_tokens), ("token.a", &named)]
    {
        let offers = format!("Sec-WebSocket-Protocol: {offers}\r\n");
        let request = request("GET /ws HTTP/1.1", &[HOST, ORIGIN, UPGRADE, VERSION, KEY, &offers]);
        let Answer::Refuse { fault: Fault::TokenAlone, response } =
            judge_every_way(&request, rules)
        else {
            panic!("{request}")
        };
        let response = String::from_utf8(response).unwrap();
        assert!(response.starts_with("HTTP/1.1 400 "), "{response}");
        assert!(response.contains("Offer [\"roadcast\", \"token.<jwt>\"]."), "{response}");
        assert!(!response.contains("token.a"), "{response}");
    }
}

#[test]
fn a_probe_is_answered_at_its_path() {
    for (line, expected, body) in [
        ("GET /up HTTP/1.1", 200, "ok\n"),
        ("GET /up?from=lb HTTP/1.0", 200, "ok\n"),
        ("HEAD /up HTTP/1.1", 200, ""),
        ("POST /up HTTP/1.1", 405, "This is served for GET and HEAD.\n"),
        ("get /up HTTP/1.1", 501, "There is no such method. Their names are in capitals: GET.\n"),
        (
            "GET /up/ HTTP/1.1",
            404,
            "Nothing is served at this path. Check the path of the WebSocket URL.\n",
        ),
    ] {
        let answer = judge_every_way(&request(line, &[]), &rules());
        let (Answer::Healthy { response } | Answer::Refuse { response, .. }) = &answer else {
            panic!("{line}")
        };
        let (head, text) = std::str::from_utf8(response).unwrap().split_once("\r\n\r\n").unwrap();
        assert_eq!((status(&answer), text), (expected, body), "{line}");
        assert!(head.starts_with(&format!("HTTP/1.1 {expected} ")));
        assert_eq!(head.contains("\r\nAllow: GET, HEAD\r\n"), expected == 405);
    }
    let off = Rules { health_path: None, ..rules() };
    assert_eq!(status(&judge_every_way(&request("GET /up HTTP/1.1", &[HOST]), &off)), 404);
}

#[test]
fn every_refusal_is_a_whole_response_that_says_what_to_do() {
    let all = [HOST, ORIGIN, UPGRADE, VERSION, KEY];
    let refusal =
        |line: &str, headers: &[&str]| match judge_every_way(&request(line, headers), &rules()) {
            Answer::Refuse { response, .. } => response,
            other => panic!("{other:?}"),
        };
    let responses = [
        (404, refusal("GET /other HTTP/1.1", &all)),
        (403, refusal("GET /ws HTTP/1.1", &[HOST])),
        (405, refusal("POST /ws HTTP/1.1", &all)),
        (426, refusal("GET /ws HTTP/1.1", &[HOST, ORIGIN])),
        (400, refusal("GET /ws HTTP/1.1", &all[..4])),
        (431, refusal("GET /ws HTTP/1.1", &["X: y\r\n"; 201])),
        (501, refusal("get /ws HTTP/1.1", &all)),
        (408, request_timeout()),
        (503, service_unavailable()),
        (503, shutting_down(7)),
    ];
    for (status, bytes) in responses {
        let mut headers = [httparse::EMPTY_HEADER; 10];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head_len)) = response.parse(&bytes) else {
            panic!("{status}: not a response")
        };
        assert_eq!(response.code, Some(status));
        let value = |name| {
            let header = response.headers.iter().find(|header| header.name == name);
            header.map(|header| std::str::from_utf8(header.value).unwrap())
        };
        assert_eq!(value("Content-Length"), Some((bytes.len() - head_len).to_string().as_str()));
        assert!(bytes.len() - head_len > 20, "{status}: a text");
        assert!(value("Connection").unwrap().starts_with("close"));
        assert_eq!(value("Upgrade"), (status == 426).then_some("websocket"));
        assert_eq!(value("Sec-WebSocket-Version"), (status == 426).then_some("13"));
        assert_eq!(value("Allow"), (status == 405).then_some("GET"));
    }
    let head = refusal("HEAD /ws HTTP/1.1", &all);
    assert!(head.ends_with(b"\r\n\r\n"), "a response to HEAD has no content");
}

#[test]
fn the_log_is_told_why_and_about_what() {
    let all = [HOST, ORIGIN, UPGRADE, VERSION, KEY];
    for (request, expected, about) in [
        (request("GET /other?token=x HTTP/1.1", &all), Fault::Path, "/other"),
        (request("GET /ws HTTP/1.0", &all), Fault::Http10, "/ws"),
        (request("PRI * HTTP/2.0", &[]), Fault::HttpVersion, ""),
        (request("GET /ws HTTP/1.1", &[HOST, ORIGIN]), Fault::NoUpgrade, "/ws"),
        (request("GET /ws HTTP/1.1", &[HOST, UPGRADE]), Fault::Origin, "no Origin"),
        (request("get /ws HTTP/1.1", &all), Fault::UnknownMethod, "get"),
        (request("GET /ws HTTP/1.1", &[ORIGIN, UPGRADE]), Fault::Host, ""),
        (request("GET /ws HTTP/1.1", &["Host: a b/c@d\r\n", ORIGIN]), Fault::Host, ""),
    ] {
        let Answer::Refuse { fault, .. } = judge_every_way(&request, &rules()) else {
            panic!("{request}")
        };
        let mut room = Room::new();
        let said = Head::parse(request.as_bytes(), &mut room)
            .map_or(String::new(), |head| at_fault(&head, fault));
        assert_eq!((fault, &*said), (expected, about), "{request}");
    }
}

#[test]
fn random_bytes_never_panic() {
    use rand::{RngExt, SeedableRng};
    for seed in 0..2_000 {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let mut bytes =
            request("GET /ws HTTP/1.1", &[HOST, ORIGIN, UPGRADE, VERSION, KEY]).into_bytes();
        for _ in 0..rng.random_range(1..6) {
            let at = rng.random_range(0..bytes.len());
            match rng.random_range(0..3) {
                0 => bytes[at] = rng.random(),
                1 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, b"\r\n :,/"[rng.random_range(0..6)]),
            }
        }
        let (whole, trickled) = (parse(&bytes, 0, &rules()), trickle(&bytes, &rules()));
        match (&whole, &trickled) {
            (Told::Answer { answer: whole, .. }, Told::Answer { answer: trickled, .. }) => {
                assert_eq!(whole, trickled, "seed {seed}");
            }
            _ => assert_eq!(whole, trickled, "seed {seed}"),
        }
    }
}
