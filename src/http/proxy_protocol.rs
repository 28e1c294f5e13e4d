//! The PROXY protocol, versions 1 and 2: what a proxy says of its client before the client's first
//! byte (<https://www.haproxy.org/download/2.8/doc/proxy-protocol.txt>).
//!
//! Whether a connection begins with it is never guessed (§2): where it is expected it must be
//! there, elsewhere it is refused.

use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader};

/// Bytes of a header, what a proxy adds to version 2 included: nginx's bound.
const HEADER_BYTES_MAX: usize = 4096;
/// §2.1: the longest line of version 1.
const LINE_BYTES_MAX: usize = 107;
const LINE: &[u8] = b"PROXY ";
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family, length of the rest.
const FIXED_BYTES: usize = 16;

/// What a connection begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preface {
    /// A header whose end has not arrived.
    Incomplete,
    /// A header.
    Header {
        /// Its bytes.
        len: usize,
        /// The client's address. `None`: the proxy speaks for itself, as a probe of its target
        /// does, or its client has no such address.
        client: Option<IpAddr>,
    },
    /// A header that breaks the rules, or is too long.
    Malformed,
    /// No header.
    Absent,
}

/// Judges what has arrived of a connection, from its first byte.
pub fn parse(bytes: &[u8]) -> Preface {
    let begins_like = |known: &[u8]| bytes.iter().zip(known).all(|(byte, known)| byte == known);
    if begins_like(SIGNATURE) {
        binary(bytes)
    } else if begins_like(LINE) {
        let line = &bytes[..bytes.len().min(LINE_BYTES_MAX)];
        match line.iter().position(|byte| *byte == b'\n') {
            Some(end) => whole(&line[..=end]),
            None if line.len() == LINE_BYTES_MAX => Preface::Malformed,
            None => Preface::Incomplete,
        }
    } else {
        Preface::Absent
    }
}

fn binary(bytes: &[u8]) -> Preface {
    let Some(fixed) = bytes.get(..FIXED_BYTES) else { return Preface::Incomplete };
    let len = FIXED_BYTES + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0xF);
    if version != 2 || len > HEADER_BYTES_MAX {
        return Preface::Malformed;
    }
    let Some(header) = bytes.get(..len) else { return Preface::Incomplete };
    match command {
        // §2.2: LOCAL, whose family and addresses are to be discarded.
        0 => Preface::Header { len, client: None },
        _ => whole(header),
    }
}

/// Reads a header that is there to its end.
fn whole(header: &[u8]) -> Preface {
    let config = ParseConfig { include_tlvs: false, ..ParseConfig::default() };
    match ProxyHeader::parse(header, config) {
        Ok((parsed, len)) if len == header.len() => {
            let client = parsed.proxied_address().map(|address| address.source.ip().to_canonical());
            Preface::Header { len, client }
        }
        _ => Preface::Malformed,
    }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// Version 2: command, family, addresses and whatever follows them.
    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[0x20 | command, family], &length, rest].concat()
    }

    fn v4_addresses() -> Vec<u8> {
        vec![192, 0, 2, 1, 10, 0, 0, 9, 0x12, 0x67, 0x1f, 0x90]
    }

    fn v6_addresses() -> Vec<u8> {
        let client = "2001:db8::1".parse::<std::net::Ipv6Addr>().unwrap().octets();
        [&client[..], &[0; 15], &[1], &[0x12, 0x67, 0x1f, 0x90]].concat()
    }

    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let line = |text: &str| format!("{text}\r\n").into_bytes();
        let mapped = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1], &[0; 20]].concat();
        vec![
            (line("PROXY TCP4 192.0.2.1 10.0.0.9 4711 8080"), Some("192.0.2.1")),
            (line("PROXY TCP6 2001:db8::1 ::1 4711 8080"), Some("2001:db8::1")),
            (line("PROXY TCP6 ::ffff:192.0.2.1 ::1 4711 8080"), Some("192.0.2.1")),
            (line("PROXY UNKNOWN"), None),
            (line("PROXY UNKNOWN ffff::1 ffff::2 65535 65535"), None),
            (v2(1, 0x11, &v4_addresses()), Some("192.0.2.1")),
            (v2(1, 0x12, &v4_addresses()), Some("192.0.2.1")),
            // With more behind the addresses: a TLV, and padding to the bound.
            (v2(1, 0x11, &[&v4_addresses()[..], &[4, 0, 1, 7]].concat()), Some("192.0.2.1")),
            (v2(1, 0x11, &[v4_addresses(), vec![0; 4096 - 16 - 12]].concat()), Some("192.0.2.1")),
            (v2(1, 0x21, &v6_addresses()), Some("2001:db8::1")),
            (v2(1, 0x21, &mapped), Some("192.0.2.1")),
            // A Unix socket has no such address, nor has a family that the proxy does not know.
            (v2(1, 0x31, &[b'x'; 216]), None),
            (v2(1, 0x00, b""), None),
            (v2(1, 0x00, b"whatever"), None),
            // LOCAL: a probe. What it says of addresses is discarded, whatever it is.
            (v2(0, 0x00, b""), None),
            (v2(0, 0x11, &v4_addresses()), None),
            (v2(0, 0x11, b""), None),
            (v2(0, 0xff, b"x"), None),
        ]
    }

    #[test]
    fn a_header_names_the_client_however_it_arrives() {
        for (header, client) in headers() {
            let expected = Preface::Header {
                len: header.len(),
                client: client.map(|text| text.parse().unwrap()),
            };
            let behind = [&header[..], b"GET /ws HTTP/1.1\r\n"].concat();
            assert_eq!(parse(&behind), expected, "{header:x?}");
            for end in 0..header.len() {
                assert_eq!(parse(&header[..end]), Preface::Incomplete, "{end} of {header:x?}");
            }
            assert_eq!(parse(&header), expected);
        }
    }

    #[test]
    fn what_breaks_the_rules_is_refused_and_what_is_none_is_none() {
        let long = format!("PROXY UNKNOWN {}\r\n", "x".repeat(100));
        let line = |text: &str| text.as_bytes().to_vec();
        for header in [
            line("PROXY TCP4 192.0.2.1 10.0.0.9 4711\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.9 4711 65536\r\n"),
            line("PROXY TCP4 2001:db8::1 ::1 4711 8080\r\n"),
            line("PROXY TCP4 unknown 10.0.0.9 4711 8080\r\n"),
            line("PROXY TCP6 192.0.2.1 10.0.0.9 4711 8080\r\n"),
            line("PROXY TCP5 192.0.2.1 10.0.0.9 4711 8080\r\n"),
            line("PROXY tcp4 192.0.2.1 10.0.0.9 4711 8080\r\n"),
            line("PROXY TCP4 192.0.2.1 10.0.0.9 4711 8080\n"),
            line("PROXY \r\n"),
            line(&long),
            v2(1, 0x11, &v4_addresses()[..11]),
            v2(1, 0x21, &v4_addresses()),
            v2(1, 0x31, &[b'x'; 215]),
            v2(1, 0x41, &v6_addresses()),
            v2(1, 0x13, &v4_addresses()),
            v2(2, 0x11, &v4_addresses()),
            v2(1, 0x11, &[v4_addresses(), vec![0; 4096]].concat()),
            [SIGNATURE, &[0x11, 0x11, 0, 12], &v4_addresses()].concat(),
        ] {
            assert_eq!(
                parse(&header),
                Preface::Malformed,
                "{:?}",
                String::from_utf8_lossy(&header)
            );
        }
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PRO ",
            b"POST",
            b"\r\nGET",
            b"\r\n\r\nGET",
            b"\x16",
            b"proxy ",
        ] {
            assert_eq!(parse(bytes), Preface::Absent, "{bytes:?}");
        }
    }

    /// Goal: no bytes panic, and a verdict stays what it is when more arrives.
    #[test]
    fn spoilt_headers_never_panic_and_are_judged_alike_in_any_split() {
        let headers = headers();
        for seed in 0..20_000 {
            let mut rng = StdRng::seed_from_u64(seed);
            let mut bytes = headers[rng.random_range(0..headers.len())].0.clone();
            bytes.extend_from_slice(b"GET / HTTP/1.1\r\n\r\n");
            for _ in 0..rng.random_range(0..4) {
                let at = rng.random_range(0..bytes.len().min(60));
                match rng.random_range(0..4) {
                    0 => bytes[at] = rng.random(),
                    1 if bytes.len() > 1 => drop(bytes.remove(at)),
                    2 => bytes.insert(at, b" \r\n:.0\0\xff"[rng.random_range(0..8)]),
                    _ => bytes.truncate(at + 1),
                }
            }
            let whole = parse(&bytes);
            let mut end = 0;
            while end < bytes.len() {
                end = (end + rng.random_range(1..40)).min(bytes.len());
                match parse(&bytes[..end]) {
                    Preface::Incomplete => {}
                    verdict => {
                        assert_eq!(verdict, whole, "seed {seed}");
                        break;
                    }
                }
            }
            if end == bytes.len() {
                assert_eq!(parse(&bytes), whole);
            }
            if let Preface::Header { len, .. } = whole {
                assert!(len <= bytes.len().min(HEADER_BYTES_MAX), "seed {seed}");
            }
        }
    }
}
