//! HTTP and WebSocket byte by byte, for what a well-behaved client library never sends.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::PATIENCE;

/// Key and accept value of RFC 6455 §1.3.
const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// An HTTP answer.
#[derive(Debug)]
pub struct HttpAnswer {
    /// Status code.
    pub status: u16,
    /// Head as text, status line first.
    pub head: String,
    /// Body, up to its length or the end of the connection; empty for 101.
    pub body: Vec<u8>,
}

impl HttpAnswer {
    /// Value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines
            .into_iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.trim())
    }
}

/// A valid upgrade request; `more` is added to its head, line by line.
pub fn upgrade_request(path: &str, more: &[&str]) -> String {
    let mut text = format!(
        "GET {path} HTTP/1.1\r\nHost: roadcast.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
    );
    for line in more {
        text.push_str(line);
        text.push_str("\r\n");
    }
    text + "\r\n"
}

/// Sends a request on a connection of its own and reads the answer.
pub fn http(address: SocketAddr, request: &[u8]) -> HttpAnswer {
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    // The answer may come, and the connection end, before all of an oversized request is written.
    let _ = stream.write_all(request);
    read_http(&mut stream).expect("an HTTP answer")
}

/// The status that a GET of `path` is answered with.
pub fn get(address: SocketAddr, path: &str) -> u16 {
    http(address, format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).status
}

/// Reads one HTTP answer and not a byte more than its head says.
pub fn read_http(stream: &mut TcpStream) -> io::Result<HttpAnswer> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).expect("a head is text");
    let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).expect("a status line");
    let mut answer = HttpAnswer { status, head, body: Vec::new() };
    if status != 101 {
        match answer.header("content-length").map(|text| text.parse().expect("a length")) {
            Some(length) => {
                answer.body = vec![0; length];
                stream.read_exact(&mut answer.body)?;
            }
            None => drop(stream.read_to_end(&mut answer.body)?),
        }
    }
    Ok(answer)
}

/// A client frame: `first` is its first byte (FIN, reserved bits, opcode).
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    let mut bytes = vec![first];
    match payload.len() {
        length @ 0..=125 => bytes.push(0x80 | length as u8),
        length @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(0x80 | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes.extend(mask);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A WebSocket connection whose frames are written and read by hand.
pub struct RawClient {
    stream: TcpStream,
}

impl RawClient {
    /// Connects and upgrades.
    pub fn connect(address: SocketAddr, path: &str) -> Self {
        Self::connect_with(address, path, &[])
    }

    /// Connects and sends `behind` in the same write as the upgrade request.
    pub fn connect_with(address: SocketAddr, path: &str, behind: &[u8]) -> Self {
        let mut client = Self::open(address);
        client.send(&[upgrade_request(path, &[]).as_bytes(), behind].concat());
        client.expect_upgraded();
        client
    }

    /// A connection that is there already.
    pub fn of(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("no delay");
        Self { stream }
    }

    /// Connects and says nothing yet.
    pub fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        Self { stream }
    }

    /// The same connection once more, so that one thread can write while another reads.
    pub fn again(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("a second descriptor") }
    }

    /// Reads the answer to the upgrade, which must be 101 with the right accept value.
    pub fn expect_upgraded(&mut self) {
        let answer = read_http(&mut self.stream).expect("an HTTP answer");
        assert_eq!(answer.status, 101, "{}", answer.head);
        assert_eq!(answer.header("sec-websocket-accept"), Some(ACCEPT), "{}", answer.head);
    }

    /// Sends bytes as they are. What the server does not want to read any more is no failure of the
    /// test.
    pub fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// Sends a text message.
    pub fn text(&mut self, text: &str) {
        self.send(&masked(0x81, text.as_bytes()));
    }

    /// Reads a frame: its first byte and payload. None at the end of the connection.
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut head = [0; 2];
        self.fill(&mut head)?;
        assert_eq!(head[1] & 0x80, 0, "RFC 6455 §5.1: a server masks nothing");
        let length = match head[1] {
            126 => {
                let mut bytes = [0; 2];
                self.fill(&mut bytes)?;
                u16::from_be_bytes(bytes) as usize
            }
            127 => {
                let mut bytes = [0; 8];
                self.fill(&mut bytes)?;
                u64::from_be_bytes(bytes) as usize
            }
            length => length as usize,
        };
        let mut payload = vec![0; length];
        self.fill(&mut payload)?;
        Some((head[0], payload))
    }

    /// Expects a Close frame with this code, and then the end of the connection.
    pub fn expect_close(&mut self, code: u16, what: &str) {
        loop {
            match self.frame() {
                Some((0x88, payload)) => {
                    assert_eq!(
                        payload.get(..2),
                        Some(&code.to_be_bytes()[..]),
                        "close code after {what}"
                    );
                    break;
                }
                // What came before the offence is answered first.
                Some((0x81 | 0x82 | 0x89 | 0x8a, _)) => {}
                other => panic!("a Close {code} after {what}, not {other:?}"),
            }
        }
        self.send(&masked(0x88, &code.to_be_bytes()));
        assert!(self.frame().is_none(), "nothing follows a Close ({what})");
    }

    /// Expects the end of the connection; frames before it are skipped.
    pub fn expect_end(&mut self) {
        while self.frame().is_some() {}
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Option<()> {
        match self.stream.read_exact(bytes) {
            Ok(()) => Some(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                panic!("nothing came from the server for {PATIENCE:?}")
            }
            Err(_) => None,
        }
    }
}
