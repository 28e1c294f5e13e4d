//! The head of a request (RFC 9110, RFC 9112), parsed once: everything that reads it reads this
//! value. It borrows what has arrived, and parsing allocates nothing.
//!
//! Whoever needs a head later, or on another thread, keeps its [`bytes`](Head::bytes): they are
//! plain data, bounded as the head is, and parse into the same value again.

use std::mem::MaybeUninit;

use httparse::{Error, Header, Request, Status};

use super::Fault;

/// The highest [`Bounds::headers`]: a [`Room`] has places for so many.
pub const HEADERS_MAX: usize = 1000;

/// Bounds of a request's head. Past either: 431.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Bytes, up to the empty line and with it. The default is what nginx passes on: four buffers
    /// of 8 KiB.
    pub bytes: usize,
    /// Headers, [`HEADERS_MAX`] at most.
    pub headers: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { bytes: 32 * 1024, headers: 200 }
    }
}

/// Where the list of a head's headers is while the head is read: 32 KB of stack, not initialised.
pub struct Room<'b>([MaybeUninit<Header<'b>>; HEADERS_MAX]);

impl Room<'_> {
    /// Room for one head.
    #[inline]
    pub fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; HEADERS_MAX])
    }
}

impl Default for Room<'_> {
    fn default() -> Self {
        Self::new()
    }
}

/// The head of a request that is valid HTTP.
#[derive(Clone, Copy, Debug)]
pub struct Head<'h> {
    bytes: &'h [u8],
    method: &'h str,
    target: &'h str,
    minor_version: u8,
    headers: &'h [Header<'h>],
}

impl<'h> Head<'h> {
    /// Parses a whole head, the empty line included. Of one that is refused nothing is read.
    pub fn parse(bytes: &'h [u8], room: &'h mut Room<'h>) -> Result<Self, Fault> {
        let mut request = Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut room.0) {
            Ok(Status::Complete(_)) => {}
            Ok(Status::Partial) => return Err(Fault::Malformed),
            Err(Error::TooManyHeaders) => return Err(Fault::Headers),
            Err(Error::Version) => return Err(Fault::HttpVersion),
            Err(_) => return Err(Fault::Malformed),
        }
        let (Some(method), Some(target), Some(minor_version)) =
            (request.method, request.path, request.version)
        else {
            return Err(Fault::Malformed);
        };
        Ok(Self { bytes, method, target, minor_version, headers: request.headers })
    }

    /// The head as it came.
    pub fn bytes(&self) -> &'h [u8] {
        self.bytes
    }

    /// The method, as it stands.
    pub fn method(&self) -> &'h str {
        self.method
    }

    /// The version is HTTP/1.1; otherwise it is HTTP/1.0.
    pub fn is_http11(&self) -> bool {
        self.minor_version == 1
    }

    /// The target in origin or absolute form (RFC 9112 §3.2), with its query.
    pub fn target(&self) -> &'h str {
        self.target
    }

    /// The path of the target, without its query.
    pub fn path(&self) -> &'h str {
        let path = match self.target.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
                rest.find(['/', '?']).map_or("/", |at| &rest[at..])
            }
            _ => self.target,
        };
        match path.split_once('?') {
            Some(("", _)) => "/",
            Some((path, _)) => path,
            None => path,
        }
    }

    /// What stands behind the path's `?`, if there is one.
    pub fn query(&self) -> Option<&'h str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// How many headers there are.
    pub fn headers_len(&self) -> usize {
        self.headers.len()
    }

    /// All headers in their order: name, and value as it stands.
    pub fn headers(&self) -> impl Iterator<Item = (&'h str, &'h [u8])> + use<'h> {
        self.headers.iter().map(|header| (header.name, header.value))
    }

    /// The values of all headers of this name, without the white space around them.
    pub fn values<'n>(
        &self,
        name: &'n str,
    ) -> impl DoubleEndedIterator<Item = &'h [u8]> + use<'h, 'n> {
        let headers =
            self.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
        headers.map(|header| header.value.trim_ascii())
    }

    /// The value of a header that is there just once.
    pub fn only_value(&self, name: &str) -> Option<&'h [u8]> {
        let mut values = self.values(name);
        values.next().filter(|_| values.next().is_none())
    }

    /// The entries of a list header (RFC 9110 §5.6.1), or of several of its name.
    pub fn list<'n>(&self, name: &'n str) -> impl Iterator<Item = &'h [u8]> + use<'h, 'n> {
        let entries = self.values(name).flat_map(|value| value.split(|&byte| byte == b','));
        entries.map(<[u8]>::trim_ascii)
    }

    /// Whether a list header contains this token, in any case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|listed| listed.eq_ignore_ascii_case(token.as_bytes()))
    }
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(head: &str, of: impl FnOnce(Result<Head<'_>, Fault>) -> T) -> T {
        of(Head::parse(head.as_bytes(), &mut Room::new()))
    }

    #[test]
    fn everything_that_a_head_says_is_read_from_one_value() {
        let text = "PUT /a%20b?c=d HTTP/1.0\r\nHost:  one \r\nList: a , B\r\nX: 1\r\n\
                    list:,c\r\nx:\t2\r\n\r\n";
        read(text, |head| {
            let head = head.expect("valid HTTP");
            assert_eq!(head.bytes(), text.as_bytes());
            assert_eq!((head.method(), head.target()), ("PUT", "/a%20b?c=d"));
            assert_eq!((head.path(), head.is_http11()), ("/a%20b", false));
            assert_eq!(head.query(), Some("c=d"));
            assert_eq!(head.headers_len(), 5);
            assert_eq!(head.headers().last(), Some(("x", &b"2"[..])));
            assert!(head.values("X").eq([b"1", b"2"]));
            assert_eq!((head.only_value("host"), head.only_value("X")), (Some(&b"one"[..]), None));
            assert!(head.list("LIST").eq([&b"a"[..], b"B", b"", b"c"]));
            assert!(head.has_token("list", "b") && !head.has_token("list", "d"));
        });
    }

    #[test]
    fn the_path_is_what_stands_before_the_query_in_either_form() {
        for (target, path, query) in [
            ("/ws", "/ws", None),
            ("/ws?a=/b?c", "/ws", Some("a=/b?c")),
            ("/ws?", "/ws", Some("")),
            ("?a", "/", Some("a")),
            ("http://host:80/ws?a", "/ws", Some("a")),
            ("ws://host", "/", None),
            ("ws://host?a", "/", Some("a")),
            ("/to://ws/ws", "/to://ws/ws", None),
            ("*", "*", None),
        ] {
            let head = format!("GET {target} HTTP/1.1\r\n\r\n");
            let found = read(&head, |head| {
                head.map(|head| (head.path().to_owned(), head.query().map(str::to_owned)))
            });
            assert_eq!(found, Ok((path.to_owned(), query.map(str::to_owned))), "{target}");
        }
    }

    #[test]
    fn a_head_is_kept_as_its_bytes_and_reads_the_same_again() {
        let kept: Box<[u8]> = read("GET /ws?token=x HTTP/1.1\r\nCookie: a=b\r\n\r\n", |head| {
            head.expect("valid HTTP").bytes().into()
        });
        let mut room = Room::new();
        let again = Head::parse(&kept, &mut room).expect("valid HTTP");
        assert_eq!(again.target(), "/ws?token=x");
        assert!(again.headers().eq([("Cookie", &b"a=b"[..])]));
    }

    #[test]
    fn of_what_is_no_head_nothing_is_read() {
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a:b\r\n".repeat(HEADERS_MAX + 1));
        for (head, expected) in [
            ("GET / HTTP/1.1\r\nHost", Fault::Malformed),
            ("GET / HTTP/1.1\r\n no name\r\n\r\n", Fault::Malformed),
            ("GET / HTTP/2.0\r\n\r\n", Fault::HttpVersion),
            (&many, Fault::Headers),
        ] {
            assert_eq!(read(head, |head| head.map(drop)), Err(expected), "{head}");
        }
    }
}
