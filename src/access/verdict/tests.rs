use super::*;

fn judged(context: &str) -> Result<Judged, Nonsense> {
    Judged::parse_context(context.as_bytes(), b"body".to_vec())
}

fn with(headers: &[(&str, &str)]) -> Judged {
    let headers =
        headers.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    Judged::new(403, headers, b"no".to_vec()).unwrap()
}

fn response(judged: &Judged) -> String {
    String::from_utf8(judged.response()).unwrap()
}

#[test]
fn a_worker_s_answer_is_read_in_each_form_that_php_writes() {
    for (headers, expected) in [
        (r#"{"b":["1","2"],"A":["3"]}"#, vec![("A", "3"), ("b", "1"), ("b", "2")]),
        (r#"{"a":"1"}"#, vec![("a", "1")]),
        (r#"{"a":[],"b":null}"#, vec![]),
        ("{}", vec![]),
        ("[]", vec![]),
        ("null", vec![]),
    ] {
        let judged = judged(&format!(r#"{{"status":403,"headers":{headers},"more":[1]}}"#));
        let judged = judged.unwrap_or_else(|error| panic!("{headers}: {error}"));
        let pairs: Vec<_> =
            judged.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!((judged.status, pairs), (403, expected), "{headers}");
        assert_eq!(judged.body, b"body");
    }
    assert_eq!(judged(r#"{"status":401}"#).unwrap().headers, []);
}

#[test]
fn only_200_lets_in() {
    for status in [200, 201, 204, 301, 401, 999] {
        let judged = judged(&format!(r#"{{"status":{status}}}"#)).unwrap();
        assert_eq!(judged.allows(), status == 200);
        assert_eq!(judged.body.is_empty(), status == 200, "a page that nobody sees is not kept");
    }
}

#[test]
fn what_is_no_verdict_is_named() {
    for status in [0, 99, 100, 101, 199, 1000, -1, 65_736] {
        let error = judged(&format!(r#"{{"status":{status},"headers":{{}}}}"#)).unwrap_err();
        assert_eq!(error, Nonsense::Status(status));
    }
    assert_eq!(judged("{}"), Err(Nonsense::Status(0)), "as Go reads it");
    for context in [
        "",
        "null",
        "[]",
        "200",
        r#"{"status":"200"}"#,
        r#"{"status":200.5}"#,
        r#"{"status":1e99}"#,
        r#"{"status":200,"headers":["a"]}"#,
        r#"{"status":200,"headers":{"a":[1]}}"#,
        r#"{"status":200,"headers":{"a":{"b":"c"}}}"#,
        r#"{"status":200}}"#,
    ] {
        assert!(matches!(judged(context), Err(Nonsense::Json(_))), "{context}");
    }
    let deep = format!(r#"{{"status":200,"x":{}"#, "[".repeat(100_000));
    assert!(matches!(judged(&deep), Err(Nonsense::Json(_))));
    let long = format!(r#"{{"status":403,"headers":{{"a":["{}"]}}}}"#, "x".repeat(1 << 20));
    assert_eq!(judged(&long), Err(Nonsense::Headers((1 << 20) + 1)));
}

#[test]
fn a_refusal_goes_to_the_client_with_status_headers_and_body() {
    let judged =
        with(&[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("stop", "we-dont-like-you")]);
    let expected = "HTTP/1.1 403 Forbidden\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\
                    stop: we-dont-like-you\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    assert_eq!(response(&judged), expected);
}

#[test]
fn nothing_that_a_worker_says_begins_another_header_or_response() {
    let judged = with(&[
        ("A", "1\r\nSet-Cookie: evil=1\r\n\r\n<script>"),
        ("B", "\n2\0\u{7f}3\r"),
        ("C\r\nD", "4"),
        ("E: F", "5"),
        ("", "6"),
        ("G", "tab\tand é"),
    ]);
    let expected = "HTTP/1.1 403 Forbidden\r\nA: 1  Set-Cookie: evil=1    <script>\r\nB: 2  3\r\n\
                    G: tab\tand é\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
    assert_eq!(response(&judged), expected);
}

#[test]
fn length_and_connection_are_our_own_and_what_is_ours_stays_here() {
    let judged = with(&[
        ("Content-Length", "1000"),
        ("transfer-encoding", "chunked"),
        ("Connection", "upgrade, X-Hop"),
        ("Upgrade", "websocket"),
        ("x-hop", "1"),
        ("Keep-Alive", "5"),
        ("Roadcast-User", "7"),
        ("Kept", "yes"),
    ]);
    let expected = "HTTP/1.1 403 Forbidden\r\nKept: yes\r\nContent-Length: 2\r\n\
                    Connection: close\r\n\r\nno";
    assert_eq!(response(&judged), expected);
}

#[test]
fn a_status_without_a_body_has_none_and_one_that_is_too_large_is_left_out() {
    for status in [204, 304] {
        let judged = Judged::new(status, Vec::new(), b"no".to_vec()).unwrap();
        let expected = format!("HTTP/1.1 {status} \r\nConnection: close\r\n\r\n");
        assert_eq!(response(&judged), expected);
    }
    let headers = vec![("Content-Type".into(), "text/html".into()), ("A".into(), "1".into())];
    let judged = Judged::new(500, headers, vec![b'x'; BODY_BYTES_MAX + 1]).unwrap();
    let expected = "HTTP/1.1 500 Internal Server Error\r\nA: 1\r\nContent-Length: 0\r\n\
                    Connection: close\r\n\r\n";
    assert_eq!(response(&judged), expected);
}

#[test]
fn a_verdict_may_say_who_the_client_is() {
    let identity = with(&[("roadcast-user", " 7 "), ("Roadcast-Info", r#"{"name":"Ann"}"#)])
        .identity()
        .unwrap();
    assert_eq!(identity.user.as_deref(), Some("7"));
    assert_eq!(identity.info.as_deref(), Some(r#"{"name":"Ann"}"#));
    assert_eq!(with(&[]).identity(), Ok(Identity::default()));
    assert_eq!(with(&[("Roadcast-User", " ")]).identity(), Ok(Identity::default()), "nobody");
    let long = "x".repeat(INFO_BYTES_MAX + 1);
    assert_eq!(with(&[("Roadcast-User", &long)]).identity(), Err(Nonsense::User(long.len())));
    assert_eq!(with(&[("Roadcast-Info", &long)]).identity(), Err(Nonsense::InfoBytes(long.len())));
    for info in ["", "{", "Ann", r#"{"a":1},"b":2"#] {
        let identity = with(&[("Roadcast-Info", info)]).identity();
        assert!(matches!(identity, Err(Nonsense::Info(_))), "{info}");
    }
}

#[test]
fn a_200_that_says_wrongly_who_the_client_is_is_no_verdict() {
    let headers = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
    for (name, value) in [("Roadcast-Info", "Ann"), ("Roadcast-Remember", "1m")] {
        assert!(Judged::new(200, headers(name, value), Vec::new()).is_err(), "{name}");
        assert!(Judged::new(403, headers(name, value), Vec::new()).is_ok(), "{name}");
    }
    let long = "x".repeat(USER_BYTES_MAX + 1);
    let judged = Judged::new(200, headers("Roadcast-User", &long), Vec::new());
    assert_eq!(judged, Err(Nonsense::User(long.len())));
}

#[test]
fn only_a_200_is_remembered_and_for_a_day_at_most() {
    let remember = |status, value: &str| {
        let headers = vec![("Roadcast-Remember".to_owned(), value.to_owned())];
        Judged::new(status, headers, Vec::new()).and_then(|judged| judged.remember())
    };
    assert_eq!(remember(200, "60"), Ok(Some(Duration::from_secs(60))));
    assert_eq!(remember(403, "60"), Ok(None));
    assert_eq!(remember(200, "0"), Ok(None));
    assert_eq!(remember(200, "99999999999999999999"), Ok(Some(REMEMBER_MAX)));
    for value in ["", "-1", "1m", "1.5", "+1"] {
        assert_eq!(remember(200, value), Err(Nonsense::Remember), "{value}");
    }
    assert_eq!(Judged::new(200, Vec::new(), Vec::new()).unwrap().remember(), Ok(None));
}
