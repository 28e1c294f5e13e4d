//! The connection of `roadcast subscribe`, up to its upgrade.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::http::{HeaderValue, Uri};
use tungstenite::{Error, HandshakeError, WebSocket};

use super::super::dial;
use super::ANSWER_TIMEOUT;
use super::words::{SubscribeError, ended, refused};

/// Without a word from the other side: its kernel is asked then, and again each `PROBE_INTERVAL`,
/// `PROBES` times in all. Whoever waits for messages sends nothing, and would never notice a dead
/// link. Guesses: shorter than what a person waits before looking, long for a network that is only
/// slow.
const PROBE_AFTER: Duration = Duration::from_secs(30);
const PROBE_INTERVAL: Duration = Duration::from_secs(10);
const PROBES: u32 = 3;
/// All of it. Also the longest that a pong under way stays without an acknowledgement: meanwhile
/// nothing is asked.
const LOST_AFTER: Duration = Duration::from_secs(60);
const _: () = assert!(
    LOST_AFTER.as_secs() == PROBE_AFTER.as_secs() + PROBES as u64 * PROBE_INTERVAL.as_secs()
);

/// Connects to a server and upgrades. Waits for both.
pub fn connect(url: &str, origin: Option<&str>) -> Result<WebSocket<TcpStream>, SubscribeError> {
    let bad = || SubscribeError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss" | "https") => return Err(SubscribeError::Tls(url.to_owned())),
        _ => return Err(bad()),
    }
    let origin = origin
        .map(|origin| header(origin).ok_or_else(|| SubscribeError::Origin(origin.to_owned())));
    let origin = origin.transpose()?;
    let stream = dial::tcp(uri.host().ok_or_else(bad)?, uri.port_u16().unwrap_or(80), url)?;
    watch(&stream).map_err(|error| SubscribeError::Lost(error.to_string()))?;
    let mut request = uri.into_client_request().map_err(|_| bad())?;
    if let Some(origin) = origin {
        request.headers_mut().insert("Origin", origin);
    }
    match tungstenite::client::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Interrupted(_)) => Err(SubscribeError::Silent(url.to_owned())),
        Err(HandshakeError::Failure(Error::Http(answer))) => Err(refused(url, &answer)),
        // By a server that is about to end, or by a proxy in front of one that has ended.
        Err(HandshakeError::Failure(
            error @ (Error::Io(_) | Error::Protocol(ProtocolError::HandshakeIncomplete)),
        )) => Err(ended(error)),
        Err(HandshakeError::Failure(error)) => {
            Err(SubscribeError::Stranger(url.to_owned(), error.to_string()))
        }
    }
}

/// The value of a header. One that is not ASCII can be built, and not be sent.
fn header(text: &str) -> Option<HeaderValue> {
    HeaderValue::from_str(text).ok().filter(|value| value.to_str().is_ok())
}

/// Bounds the wait for an answer, and for the other side of a link that is dead.
fn watch(stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
    let socket = SockRef::from(stream);
    let probes = TcpKeepalive::new()
        .with_time(PROBE_AFTER)
        .with_interval(PROBE_INTERVAL)
        .with_retries(PROBES);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(LOST_AFTER))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    /// That the kernel then finds a dead link is the kernel's to keep.
    #[test]
    fn the_kernel_is_told_to_look_for_a_server_that_says_nothing() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/ws", listener.local_addr().unwrap());
        let server =
            thread::spawn(move || tungstenite::accept(listener.accept().unwrap().0).unwrap());
        let socket = connect(&url, None).unwrap();
        let kernel = SockRef::from(socket.get_ref());
        assert!(kernel.keepalive().unwrap());
        assert_eq!(kernel.tcp_keepalive_time().unwrap(), PROBE_AFTER);
        assert_eq!(kernel.tcp_keepalive_interval().unwrap(), PROBE_INTERVAL);
        assert_eq!(kernel.tcp_keepalive_retries().unwrap(), PROBES);
        assert_eq!(kernel.tcp_user_timeout().unwrap(), Some(LOST_AFTER));
        drop(server.join().unwrap());
    }

    #[test]
    fn addresses_that_cannot_work_are_explained_before_anything_is_tried() {
        let table = [
            ("wss://example.com/ws", "wss (TLS) is not supported"),
            ("https://example.com/ws", "wss (TLS) is not supported"),
            ("http://example.com/ws", "ws://HOST:PORT/PATH"),
            ("127.0.0.1:8080", "ws://HOST:PORT/PATH"),
            ("not an address", "ws://HOST:PORT/PATH"),
        ];
        for (url, words) in table {
            let error = connect(url, None).unwrap_err().to_string();
            assert!(error.contains(url) && error.contains(words), "{error}");
        }
    }
}
