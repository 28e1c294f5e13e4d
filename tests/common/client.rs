//! A WebSocket client on tungstenite, with the commands and replies of the client protocol.

use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use serde_json::Value;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{Error, HandshakeError, Message, WebSocket};

use super::PATIENCE;

/// One connection of a subscriber.
pub struct Client {
    socket: WebSocket<TcpStream>,
}

/// What the server sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A publication: topic and payload.
    Message(String, String),
    /// A reply: `@join`, `#join`, `@leave` or `#leave`, and its topics.
    Reply(String, Vec<String>),
    /// A Close frame with its code; 1005 stands for none.
    Close(u16),
    /// The connection ended without a Close frame.
    End,
}

/// An upgrade that was answered with something else than 101.
#[derive(Debug)]
pub struct Refusal {
    /// HTTP status.
    pub status: u16,
}

impl Client {
    /// Connects and upgrades.
    pub fn connect(address: SocketAddr, path: &str) -> Result<Self, Refusal> {
        Self::connect_from(address, path, None)
    }

    /// Connects and upgrades with an `Origin`.
    pub fn connect_from(
        address: SocketAddr,
        path: &str,
        origin: Option<&str>,
    ) -> Result<Self, Refusal> {
        let headers: Vec<_> = origin.map(|origin| ("Origin", origin)).into_iter().collect();
        Self::connect_with(address, path, &headers)
    }

    /// Connects and upgrades with these headers.
    pub fn connect_with(
        address: SocketAddr,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Refusal> {
        Self::over(TcpStream::connect(address).expect("the server listens"), path, headers)
    }

    /// Connects with a receive buffer in the kernel of about `bytes`, so that a reader that stops
    /// is felt soon.
    pub fn connect_narrow(address: SocketAddr, bytes: usize) -> Self {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)
            .expect("a socket");
        socket.set_recv_buffer_size(bytes).expect("a small receive buffer");
        socket.connect(&address.into()).expect("the server listens");
        Self::over(socket.into(), "/ws", &[]).expect("the server takes a client")
    }

    fn over(
        stream: TcpStream,
        path: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Refusal> {
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let address = stream.peer_addr().expect("a connected socket");
        let mut request =
            format!("ws://{address}{path}").into_client_request().expect("a valid URL");
        for (name, value) in headers {
            request.headers_mut().append(*name, value.parse().expect("a header value"));
        }
        // A frame is read with as few system calls as possible, but never past what the test wants
        // to read.
        let config = WebSocketConfig::default().read_buffer_size(4096);
        match tungstenite::client::client_with_config(request, stream, Some(config)) {
            Ok((socket, _)) => Ok(Self { socket }),
            Err(HandshakeError::Failure(Error::Http(answer))) => {
                Err(Refusal { status: answer.status().as_u16() })
            }
            Err(error) => panic!("the upgrade fails: {error}"),
        }
    }

    /// Sends a text message as it is.
    pub fn send(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the server reads");
    }

    /// Sends any message.
    pub fn send_message(&mut self, message: Message) {
        self.socket.send(message).expect("the server reads");
    }

    /// Sends a command; false if the connection has ended.
    pub fn command(&mut self, command: &str, topics: &[&str]) -> bool {
        let text = serde_json::json!({ "command": command, "topics": topics }).to_string();
        self.socket.send(Message::text(text)).is_ok()
    }

    /// Joins and expects the reply as the next message.
    pub fn join(&mut self, topics: &[&str]) {
        assert!(self.command("join", topics), "the server reads");
        self.expect_reply("@join", topics);
    }

    /// Leaves and expects the reply as the next message.
    pub fn leave(&mut self, topics: &[&str]) {
        assert!(self.command("leave", topics), "the server reads");
        self.expect_reply("@leave", topics);
    }

    /// Expects a reply as the next message.
    pub fn expect_reply(&mut self, kind: &str, topics: &[&str]) {
        let topics = topics.iter().map(|topic| topic.to_string()).collect();
        assert_eq!(self.next(), Received::Reply(kind.to_owned(), topics));
    }

    /// Expects a publication as the next message.
    pub fn expect(&mut self, topic: &str, payload: &str) {
        assert_eq!(self.next(), Received::Message(topic.to_owned(), payload.to_owned()));
    }

    /// Next data message as it is, or the end. Pings are answered on the way.
    pub fn next_message(&mut self) -> Result<Message, Received> {
        self.read(false)
    }

    fn read(&mut self, pongs: bool) -> Result<Message, Received> {
        let begin = Instant::now();
        loop {
            // Pings would keep it waiting for ever.
            assert!(begin.elapsed() < PATIENCE, "nothing but pings came for {PATIENCE:?}");
            match self.socket.read() {
                Ok(message @ Message::Pong(_)) if pongs => return Ok(message),
                Ok(Message::Ping(_) | Message::Pong(_)) => {}
                Ok(Message::Close(frame)) => {
                    return Err(Received::Close(frame.map_or(1005, |frame| frame.code.into())));
                }
                Ok(message) => return Ok(message),
                Err(Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    panic!("nothing came from the server for {PATIENCE:?}");
                }
                Err(Error::Io(_) | Error::ConnectionClosed | Error::AlreadyClosed) => {
                    return Err(Received::End);
                }
                Err(Error::Protocol(
                    tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
                )) => {
                    return Err(Received::End);
                }
                Err(error) => panic!("the server breaks the WebSocket protocol: {error}"),
            }
        }
    }

    /// Next publication, reply or end.
    pub fn next(&mut self) -> Received {
        self.next_message().map_or_else(|end| end, understood)
    }

    /// Next publication, reply or end; None if the answer to an own ping comes first.
    pub fn next_or_pong(&mut self) -> Option<Received> {
        match self.read(true) {
            Ok(Message::Pong(_)) => None,
            Ok(message) => Some(understood(message)),
            Err(end) => Some(end),
        }
    }

    /// Says goodbye with 1000 and expects the server to do the same.
    pub fn close(mut self) {
        let frame = tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "".into() };
        self.socket.close(Some(frame)).expect("the server reads");
        loop {
            match self.next_message() {
                Ok(_) => {}
                Err(end) => return assert_eq!(end, Received::Close(1000)),
            }
        }
    }

    /// Ends the connection with a reset, as a crash or a lost network does.
    pub fn reset(self) {
        let socket = socket2::SockRef::from(self.socket.get_ref());
        socket.set_linger(Some(std::time::Duration::ZERO)).expect("a reset on close");
    }
}

/// A publication or reply from its JSON.
fn understood(message: Message) -> Received {
    let Message::Text(text) = message else { panic!("not a text frame: {message:?}") };
    let value: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"));
    let topic = value["topic"].as_str().unwrap_or_else(|| panic!("no topic in {text}")).to_owned();
    match &value["payload"] {
        Value::String(payload) => Received::Message(topic, payload.clone()),
        Value::Array(topics) => Received::Reply(
            topic,
            topics.iter().map(|name| name.as_str().expect("a topic's name").to_owned()).collect(),
        ),
        _ => panic!("a payload is a string or a list: {text}"),
    }
}
