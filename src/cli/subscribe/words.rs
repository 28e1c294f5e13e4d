//! What `roadcast subscribe` says: why it has not begun, or has ended, and what a person may do.

use std::io;
use std::time::Duration;

use tungstenite::Error;
use tungstenite::error::ProtocolError;
use tungstenite::http::{Response, header};
use tungstenite::protocol::CloseFrame;

use super::super::dial::DialError;
use super::ANSWER_TIMEOUT;
use crate::config::Problems;
use crate::escape;

/// Bytes of an answer's text that are shown.
const SAID_BYTES: usize = 200;
/// The longest that a server is left alone because it says so: a day, as long as a drain may take.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Why the subscription has not begun, or has ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("`{0}` is not the address of a server: ws://HOST:PORT/PATH")]
    Url(String),
    #[error(
        "--origin: `{0}` is no value of a header: it takes ASCII alone. Write the host in punycode (xn--…)"
    )]
    Origin(String),
    #[error(
        "`{0}`: wss (TLS) is not supported by this command yet. Connect to the server itself with ws://"
    )]
    Tls(String),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("what listens at {0} is not a WebSocket server: {1}")]
    Stranger(String, String),
    #[error("{0} is refused with {1}: {2}")]
    Refused(String, u16, String, Duration),
    #[error("{0} does not answer within {seconds} seconds", seconds = ANSWER_TIMEOUT.as_secs())]
    Silent(String),
    #[error(
        "the server refused to join {0}: a limit of the server, a rule of its access, or a broker \
         that is away or refuses it (`roadcast brokers` shows them)"
    )]
    NotJoined(String),
    #[error("the server closed the connection: {}", goodbye(.0.as_ref()))]
    Closed(Option<CloseFrame>),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("cannot print: {0}")]
    Output(io::Error),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
}

impl SubscribeError {
    /// Whether the same may go well later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Dial(_) | Self::Silent(_) | Self::NotJoined(_) | Self::Lost(_) => true,
            Self::Refused(_, status, ..) => matches!(status, 408 | 429 | 500..),
            // 1009: the join itself is too large.
            Self::Closed(frame) => frame.as_ref().is_none_or(|frame| u16::from(frame.code) != 1009),
            Self::Config(_) | Self::Url(_) | Self::Tls(_) | Self::Stranger(..) => false,
            Self::Origin(_) | Self::Output(_) | Self::Signals(_) => false,
        }
    }

    /// How long the server wants not to be asked again.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Refused(.., retry_after) => *retry_after,
            _ => Duration::ZERO,
        }
    }
}

/// An answer that refuses the upgrade: what it says itself where it knows more than its status
/// does, and how long to wait.
pub fn refused(url: &str, answer: &Response<Option<Vec<u8>>>) -> SubscribeError {
    let header = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
    let status = answer.status().as_u16();
    let plain = header(header::CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/plain"));
    let body = answer
        .body()
        .as_deref()
        .filter(|_| plain && matches!(status, 429 | 503))
        .unwrap_or_default();
    let said = String::from_utf8_lossy(&body[..body.len().min(SAID_BYTES)]);
    let said = said.lines().next().unwrap_or_default().trim().trim_end_matches('.');
    let why = if said.is_empty() { refusal(status).into() } else { escape::line(said) };
    let seconds =
        header(header::RETRY_AFTER).and_then(|value| value.trim().parse().ok()).unwrap_or(0);
    let retry_after = Duration::from_secs(seconds).min(RETRY_AFTER_MAX);
    SubscribeError::Refused(url.to_owned(), status, why.into_owned(), retry_after)
}

/// Topics in a sentence: the names, or how many there are.
pub fn named(topics: &[String]) -> String {
    let names = topics.join(", ");
    match topics.len() {
        1 if names.len() > 256 => "1 topic".to_owned(),
        count if count > 8 || names.len() > 256 => format!("{count} topics"),
        _ => names,
    }
}

/// What an answer to the upgrade means for the person who wanted it.
fn refusal(status: u16) -> &'static str {
    match status {
        400 | 426 => {
            "the server does not understand the upgrade; is there a proxy in between that must pass it on?"
        }
        401 => "the server wants to know who asks",
        403 => {
            "the server's websockets.allowed_origin does not allow this origin; --origin sends another one"
        }
        404 => {
            "the server takes WebSocket connections at another path (websockets.path, by default /ws)"
        }
        429 => "this address has too many connections, or makes them too fast",
        503 => "the server is full (roadcast.limits.connections) or shutting down",
        200..=299 => "there is a web server, but it does not speak WebSocket here",
        300..=399 => "the server sends clients elsewhere",
        502 | 504 => "the proxy in front of the server cannot reach it",
        _ => "the server does not take this connection",
    }
}

/// The end of a connection without a Close.
pub fn ended(error: Error) -> SubscribeError {
    SubscribeError::Lost(match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => "the server ended it without a word".to_owned(),
        Error::Protocol(ProtocolError::HandshakeIncomplete) => {
            "the server ended it before it answered the upgrade".to_owned()
        }
        error => error.to_string(),
    })
}

/// A close code in words (RFC 6455 §7.4.1, and the registry it names for 1012 to 1014).
fn goodbye(frame: Option<&CloseFrame>) -> String {
    let Some(frame) = frame else { return "without a reason".to_owned() };
    let code = u16::from(frame.code);
    let meaning = match code {
        1000 => "normal end",
        1001 => "it is shutting down",
        1002 => "it found a protocol error",
        1007 => "it got text that is not UTF-8",
        1008 => "a rule or limit of the server was hit",
        1009 => "a message was too large",
        1011 => "it failed",
        1012 => "it restarts",
        1013 => "this subscriber took its messages too slowly",
        _ => "unknown reason",
    };
    // What the server says of its own end is worth more than what the code says of any.
    let said =
        if frame.reason.is_empty() { meaning.into() } else { escape::line(frame.reason.as_str()) };
    let hint = if code == 1009 {
        "; a join with so many topics is over roadcast.limits.message_bytes: join fewer at once, or raise it"
    } else {
        ""
    };
    format!("{said} ({code}){hint}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_topics_are_a_number() {
        let names = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(named(&names(3)), "0, 1, 2");
        assert_eq!(named(&names(2000)), "2000 topics");
        assert_eq!(named(&["x".repeat(1000)]), "1 topic");
    }

    #[test]
    fn a_close_is_said_in_words_with_its_code() {
        let frame = CloseFrame { code: 1001.into(), reason: "".into() };
        assert_eq!(goodbye(Some(&frame)), "it is shutting down (1001)");
        let frame = CloseFrame { code: 4000.into(), reason: "why".into() };
        assert_eq!(goodbye(Some(&frame)), "why (4000)");
        let frame = CloseFrame { code: 1009.into(), reason: "".into() };
        assert!(goodbye(Some(&frame)).contains("roadcast.limits.message_bytes"));
        assert_eq!(goodbye(None), "without a reason");
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let refused =
            |status| SubscribeError::Refused(String::new(), status, String::new(), Duration::ZERO);
        let closed = |code: u16| {
            SubscribeError::Closed(Some(CloseFrame { code: code.into(), reason: "".into() }))
        };
        for passing in [
            refused(503),
            refused(429),
            refused(502),
            closed(1001),
            closed(1013),
            SubscribeError::Closed(None),
            ended(Error::Protocol(ProtocolError::HandshakeIncomplete)),
        ] {
            assert!(passing.may_pass(), "{passing:?}");
        }
        for lasting in
            [refused(403), refused(404), closed(1009), SubscribeError::Url(String::new())]
        {
            assert!(!lasting.may_pass(), "{lasting:?}");
        }
    }
}
