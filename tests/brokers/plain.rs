//! Another program that publishes at a broker's server, without Roadcast between.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::servers::BrokerServer;

/// A server that says nothing for so long is connected to anew: its process stands still.
const SILENCE: Duration = Duration::from_secs(1);

type Dial = Box<dyn Fn() -> io::Result<TcpStream> + Send>;

/// See the module. Connects when it publishes, and anew whenever something is wrong.
pub struct Plain {
    dial: Dial,
    nats: bool,
    stream: Option<BufReader<TcpStream>>,
}

impl Plain {
    /// At a Redis.
    pub fn redis(server: &BrokerServer) -> Self {
        Self::new(to(server), false)
    }

    /// At a NATS.
    pub fn nats(server: &BrokerServer) -> Self {
        Self::new(to(server), true)
    }

    /// At a server that is reached in some way.
    pub fn new(dial: Dial, nats: bool) -> Self {
        Self { dial, nats, stream: None }
    }

    /// Publishes; whether the server has answered that it has it.
    pub fn publish(&mut self, topic: &str, payload: &str) -> bool {
        let published = self.try_publish(topic, payload);
        if published.is_err() {
            self.stream = None;
        }
        published.is_ok()
    }

    fn try_publish(&mut self, topic: &str, payload: &str) -> io::Result<()> {
        if self.stream.is_none() {
            let stream = (self.dial)()?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(SILENCE))?;
            self.stream = Some(BufReader::new(stream));
            if self.nats {
                self.say("CONNECT {\"verbose\":false}\r\n")?;
            }
        }
        let bytes = payload.len();
        if self.nats {
            self.say(&format!("PUB {topic} {bytes}\r\n{payload}\r\nPING\r\n"))?;
            return self.hear("PONG");
        }
        let channel = topic.len();
        self.say(&format!(
            "*3\r\n$7\r\nPUBLISH\r\n${channel}\r\n{topic}\r\n${bytes}\r\n{payload}\r\n"
        ))?;
        self.hear(":")
    }

    fn say(&mut self, text: &str) -> io::Result<()> {
        self.stream.as_mut().expect("it is connected").get_mut().write_all(text.as_bytes())
    }

    /// Reads up to a line that begins so.
    fn hear(&mut self, begin: &str) -> io::Result<()> {
        loop {
            let mut line = String::new();
            self.stream.as_mut().expect("it is connected").read_line(&mut line)?;
            match line.as_str() {
                line if line.starts_with(begin) => return Ok(()),
                "PING\r\n" => self.say("PONG\r\n")?,
                line if line.starts_with("INFO ") => {}
                _ => return Err(io::Error::other(line)),
            }
        }
    }
}

fn to(server: &BrokerServer) -> Dial {
    let address = SocketAddr::from(([127, 0, 0, 1], server.port));
    Box::new(move || TcpStream::connect(address))
}
