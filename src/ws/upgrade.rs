//! The opening handshake: the head of a client's HTTP request, and the answer (RFC 6455 §4.2, RFC 9110, RFC 9112).
//!
//! Checked in this order: the head itself, the path, the `Origin`, then the handshake. Bytes behind the head already
//! belong to the WebSocket. Every answer but 101 ends the connection.
//!
//! Subprotocols that a client offers are not selected, extensions not agreed: the protocol spoken here has no name.
//! (A browser given a list of subprotocols therefore fails the connection; give it none.)

mod answer;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use httparse::{Error, Request, Status};

use super::origin::OriginRule;
pub use answer::{head_too_large, request_timeout, service_unavailable, too_many_requests};
use answer::{refuse, refuse_method, refuse_without_upgrade, switching_protocols};

/// Bytes of a request head. Past it: 431. The usual bound of web servers is 8 KiB too (nginx, Apache).
pub const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Headers of a request. Past it: 431. Apache's default.
pub const HEADERS_MAX: usize = 100;

/// What is served where, and to whom.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The path where clients speak commands and replies, compared as it stands, without the query.
    pub path: String,
    /// The path where every message comes back, if there is one.
    pub echo_path: Option<String>,
    /// Which web pages may connect.
    pub origin: OriginRule,
    /// Whether `GET /` answers with the demo page.
    pub demo: bool,
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
        /// Bytes of the head. What follows it belongs to the WebSocket, if the answer is an upgrade.
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
    /// Send the response, then close.
    Refuse {
        /// The HTTP status, for counting.
        status: u16,
        /// The whole response.
        response: Vec<u8>,
    },
}

/// Judges what has arrived of a connection, from its first byte. `seen_before` is the length of `bytes` at the last
/// call (0 at the first): what has been searched for the end of the head is not searched again.
pub fn parse(bytes: &[u8], seen_before: usize, rules: &Rules) -> Head {
    // RFC 9112 §2.2: one empty line before the request is to be ignored.
    let start = if bytes.starts_with(b"\r\n") { 2 } else { 0 };
    if bytes.get(start).is_some_and(|byte| !byte.is_ascii_uppercase()) && bytes != b"\r" {
        // Not HTTP, but TLS or something else that would never send the end of a head.
        return complete(bytes.len(), refuse(400, "This is a plain HTTP and WebSocket port.", false));
    }
    let Some(head_len) = end_of_head(bytes, seen_before) else {
        if bytes.len() < HEAD_BYTES_MAX {
            return Head::Incomplete;
        }
        return complete(bytes.len(), Answer::Refuse { status: 431, response: head_too_large() });
    };
    if head_len > HEAD_BYTES_MAX {
        return complete(head_len, Answer::Refuse { status: 431, response: head_too_large() });
    }

    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    let answer = match request.parse(&bytes[..head_len]) {
        Ok(Status::Complete(_)) => judge(&request, rules),
        Err(Error::TooManyHeaders) => Answer::Refuse { status: 431, response: head_too_large() },
        Err(Error::Version) => refuse(400, "HTTP/1.1 is needed for a WebSocket.", false),
        Ok(Status::Partial) | Err(_) => refuse(400, "The request is not valid HTTP.", false),
    };
    complete(head_len, answer)
}

/// What in the head of a request was answered with `status`, for a log: the origin (403), the path (404, 405, 426), else
/// nothing.
pub fn at_fault(head: &[u8], status: u16) -> String {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = Request::new(&mut headers);
    if request.parse(head).is_err() {
        return String::new();
    }
    match status {
        403 => values(&request, "Origin")
            .next()
            .map_or("no Origin".to_owned(), |origin| String::from_utf8_lossy(origin).into_owned()),
        // Without the query: it may hold a token.
        404 | 405 | 426 => request.path.map(path_of).unwrap_or_default().to_owned(),
        _ => String::new(),
    }
}

fn complete(head_len: usize, answer: Answer) -> Head {
    Head::Complete { head_len, answer }
}

/// Length of the head with the empty line that ends it. A lone LF ends a line too (RFC 9112 §2.2).
fn end_of_head(bytes: &[u8], seen_before: usize) -> Option<usize> {
    // The end may have been seen but for its last byte: LF CR of LF CR LF.
    let from = seen_before.saturating_sub(2).max(2);
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
        return refuse(400, "The request is not valid HTTP.", false);
    };
    let head_only = method == "HEAD";
    let path = path_of(target);
    let upgrades = has_token(request, "Upgrade", "websocket") && has_token(request, "Connection", "upgrade");

    if rules.demo && path == "/" && !upgrades && matches!(method, "GET" | "HEAD") {
        return Answer::DemoPage { head_only };
    }
    let endpoint = if path == rules.path {
        Endpoint::Client
    } else if rules.echo_path.as_deref() == Some(path) {
        Endpoint::Echo
    } else {
        return refuse(
            404,
            "Nothing is served at this path. Check the path of the WebSocket URL.",
            head_only,
        );
    };

    // A second Origin could contradict the one that the rule has seen.
    let origins: Vec<_> = values(request, "Origin").collect();
    if origins.len() > 1 {
        return refuse(400, "The request has more than one Origin header.", head_only);
    }
    let origin = origins.first().map(|origin| String::from_utf8_lossy(origin));
    if !rules.origin.allows(origin.as_deref()) {
        let text = "This server does not accept WebSockets from this origin. See its `allowed_origin`.";
        return refuse(403, text, head_only);
    }

    if method != "GET" {
        return refuse_method(head_only);
    }
    if request.version != Some(1) {
        return refuse(400, "HTTP/1.1 is needed for a WebSocket.", false);
    }
    if values(request, "Host").count() != 1 {
        return refuse(400, "The request needs one Host header.", false);
    }
    let has_content = values(request, "Content-Length").any(|length| length != b"0");
    if has_content || values(request, "Transfer-Encoding").next().is_some() {
        return refuse(400, "A WebSocket request has no body.", false);
    }
    if !upgrades {
        return refuse_without_upgrade(
            "A WebSocket is served here: connect with a WebSocket client. \
             A proxy in between must pass on the headers Upgrade and Connection.",
        );
    }
    if !values(request, "Sec-WebSocket-Version").eq([b"13"]) {
        return refuse_without_upgrade("Version 13 of the WebSocket protocol is served here.");
    }
    let mut keys = values(request, "Sec-WebSocket-Key");
    match (keys.next(), keys.next()) {
        (Some(key), None) if is_key(key) => Answer::Upgrade { endpoint, response: switching_protocols(key) },
        _ => refuse(400, "The request needs one Sec-WebSocket-Key header: 16 bytes in base64.", false),
    }
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
    let headers = request.headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name));
    headers.map(|header| header.value.trim_ascii())
}

/// Whether a list header (RFC 9110 §5.6.1), or several of its name, contain this token in any case.
fn has_token(request: &Request<'_, '_>, name: &str, token: &str) -> bool {
    values(request, name)
        .flat_map(|value| value.split(|&byte| byte == b','))
        .any(|listed| listed.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// RFC 6455 §4.2.1: 16 bytes in base64. Its unused bits may be anything: some clients make up the 22 characters.
fn is_key(key: &[u8]) -> bool {
    const KEY: GeneralPurpose = GeneralPurpose::new(
        &alphabet::STANDARD,
        GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
    );
    let mut nonce = [0; 18];
    key.len() == 24 && KEY.decode_slice(key, &mut nonce).is_ok_and(|length| length == 16)
}
