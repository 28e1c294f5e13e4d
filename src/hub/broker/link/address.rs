//! Where a broker's server is.

use std::fmt;
use std::path::PathBuf;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    /// `host:port`; the host is a name or an address, without brackets.
    Tcp {
        /// A name or an address, without brackets.
        host: String,
        /// Not 0.
        port: u16,
    },
    /// `/path`
    Unix(PathBuf),
}

impl Address {
    /// Reads `host:port`, `[::1]:port` or `/path`. An address without a port has `port`, if there
    /// is one to assume. The error says what is wrong with it, and shows no password.
    pub fn parse(text: &str, port: Option<u16>) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        if let Some((scheme, _)) = text.split_once("://") {
            return Err(format!(
                "an address is host:port or the path of a socket; leave off {scheme}://, and \
                 what stands around host and port"
            ));
        }
        let (host, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, port),
            Some((host, rest)) => (host, rest.strip_prefix(':').and_then(number)),
            None => match text.rsplit_once(':') {
                Some((host, digits)) if !host.contains(':') => (host, number(digits)),
                Some(_) => return Err(format!("\"{text}\": an IPv6 address stands in brackets")),
                None => (text, port),
            },
        };
        match port {
            Some(port) if !host.is_empty() => Ok(Self::Tcp { host: host.to_owned(), port }),
            _ => Err(format!("\"{text}\" is neither host:port nor the path of a socket")),
        }
    }
}

fn number(digits: &str) -> Option<u16> {
    digits.parse().ok().filter(|port| *port != 0)
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_sockets_are_read_and_shown_as_they_are_written() {
        for text in ["localhost:6379", "10.0.0.7:1", "[::1]:65535", "/run/redis/redis.sock"] {
            assert_eq!(Address::parse(text, None).unwrap().to_string(), text);
        }
        assert_eq!(Address::parse("nats", Some(4222)).unwrap().to_string(), "nats:4222");
        assert_eq!(Address::parse("[::1]", Some(1)).unwrap().to_string(), "[::1]:1");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", ":6379", "host", "host:", "host:0", "host:65536", "::1:6379", "[::1]x"] {
            assert!(Address::parse(text, None).is_err(), "{text}");
        }
        let error = Address::parse("redis://user:hunter2@host:6379/0", None).unwrap_err();
        assert!(error.contains("leave off redis://") && !error.contains("hunter2"), "{error}");
    }
}
