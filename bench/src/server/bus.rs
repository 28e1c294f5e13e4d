//! The server behind a server: a Redis or NATS of its own, which its publications travel through.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::{Kind, Place, free_port};
use crate::cores;

/// How long it may take to serve.
const START: Duration = Duration::from_secs(10);

/// What `broker=` of a spec names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// redis-server.
    Redis,
    /// nats-server.
    Nats,
}

impl std::str::FromStr for Bus {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        Ok(match name {
            "redis" => Self::Redis,
            "nats" => Self::Nats,
            _ => bail!("broker={name}: there are redis and nats"),
        })
    }
}

/// A bus that runs until it is dropped.
#[derive(Debug)]
pub struct Running {
    kind: Bus,
    address: SocketAddr,
    child: Child,
}

impl Bus {
    /// Starts one on the servers' cores: it is part of what a delivery takes, though not of its
    /// server's CPU time.
    pub fn start(self, place: &Place) -> Result<Running> {
        let address = free_port(place.address)?;
        let (ip, port) = (address.ip().to_string(), address.port().to_string());
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("tied").arg("--");
        match self {
            Self::Redis => command
                .args(["redis-server", "--bind", &ip, "--port", &port])
                .args(["--save", "", "--protected-mode", "no"])
                // A generator that runs ahead is measured, not cut off.
                .args(["--client-output-buffer-limit", "pubsub 0 0 0"]),
            Self::Nats => command.args(["nats-server", "-a", &ip, "-p", &port]),
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let own = cores::current()?;
        cores::pin(&place.cores)?;
        let child = command.spawn();
        cores::pin(&own)?;
        let child = child.context("starting the broker's server")?;
        let running = Running { kind: self, address, child };
        let deadline = Instant::now() + START;
        while std::net::TcpStream::connect(address).is_err() {
            if Instant::now() > deadline {
                bail!(
                    "{self:?} does not serve on {address}: are redis-server and nats-server installed?"
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(running)
    }
}

impl Running {
    /// The `broadcast` section of Roadcast and of RoadRunner, YAML.
    pub fn section(&self, kind: Kind) -> Result<String> {
        let address = self.address;
        Ok(match (kind, self.kind) {
            (Kind::Roadcast, Bus::Redis) => {
                format!(
                    "broadcast: {{ default: {{ driver: redis, config: {{ addrs: [\"{address}\"] }} }} }}\n"
                )
            }
            (Kind::Roadcast, Bus::Nats) => {
                format!(
                    "broadcast: {{ default: {{ driver: nats, config: {{ addr: \"nats://{address}\" }} }} }}\n"
                )
            }
            // Of its version, which reads no `config`.
            (Kind::RoadRunner, Bus::Redis) => {
                format!("broadcast: {{ default: {{ driver: redis, addrs: [\"{address}\"] }} }}\n")
            }
            _ => bail!("{} has no broker {:?} here", kind.name(), self.kind),
        })
    }

    /// Where a Redis is.
    pub fn redis(&self) -> Result<SocketAddr> {
        match self.kind {
            Bus::Redis => Ok(self.address),
            Bus::Nats => bail!("no Redis but NATS"),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
