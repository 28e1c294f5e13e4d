//! The connection of `roadcast subscribe`, up to its upgrade.

use std::net::TcpStream;

use tungstenite::client::IntoClientRequest;
use tungstenite::http::Uri;
use tungstenite::{Error, HandshakeError, WebSocket};

use super::super::dial;
use super::ANSWER_TIMEOUT;
use super::words::{SubscribeError, refusal};

/// Connects to a server and upgrades. Waits for both.
pub fn connect(url: &str, origin: Option<&str>) -> Result<WebSocket<TcpStream>, SubscribeError> {
    let bad = || SubscribeError::Url(url.to_owned());
    let uri: Uri = url.parse().map_err(|_| bad())?;
    match uri.scheme_str() {
        Some("ws") => {}
        Some("wss" | "https") => return Err(SubscribeError::Tls(url.to_owned())),
        _ => return Err(bad()),
    }
    let stream = dial::tcp(uri.host().ok_or_else(bad)?, uri.port_u16().unwrap_or(80), url)?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(|error| SubscribeError::Lost(error.to_string()))?;
    let mut request = uri.into_client_request().map_err(|_| bad())?;
    if let Some(origin) = origin {
        let value = origin.parse().map_err(|_| SubscribeError::Url(origin.to_owned()))?;
        request.headers_mut().insert("Origin", value);
    }
    match tungstenite::client::client(request, stream) {
        Ok((socket, _)) => Ok(socket),
        Err(HandshakeError::Interrupted(_)) => Err(SubscribeError::Silent(url.to_owned())),
        Err(HandshakeError::Failure(Error::Http(answer))) => {
            let status = answer.status().as_u16();
            Err(SubscribeError::Refused(url.to_owned(), status, refusal(status)))
        }
        Err(HandshakeError::Failure(error)) => {
            Err(SubscribeError::Stranger(url.to_owned(), error.to_string()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
