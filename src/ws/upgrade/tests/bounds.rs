//! Requests of which nothing is read: too large, or no HTTP.

use super::*;

#[test]
fn a_head_past_its_bounds_is_refused_with_431() {
    let padded = |head_len: usize| {
        let bare =
            request("GET /ws HTTP/1.1", &[HOST, ORIGIN, UPGRADE, VERSION, KEY, "Cookie: \r\n"]);
        bare.replace("Cookie: ", &format!("Cookie: {}", "c".repeat(head_len - bare.len())))
    };
    for (bytes, headers) in [(32 * 1024, 200), (1024, 16), (512, 1000)] {
        let rules = Rules { bounds: Bounds { bytes, headers }, ..rules() };
        let Told::Answer { answer, .. } = parse(padded(bytes).as_bytes(), 0, &rules) else {
            panic!("incomplete")
        };
        assert_eq!(status(&answer), 101);
        let larger = padded(bytes + 1);
        for head in [parse(larger.as_bytes(), 0, &rules), trickle(larger.as_bytes(), &rules)] {
            let Told::Answer { answer: Answer::Refuse { fault, response }, .. } = head else {
                panic!("incomplete")
            };
            assert_eq!((fault, fault.status()), (Fault::HeadBytes, 431));
            let text = String::from_utf8(response).unwrap();
            assert!(text.contains(&format!("more than {bytes} bytes")), "{text}");
        }
        let endless = format!("GET /ws HTTP/1.1\r\nCookie: {}", "c".repeat(bytes));
        assert_eq!(parse(&endless.as_bytes()[..bytes - 1], 0, &rules), Told::Nothing);
        let Told::Answer { answer, .. } = parse(&endless.as_bytes()[..bytes], 0, &rules) else {
            panic!("a full head without its end cannot become a good one");
        };
        assert_eq!(status(&answer), 431);
    }
    for most in [16, 200, 1000] {
        let rules = Rules { bounds: Bounds { headers: most, ..Bounds::default() }, ..rules() };
        let with = |count| {
            let more = "X: y\r\n".repeat(count - 6);
            let request =
                request("GET /ws HTTP/1.1", &[HOST, ORIGIN, UPGRADE, VERSION, KEY, &more]);
            match parse(request.as_bytes(), 0, &rules) {
                Told::Answer { answer, .. } => status(&answer),
                Told::Nothing => panic!("incomplete"),
            }
        };
        assert_eq!((with(most), with(most + 1)), (101, 431), "{most} headers");
    }
}

#[test]
fn what_cannot_become_http_is_refused_at_its_first_bytes() {
    let lines = "\r\n".repeat(9);
    for (bytes, expected) in [
        (&b"\x16\x03\x01\x02\x00"[..], Fault::Tls),
        (b"\x16", Fault::Tls),
        (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET / HTTP/1.1\r\n\r\n", Fault::ProxyHeader),
        (b"\r\n\r\n\0", Fault::ProxyHeader),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Fault::ProxyHeader),
        (b"\x81\x80", Fault::NotHttp),
        (b" GET", Fault::NotHttp),
        (b"\rGET", Fault::NotHttp),
        (b"\r\n\r\r", Fault::NotHttp),
        (b"\0", Fault::NotHttp),
        (b"\r\n\0", Fault::NotHttp),
        (lines.as_bytes(), Fault::NotHttp),
    ] {
        let Told::Answer { answer: Answer::Refuse { fault, response }, .. } =
            parse(bytes, 0, &rules())
        else {
            panic!("{bytes:x?} is not refused")
        };
        assert_eq!((fault, fault.status()), (expected, 400), "{bytes:x?}");
        assert!(response.starts_with(b"HTTP/1.1 400 Bad Request\r\n"));
    }
    for bytes in [
        &b""[..],
        b"\r",
        b"\r\n",
        b"\n",
        b"\r\n\r",
        b"\r\n\r\nG",
        b"PROXY",
        b"get",
        b"GET /ws HTTP/1.1\r\nHost: a\r\n\r",
    ] {
        assert_eq!(parse(bytes, 0, &rules()), Told::Nothing, "{bytes:x?}");
    }
}

#[test]
fn a_431_names_the_bound_that_was_passed() {
    let small = Rules { bounds: Bounds { bytes: 1000, headers: 20 }, ..rules() };
    let text = |request: &str| match parse(request.as_bytes(), 0, &small) {
        Told::Answer { answer: Answer::Refuse { response, .. }, .. } => {
            String::from_utf8(response).unwrap()
        }
        other => panic!("{other:?}"),
    };
    let line = format!("GET /{} HTTP/1.1", "x".repeat(1000));
    let long = text(&request(&line, &[]));
    assert!(
        long.contains("1000 bytes, its first line included")
            && long.contains("roadcast.limits.head_bytes"),
        "{long}"
    );
    let many = text(&request("GET / HTTP/1.1", &["a:b\r\n"; 21]));
    assert!(
        many.contains("more than 20 headers") && many.contains("roadcast.limits.headers"),
        "{many}"
    );
    assert!(!many.contains("bytes") && !long.contains("roadcast.limits.headers"), "{many}{long}");
}
