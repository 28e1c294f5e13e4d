//! The opening handshake: the head of a client's HTTP request, and the answer (RFC 6455 §4.2, RFC
//! 9110, RFC 9112).
//!
//! Checked in this order: the head itself, the path, the `Origin`, then the handshake. Bytes behind
//! the head already belong to the WebSocket. Every answer but 101 ends the connection.
//!
//! Of the subprotocols that a client offers, in its order, the first one that the rules list is
//! agreed, since some clients fail without any (RFC 6455 §4.1; a browser does). It changes nothing:
//! the protocol spoken here has no name. Extensions are not agreed.

mod answer;
mod fault;
#[cfg(test)]
mod tests;

use std::mem::MaybeUninit;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use httparse::{Error, Header, Request, Status};

use super::origin::OriginRule;
pub use answer::{
    head_given_up, refuse_preface, request_timeout, service_unavailable, shutting_down,
    too_many_requests,
};
use answer::{
    healthy, not_http, refuse, refuse_method, refuse_without_upgrade, switching_protocols,
    too_many_bytes, too_many_headers,
};
pub use fault::Fault;

/// The highest [`Bounds::headers`]: room for so many is on the stack while a head is parsed.
pub const HEADERS_MAX: usize = 1000;

/// Room for the headers of a head.
pub(super) type HeaderRoom<'h> = [MaybeUninit<Header<'h>>; HEADERS_MAX];

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

/// Bytes of empty lines before a request that are ignored. RFC 9112 §2.2 asks for one line.
const EMPTY_LINES_BYTES: usize = 16;

/// Methods that exist (RFC 9110 §9, RFC 5789): one that is not served is answered with 405, any
/// other word with 501.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];

/// What is served where, and to whom. By default at `/`, to everyone.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The path where clients speak commands and replies, compared as it stands, without the query.
    pub path: String,
    /// The path where every message comes back, if there is one.
    pub echo_path: Option<String>,
    /// The path where load balancers ask whether connections are taken, if there is one.
    pub health_path: Option<String>,
    /// Which web pages may connect.
    pub origin: OriginRule,
    /// Whether `GET /` answers with the demo page.
    pub demo: bool,
    /// Subprotocols that are agreed if a client offers them.
    pub subprotocols: Vec<String>,
    /// How large a request may be.
    pub bounds: Bounds,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            path: "/".into(),
            echo_path: None,
            health_path: None,
            origin: OriginRule::new("*"),
            demo: false,
            subprotocols: Vec::new(),
            bounds: Bounds::default(),
        }
    }
}

/// What is at the path that a client connects to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// Commands and publications.
    Client,
    /// Every message comes back.
    Echo,
}

/// How far the head has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Head {
    /// Its end has not arrived.
    Incomplete,
    /// It has been judged.
    Complete {
        /// Bytes of the head. What follows it belongs to the WebSocket, if the answer is an
        /// upgrade.
        head_len: usize,
        /// What to do.
        answer: Answer,
    },
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Send the response, then speak WebSocket.
    Upgrade {
        /// With what.
        endpoint: Endpoint,
        /// The whole 101 response.
        response: Vec<u8>,
    },
    /// Send the demo page, then close. The caller has it.
    DemoPage {
        /// The request was HEAD: send the page's head only.
        head_only: bool,
    },
    /// It asks whether connections are taken. If so, send the response, then close.
    Healthy {
        /// The whole 200 response.
        response: Vec<u8>,
    },
    /// Send the response, then close.
    Refuse {
        /// Why.
        fault: Fault,
        /// The whole response.
        response: Vec<u8>,
    },
}

/// Judges what has arrived of a connection, from its first byte. `seen_before` is the length of
/// `bytes` at the last call (0 at the first): what has been searched for the end of the head is not
/// searched again.
pub fn parse(bytes: &[u8], seen_before: usize, rules: &Rules) -> Head {
    let start = empty_lines(bytes);
    if let Some(fault) = hopeless(bytes, start) {
        // It would perhaps never send the end of a head.
        return complete(bytes.len(), not_http(fault));
    }
    let Some(head_len) = end_of_head(bytes, start, seen_before) else {
        if bytes.len() < rules.bounds.bytes {
            return Head::Incomplete;
        }
        return complete(bytes.len(), too_many_bytes(rules.bounds));
    };
    if head_len > rules.bounds.bytes {
        return complete(head_len, too_many_bytes(rules.bounds));
    }

    let mut room: HeaderRoom<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    let headers = &mut room[..rules.bounds.headers.min(HEADERS_MAX)];
    let answer = match request.parse_with_uninit_headers(&bytes[..head_len], headers) {
        Ok(Status::Complete(_)) => judge(&request, rules),
        Err(Error::TooManyHeaders) => too_many_headers(rules.bounds),
        Err(Error::Version) => refuse(Fault::HttpVersion, NEEDS_HTTP11, false),
        Ok(Status::Partial) | Err(_) => {
            refuse(Fault::Malformed, "The request is not valid HTTP.", false)
        }
    };
    complete(head_len, answer)
}

const NEEDS_HTTP11: &str = "HTTP/1.1 is needed for a WebSocket.";

/// What in the head of a request was at fault, for a log: the origin, the path, the method, else
/// nothing.
pub fn at_fault(head: &[u8], fault: Fault) -> String {
    let mut room: HeaderRoom<'_> = [const { MaybeUninit::uninit() }; HEADERS_MAX];
    let mut request = Request::new(&mut []);
    if request.parse_with_uninit_headers(head, &mut room).is_err() {
        return String::new();
    }
    match fault {
        Fault::Origin => values(&request, "Origin")
            .next()
            .map_or("no Origin".to_owned(), |origin| String::from_utf8_lossy(origin).into_owned()),
        Fault::UnknownMethod => request.method.unwrap_or_default().to_owned(),
        // Without the query: it may hold a token.
        Fault::Path
        | Fault::Method
        | Fault::NoUpgrade
        | Fault::WebSocketVersion
        | Fault::Http10 => request.path.map(path_of).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

/// The bytes of empty lines that the request begins with: CRLF, or LF alone.
fn empty_lines(bytes: &[u8]) -> usize {
    let mut length = 0;
    while length < EMPTY_LINES_BYTES {
        length += match &bytes[length..] {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => break,
        };
    }
    length
}

/// What can never become an HTTP request behind `start` bytes of empty lines: its first bytes say
/// so.
fn hopeless(bytes: &[u8], start: usize) -> Option<Fault> {
    match &bytes[start..] {
        [] | b"\r" => None,
        [0x16, ..] => Some(Fault::Tls),
        // The signature of version 2 begins with two empty lines.
        [0, ..] if bytes.starts_with(b"\r\n\r\n") => Some(Fault::ProxyHeader),
        rest if rest.starts_with(b"PROXY ") => Some(Fault::ProxyHeader),
        // RFC 9110 §9.1: a method is a token.
        [first, ..] => (!is_token(*first)).then_some(Fault::NotHttp),
    }
}

/// Whether a byte may stand in a token (RFC 9110 §5.6.2).
pub fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn complete(head_len: usize, answer: Answer) -> Head {
    Head::Complete { head_len, answer }
}

/// Length of the head with the empty line that ends it, searched from `start`. A lone LF ends a
/// line too (RFC 9112 §2.2).
fn end_of_head(bytes: &[u8], start: usize, seen_before: usize) -> Option<usize> {
    // The end may have been seen but for its last byte: LF CR of LF CR LF.
    let from = seen_before.saturating_sub(2).max(start);
    let searched = bytes.get(from..)?;
    searched.iter().enumerate().filter(|(_, byte)| **byte == b'\n').find_map(|(index, _)| {
        match &searched[index + 1..] {
            [b'\n', ..] => Some(from + index + 2),
            [b'\r', b'\n', ..] => Some(from + index + 3),
            _ => None,
        }
    })
}

fn judge(request: &Request<'_, '_>, rules: &Rules) -> Answer {
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return refuse(Fault::Malformed, "The request is not valid HTTP.", false);
    };
    let head_only = method == "HEAD";
    let path = path_of(target);
    let upgrades =
        has_token(request, "Upgrade", "websocket") && has_token(request, "Connection", "upgrade");

    let reads = matches!(method, "GET" | "HEAD");
    if rules.health_path.as_deref() == Some(path) {
        return if reads {
            Answer::Healthy { response: healthy(head_only) }
        } else {
            refuse_method(method, "GET, HEAD")
        };
    }
    let page = rules.demo && path == "/" && !upgrades;
    if page && reads {
        return Answer::DemoPage { head_only };
    }
    let endpoint = if path == rules.path {
        Endpoint::Client
    } else if rules.echo_path.as_deref() == Some(path) {
        Endpoint::Echo
    } else if page {
        return refuse_method(method, "GET, HEAD");
    } else {
        return refuse(
            Fault::Path,
            "Nothing is served at this path. Check the path of the WebSocket URL.",
            head_only,
        );
    };

    // A second Origin could contradict the one that the rule has seen.
    let origins: Vec<_> = values(request, "Origin").collect();
    if origins.len() > 1 {
        return refuse(Fault::Origins, "The request has more than one Origin header.", head_only);
    }
    let origin = origins.first().map(|origin| String::from_utf8_lossy(origin));
    if !rules.origin.allows(origin.as_deref()) {
        let text =
            "This server does not accept WebSockets from this origin. See its `allowed_origin`.";
        return refuse(Fault::Origin, text, head_only);
    }

    if method != "GET" {
        return refuse_method(method, "GET");
    }
    if request.version != Some(1) {
        return refuse(Fault::Http10, NEEDS_HTTP11, false);
    }
    if values(request, "Host").count() != 1 {
        return refuse(Fault::Host, "The request needs one Host header.", false);
    }
    let has_content = values(request, "Content-Length").any(|length| length != b"0");
    if has_content || values(request, "Transfer-Encoding").next().is_some() {
        return refuse(Fault::Body, "A WebSocket request has no body.", false);
    }
    if !upgrades {
        return refuse_without_upgrade(
            Fault::NoUpgrade,
            "A WebSocket is served here: connect with a WebSocket client. \
             A proxy in between must pass on the headers Upgrade and Connection.",
        );
    }
    if !values(request, "Sec-WebSocket-Version").eq([b"13"]) {
        let text = "Version 13 of the WebSocket protocol is served here.";
        return refuse_without_upgrade(Fault::WebSocketVersion, text);
    }
    let mut keys = values(request, "Sec-WebSocket-Key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => {
            let response = switching_protocols(key, subprotocol(request, &rules.subprotocols));
            Answer::Upgrade { endpoint, response }
        }
        _ => refuse(
            Fault::Key,
            "The request needs one Sec-WebSocket-Key header: 16 bytes in base64.",
            false,
        ),
    }
}

/// The first subprotocol that the client offers and that is known. They are compared as they stand
/// (RFC 6455 §11.5).
fn subprotocol<'k>(request: &Request<'_, '_>, known: &'k [String]) -> Option<&'k str> {
    let offers = values(request, "Sec-WebSocket-Protocol")
        .flat_map(|value| value.split(|&byte| byte == b','));
    let mut offers = offers.map(<[u8]>::trim_ascii);
    offers
        .find_map(|offer| known.iter().find(|known| known.as_bytes() == offer))
        .map(String::as_str)
}

/// The path of a request target in origin or absolute form (RFC 9112 §3.2), without its query.
fn path_of(target: &str) -> &str {
    let path = match target.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            rest.find(['/', '?']).map_or("/", |at| &rest[at..])
        }
        _ => target,
    };
    match path.split_once('?') {
        Some(("", _)) => "/",
        Some((path, _)) => path,
        None => path,
    }
}

/// The values of all headers of this name, without the white space around them.
fn values<'r>(request: &'r Request<'_, '_>, name: &'r str) -> impl Iterator<Item = &'r [u8]> {
    let headers =
        request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    headers.map(|header| header.value.trim_ascii())
}

/// Whether a list header (RFC 9110 §5.6.1), or several of its name, contain this token in any case.
fn has_token(request: &Request<'_, '_>, name: &str, token: &str) -> bool {
    values(request, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// RFC 6455 §4.2.1: 16 bytes in base64. Its unused bits may be anything: some clients make up the
/// 22 characters.
fn is_key(key: &[u8]) -> bool {
    const KEY: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut nonce = [0; 18];
    key.len() == 24 && KEY.decode_slice(key, &mut nonce).is_ok_and(|length| length == 16)
}
