use std::net::IpAddr;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;

use super::*;

fn request(head: impl AsRef<[u8]>) -> AccessRequest {
    AccessRequest { head: head.as_ref().into(), client: Some(IpAddr::from([203, 0, 113, 7])) }
}

fn context(head: &str) -> Value {
    let json = encode(&request(head), About::Server, None);
    serde_json::from_slice(&json).expect("JSON")
}

#[test]
fn an_upgrade_is_told_as_roadrunner_tells_it() {
    let head = "GET /ws?x=1&y=%20 HTTP/1.1\r\nHost: host:8080\r\nConnection: Upgrade\r\n\
                Upgrade: websocket\r\nSec-WebSocket-Key: AAAA\r\nDNT: 1\r\nCookie: a=b; c=d%20e\r\n\
                cookie: f=\"g+h\"\r\n\r\n";
    let expected = r#"{"remoteAddr":"203.0.113.7","protocol":"HTTP/1.1","method":"GET","uri":"http://host:8080/ws?x=1&y=%20","headers":{"Connection":["Upgrade"],"Cookie":["a=b; c=d%20e","f=\"g+h\""],"Dnt":["1"],"Sec-Websocket-Key":["AAAA"],"Upgrade":["websocket"]},"cookies":{"a":"b","c":"d e","f":"g h"},"rawQuery":"x=1&y=%20","parsed":false,"uploads":null,"attributes":{"ws:joinServer":true}}"#;
    let json = encode(&request(head), About::Server, None);
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn a_join_names_its_topics_between_commas_and_nothing_else() {
    let json =
        encode(&request("GET /ws HTTP/1.0\r\n\r\n"), About::Topics(&["a\"", "é", "b,c"]), None);
    let expected = r#"{"remoteAddr":"203.0.113.7","protocol":"HTTP/1.0","method":"GET","uri":"http:///ws","headers":{},"cookies":{},"rawQuery":"","parsed":false,"uploads":null,"attributes":{"ws:joinTopics":"a\",é,b,c"}}"#;
    assert_eq!(String::from_utf8(json).unwrap(), expected);
}

#[test]
fn the_client_is_its_address_alone_or_nothing() {
    for (client, expected) in [(Some("2001:db8::1"), "2001:db8::1"), (None, "")] {
        let client = client.map(|ip| ip.parse().unwrap());
        let request = AccessRequest { head: b"GET / HTTP/1.1\r\n\r\n"[..].into(), client };
        let json: Value = serde_json::from_slice(&encode(&request, About::Server, None)).unwrap();
        assert_eq!(json["remoteAddr"], expected);
    }
}

/// What Go 1.18's `http.ReadRequest` and RoadRunner's `URI` make of these.
#[test]
fn the_uri_is_written_as_go_writes_it_again() {
    for (target, uri, query) in [
        ("/ws", "http://h/ws", ""),
        ("/ws?", "http://h/ws?", ""),
        ("/ws?a=b?c#d", "http://h/ws?a=b?c#d", "a=b?c#d"),
        ("/a%20b/(c)!*'", "http://h/a%20b/(c)!*'", ""),
        ("/a|b%2fc", "http://h/a%7Cb/c", ""),
        ("/a#b", "http://h/a%23b", ""),
        ("http://other:1/ws?x", "http://other:1/ws?x", "x"),
        ("/to://ws", "http://h/to://ws", ""),
    ] {
        let json = context(&format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        assert_eq!((&json["uri"], &json["rawQuery"]), (&uri.into(), &query.into()), "{target}");
    }
}

#[test]
fn names_of_headers_are_in_go_s_canonical_form_and_host_is_none_of_them() {
    let json = context(
        "GET / HTTP/1.1\r\nhOST: h\r\nx-FOO-bar:  1 \r\nX-Foo-Bar: 2\r\n-a_b: \r\nPragma: no-cache\r\n\r\n",
    );
    let expected = serde_json::json!({
        "X-Foo-Bar": ["1", "2"],
        "-A_b": [""],
        "Pragma": ["no-cache"],
        "Cache-Control": ["no-cache"],
    });
    assert_eq!(json["headers"], expected);
}

/// What Go 1.18's `Request.Cookies` and `url.QueryUnescape` make of these.
#[test]
fn cookies_are_read_as_go_reads_them() {
    for (header, expected) in [
        ("a=1; a=2", serde_json::json!({ "a": "2" })),
        ("a; =b; c=", serde_json::json!({ "a": "", "c": "" })),
        ("a b=1; ä=2; c@=3; d=4", serde_json::json!({ "d": "4" })),
        ("a=\"b\"; c=\"; d=e\"f; g=\"h", serde_json::json!({ "a": "b" })),
        ("a=b c; d=e\\f; g=h,i", serde_json::json!({ "a": "b c", "g": "h,i" })),
        ("a=%zz; b=%4; c=%41; d=a+b=c", serde_json::json!({ "c": "A", "d": "a b=c" })),
        ("a=%ff%c3%a4", serde_json::json!({ "a": "\u{FFFD}ä" })),
        (" ; ;;a=1;", serde_json::json!({ "a": "1" })),
    ] {
        let json = context(&format!("GET / HTTP/1.1\r\nCookie: {header}\r\n\r\n"));
        assert_eq!(json["cookies"], expected, "{header}");
    }
}

#[test]
fn bytes_that_are_not_utf8_become_replacements() {
    let head = b"GET / HTTP/1.1\r\nX: a\xff\xfeb\r\nHost: \xe9\r\n\r\n";
    let json: Value = serde_json::from_slice(&encode(&request(head), About::Server, None)).unwrap();
    assert_eq!(json["headers"]["X"][0], "a\u{FFFD}\u{FFFD}b");
    assert_eq!(json["uri"], "http://\u{FFFD}/");
}

#[test]
fn of_headers_only_those_asked_for_are_passed_on() {
    let head = "GET /ws?t=1 HTTP/1.1\r\nHost: h\r\nCookie: a=b\r\nOrigin: o\r\nX-Secret: s\r\n\
                Pragma: no-cache\r\n\r\n";
    let of = |passed: &[&str]| -> Value {
        serde_json::from_slice(&encode(&request(head), About::Server, Some(passed))).unwrap()
    };
    let json = of(&["ORIGIN", "cookie", "pragma"]);
    let headers = serde_json::json!({ "Cookie": ["a=b"], "Origin": ["o"], "Pragma": ["no-cache"] });
    assert_eq!((&json["headers"], &json["cookies"]["a"]), (&headers, &"b".into()));
    let json = of(&[]);
    let none = serde_json::json!({});
    assert_eq!((&json["headers"], &json["cookies"]), (&none, &none));
    assert_eq!(json["uri"], "http://h/ws?t=1");
}

#[test]
fn whatever_a_head_holds_the_json_is_whole_and_says_the_same_of_it() {
    let seed = 0x00AC_CE55;
    let mut rng = StdRng::seed_from_u64(seed);
    let pieces: [&[u8]; 24] = [
        b"a",
        b"=",
        b";",
        b"\"",
        b"\\",
        b"%",
        b"%4",
        b"%41",
        b"+",
        b" ",
        b"\t",
        b",",
        b"\xff",
        b"\xe2\x80\xa8",
        "é".as_bytes(),
        b"/",
        b"?",
        b"#",
        b":",
        b"<",
        b"&",
        b"{",
        b"Cookie",
        b"-",
    ];
    let mut heads = 0;
    for round in 0..20_000 {
        let mut text = |most: usize| -> Vec<u8> {
            let count = rng.random_range(0..most);
            (0..count).flat_map(|_| pieces[rng.random_range(0..pieces.len())]).copied().collect()
        };
        let mut head = [b"GET /", &text(8)[..], b" HTTP/1.1\r\n"].concat();
        for name in ["Cookie", "Host", "x-y"] {
            head.extend([name.as_bytes(), b": ", &text(20), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        if Head::parse(&head, &mut Room::new()).is_err() {
            continue;
        }
        heads += 1;
        let json = encode(&request(&head), About::Topics(&["a", "b"]), None);
        let json: Value = serde_json::from_slice(&json)
            .unwrap_or_else(|error| panic!("seed {seed} round {round}: {error}: {head:x?}"));
        assert_eq!(json["attributes"]["ws:joinTopics"], "a,b", "round {round}");
        assert!(json["headers"]["X-Y"].is_array() && json["headers"]["Host"].is_null());
    }
    assert!(heads > 1000, "{heads} of the heads were valid");
}
