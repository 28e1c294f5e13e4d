//! `roadcast subscribe`: prints the messages of topics until Ctrl-C.
//!
//! One thread that sleeps in `poll` on the socket, on a pipe that a signal writes to, and on standard output, whose
//! reader may go away. Lines are written together and flushed before each sleep.

use std::io::{self, BufWriter, IsTerminal, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::Deserialize;
use signal_hook::consts::{SIGINT, SIGTERM};
use tungstenite::client::IntoClientRequest;
use tungstenite::error::ProtocolError;
use tungstenite::http::Uri;
use tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::args::SubscribeArgs;
use super::dial::{self, DialError};
use super::printer::Printer;
use crate::config::Problems;

/// For the upgrade and for the answer to the join, each. A guess: long for any network that a person waits for.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// For the server's Close after ours, once the user has asked for the end.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Why the subscription has not begun, or has ended.
#[derive(Debug, thiserror::Error)]
enum SubscribeError {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error("`{0}` is not the address of a server: ws://HOST:PORT/PATH")]
    Url(String),
    #[error("`{0}`: wss (TLS) is not supported by this command yet. Connect to the server itself with ws://")]
    Tls(String),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("what listens at {0} is not a WebSocket server: {1}")]
    Stranger(String, String),
    #[error("{0} is refused with {1}: {2}")]
    Refused(String, u16, &'static str),
    #[error("{0} does not answer within {seconds} seconds", seconds = ANSWER_TIMEOUT.as_secs())]
    Silent(String),
    #[error(
        "the server refused to join {0}: an unknown broker, a limit of the server, or a rule of its access"
    )]
    NotJoined(String),
    #[error("the server closed the connection: {0}")]
    Closed(String),
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("cannot print: {0}")]
    Output(io::Error),
    #[error("cannot watch for signals: {0}")]
    Signals(io::Error),
}

/// Subscribes and prints. 0 when the user ends it (Ctrl-C, SIGTERM, or nobody reads the output any more); 1 when it
/// cannot begin or the server ends it, with the reason on stderr.
pub fn run(args: &SubscribeArgs) -> ExitCode {
    match subscribe(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}

fn subscribe(args: &SubscribeArgs) -> Result<(), SubscribeError> {
    let url = &match &args.url {
        Some(url) => url.clone(),
        None => super::addresses(&args.config)?.url()?,
    };
    let interrupts = interrupts().map_err(SubscribeError::Signals)?;
    let mut socket = connect(url, args.origin.as_deref())?;
    let mut join = serde_json::json!({ "command": "join", "topics": args.topics });
    if let Some(broker) = &args.broker {
        join["broker"] = broker.as_str().into();
    }
    socket.send(Message::text(join.to_string())).map_err(ended)?;
    socket.get_ref().set_nonblocking(true).map_err(|error| SubscribeError::Lost(error.to_string()))?;
    let escape = io::stdout().is_terminal();
    let printer = Printer { out: BufWriter::new(io::stdout()), json: args.json, escape };
    Subscription { socket, interrupts, printer, topics: named(&args.topics), joined: false }.run(url)
}

/// Topics in a sentence: the names, or how many there are.
fn named(topics: &[String]) -> String {
    let names = topics.join(", ");
    match topics.len() {
        1 if names.len() > 256 => "1 topic".to_owned(),
        count if count > 8 || names.len() > 256 => format!("{count} topics"),
        _ => names,
    }
}

/// A stream that gets a byte with each SIGINT or SIGTERM. The second such signal ends the process at once.
fn interrupts() -> io::Result<UnixStream> {
    let (reading, writing) = UnixStream::pair()?;
    let seen = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // This order: the first signal is looked at before it is noted.
        signal_hook::flag::register_conditional_shutdown(signal, 1, seen.clone())?;
        signal_hook::flag::register(signal, seen.clone())?;
        signal_hook::low_level::pipe::register(signal, writing.try_clone()?)?;
    }
    reading.set_nonblocking(true)?;
    Ok(reading)
}

fn connect(url: &str, origin: Option<&str>) -> Result<WebSocket<TcpStream>, SubscribeError> {
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
        404 => "the server takes WebSocket connections at another path (websockets.path, by default /ws)",
        503 => "the server is full (roadcast.limits.connections) or shutting down",
        200..=299 => "there is a web server, but it does not speak WebSocket here",
        300..=399 => "the server sends clients elsewhere",
        502 | 504 => "the proxy in front of the server cannot reach it",
        _ => "the server does not take this connection",
    }
}

/// A joined, or joining, connection.
struct Subscription {
    socket: WebSocket<TcpStream>,
    interrupts: UnixStream,
    printer: Printer<BufWriter<io::Stdout>>,
    topics: String,
    joined: bool,
}

/// What a sleep ended with.
enum Woken {
    Socket,
    Interrupted,
    /// Nobody reads standard output any more.
    Unread,
    Deadline,
}

impl Subscription {
    fn run(mut self, url: &str) -> Result<(), SubscribeError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        loop {
            let message = match self.socket.read() {
                Ok(message) => message,
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    match self.printer.out.flush() {
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return self.close(),
                        other => other.map_err(SubscribeError::Output)?,
                    }
                    match self.sleep((!self.joined).then_some(deadline))? {
                        Woken::Socket => continue,
                        Woken::Interrupted | Woken::Unread => return self.close(),
                        Woken::Deadline => return Err(SubscribeError::Silent(url.to_owned())),
                    }
                }
                Err(error) => {
                    let _ = self.printer.out.flush();
                    return Err(ended(error));
                }
            };
            let Message::Text(text) = message else {
                if let Message::Close(frame) = message {
                    let _ = self.printer.out.flush();
                    // The answer to the server's Close.
                    let _ = self.socket.flush();
                    return Err(SubscribeError::Closed(goodbye(frame.as_ref())));
                }
                continue;
            };
            match serde_json::from_str(&text) {
                Ok(Received { topic, payload: Payload::Text(payload) }) => {
                    match self.printer.print(&topic, &payload) {
                        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return self.close(),
                        other => other.map_err(SubscribeError::Output)?,
                    }
                }
                Ok(Received { topic, .. }) if topic == "@join" => {
                    self.joined = true;
                    eprintln!("Joined {}. Ctrl-C ends.", self.topics);
                }
                Ok(Received { topic, .. }) if topic == "#join" => {
                    let refused = SubscribeError::NotJoined(self.topics.clone());
                    return self.close().and(Err(refused));
                }
                Ok(_) => {}
                Err(error) => eprintln!("Skipped a message that is not understood: {error}"),
            }
        }
    }

    /// Waits for the socket, a signal, or the loss of the reader.
    fn sleep(&mut self, deadline: Option<Instant>) -> Result<Woken, SubscribeError> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let timeout = left.map(|left| Timespec {
                tv_sec: left.as_secs() as i64,
                // Rounded up: a sleep of nothing just before the deadline would spin.
                tv_nsec: i64::from(left.subsec_nanos().max(1)),
            });
            let output = io::stdout();
            let mut sources = [
                PollFd::new(&self.interrupts, PollFlags::IN),
                PollFd::new(self.socket.get_ref(), PollFlags::IN),
                // Errors are reported unasked: here, that the pipe has lost its reader.
                PollFd::new(&output, PollFlags::empty()),
            ];
            match poll(&mut sources, timeout.as_ref()) {
                Ok(0) => return Ok(Woken::Deadline),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(SubscribeError::Lost(error.to_string())),
            }
            let [interrupts, socket, output] = sources.map(|source| source.revents());
            if !interrupts.is_empty() {
                let _ = self.interrupts.read(&mut [0; 16]);
                return Ok(Woken::Interrupted);
            }
            if output.intersects(PollFlags::ERR | PollFlags::NVAL) {
                return Ok(Woken::Unread);
            }
            if !socket.is_empty() {
                return Ok(Woken::Socket);
            }
        }
    }

    /// Says goodbye and gives the server a moment to answer; how that goes changes nothing for the user.
    fn close(mut self) -> Result<(), SubscribeError> {
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        let frame = CloseFrame { code: CloseCode::Normal, reason: "".into() };
        let mut said = self.socket.close(Some(frame));
        while !matches!(said, Err(Error::ConnectionClosed | Error::AlreadyClosed)) {
            match self.socket.read() {
                Ok(_) => {}
                Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Standard output may be the reason for the end: only the socket counts from here on.
                    let left = deadline.saturating_duration_since(Instant::now());
                    let timeout =
                        Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
                    let mut sources = [PollFd::new(self.socket.get_ref(), PollFlags::IN)];
                    if !matches!(poll(&mut sources, Some(&timeout)), Ok(1..)) {
                        break;
                    }
                }
                Err(_) => break,
            }
            said = self.socket.flush();
        }
        Ok(())
    }
}

fn ended(error: Error) -> SubscribeError {
    SubscribeError::Lost(match error {
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)
        | Error::ConnectionClosed
        | Error::AlreadyClosed => "the server ended it without a word".to_owned(),
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
    let said = if frame.reason.is_empty() { meaning } else { frame.reason.as_str() };
    let hint = if code == 1009 {
        "; a join with so many topics is over roadcast.limits.message_bytes: join fewer at once, or raise it"
    } else {
        ""
    };
    format!("{said} ({code}){hint}")
}

/// What the server sends: a publication, whose payload is a string, or a reply, whose payload is a list.
#[derive(Deserialize)]
struct Received {
    topic: String,
    payload: Payload,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Payload {
    Text(String),
    Topics(#[allow(dead_code, reason = "recognised by being a list")] Vec<String>),
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
    fn a_topic_called_like_a_reply_is_told_from_one_by_its_payload() {
        let publication: Received = serde_json::from_str(r#"{"topic":"@join","payload":"x"}"#).unwrap();
        assert!(matches!(publication.payload, Payload::Text(_)));
        let reply: Received = serde_json::from_str(r#"{"topic":"@join","payload":["x"]}"#).unwrap();
        assert!(matches!(reply.payload, Payload::Topics(_)));
    }
}
