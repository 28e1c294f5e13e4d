//! What a hub is told at its start.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::Duration;

use super::broker::{NatsSettings, RedisSettings};
use super::counters::HubCounters;
use super::runtime::Runtime;
use crate::limits::Limits;
use crate::mesh::BrokerId;
use crate::policy::Policies;

/// A bound listener for RPC.
#[derive(Debug)]
pub enum RpcListener {
    /// `tcp://…`
    Tcp(TcpListener),
    /// `unix://…`
    Unix(UnixListener),
}

/// What a broker is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Driver {
    /// This process, all its cores.
    Memory,
    /// Whoever shares a Redis.
    Redis(Box<RedisSettings>),
    /// Whoever shares a NATS.
    Nats(Box<NatsSettings>),
}

impl Driver {
    /// Its word in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis(_) => "redis",
            Self::Nats(_) => "nats",
        }
    }
}

/// What holds of all brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRules {
    /// The places of those that a message goes to which names none; `None`: all of them.
    pub publish_to: Option<Vec<usize>>,
    /// How long what waits for a broker that is down waits: a join, a publication.
    pub wait: Duration,
    /// Bytes of publications that each holds while it is down.
    pub buffer_bytes: usize,
}

impl Default for BrokerRules {
    fn default() -> Self {
        Self { publish_to: None, wait: Duration::from_secs(5), buffer_bytes: 0 }
    }
}

/// What a hub needs to run.
#[derive(Debug)]
pub struct HubConfig {
    /// What its thread runs on.
    pub runtime: Runtime,
    /// Where publishers connect, bound already; `None` runs without RPC.
    pub rpc: Option<RpcListener>,
    /// The opened brokers by name; the place of each is its [`BrokerId`].
    pub brokers: Vec<(String, Driver)>,
    /// The broker meant where none is named.
    pub default_broker: BrokerId,
    /// What holds of all brokers.
    pub broker_rules: BrokerRules,
    /// What is kept of each topic.
    pub policies: Policies,
    /// The bounds in force.
    pub limits: Arc<Limits>,
    /// Where the hub counts.
    pub counters: Arc<HubCounters>,
    /// Over which the shards tell everyone goodbye, before anything ends here; zero: they do not.
    pub drain: Duration,
    /// From then on, or from the beginning of shutting down, to its end, at most.
    pub shutdown_grace: Duration,
}
