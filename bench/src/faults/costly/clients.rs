//! Clients that wait for each answer, and a probe of them that tells how long everybody else waits.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::dialect::{Dialect, Goridge, TopicName, goridge};
use crate::fleet::upgrade_request;
use crate::frame;

/// For an answer. Long, so that what holds a server for a minute is measured.
const PATIENCE: Duration = Duration::from_secs(180);

fn connect(server: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(server).with_context(|| format!("connecting to {server}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// More of what has been sent, behind what has come already.
fn receive(stream: &mut TcpStream, input: &mut Vec<u8>) -> Result<()> {
    let mut chunk = [0; 64 * 1024];
    match stream.read(&mut chunk).context("waiting for an answer")? {
        0 => bail!("the server closed the connection"),
        count => input.extend_from_slice(&chunk[..count]),
    }
    Ok(())
}

/// A WebSocket client.
pub struct Client {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Client {
    /// Connects and upgrades.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        let mut client = Self { stream: connect(server)?, input: Vec::new() };
        client.stream.write_all(&upgrade_request("/ws", server, ""))?;
        let head = loop {
            receive(&mut client.stream, &mut client.input)?;
            if let Some(end) = memchr::memmem::find(&client.input, b"\r\n\r\n") {
                break end + 4;
            }
        };
        if !client.input.starts_with(b"HTTP/1.1 101") {
            bail!("no upgrade");
        }
        client.input.drain(..head);
        Ok(client)
    }

    /// Sends commands in one write, while their replies are read, and waits for the last.
    pub fn commands(&mut self, commands: impl IntoIterator<Item = String>) -> Result<()> {
        let (mut out, mut count) = (Vec::new(), 0);
        for command in commands {
            frame::encode_masked(&mut out, frame::TEXT, command.as_bytes());
            count += 1;
        }
        let mut writing = self.stream.try_clone()?;
        thread::scope(|scope| {
            let written = scope.spawn(move || writing.write_all(&out));
            self.replies(count)?;
            written
                .join()
                .map_err(|_| anyhow!("the writing thread failed"))?
                .context("sending commands")
        })
    }

    fn replies(&mut self, count: usize) -> Result<()> {
        let (mut seen, mut at) = (0, 0);
        while seen < count {
            match frame::head(&self.input[at..]) {
                frame::Head::Frame(frame) => {
                    at += frame.bytes;
                    if frame.payload.starts_with(br##"{"topic":"#join""##) {
                        bail!("a join was refused");
                    }
                    let reply = [&br#"{"topic":"@join""#[..], br#"{"topic":"@leave""#];
                    seen += usize::from(reply.iter().any(|head| frame.payload.starts_with(head)));
                }
                frame::Head::Partial => {
                    self.input.drain(..std::mem::take(&mut at));
                    receive(&mut self.stream, &mut self.input)?;
                }
                frame::Head::Invalid => bail!("a frame that no server may send"),
            }
        }
        self.input.drain(..at);
        Ok(())
    }
}

/// A command for one topic.
pub fn command(name: &str, topic: &str) -> String {
    format!(r#"{{"command":"{name}","topics":["{topic}"]}}"#)
}

/// An RPC connection.
pub struct Caller {
    stream: TcpStream,
    input: Vec<u8>,
}

impl Caller {
    /// Connects.
    pub fn connect(server: SocketAddr) -> Result<Self> {
        Ok(Self { stream: connect(server)?, input: Vec::new() })
    }

    /// Sends a frame and waits for its answer, whatever it says.
    pub fn call(&mut self, frame: &[u8]) -> Result<()> {
        self.stream.write_all(frame).context("calling")?;
        loop {
            match goridge::measure(&self.input) {
                Some((len, _)) if self.input.len() >= len => {
                    self.input.drain(..len);
                    return Ok(());
                }
                _ => receive(&mut self.stream, &mut self.input)?,
            }
        }
    }
}

/// A `broadcast.Publish` whose body is these bytes.
pub fn publish_frame(body: &[u8]) -> Vec<u8> {
    const METHOD: &[u8] = b"broadcast.Publish";
    let mut frame = Vec::with_capacity(goridge::HEADER_BYTES + METHOD.len() + body.len());
    goridge::encode_header(&mut frame, 1, METHOD.len(), METHOD.len() + body.len());
    frame.extend_from_slice(METHOD);
    frame.extend_from_slice(body);
    frame
}

/// The longest that a publisher and a joining client had to wait.
#[derive(Clone, Copy, Debug, Default)]
pub struct Waits {
    /// For the answer to a publish.
    pub publish: Duration,
    /// For the reply to the join of a new topic.
    pub join: Duration,
    /// How often both were tried.
    pub tries: u64,
}

/// Publishes and joins again and again, in a thread of its own.
pub struct Probe {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Result<Waits>>,
}

impl Probe {
    /// Begins, once both have been answered for the first time.
    pub fn begin(clients: SocketAddr, publishes: SocketAddr) -> Result<Self> {
        let (mut client, mut caller) = (Client::connect(clients)?, Caller::connect(publishes)?);
        let mut publish = Vec::new();
        Goridge::default().publish(
            &TopicName { index: 0, name: "probe".into() },
            b"probe",
            &mut publish,
        );
        client.commands([command("join", "probe")])?;
        caller.call(&publish)?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            let mut waits = Waits::default();
            while !stopped.load(Ordering::Relaxed) {
                let start = Instant::now();
                caller.call(&publish)?;
                waits.publish = waits.publish.max(start.elapsed());
                let start = Instant::now();
                client.commands([command("join", &format!("probe-{}", waits.tries))])?;
                waits.join = waits.join.max(start.elapsed());
                client.commands([command("leave", &format!("probe-{}", waits.tries))])?;
                waits.tries += 1;
                thread::sleep(Duration::from_millis(1));
            }
            Ok(waits)
        });
        Ok(Self { stop, thread })
    }

    /// Ends, and tells.
    pub fn end(self) -> Result<Waits> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the probe failed"))?
    }
}
