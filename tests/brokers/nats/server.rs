//! A nats-server with a configuration, nodes on it, and a client of its protocol, written by hand.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::Signal;

use crate::common::{PATIENCE, Server};
use crate::servers::BrokerServer;

/// A path for a file of one test.
pub fn file_path(name: &str) -> PathBuf {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{name}-{}-{number}", std::process::id());
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

/// A running nats-server.
pub struct Nats {
    pub server: BrokerServer,
    config: PathBuf,
}

impl Nats {
    /// One with these lines in its configuration. None, and the test is skipped, where it is not
    /// installed.
    pub fn start(lines: &str) -> Option<Self> {
        let config = file_path("nats.conf");
        std::fs::write(&config, lines).expect("a file");
        let server = BrokerServer::nats(&["-c", config.to_str().expect("a path of text")])?;
        Some(Self { server, config })
    }

    /// Where it listens.
    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Has it say goodbye to its clients, and end.
    pub fn lame_duck(&self) {
        let signalled = Command::new("nats-server")
            .arg(format!("--signal=ldm={}", self.server.pid()))
            .status()
            .expect("nats-server runs");
        assert!(signalled.success());
    }

    /// Writes other lines into its configuration, for its next start.
    pub fn configure(&self, lines: &str) {
        std::fs::write(&self.config, lines).expect("a file");
    }

    /// Writes other lines into its configuration, and has it read them.
    pub fn reload(&self, lines: &str) {
        self.configure(lines);
        self.server.signal(Signal::HUP);
    }

    /// A plain client.
    pub fn client(&self) -> NatsClient {
        NatsClient::connect(self.server.port, "{\"verbose\":false}")
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.server.directory.join("log"));
            println!("--- log of nats-server ---\n{}", log.unwrap_or_default());
        }
        let _ = std::fs::remove_file(&self.config);
    }
}

/// A node whose default broker is at this address, with these options of it, and `overrides`;
/// beside it a memory broker `local`.
pub fn node(address: &str, options: &[&str], overrides: &[&str]) -> Server {
    let settings = settings(address, options);
    let more = [
        "broadcast.local.driver=memory",
        "websockets.broker=bus",
        "roadcast.publish_to=default",
        "roadcast.metrics.address=127.0.0.1:0",
        "roadcast.status.address=127.0.0.1:0",
    ];
    let own = settings.iter().map(String::as_str).chain(more);
    Server::start(&own.chain(overrides.iter().copied()).collect::<Vec<_>>())
}

/// The settings of a broker named `bus`.
pub fn settings(address: &str, options: &[&str]) -> Vec<String> {
    let addrs = format!("broadcast.bus.config.addrs={address}");
    let options = options.iter().map(|option| format!("broadcast.bus.config.{option}"));
    ["broadcast.bus.driver=nats".to_owned(), addrs].into_iter().chain(options).collect()
}

/// A client that says what it is told to.
pub struct NatsClient {
    reader: BufReader<TcpStream>,
    subscriptions: usize,
}

impl NatsClient {
    /// Connects, with this JSON behind CONNECT.
    pub fn connect(port: u16, options: &str) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("nats-server listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
        stream.set_nodelay(true).expect("no delay");
        let mut client = Self { reader: BufReader::new(stream), subscriptions: 0 };
        assert!(client.line().starts_with("INFO "));
        client.say(format!("CONNECT {options}\r\n").as_bytes());
        client.flush();
        client
    }

    fn say(&mut self, bytes: &[u8]) {
        self.reader.get_mut().write_all(bytes).expect("nats-server reads");
    }

    fn line(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).expect("a line of nats-server");
            assert!(!line.is_empty(), "nats-server has gone");
            if line == "PING\r\n" {
                self.say(b"PONG\r\n");
                continue;
            }
            return line.trim_end().to_owned();
        }
    }

    /// Waits until all has arrived that was said before.
    pub fn flush(&mut self) {
        self.say(b"PING\r\n");
        assert_eq!(self.line(), "PONG");
    }

    /// Subscribes, and waits until it is.
    pub fn subscribe(&mut self, subject: &str) {
        self.subscriptions += 1;
        self.say(format!("SUB {subject} {}\r\n", self.subscriptions).as_bytes());
        self.flush();
    }

    /// Publishes.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.say(format!("PUB {subject} {}\r\n", payload.len()).as_bytes());
        self.say(&[payload, b"\r\n"].concat());
    }

    /// Publishes with a header; CONNECT must have said that it may.
    pub fn publish_with_header(&mut self, subject: &str, payload: &[u8]) {
        let header = "NATS/1.0\r\nKey: value\r\n\r\n";
        let all = header.len() + payload.len();
        self.say(format!("HPUB {subject} {} {all}\r\n{header}", header.len()).as_bytes());
        self.say(&[payload, b"\r\n"].concat());
    }

    /// The next message: its subject and payload.
    pub fn next(&mut self) -> (String, Vec<u8>) {
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        let (["MSG", subject, ..], Some(bytes)) = (&words[..], words.last()) else {
            panic!("a message: {line}")
        };
        let mut payload = vec![0; bytes.parse::<usize>().expect("a number") + 2];
        self.reader.read_exact(&mut payload).expect("a payload");
        payload.truncate(payload.len() - 2);
        ((*subject).to_owned(), payload)
    }
}
