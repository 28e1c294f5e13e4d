//! The HTTP responses of the opening handshake, as bytes.

use tungstenite::handshake::derive_accept_key;

use super::{Answer, METHODS};
use crate::http::Fault;
use crate::http::head::Bounds;

pub(super) const NEEDS_HTTP11: &str = "HTTP/1.1 is needed for a WebSocket.";

/// The 101 that begins a WebSocket (RFC 6455 §4.2.2), with the subprotocol that is agreed.
pub(super) fn switching_protocols(key: &[u8], subprotocol: Option<&str>) -> Vec<u8> {
    let accept = derive_accept_key(key);
    let agreed =
        subprotocol.map(|name| format!("Sec-WebSocket-Protocol: {name}\r\n")).unwrap_or_default();
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n{agreed}\r\n"
    )
    .into_bytes()
}

/// The 200 for a probe.
pub(super) fn healthy(head_only: bool) -> Vec<u8> {
    response(200, "Connection: close\r\nCache-Control: no-store\r\n", "ok", head_only)
}

/// A response that ends the connection; `text` says what is wrong and what to do. `head_only`: the
/// request was HEAD, whose response has no content (RFC 9110 §9.3.2).
pub(super) fn refuse(fault: Fault, text: &str, head_only: bool) -> Answer {
    with(fault, "Connection: close\r\n", text, head_only)
}

/// What is left of a response for whose headers and content there is no room.
pub fn status_alone(response: &[u8]) -> Vec<u8> {
    let line = response.split(|&byte| byte == b'\r').next().unwrap_or_default();
    [line, b"\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"].concat()
}

/// For a proxy that does not begin as it should.
pub fn refuse_preface(fault: Fault) -> Vec<u8> {
    let text = "This server expects a header of the PROXY protocol from this proxy.";
    response(fault.status(), "Connection: close\r\n", text, false)
}

/// For a head that could not be read, or is past its bounds. Who speaks no HTTP may read the text
/// all the same.
pub(super) fn refuse_unread(fault: Fault, bounds: Bounds) -> Answer {
    let text = match fault {
        Fault::Tls => "This is a plain HTTP and WebSocket port: it does not speak TLS.",
        Fault::ProxyHeader => "The PROXY protocol is not expected from this address.",
        Fault::NotHttp => "This is a plain HTTP and WebSocket port.",
        Fault::HttpVersion => NEEDS_HTTP11,
        Fault::HeadBytes => &format!(
            "The request's head has more than {} bytes, its first line included \
             (roadcast.limits.head_bytes). Cookies are the usual reason.",
            bounds.bytes
        ),
        Fault::Headers => &format!(
            "The request has more than {} headers (roadcast.limits.headers).",
            bounds.headers
        ),
        _ => "The request is not valid HTTP.",
    };
    refuse(fault, text, false)
}

/// RFC 9110 §15.5.6: 405 names the methods that are allowed; §9.1: a method that is not known is
/// answered with 501.
pub(super) fn refuse_method(method: &str, allowed: &str) -> Answer {
    if !METHODS.contains(&method) {
        let text = "There is no such method. Their names are in capitals: GET.";
        return refuse(Fault::UnknownMethod, text, false);
    }
    let headers = format!("Connection: close\r\nAllow: {allowed}\r\n");
    let text = match allowed {
        "GET" => "A WebSocket is served here: connect with a WebSocket client, which sends GET.",
        _ => "This is served for GET and HEAD.",
    };
    with(Fault::Method, &headers, text, method == "HEAD")
}

/// RFC 9110 §15.5.22, RFC 6455 §4.4: 426 names the protocol and the version to come back with.
/// `Upgrade` is listed in `Connection` as RFC 9110 §7.8 asks for.
pub(super) fn refuse_without_upgrade(fault: Fault, text: &str) -> Answer {
    let headers =
        "Connection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n";
    with(fault, headers, text, false)
}

fn with(fault: Fault, headers: &str, text: &str, head_only: bool) -> Answer {
    Answer::Refuse { fault, response: response(fault.status(), headers, text, head_only) }
}

/// The 408 for a head that has taken too long.
pub fn request_timeout() -> Vec<u8> {
    response(408, "Connection: close\r\n", "The request did not arrive in time.", false)
}

/// The 503 for a head that has been given up for others.
pub fn head_given_up() -> Vec<u8> {
    let text = "Too many requests arrive in part, and this is the oldest of them. Try again.";
    response(503, "Connection: close\r\nRetry-After: 1\r\n", text, false)
}

/// The 503 for a server that has as many connections as it may.
pub fn service_unavailable() -> Vec<u8> {
    let text = "This server takes no more connections now. Try again later.";
    response(503, "Connection: close\r\n", text, false)
}

/// The 503 for an upgrade where all who could be asked about it are busy.
pub fn busy(retry_after_s: u32) -> Vec<u8> {
    let headers = format!("Connection: close\r\nRetry-After: {retry_after_s}\r\n");
    response(503, &headers, "All who decide about connections are busy. Try again later.", false)
}

/// The 503 for an upgrade where there is nobody to ask about it, for this.
pub fn nobody_to_ask(why: &str, retry_after_s: u32) -> Vec<u8> {
    let headers = format!("Connection: close\r\nRetry-After: {retry_after_s}\r\n");
    let text = format!(
        "Nobody can decide about this connection now: {why}. Try again later, and see the \
         server's log."
    );
    response(503, &headers, &text, false)
}

/// The 400 for an upgrade where who was asked about it has not answered, or not as it should.
pub fn no_verdict() -> Vec<u8> {
    let text = "Who decides about this connection has failed. See the server's log.";
    response(400, "Connection: close\r\n", text, false)
}

/// The 429 for a user who has as many connections as it may (RFC 6585 §4).
pub fn too_many_of_user() -> Vec<u8> {
    let text = "This user has as many connections as it may. Close one of them first.";
    response(429, "Connection: close\r\nRetry-After: 1\r\n", text, false)
}

/// The 503 for a server that shuts down: in so many seconds another one may answer at its address.
pub fn shutting_down(retry_after_s: u64) -> Vec<u8> {
    let headers = format!("Connection: close\r\nRetry-After: {retry_after_s}\r\n");
    response(503, &headers, "This server is shutting down. Try again later.", false)
}

/// The 429 for a source address that has too many connections, or handshakes a second (RFC 6585
/// §4).
pub fn too_many_requests(retry_after_s: u32) -> Vec<u8> {
    let headers = format!("Connection: close\r\nRetry-After: {retry_after_s}\r\n");
    response(429, &headers, "Too many connections from this address. Try again later.", false)
}

/// For a token that will not do: with the headers that say so, and a text that says what is wrong.
pub fn refuse_token(status: u16, headers: &str, text: &str) -> Vec<u8> {
    response(status, &format!("Connection: close\r\n{headers}"), text, false)
}

fn response(status: u16, headers: &str, text: &str, head_only: bool) -> Vec<u8> {
    let phrase = match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        // The phrase may be empty (RFC 9112 §4).
        _ => "",
    };
    // The newline is for people who read the answer in a terminal.
    let length = text.len() + 1;
    let content = if head_only { String::new() } else { format!("{text}\n") };
    format!(
        "HTTP/1.1 {status} {phrase}\r\n{headers}Content-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {length}\r\n\r\n{content}"
    )
    .into_bytes()
}
