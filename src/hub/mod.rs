//! The hub: everything that is rare, slow or third-party, on one thread of tokio. It decodes
//! publishes, puts each topic's publications into one order, encodes them once, and hands them to
//! the interested shards.
//!
//! ```text
//! runtime    tokio with an io_uring, or alone
//! stream     RPC listeners and streams, TCP or Unix
//! socket     one task an RPC connection: reading and writing
//! input      what has been read and not worked through
//! calls      calls in, answers out
//! publish    a request's messages to their brokers
//! broker     memory: straight on
//! sequencer  encode once, one order a topic
//! room       push to all interested lanes, wait for room       the lanes down
//! waiting    what waits, oldest first
//! accounts   who may leave how much waiting
//! interest   which shard wants which topic
//! up         answers to interest                               the lanes up
//! ```
//!
//! [`Core`] is all of it but the runtime, the sockets and the clock, which [`run`] puts around it.
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
mod calls;
mod core;
mod input;
mod interest;
mod publish;
mod room;
mod runtime;
mod sequencer;
mod socket;
mod stream;
mod up;
mod waiting;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant as StdInstant};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

pub use self::calls::{Caller, Calls};
pub use self::core::Core;
pub use self::runtime::Runtime;
use self::sequencer::Sequencer;
use self::stream::Accepting;
pub use self::stream::RpcListener;
use self::up::Watch;
use crate::ending::Ending;
use crate::lane::Wake;
use crate::limits::Limits;
use crate::mesh::{BrokerId, HubEnd};
use crate::metrics::{Counter, counters};
use crate::pulse::{Pulse, Watched};

counters! {
    /// What the hub counts.
    HubCounters {
        /// RPC connections by now.
        rpc_open: Gauge("rpc_connections_open"),
        /// RPC connections taken.
        rpc_accepted: Counter("rpc_connections_accepted"),
        /// RPC connections turned away at `rpc_connections`.
        rpc_refused: Part("rpc_connections_closed", "limit"),
        /// RPC connections closed because what they sent is not goridge or breaks its bounds.
        rpc_violations: Part("rpc_connections_closed", "violation"),
        /// RPC connections closed because a frame, or the reading of answers, took too long.
        rpc_timeouts: Part("rpc_connections_closed", "timeout"),
        /// RPC calls read, whatever became of them.
        calls: Counter("rpc_calls"),
        /// Publications asked for: one for each topic and broker.
        publications: LogOnly,
        /// Publications put into lanes, one for each interested shard.
        publications_pushed: Counter("publications_pushed"),
        /// Publications that met a full lane and waited.
        publications_waited: Counter("lane_stalls"),
        /// Empty topic names in RPC calls, skipped.
        empty_topics: Counter("empty_topics"),
        /// Error answers: no such service or method.
        errors_method: Part("rpc_errors", "method"),
        /// Error answers: a codec that is not served.
        errors_codec: Part("rpc_errors", "codec"),
        /// Error answers: a body that cannot be decoded.
        errors_body: Part("rpc_errors", "body"),
        /// Error answers: a broker that is not configured.
        errors_broker: Part("rpc_errors", "broker"),
        /// Error answers: a publication or topic over its limit.
        errors_size: Part("rpc_errors", "size"),
        /// Error answers: an asynchronous call over `rpc_async_bytes`.
        errors_async: Part("rpc_errors", "async"),
        /// Error answers: shutting down.
        errors_shutdown: Part("rpc_errors", "shutdown"),
        /// Publications that failed after PublishAsync had been answered.
        failures_after_ok: Counter("publications_lost_after_ok"),
    } also {
        /// Publications asked for over RPC, by broker: its place is its [`BrokerId`].
        by_broker: Box<[Counter]>,
        /// Whether the hub is stuck.
        pulse: Pulse,
    }
}

impl HubCounters {
    /// Counters for a hub with this many brokers.
    pub fn new(brokers: usize) -> Self {
        Self { by_broker: (0..brokers).map(|_| Counter::default()).collect(), ..Self::default() }
    }

    /// Spawns a task of the hub that counts as busy while it runs.
    fn spawn<T: 'static>(
        self: &Arc<Self>,
        task: impl Future<Output = T> + 'static,
    ) -> tokio::task::JoinHandle<T> {
        tokio::task::spawn_local(Watched::new(self.clone(), |counters| &counters.pulse, task))
    }
}

/// What a broker is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// This process, all its cores.
    Memory,
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
    /// The bounds in force.
    pub limits: Arc<Limits>,
    /// Where the hub counts.
    pub counters: Arc<HubCounters>,
    /// Over which the shards tell everyone goodbye, before anything ends here; zero: they do not.
    pub drain: Duration,
    /// From then on, or from the beginning of shutting down, to its end, at most.
    pub shutdown_grace: Duration,
}

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
/// Between two looks at whether the shards have drained, which may take a day.
const DRAINING: Duration = Duration::from_millis(100);
/// Between two looks at whether they have let go.
const LETTING_GO: Duration = Duration::from_millis(5);

/// Runs the hub on the calling thread until shutting down, which a [`ShutdownHandle`] begins, is
/// complete. `ready` is called once it listens.
///
/// Fails when the runtime cannot be made (io_uring denied, no descriptors) or the listener cannot
/// be watched.
pub fn run(config: HubConfig, end: HubEnd, ready: impl FnOnce()) -> io::Result<()> {
    config.runtime.run(serve(config, end, ready))?
}

async fn serve(config: HubConfig, end: HubEnd, ready: impl FnOnce()) -> io::Result<()> {
    let (ending, shards) = (end.ending.clone(), end.down.len());
    let Core { hub, questions } = Core::new(&config, end);
    let (sequencer, counters) = (hub.sequencer.clone(), config.counters);
    let watch = Watch::new(questions, config.runtime)?;
    let accepting = match config.rpc {
        None => None,
        Some(listener) => {
            let listener = Accepting::new(listener, config.runtime)?;
            Some(counters.spawn(socket::accept(hub.clone(), listener)))
        }
    };
    let (begun, said) = (Rc::new(Notify::new()), Cell::new(false));
    let watching = counters.spawn(watch.run(hub, {
        let (begun, ending) = (begun.clone(), ending.clone());
        move || {
            if ending.begun().is_some() && !said.replace(true) {
                begun.notify_one();
            }
        }
    }));

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
    let anybody = ending.shards_drained() < shards
        || ending.clients_drained() > 0
        || !sequencer.streams.borrow().is_empty();
    if !config.drain.is_zero() && anybody {
        tracing::info!("the drain is over; up to {grace:?} for who is left");
    }
    if let Some(accepting) = accepting {
        accepting.abort();
        let _ = accepting.await;
    }
    finish(&sequencer, begin + grace / 2).await;
    drain(&sequencer, begin + grace).await;
    close(&sequencer).await;
    sequencer.say_left_out();
    watching.abort();
    let _ = watching.await;
    Ok(())
}

/// Works through what has been read, until the deadline at most.
async fn finish(sequencer: &Sequencer, deadline: Instant) {
    sequencer.stop_accepting();
    // Whoever is not done by then gets an error.
    let _ = timeout_at(deadline, sequencer.idle()).await;
}

/// Ends the lanes and answers calls with errors until the shards have let go, or the deadline.
async fn drain(sequencer: &Sequencer, deadline: Instant) {
    sequencer.drain();
    // Whoever waited for room says so to its caller first, however late it is.
    let _ = timeout(LAST_ANSWERS, sequencer.idle()).await;
    sleep_until(deadline.min(Instant::now() + LAST_ANSWERS)).await;
    while !sequencer.room.borrow().is_abandoned() && Instant::now() < deadline {
        sleep(LETTING_GO).await;
    }
}

/// Closes every RPC connection and waits until their operations have ended.
async fn close(sequencer: &Sequencer) {
    for (_, stream) in &*sequencer.streams.borrow() {
        stream.shutdown(Shutdown::Both);
    }
    while !sequencer.streams.borrow().is_empty() {
        sequencer.ended.notified().await;
    }
}
