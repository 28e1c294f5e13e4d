//! The command line.

use std::net::SocketAddr;

use clap::{Args, Parser, Subcommand};

use crate::faults::FaultArgs;
use crate::server::Spec;
use crate::setting::SettingArgs;
use crate::soak::SoakArgs;
use crate::suite::Suite;

/// Puts the same load to WebSocket publish/subscribe servers, in turn, and compares what it costs
/// them.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Publish to the subscribers of one topic, or of many
    Fanout(FanoutArgs),
    /// A storm of connections that shake hands and join
    Connect(ConnectArgs),
    /// The same by each way to ask who may connect and join, beside a server that asks nobody
    Access(AccessArgs),
    /// Memory of connections that have joined and wait
    Idle(IdleArgs),
    /// Publishes through one RPC connection, driven by their answers
    Rpc(RpcArgs),
    /// A suite of cases
    Suite(SuiteArgs),
    /// Faults of clients, and what must hold under them
    Faults(FaultArgs),
    /// Faults at random under a seed, for as long as you like
    Soak(SoakArgs),
    /// Serve as the floor: a loop of blocking writes
    #[command(hide = true)]
    Floor {
        /// Where clients connect
        clients: SocketAddr,
        /// Where publishes come in
        publishes: SocketAddr,
        /// A write for every frame and socket, instead of one for all frames at hand
        #[arg(long)]
        plain: bool,
    },
    /// Become another program, which ends when the process that started this one does
    #[command(hide = true, trailing_var_arg = true)]
    Tied {
        /// The program and its arguments
        #[arg(required = true, allow_hyphen_values = true)]
        command: Vec<std::ffi::OsString>,
    },
    /// Serve as the bare RPC loop
    #[command(hide = true)]
    BareRpc {
        /// Where calls come in
        listen: SocketAddr,
    },
}

/// Fan-out.
#[derive(Args, Debug)]
pub struct FanoutArgs {
    /// Subscribers, spread over the topics
    #[arg(long, default_value_t = 1000)]
    pub subscribers: usize,
    /// Topics, published to in turn; as many as subscribers is unicast
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// Connections that publish, each to its share of the topics
    #[arg(long, default_value_t = 1)]
    pub publishers: u32,
    /// Bytes of a payload
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Closed loop: publications under way
    #[arg(long, default_value_t = 1, conflicts_with = "rate")]
    pub in_flight: u32,
    /// Open loop: publications a second, latency from the moment each was due
    #[arg(long)]
    pub rate: Option<f64>,
    /// Share of the subscribers who never read, %
    #[arg(long, default_value_t = 0.0)]
    pub slow: f64,
    /// Joins, leaves and resets a second of other clients meanwhile
    #[arg(long, default_value_t = 0)]
    pub churn: u32,
    /// What all workloads have.
    #[command(flatten)]
    pub common: Common,
}

/// Connections.
#[derive(Args, Debug)]
pub struct ConnectArgs {
    /// Connections a slice
    #[arg(long, default_value_t = 1000)]
    pub connections: usize,
    /// Handshakes under way at a time
    #[arg(long, default_value_t = 64)]
    pub window: usize,
    /// What all workloads have.
    #[command(flatten)]
    pub common: Common,
}

/// Ways to ask who may connect and join.
#[derive(Args, Debug)]
pub struct AccessArgs {
    /// Connections a slice
    #[arg(long, default_value_t = 1000)]
    pub connections: usize,
    /// Handshakes under way at a time
    #[arg(long, default_value_t = 64)]
    pub window: usize,
    /// Servers to start
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "open=roadcast,rules=roadcast:guard=rules,hs256=roadcast:guard=hs256,\
                         es256=roadcast:guard=es256,workers=roadcast:guard=workers,callback=roadcast:guard=callback,\
                         roadrunner=roadrunner:guard=workers"
    )]
    pub servers: Vec<Spec>,
    /// Rounds; in each, every server has one slice
    #[arg(long, default_value_t = 9)]
    pub rounds: usize,
    /// How the load is made.
    #[command(flatten)]
    pub setting: SettingArgs,
}

/// A suite.
#[derive(Args, Debug)]
pub struct SuiteArgs {
    /// Which
    pub suite: Suite,
    /// Only cases of these names, or whose name contains one of these
    #[arg(long, value_delimiter = ',')]
    pub only: Vec<String>,
    /// Rounds, in place of the suite's own
    #[arg(long)]
    pub rounds: Option<usize>,
    /// Milliseconds of a slice, in place of the suite's own
    #[arg(long)]
    pub slice_ms: Option<u64>,
    /// Put these servers to every case, the first as the base
    #[arg(long, value_delimiter = ',')]
    pub servers: Vec<Spec>,
    /// How the load is made.
    #[command(flatten)]
    pub setting: SettingArgs,
}

/// Idle connections.
#[derive(Args, Debug)]
pub struct IdleArgs {
    /// Connections
    #[arg(long, default_value_t = 10_000)]
    pub connections: usize,
    /// Topics that they are spread over
    #[arg(long, default_value_t = 1)]
    pub topics: u32,
    /// What all workloads have.
    #[command(flatten)]
    pub common: Common,
}

/// Publishes by RPC.
#[derive(Args, Debug)]
pub struct RpcArgs {
    /// Calls under way
    #[arg(long, default_value_t = 256)]
    pub window: u32,
    /// Bytes of a payload
    #[arg(long, default_value_t = 128)]
    pub payload: usize,
    /// Subscribers of the one topic
    #[arg(long, default_value_t = 0)]
    pub subscribers: usize,
    /// What all workloads have.
    #[command(flatten)]
    pub common: Common,
}

/// What all workloads have.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Servers to start, each [LABEL=]KIND[:KEY=VALUE]…, of kind roadcast, floor, floor-plain,
    /// bare-rpc, uws, roadrunner or centrifugo
    #[arg(long, value_delimiter = ',', default_value = "roadcast,floor,uws")]
    pub servers: Vec<Spec>,
    /// Label of the server that ratios refer to [default: the first that runs]
    #[arg(long)]
    pub base: Option<String>,
    /// Rounds; in each, every server has one slice
    #[arg(long, default_value_t = 9)]
    pub rounds: usize,
    /// Milliseconds of a slice
    #[arg(long, default_value_t = 1000)]
    pub slice_ms: u64,
    /// Put a veth pair with MTU 1500 between servers and generator, in a network namespace (needs
    /// root and ip)
    #[arg(long)]
    pub veth: bool,
    /// How the load is made.
    #[command(flatten)]
    pub setting: SettingArgs,
    /// Load the running server whose clients connect to this address, instead of starting any
    #[arg(long, requires = "rpc")]
    pub url: Option<String>,
    /// Where that server takes publishes: tcp://HOST:PORT
    #[arg(long, requires = "url")]
    pub rpc: Option<String>,
}
