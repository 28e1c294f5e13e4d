//! Which client a proxy speaks for: `X-Forwarded-For`, else `X-Real-IP`.
//!
//! Proxies add the address that they see behind what came with the request, so only the last entry is the proxy's own
//! word, and what stands before it is that of whoever it names. The entries are therefore read from the end, past other
//! trusted proxies. (RoadRunner takes the first entry, which a client can invent unless its proxy replaces the header.)

use std::mem::MaybeUninit;
use std::net::{IpAddr, SocketAddr};

use httparse::Request;

use super::upgrade::{HEADERS_MAX, HeaderRoom};

/// The client's address in the head of a request that came from a trusted proxy: the last forwarded address that is not
/// `trusted` itself, or the first of all if all are. `None`: the proxy names none, or what it names is no address.
pub fn client(head: &[u8], trusted: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
    let mut room: HeaderRoom<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    // Of a head with a fault, or with too many headers, the last entry that was read need not be the proxy's.
    let Ok(httparse::Status::Complete(_)) = request.parse_with_uninit_headers(head, &mut room) else {
        return None;
    };
    let values = |name: &'static str| {
        let headers = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        headers.map(|header| header.value)
    };
    let mut entries =
        values("X-Forwarded-For").flat_map(|value| value.split(|byte| *byte == b',')).rev().peekable();
    if entries.peek().is_none() {
        let mut real = values("X-Real-IP");
        // Two of them contradict each other.
        return real.next().filter(|_| real.next().is_none()).and_then(address);
    }
    let mut nearest = None;
    for entry in entries {
        // Behind what is no address nothing is known.
        let Some(address) = address(entry) else { break };
        nearest = Some(address);
        if !trusted(address) {
            break;
        }
    }
    nearest
}

/// An address as proxies write it: `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:4711`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let with_port = || text.parse::<SocketAddr>().map(|address| address.ip());
    bare.parse().or_else(|_| with_port()).ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_that_is_cut_or_has_too_many_headers_names_nobody() {
        let own = ["X-Forwarded-For: 192.0.2.66"];
        let mut lines = vec![own[0]];
        lines.resize(HEADERS_MAX + 1, "X-Pad: x");
        lines.push("X-Forwarded-For: 192.0.2.7");
        assert_eq!(found(&lines), None, "the client's own, in front of what the proxy said");
        assert_eq!(client(b"GET /ws HTTP/1.1\r\nX-Forwarded-For: 192.0.2.66\r\nX-Pa", |_| false), None);
        assert_eq!(found(&own).as_deref(), Some("192.0.2.66"));
    }

    fn found(lines: &[&str]) -> Option<String> {
        let head = format!("GET /ws HTTP/1.1\r\n{}\r\n\r\n", lines.join("\r\n"));
        let trusted = |address: IpAddr| address.to_string().starts_with("10.");
        client(head.as_bytes(), trusted).map(|address| address.to_string())
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
            // It says that the proxy does not know: what else is there was not said by it.
            &["X-Forwarded-For: unknown", "X-Real-IP: 192.0.2.1"],
            &["X-Real-IP: 192.0.2.1, 192.0.2.2"],
            &["X-Real-IP: 192.0.2.1", "X-Real-IP: 192.0.2.2"],
            &["X-Forwarded-For 192.0.2.1"],
            &["Forwarded: for=192.0.2.1"],
        ] {
            assert_eq!(found(lines), None, "{lines:?}");
        }
        assert_eq!(client(b"GET / HTTP/1.1\r\nX-Forwarded-For: \xff\xfe\r\n\r\n", |_| false), None);
        assert_eq!(client(b"\x16\x03\x01", |_| false), None);
    }
}
