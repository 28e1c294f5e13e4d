//! What the values of keys look like: sizes, durations, addresses, paths.
//!
//! Each parser answers with what is wrong and what is allowed; who wrote the value, and where, is
//! the caller's to add.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::http::head::is_token;

/// Where publishers connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RpcListen {
    /// `tcp://host:port`
    Tcp(SocketAddr),
    /// `unix:///path`
    Unix(PathBuf),
}

impl std::fmt::Display for RpcListen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp://{address}"),
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Bytes that fit `sockaddr_un.sun_path` with its final NUL (unix(7)).
const UNIX_PATH_BYTES_MAX: usize = 107;

/// `true`, `false`, and YAML 1.1's other spellings, which RoadRunner's reader takes.
pub fn bool(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" | "t" | "y" => Ok(true),
        "false" | "no" | "off" | "0" | "f" | "n" => Ok(false),
        _ => Err(format!("\"{text}\" is neither `true` nor `false`")),
    }
}

/// A whole number, `_` between digits allowed.
pub fn count(text: &str) -> Result<u64, String> {
    let problem = || format!("\"{text}\" is not a whole number");
    if !text.starts_with(|first: char| first.is_ascii_digit()) {
        return Err(problem());
    }
    text.replace('_', "").parse().map_err(|_| problem())
}

/// A number of bytes: `65536`, `64KiB`, `1MiB`, `2MB`; binary units by 1024, decimal ones by 1000.
pub fn bytes(text: &str) -> Result<u64, String> {
    let problem = || format!("\"{text}\" is not a size; write bytes (65536) or 64KiB, 1MiB, 2MB");
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '_').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number = count(number).map_err(|_| problem())?;
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        "kb" => 1_000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        _ => return Err(problem()),
    };
    number.checked_mul(factor).ok_or_else(problem)
}

/// A duration as Go writes it (`30s`, `1m30s`, `500ms`, `1.5h`), or whole seconds (`30`).
pub fn duration(text: &str) -> Result<Duration, String> {
    let problem =
        || format!("\"{text}\" is not a duration; write 30s, 1m30s or 500ms, or whole seconds");
    if let Ok(seconds) = count(text) {
        return Ok(Duration::from_secs(seconds));
    }
    let mut rest = text;
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(problem)?;
        let (number, after) = rest.split_at(digits);
        let number: f64 = number.parse().map_err(|_| problem())?;
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(problem()),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| problem())?;
        total = total.checked_add(part).ok_or_else(problem)?;
        rest = after;
    }
    if text.is_empty() { Err(problem()) } else { Ok(total) }
}

/// A duration as RoadRunner's keys have it: a bare number counts nanoseconds.
pub fn go_duration(text: &str) -> Result<Duration, String> {
    let found =
        count(text).map_or_else(|_| duration(text), |nanos| Ok(Duration::from_nanos(nanos)));
    match found {
        Ok(found) if found > Duration::ZERO && found < Duration::from_millis(1) => {
            // Seconds are what was meant, most likely.
            let meant = count(text).ok().filter(|seconds| *seconds <= 86_400).unwrap_or(60);
            Err(format!(
                "\"{text}\" is less than a millisecond: as in RoadRunner, a bare number counts \
                 nanoseconds; write the unit: {meant}s"
            ))
        }
        Err(_) => Err(format!("\"{text}\" is not a duration; write 30s, 1m30s or 500ms")),
        found => found,
    }
}

/// An address to listen on, as Go reads it: `127.0.0.1:8080`, `:8080` (all interfaces, IPv4 and
/// IPv6), `[::1]:8080`, `localhost:8080` (resolved now, IPv4 preferred). `hint` is what to write
/// instead of one that will not do.
pub fn address(text: &str, hint: &str) -> Result<SocketAddr, String> {
    socket_address(text).map_err(|why| format!("\"{text}\" {why}; write {hint}"))
}

/// Fails with what is wrong.
fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let problem = str::to_owned;
    if let Some(bare) =
        ["http://", "https://", "ws://", "tcp://"].iter().find_map(|s| text.strip_prefix(s))
    {
        let scheme = &text[..text.len() - bare.len()];
        return Err(problem(&format!("is an address with a scheme; leave off {scheme}")));
    }
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(problem("is a port without a host"));
    }
    let (host, port) = text.rsplit_once(':').ok_or_else(|| problem("has no port"))?;
    let port: u16 = port.parse().map_err(|_| problem("has no port between 0 and 65535"))?;
    if host.is_empty() {
        return Ok(SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port));
    }
    if let Some(literal) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        let ip: Ipv6Addr =
            literal.parse().map_err(|_| problem("holds no IPv6 address between its brackets"))?;
        return Ok(SocketAddr::new(IpAddr::V6(ip), port));
    }
    if host.contains(':') {
        return Err(problem("has an IPv6 address without brackets"));
    }
    if host.contains(|c: char| c.is_whitespace() || c == '/') {
        return Err(problem("is not an address"));
    }
    let found: Vec<SocketAddr> = match (host, port).to_socket_addrs() {
        Ok(found) => found.collect(),
        Err(error) => {
            return Err(problem(&format!("names a host that cannot be resolved ({error})")));
        }
    };
    let preferred = found.iter().find(|address| address.is_ipv4()).or(found.first());
    preferred.copied().ok_or_else(|| problem("names a host without an address"))
}

/// The port in something that may be no address: `9100`, `tcp://9100`, `localhost:9100`.
pub fn port_of(text: &str) -> Option<u16> {
    text.rsplit([':', '/']).next()?.parse().ok().filter(|port| *port != 0)
}

/// Where the RPC socket listens: `tcp://` and an [`address`], or `unix://` and a path. `hint` is as
/// there.
pub fn rpc_listen(text: &str, hint: &str) -> Result<RpcListen, String> {
    let problem = |why: &str| format!("\"{text}\" {why}; write {hint}");
    if let Some(rest) = text.strip_prefix("tcp://") {
        return socket_address(rest).map(RpcListen::Tcp).map_err(|why| problem(&why));
    }
    let Some(path) = text.strip_prefix("unix://") else { return Err(problem("is not understood")) };
    if path.is_empty() || path.len() > UNIX_PATH_BYTES_MAX || path.contains('\0') {
        return Err(format!(
            "\"{text}\": the path of a Unix socket has 1 to {UNIX_PATH_BYTES_MAX} bytes"
        ));
    }
    Ok(RpcListen::Unix(path.into()))
}

/// A subnet (`10.0.0.0/8`, `fc00::/7`), or an address as one of its own.
pub fn subnet(text: &str) -> Result<IpNet, String> {
    let alone = || text.parse::<IpAddr>().map(IpNet::from);
    let subnet = text.parse().or_else(|_| alone());
    subnet
        .map_err(|_| format!("\"{text}\" is no subnet; write 10.0.0.0/8, fc00::/7, or one address"))
}

/// Permissions of a file in octal, as chmod(1) takes them: `0660`, `660`, `0o660`.
pub fn mode(text: &str) -> Result<u64, String> {
    let digits = text.strip_prefix("0o").unwrap_or(text);
    let octal = digits.chars().all(|c| c.is_digit(8));
    let mode = u64::from_str_radix(digits, 8).ok().filter(|mode| octal && *mode <= 0o777);
    mode.ok_or_else(|| {
        format!("\"{text}\" are no permissions; write them in octal, for example \"0660\"")
    })
}

/// The path of a URL as clients send it (RFC 3986 §3.3): starts with `/`, in ASCII, without query,
/// fragment, blanks or control characters.
pub fn url_path(text: &str) -> Result<String, String> {
    let rule = if !text.starts_with('/') {
        "does not start with `/`; write it as in /ws"
    } else if text.contains(['?', '#']) {
        "has a query or fragment; leave off `?` or `#` and what follows"
    } else if !text.is_ascii() {
        "has a character that is not ASCII; write it as browsers send it, percent-encoded in UTF-8 (`ü` is `%C3%BC`)"
    } else if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        "has a blank or a control character; write a blank as `%20`"
    } else {
        return Ok(text.to_owned());
    };
    Err(format!("\"{text}\" is not a path: it {rule}"))
}

/// The name of a WebSocket subprotocol: a token (RFC 6455 §4.1).
pub fn subprotocol(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(is_token) {
        return Err(format!(
            "\"{text}\" is no name of a subprotocol: letters, digits and !#$%&'*+-.^_`|~"
        ));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HINT: &str = "this";

    #[test]
    fn sizes_take_binary_and_decimal_units() {
        for (text, expected) in [
            ("0", 0),
            ("65536", 65_536),
            ("64KiB", 65_536),
            ("1 MiB", 1 << 20),
            ("64 KB", 64_000),
            ("3Mb", 3_000_000),
            ("2MB", 2_000_000),
            ("1gib", 1 << 30),
        ] {
            assert_eq!(bytes(text), Ok(expected), "{text}");
        }
        for text in ["", "-1", "1.5MiB", "1TB", "KiB", "18446744073709551615KiB", "１"] {
            assert!(bytes(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_gos_or_whole_seconds() {
        for (text, expected) in [
            ("30", 30_000),
            ("0", 0),
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("500ms", 500),
            ("1.5h", 5_400_000),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        for text in ["", "s", "-1s", "1d", "1s2", "1..5s", "99999999999999999999h", "1 s"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_number_of_roadrunners_counts_nanoseconds() {
        for (text, expected) in [("60000000000", 60_000), ("60s", 60_000), ("0", 0), ("0s", 0)] {
            assert_eq!(go_duration(text), Ok(Duration::from_millis(expected)), "{text}");
        }
        assert!(go_duration("60").unwrap_err().contains("nanoseconds; write the unit: 60s"));
        assert!(go_duration("10").unwrap_err().ends_with("write the unit: 10s"));
        assert!(go_duration("500000").unwrap_err().ends_with("write the unit: 60s"));
        assert!(go_duration("1d").unwrap_err().contains("is not a duration"));
    }

    #[test]
    fn addresses_are_read_as_go_reads_them() {
        for (text, expected) in [
            (":8080", "[::]:8080"),
            ("127.0.0.1:0", "127.0.0.1:0"),
            ("[::1]:80", "[::1]:80"),
            ("0.0.0.0:80", "0.0.0.0:80"),
            ("localhost:80", "127.0.0.1:80"),
        ] {
            assert_eq!(
                address(text, HINT).map(|found| found.to_string()),
                Ok(expected.to_owned()),
                "{text}"
            );
        }
        for text in [
            "",
            "8080",
            "127.0.0.1",
            "127.0.0.1:65536",
            "::1:80",
            "[::1:80",
            "tcp://a:1",
            "a b:1",
            "host:",
        ] {
            let problem = address(text, HINT).unwrap_err();
            assert!(problem.ends_with("; write this"), "{problem}");
        }
    }

    #[test]
    fn a_port_is_found_in_what_is_no_address() {
        for (text, port) in [
            ("9100", Some(9100)),
            ("tcp://7001", Some(7001)),
            ("127.0.0.1:7001", Some(7001)),
            ("localhost", None),
            ("a:65536", None),
            ("a:0", None),
            ("", None),
        ] {
            assert_eq!(port_of(text), port, "{text}");
        }
    }

    #[test]
    fn a_scheme_in_an_address_is_to_be_left_off() {
        assert!(address("http://127.0.0.1:8080", HINT).unwrap_err().contains("leave off http://;"));
    }

    #[test]
    fn rpc_listens_on_tcp_or_a_unix_socket_only() {
        assert_eq!(
            rpc_listen("tcp://127.0.0.1:6001", HINT).unwrap().to_string(),
            "tcp://127.0.0.1:6001"
        );
        assert_eq!(
            rpc_listen("unix:///run/a.sock", HINT).unwrap(),
            RpcListen::Unix("/run/a.sock".into())
        );
        assert!(
            rpc_listen("127.0.0.1:6001", HINT).unwrap_err().ends_with("not understood; write this")
        );
        assert!(
            rpc_listen(&format!("unix:///{}", "x".repeat(107)), HINT).unwrap_err().contains("107")
        );
    }

    #[test]
    fn permissions_are_octal() {
        for (text, expected) in [("0660", 0o660), ("600", 0o600), ("0o777", 0o777), ("0", 0)] {
            assert_eq!(mode(text), Ok(expected), "{text}");
        }
        for text in ["", "0880", "1777", "rw", "-1", "+7", "0x1ff"] {
            assert!(mode(text).unwrap_err().contains("octal"), "{text}");
        }
    }

    #[test]
    fn a_path_is_refused_with_the_rule_that_it_breaks() {
        for text in ["/", "/ws", "/w%C3%BCst", "/a/~b"] {
            assert_eq!(url_path(text).as_deref(), Ok(text));
        }
        for (text, rule) in [
            ("", "does not start with `/`"),
            ("ws", "does not start with `/`"),
            ("/a b", "`%20`"),
            ("/a\n", "control character"),
            ("/a?b", "query or fragment"),
            ("/a#b", "query or fragment"),
            ("/wüst", "not ASCII; write it as browsers send it, percent-encoded"),
        ] {
            let problem = url_path(text).unwrap_err();
            assert!(problem.contains(rule), "{problem}");
        }
    }
}
