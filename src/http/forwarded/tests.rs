//! Each head is read as it comes from a proxy; 10.0.0.0/8 are proxies.

use super::*;
use crate::http::head::{HEADERS_MAX, Room};

fn headers(names: &[&str]) -> Vec<ClientHeader> {
    names.iter().map(|name| ClientHeader::parse(name).unwrap()).collect()
}

fn found_by(names: &[&str], lines: &[&str]) -> Option<String> {
    let head = format!("GET /ws HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
    named(head.as_bytes(), names).map(|address| address.to_string())
}

fn named(head: &[u8], names: &[&str]) -> Option<IpAddr> {
    let trusted = |address: IpAddr| address.to_string().starts_with("10.");
    let mut room = Room::new();
    client(&Head::parse(head, &mut room).ok()?, &headers(names), trusted)
}

/// By the headers that are read when nobody names others.
fn found(lines: &[&str]) -> Option<String> {
    found_by(&["X-Forwarded-For", "X-Real-IP"], lines)
}

#[test]
fn a_head_that_is_cut_or_has_too_many_headers_names_nobody() {
    let own = ["X-Forwarded-For: 192.0.2.66"];
    let mut lines = vec![own[0]];
    lines.resize(HEADERS_MAX + 1, "X-Pad: x");
    lines.push("X-Forwarded-For: 192.0.2.7");
    assert_eq!(found(&lines), None, "the client's own, in front of what the proxy said");
    let cut = b"GET /ws HTTP/1.1\r\nX-Forwarded-For: 192.0.2.66\r\nX-Pa";
    assert_eq!(named(cut, &["X-Forwarded-For"]), None);
    assert_eq!(found(&own).as_deref(), Some("192.0.2.66"));
}

#[test]
fn the_last_address_that_is_no_trusted_proxys_is_the_clients() {
    for (lines, expected) in [
        (&["X-Forwarded-For: 192.0.2.1"][..], "192.0.2.1"),
        (&["x-forwarded-for:  192.0.2.1 , 10.0.0.7"], "192.0.2.1"),
        // What the client itself had sent stands in front.
        (&["X-Forwarded-For: 203.0.113.9, 192.0.2.1"], "192.0.2.1"),
        (&["X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 192.0.2.1,10.0.0.7"], "192.0.2.1"),
        (&["X-Forwarded-For: 10.1.1.1, 10.0.0.7"], "10.1.1.1"),
        (&["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1"),
        (&["X-Forwarded-For: 2001:db8::1"], "2001:db8::1"),
        (&["X-Forwarded-For: [2001:db8::1]:4711"], "2001:db8::1"),
        (&["X-Forwarded-For: [2001:db8::1]"], "2001:db8::1"),
        (&["X-Forwarded-For: ::ffff:192.0.2.1"], "192.0.2.1"),
        (&["X-Real-IP: 192.0.2.1"], "192.0.2.1"),
        (&["X-Real-IP: 203.0.113.9", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"),
        // The nearest hop that is known.
        (&["X-Forwarded-For: unknown, 10.0.0.7"], "10.0.0.7"),
    ] {
        assert_eq!(found(lines).as_deref(), Some(expected), "{lines:?}");
    }
}

#[test]
fn where_one_header_names_no_client_the_next_one_is_read() {
    let real = "X-Real-IP: 192.0.2.1";
    for forwarded in [
        "X-Forwarded-For: ",
        "X-Forwarded-For: ,",
        "X-Forwarded-For: unknown",
        "X-Forwarded-For: 203.0.113.9, _hidden",
        // Trusted ones alone.
        "X-Forwarded-For: 10.1.1.1",
        "X-Forwarded-For: 10.1.1.1, 10.0.0.7",
        "X-Forwarded-For: unknown, 10.0.0.7",
    ] {
        assert_eq!(found(&[forwarded, real]).as_deref(), Some("192.0.2.1"), "{forwarded}");
    }
    // Nor does the next one: what the first one said last stands.
    assert_eq!(
        found(&["X-Forwarded-For: 10.1.1.1", "X-Real-IP: 10.2.2.2"]).as_deref(),
        Some("10.1.1.1")
    );
    assert_eq!(
        found(&["X-Forwarded-For: 10.1.1.1", "X-Real-IP: unknown"]).as_deref(),
        Some("10.1.1.1")
    );
}

#[test]
fn what_is_no_address_names_nobody() {
    for lines in [
        &[][..],
        &["X-Forwarded-For: "],
        &["X-Forwarded-For: ,"],
        &["X-Forwarded-For: unknown"],
        &["X-Forwarded-For: 192.0.2.1, _hidden"],
        &["X-Forwarded-For: 192.0.2.1,"],
        &["X-Forwarded-For: 192.0.2"],
        &["X-Forwarded-For: 192.0.2.1 192.0.2.2"],
        &["X-Forwarded-For: 192.0.2.1:99999"],
        &["X-Forwarded-For: fe80::1%eth0"],
        &["X-Forwarded-For: [2001:db8::1"],
        &["X-Real-IP: 192.0.2.1, 192.0.2.2"],
        &["X-Real-IP: 192.0.2.1", "X-Real-IP: 192.0.2.2"],
        &["X-Forwarded-For 192.0.2.1"],
        // Which a client could send through a proxy that knows nothing of them.
        &["Forwarded: for=192.0.2.1"],
        &["CF-Connecting-IP: 192.0.2.1"],
        &["True-Client-IP: 192.0.2.1"],
    ] {
        assert_eq!(found(lines), None, "{lines:?}");
    }
    let no_text = b"GET / HTTP/1.1\r\nX-Forwarded-For: \xff\xfe\r\n\r\n";
    assert_eq!(named(no_text, &["X-Forwarded-For"]), None);
}

#[test]
fn headers_are_read_in_the_order_in_which_they_are_named() {
    let lines =
        ["CF-Connecting-IP: 192.0.2.2", "X-Forwarded-For: 192.0.2.1", "true-client-ip: 192.0.2.3"];
    for (names, expected) in [
        (&["cf-connecting-ip"][..], Some("192.0.2.2")),
        (&["True-Client-IP", "X-Forwarded-For"], Some("192.0.2.3")),
        (&["x-forwarded-for", "True-Client-IP"], Some("192.0.2.1")),
        (&["X-Client-IP", "CF-Connecting-IP"], Some("192.0.2.2")),
        (&["X-Client-IP"], None),
        (&[], None),
    ] {
        assert_eq!(found_by(names, &lines).as_deref(), expected, "{names:?}");
    }
    for name in ["", "X Real", "X-Real-IP:", "für"] {
        assert!(ClientHeader::parse(name).is_err(), "{name}");
    }
}

#[test]
fn forwarded_names_the_last_one_that_is_no_trusted_proxys() {
    for (lines, expected) in [
        (&["Forwarded: for=192.0.2.1"][..], Some("192.0.2.1")),
        (&["forwarded: For=192.0.2.1;proto=http;by=203.0.113.43"], Some("192.0.2.1")),
        (&["Forwarded: proto=https; for=\"192.0.2.1:4711\""], Some("192.0.2.1")),
        (&["Forwarded: for=\"[2001:db8:cafe::17]:4711\""], Some("2001:db8:cafe::17")),
        (&["Forwarded: for=\"[2001:db8::1]\";host=\"a,b;c\""], Some("2001:db8::1")),
        (&["Forwarded: for=203.0.113.9, for=192.0.2.1, for=10.0.0.7"], Some("192.0.2.1")),
        (
            &["Forwarded: for=203.0.113.9", "Forwarded: for=192.0.2.1;by=\"_a\\\"b\""],
            Some("192.0.2.1"),
        ),
        (&["Forwarded: for=10.1.1.1, for=10.0.0.7"], Some("10.1.1.1")),
        (&["Forwarded: for=\"\\1\\9\\2.0.2.1\""], Some("192.0.2.1")),
        (&["Forwarded: for=unknown"], None),
        (&["Forwarded: for=203.0.113.9, for=_secret"], None),
        (&["Forwarded: for=203.0.113.9, by=10.0.0.7"], None),
        (&["Forwarded: for=192.0.2.1;for=192.0.2.2"], None),
        (&["Forwarded: for=\"192.0.2.1"], None),
        (&["Forwarded: for=\"192.0.2.1\\"], None),
        (&["Forwarded: for=\"192.0.2.1\"x"], None),
        (&["Forwarded: 192.0.2.1"], None),
        (&["Forwarded: for"], None),
        (&["Forwarded: "], None),
    ] {
        assert_eq!(found_by(&["Forwarded"], lines).as_deref(), expected, "{lines:?}");
    }
}

/// Whatever the client sends, what the proxy adds behind it decides.
#[test]
fn nothing_that_a_client_sends_changes_whom_the_proxy_names() {
    use rand::{RngExt, SeedableRng};
    let added = [
        ("Forwarded", "for=192.0.2.1"),
        ("Forwarded", "for=\"[2001:db8::1]:4711\";proto=https"),
        ("Forwarded", "by=\"10.0.0.7\";for=\"192.0.2.1\";host=\"a,\\\"b\""),
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Forwarded-For", "2001:db8::1"),
    ];
    const PIECES: [&str; 14] = [
        "for=203.0.113.9",
        "203.0.113.9",
        "\"",
        "\\",
        ",",
        ";",
        "=",
        " ",
        "for=\"",
        "\"[2001:db8::9]:1\"",
        "unknown",
        "\\\"",
        "host=\"",
        "10.0.0.7",
    ];
    for seed in 0..5_000 {
        let mut rng = rand::rngs::StdRng::seed_from_u64(seed);
        let forged: String = (0..rng.random_range(0..8))
            .map(|_| PIECES[rng.random_range(0..PIECES.len())])
            .collect();
        let (name, own) = added[rng.random_range(0..added.len())];
        let expected = if own.contains("2001") { "2001:db8::1" } else { "192.0.2.1" };
        let one_line = [format!("{name}: {forged}, {own}")];
        let two_lines = [format!("{name}: {forged}"), format!("{name}: {own}")];
        for lines in [&one_line[..], &two_lines[..]] {
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            assert_eq!(
                found_by(&[name], &lines).as_deref(),
                Some(expected),
                "seed {seed}: {lines:?}"
            );
        }
    }
}
