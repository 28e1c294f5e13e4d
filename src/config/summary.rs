//! What runs, for people: printed by `check`, and by `serve` once it listens.

use std::cmp::Reverse;
use std::fmt;
use std::net::SocketAddr;

use super::key::{show_about, show_bytes};
use super::{Config, Driver, RpcListen};
use crate::access::PerUser;
use crate::backend::ChosenBackend;
use crate::worst_case;

/// A configuration with the addresses as they are bound (a port 0 has become a real one).
pub struct Summary<'a> {
    /// What runs.
    pub config: &'a Config,
    /// Where clients connect.
    pub http: SocketAddr,
    /// Where publishers connect.
    pub rpc: RpcListen,
    /// What it runs on, if the machine has been asked.
    pub backend: Option<&'a ChosenBackend>,
    /// Where metrics are served.
    pub metrics: Option<SocketAddr>,
    /// Where health and readiness are served.
    pub status: Option<SocketAddr>,
}

impl Config {
    /// What would run, with the addresses as configured.
    pub fn summary<'a>(&'a self, backend: Option<&'a ChosenBackend>) -> Summary<'a> {
        let address = |named: Option<(SocketAddr, &'static str)>| named.map(|(address, _)| address);
        Summary {
            config: self,
            http: self.http,
            rpc: self.rpc.clone(),
            backend,
            metrics: address(self.metrics),
            status: address(self.status),
        }
    }
}

/// Host and port for a client on this machine, and what to say beside it: nobody can connect to the
/// address that stands for all of them.
fn reachable(address: SocketAddr) -> (String, &'static str) {
    if address.ip().to_canonical().is_unspecified() {
        (format!("localhost:{}", address.port()), " (all addresses)")
    } else {
        (address.to_string(), "")
    }
}

/// What a broker is made of, and where its servers are.
fn driver(driver: &Driver) -> String {
    let at = |word: &str, addresses: Vec<String>| format!("{word} at {}", addresses.join(" "));
    match driver {
        Driver::Memory => "memory".to_owned(),
        Driver::Redis(settings) => {
            let addresses = settings.addrs.iter().map(ToString::to_string).collect();
            match settings.master_name.as_str() {
                "" => at("redis", addresses),
                name => at(&format!("redis, {name} of the Sentinels"), addresses),
            }
        }
        Driver::Nats(settings) => {
            let servers = settings.servers.iter();
            at("nats", servers.map(|server| server.address.to_string()).collect())
        }
    }
}

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (config, limits) = (self.config, &*self.config.limits);
        let file = config
            .file
            .as_ref()
            .map_or("none, defaults".to_owned(), |file| file.display().to_string());
        let size = |bytes: usize| show_bytes(bytes as u64);
        let names = config.brokers.iter().enumerate().map(|(index, broker)| {
            let default = if index == config.default_broker { ", default" } else { "" };
            format!("{} ({}{default})", broker.name, driver(&broker.driver))
        });
        let origins = config.origins.join(", ");
        let (clients, everywhere) = reachable(self.http);
        let everywhere = if everywhere.is_empty() { "" } else { "all addresses, " };
        let echo = config.echo_path.as_deref().unwrap_or("off");
        let pinned = if config.pin { ", each bound to a CPU" } else { "" };
        let connections = match limits.connections {
            0 => "as many as file descriptors allow".to_owned(),
            some => some.to_string(),
        };
        writeln!(f, "configuration  {file}")?;
        writeln!(f, "clients        ws://{clients}{} ({everywhere}origin {origins})", config.path)?;
        if config.demo {
            writeln!(f, "demo page      http://{clients}/")?;
        }
        match self.rpc {
            RpcListen::Tcp(address) => {
                let (address, everywhere) = reachable(address);
                writeln!(f, "publishers     tcp://{address}{everywhere}")?;
            }
            RpcListen::Unix(_) => writeln!(f, "publishers     {}", self.rpc)?,
        }
        if let Some((address, everywhere)) = self.metrics.map(reachable) {
            writeln!(f, "metrics        http://{address}/metrics{everywhere}")?;
        }
        if let Some((address, everywhere)) = self.status.map(reachable) {
            writeln!(f, "status         http://{address}/health and /ready{everywhere}")?;
        }
        writeln!(f, "brokers        {}", names.collect::<Vec<_>>().join(", "))?;
        writeln!(f, "{}", config.access.summary())?;
        writeln!(f, "shards         {}{pinned}", config.shards)?;
        if let Some(backend) = self.backend {
            writeln!(f, "backend        {backend}")?;
        }
        writeln!(f, "echo           {echo}")?;
        writeln!(
            f,
            "keepalive      ping {:?}, pong {:?}",
            limits.ping_interval, limits.pong_timeout
        )?;
        writeln!(
            f,
            "limits         connections {connections}; RPC connections {}",
            limits.rpc_connections
        )?;
        if limits.connections_per_address > 0 || limits.handshakes_per_address > 0 {
            let number =
                |limit: usize| if limit == 0 { "any".to_owned() } else { limit.to_string() };
            let trusted: Vec<_> = config.proxies.subnets.iter().map(ToString::to_string).collect();
            let trusted = if trusted.is_empty() { "nobody".to_owned() } else { trusted.join(", ") };
            writeln!(
                f,
                "               an address: connections {}, handshakes {} a second; proxies trusted: {trusted}",
                number(limits.connections_per_address),
                number(limits.handshakes_per_address)
            )?;
        }
        if limits.connections_per_user > 0 {
            let beyond = match config.access.per_user {
                _ if !config.access.asks() => "without effect, since nobody says who a user is",
                PerUser::Replace => "past it the oldest is closed, with 4409",
                PerUser::Refuse => "past it the new one is refused, with 429",
            };
            let max = limits.connections_per_user;
            writeln!(f, "               a user: connections {max}, {beyond}")?;
        }
        writeln!(
            f,
            "               message {}, publication {}, RPC frame {}",
            size(limits.message_bytes),
            size(limits.publication_bytes),
            size(limits.rpc_frame_bytes)
        )?;
        writeln!(
            f,
            "               topics {} in {} a connection, {} in {} a shard; name {}",
            limits.topics_per_connection,
            size(limits.subscriptions_bytes_per_connection),
            limits.topics,
            size(limits.subscriptions_bytes),
            size(limits.topic_bytes)
        )?;
        writeln!(
            f,
            "               outbox {} of {} a shard; log {}; lane {} in {}; socket {}",
            size(limits.outbox_bytes),
            size(limits.outboxes_bytes),
            size(limits.log_bytes),
            size(limits.lane_bytes),
            limits.lane_entries,
            size(limits.socket_send_bytes)
        )?;
        let mut rows = worst_case::rows(limits, config.shards, config.uses());
        let sum = worst_case::sum(limits, config.shards, config.uses());
        let of = config.memory.as_ref().map_or(String::new(), |memory| format!(" of {memory}"));
        rows.retain(|row| row.bytes > 0);
        rows.sort_by_key(|row| Reverse(row.bytes));
        let rows: Vec<_> =
            rows.iter().map(|row| format!("{} {}", row.what, show_about(row.bytes))).collect();
        writeln!(f, "memory         {} at worst{of}: {}", show_about(sum), rows.join(", "))?;
        write!(
            f,
            "               beside them: a connection {} and {} in the kernel, a publisher {}",
            size(limits.message_bytes),
            size(2 * limits.socket_send_bytes),
            size(limits.rpc_frame_bytes)
        )
    }
}
