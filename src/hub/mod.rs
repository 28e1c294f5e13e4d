//! The hub: everything that is rare, slow or third-party, on one thread of tokio. It decodes
//! publishes, puts each topic's publications into one order, encodes them once, and hands them to
//! the interested shards.
//!
//! ```text
//! runtime     tokio with an io_uring, or alone
//! watch       gives the core its turns
//! rpc/accept  RPC connections are taken
//! rpc/socket  one task a connection: reading and writing
//! rpc/calls   calls in, answers out
//! core        all below, and what is under way
//! up          answers to interest                               the lanes up
//! probe       what brokers' servers are, for whoever checks a configuration
//! starting    the brokers' first attempts to be reached
//! interest    who waits for a broker to confirm a topic
//! brokers     the opened ones; broker/memory: straight on
//! sequencer   encode once, one order a topic
//! lanes       push to all interested lanes, wait for room       the lanes down
//! waiting     what waits, oldest first
//! accounts    who may leave how much waiting
//! history     publications that are kept for who was away; kept: of one channel
//! channels    topics that shards want: the order of each, and which shards
//! ```
//!
//! [`Core`] and [`Calls`] are all of it but the runtime, the sockets and the clock, which [`run`]
//! puts around them.
//!
//! Shutting down has three stages, behind a drain where one is configured, in which all goes on
//! here while the shards tell one connection after the other goodbye. *Finishing*: nobody is
//! accepted any more, neither here nor by the shards; calls that have been read are worked through,
//! later ones get errors. *Draining*: the lanes have their last entry, and whatever still waits for
//! room gets an error. *End*: the shards have let go or the grace is over; connections close.
//!
//! Deliberately absent: state outside [`run`]'s own, so that there may be several hubs.

mod accounts;
mod broker;
mod brokers;
mod channels;
mod config;
mod core;
mod counters;
mod history;
mod interest;
mod kept;
mod lanes;
mod probe;
mod rpc;
mod runtime;
mod sequencer;
mod starting;
mod up;
mod waiting;
mod watch;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

pub use self::broker::{
    Address, Broker, BrokerState, BrokerStatus, Inlet, Link, NatsLogin, NatsServer, NatsSettings,
    Outbound, Probed, RedisSettings, Sharded, Standing, Tls, Wanting,
};
pub use self::brokers::{Open, open};
pub use self::config::{BrokerRules, Driver, HubConfig, RpcListener};
pub use self::core::Core;
pub use self::counters::HubCounters;
pub use self::history::TICK;
pub use self::lanes::Patience;
pub use self::probe::probe;
use self::rpc::{Accepting, Connections};
pub use self::rpc::{Caller, Calls, Peer, Said};
pub use self::runtime::Runtime;
pub use self::sequencer::{PublishError, Publishing, Sent};
use self::watch::Watch;
use crate::ending::Ending;
use crate::lane::Wake;
use crate::mesh::HubEnd;

/// Begins the shutdown of a hub and its shards, from any thread.
#[derive(Clone, Debug)]
pub struct ShutdownHandle {
    ending: Arc<Ending>,
    /// Of the hub and of each shard.
    wakes: Vec<Arc<Wake>>,
}

impl ShutdownHandle {
    /// A handle for the hub that will run with this end, and for the shards at the other ends of
    /// its lanes.
    pub fn new(end: &HubEnd) -> Self {
        let shards = end.down.iter().map(|lane| lane.consumer());
        Self { ending: end.ending.clone(), wakes: shards.chain([end.wake.clone()]).collect() }
    }

    /// Begins to shut down; later calls change nothing. Everyone's grace counts from here.
    pub fn begin(&self, now: StdInstant) {
        self.ending.begin(now);
        self.wakes.iter().for_each(|wake| wake.wake());
    }
}

/// How long connections are answered with errors before they are closed, if the grace allows it: so
/// that a call that is on its way is told why.
const LAST_ANSWERS: Duration = Duration::from_millis(100);
/// How long the start waits for brokers to say whether their servers can be reached.
const FIRST_ATTEMPTS: Duration = Duration::from_secs(1);
/// Between two looks at whether the shards have drained, which may take a day.
const DRAINING: Duration = Duration::from_millis(100);
/// Between two looks at whether they have let go.
const LETTING_GO: Duration = Duration::from_millis(5);

/// Runs the hub on the calling thread until shutting down, which a [`ShutdownHandle`] begins, is
/// complete. `ready` is called once it listens.
///
/// Fails when the runtime cannot be made (io_uring denied, no descriptors), the listener cannot be
/// watched, or a broker says that waiting for its server is hopeless.
pub fn run(config: HubConfig, end: HubEnd, ready: impl FnOnce()) -> io::Result<()> {
    config.runtime.run(serve(config, end, ready))?
}

async fn serve(config: HubConfig, end: HubEnd, ready: impl FnOnce()) -> io::Result<()> {
    let (ending, shards) = (end.ending.clone(), end.down.len());
    let wake = end.wake.clone();
    let core = Rc::new(Core::new(&config, end));
    let watch = Watch::new(core.clone(), &wake, config.runtime)?;
    let (connections, counters) = (Rc::new(Connections::new(core.clone())), config.counters);
    let accepting = match config.rpc {
        None => None,
        Some(listener) => {
            let listener = Accepting::new(listener, config.runtime)?;
            Some(counters.spawn(connections.clone().accept(listener)))
        }
    };
    let (begun, said) = (Rc::new(Notify::new()), Cell::new(false));
    let watching = counters.spawn(watch.run({
        let (begun, ending) = (begun.clone(), ending.clone());
        move || {
            if ending.begun().is_some() && !said.replace(true) {
                begun.notify_one();
            }
        }
    }));

    let aging = config.policies.keeps().then(|| counters.spawn(age(core.clone())));
    // A server that is away is waited for by those who need it.
    if let Ok(Err(hopeless)) = timeout(FIRST_ATTEMPTS, core.brokers_started()).await {
        return Err(io::Error::other(hopeless));
    }
    ready();
    begun.notified().await;
    let begin = ending.begun().map_or_else(Instant::now, Instant::from_std);
    // Nothing changes here meanwhile: those who have not been told goodbye are served.
    let over = begin + config.drain;
    while Instant::now() < over && ending.shards_drained() < shards {
        sleep_until(over.min(Instant::now() + DRAINING)).await;
    }
    let begin = over.min(Instant::now());
    let grace = config.shutdown_grace;
    let anybody =
        ending.shards_drained() < shards || ending.clients_drained() > 0 || !connections.is_empty();
    if !config.drain.is_zero() && anybody {
        tracing::info!("the drain is over; up to {grace:?} for who is left");
    }
    if let Some(accepting) = accepting {
        accepting.abort();
        let _ = accepting.await;
    }
    finish(&core, begin + grace / 2).await;
    drain(&core, begin + grace).await;
    connections.close().await;
    for task in aging.into_iter().chain([watching]) {
        task.abort();
        let _ = task.await;
    }
    Ok(())
}

/// Tells the core of the time, for ever.
async fn age(core: Rc<Core>) {
    let start = Instant::now();
    loop {
        sleep(TICK).await;
        core.set_now(start.elapsed());
    }
}

/// Works through what has been read, until the deadline at most.
async fn finish(core: &Core, deadline: Instant) {
    core.stop_accepting();
    // Whoever is not done by then gets an error.
    let _ = timeout_at(deadline, core.idle()).await;
}

/// Ends the lanes and answers calls with errors until the shards have let go, or the deadline.
async fn drain(core: &Core, deadline: Instant) {
    core.drain();
    // Whoever waited for room says so to its caller first, however late it is.
    let _ = timeout(LAST_ANSWERS, core.idle()).await;
    sleep_until(deadline.min(Instant::now() + LAST_ANSWERS)).await;
    while !core.is_abandoned() && Instant::now() < deadline {
        sleep(LETTING_GO).await;
    }
}
