//! A shard: one core's connections and topics, without any I/O.
//!
//! The loop around it (`engine`, or a test) hands in what happened (`accepted`, `received`,
//! `writable`, `ended`, `take`, `expire`) and takes out what to do: a batch of sends
//! ([`Shard::plan`] … [`Shard::settle`]), operations on sockets ([`Shard::next_task`]) and
//! questions to the hub ([`Shard::next_question`]) and to the desk ([`Shard::next_ask`]). Time is
//! an argument.
//!
//! ```text
//! coming in
//! admission    who is let in: limits of connections, in all and per source address
//! preface      the header of the PROXY protocol
//! heads        upgrade requests that have arrived in part
//! input        the upgrade, then WebSocket messages
//! asking       what the desk is asked about clients
//! commands     joins and leaves
//! recovery     where topics stand, and what a client has missed
//! held         messages that wait behind a join
//! holding      what is held, and when it goes on
//!
//! what there is
//! connection   one connection, and the table of all
//! session      what a connection has been let in with
//! peers        for whom each speaks, where somebody is asked
//! memberships  the topics of one connection
//! subscriber   a connection within a topic
//! topic        one topic: its subscribers, and how far the sweep has come
//! topics       the table of all topics
//! delivery     topics, what of them is still to be sent, and the books of it
//! roster       who is connected, and what each is due
//! charge       what topics and subscriptions cost in memory
//! log          the frames of one topic, and where each ends
//! outbox       what waits for one connection
//!
//! going out
//! sweep        publications and outboxes, a batch of sends at a time
//! batch        the sends of one batch
//! settle       what follows from a batch: who lags, what is released
//! overflow     who is owed more than may wait for it
//! parking      who has no room in a topic that skips
//! gaps         who asked is told that publications may be missing
//! gap_closes   who did not ask is closed for it, where that is wanted
//! resting      sockets that promise room and take nothing
//! outgoing     replies, Close, and how connections end
//! keepalive    deadlines and pings; `timers` finds who is due
//! drain, end   goodbyes one by one; the end of all
//! outward      what the loop is to do: tasks, lines in the log, questions to the hub
//!
//! telling      balance, counters, report
//! made of      config, queue, lengths, kept
//! tests        invariants
//! ```
//!
//! Most of its state lies in three parts: `Delivery`, topics and what of them is still to be sent;
//! `Roster`, who is connected and what each is due; `Outward`, what the loop is to do. Whatever
//! concerns one of them alone is a method there.
//!
//! Invariants:
//! - **One send a connection and batch.** `plan` names each connection at most once; nothing but
//!   `book` and `settle` may come between `plan` and the end of the batch, so logs and outboxes
//!   keep still while the kernel reads them.
//! - **Nothing passes an outbox.** A connection with an outbox gets its publications through it.
//! - **An outbox that is not empty is in the flush queue, in the batch, watched for room, or rests
//!   before it is.**
//! - An ended connection has left every topic at once, in time proportional to its own topics.
//!
//! Deliberately absent: descriptors, system calls, clocks, locks.

mod admission;
mod asking;
mod balance;
mod batch;
pub mod charge;
mod commands;
mod config;
mod connection;
mod counters;
mod delivery;
mod drain;
mod end;
mod gap_closes;
mod gaps;
mod heads;
mod held;
mod holding;
mod input;
mod invariants;
mod keepalive;
mod kept;
mod lengths;
mod log;
mod memberships;
mod outbox;
mod outgoing;
mod outward;
mod overflow;
mod parking;
mod peers;
mod preface;
mod queue;
mod recovery;
mod report;
mod resting;
mod roster;
mod session;
mod settle;
mod subscriber;
mod sweep;
mod timers;
mod topic;
mod topics;

use std::sync::Arc;
use std::time::Duration;

pub use balance::{Balance, Dropped, Standing};
pub use batch::BATCH_SENDS;
pub use config::{AccessConfig, ConnectionBudget, Page, ShardConfig};
pub(crate) use connection::Connections;
pub use connection::{Admission, ConnId};
pub use counters::ShardCounters;
pub use outward::Task;
pub use report::{About, JoinRefusal, Reason, Refusal, RefusedJoin, Report, TokenRefusal};

use admission::Sources;
use asking::Asks;
use delivery::Delivery;
use drain::Drain;
use end::{Grace, Lifecycle};
use gap_closes::GapCloses;
use heads::Heads;
use outward::Outward;
use peers::Peers;
use roster::Roster;
use topic::Interest;

use crate::mesh::{Down, TopicId, Unavailable, Up};

/// One core's connections and topics.
#[derive(Debug)]
pub struct Shard {
    config: Arc<ShardConfig>,
    counters: Arc<ShardCounters>,
    budget: Arc<ConnectionBudget>,
    /// Limits per source address, where there are any.
    sources: Option<Box<Sources>>,
    now_ms: u64,
    heads: Heads,
    /// Connections accepted beyond a limit, to be answered with 503 or 429.
    over_limit: usize,
    delivery: Delivery,
    roster: Roster,
    outward: Outward,
    asks: Asks,
    /// Addresses of those who are asked about.
    peers: Option<Peers>,
    lifecycle: Lifecycle,
    grace: Grace,
    drain: Option<Drain>,
    gap_closes: GapCloses,
    /// Whether connections are still accepted, to be served or refused.
    listening: bool,
}

/// Connections beyond a limit that a shard answers with 503 or 429 at a time; further ones are
/// closed at once.
pub const OVER_LIMIT_MAX: usize = 64;

impl Shard {
    /// A shard without connections. `budget` counts the connections of all shards.
    pub fn new(
        config: Arc<ShardConfig>,
        counters: Arc<ShardCounters>,
        budget: Arc<ConnectionBudget>,
    ) -> Self {
        assert_eq!(config.rules.demo, config.demo_page.is_some(), "a page that is served is there");
        let asks = config.access.as_ref().is_some_and(|access| access.asks_to_connect);
        let peers = asks.then(Peers::default);
        Self {
            config,
            counters,
            budget,
            sources: None,
            now_ms: 0,
            heads: Heads::default(),
            over_limit: 0,
            delivery: Delivery::default(),
            roster: Roster::default(),
            outward: Outward::default(),
            asks: Asks::default(),
            peers,
            lifecycle: Lifecycle::Serving,
            grace: Grace::NotBegun,
            drain: None,
            gap_closes: GapCloses::default(),
            listening: true,
        }
    }

    /// Sets the time: since the shard's start. Call once a turn, before anything is handed in.
    pub fn set_now(&mut self, now: Duration) {
        self.now_ms = now.as_millis() as u64;
    }

    /// Takes the next entry of the lane. Call only while [`Shard::wants_entries`].
    pub fn take(&mut self, entry: Down) {
        debug_assert!(self.delivery.batch.is_empty(), "logs keep still while a batch is under way");
        match entry {
            Down::Publish { topic, sequence, frame } => {
                let taken = self.delivery.publish(topic, sequence, &frame);
                self.counters.publications.add(u64::from(taken));
            }
            Down::Interested { topic, sequence } => self.interested(topic, sequence),
            Down::Unavailable { topic, why } => self.unavailable(topic, why),
            Down::Positioned { connection, topics } => self.positioned(connection, topics),
            Down::Lost { topic } => self.lost(topic),
            Down::Uninterested { topic } => self.uninterested(topic),
            Down::StopAccepting => {
                self.begin_grace(Duration::from_millis(self.now_ms));
                self.stop_accepting();
            }
            Down::Drain => {
                self.lifecycle = self.lifecycle.max(Lifecycle::Draining);
                self.drain_step();
            }
        }
    }

    /// Whether the logs have room for more publications, and no gap comes before them.
    #[inline]
    pub fn wants_entries(&self) -> bool {
        self.delivery.log_bytes < self.config.limits.log_bytes && self.delivery.telling.is_none()
    }

    fn interested(&mut self, id: TopicId, sequence: u64) {
        let Some(topic) = self.delivery.topics.live(id) else { return };
        topic.interest = Interest::Held;
        topic.sequence = sequence;
        for waiter in self.delivery.topics.take_waiters(id.index) {
            self.join_answered(waiter, None);
        }
        self.give_up_if_unused(id.index);
    }

    /// The hub knows nothing of the topic any more.
    fn unavailable(&mut self, id: TopicId, why: Unavailable) {
        if self.delivery.topics.live(id).is_none() {
            return;
        }
        for waiter in self.delivery.topics.take_waiters(id.index) {
            self.join_answered(waiter, Some((id.index, why)));
        }
        self.uninterested(id);
    }

    fn uninterested(&mut self, id: TopicId) {
        let Some(topic) = self.delivery.topics.live(id) else { return };
        if topic.is_unused() {
            self.delivery.remove(id.index);
            self.counters.topics.set(self.delivery.topics.len() as u64);
        } else {
            topic.interest = Interest::Asking;
            let (broker, form, name) = (topic.broker, topic.form, topic.name.clone());
            self.outward.ask(Up::Interest { topic: id, broker, form, name });
        }
    }

    /// Gives the hub's interest back when nobody is left who wants the topic.
    fn give_up_if_unused(&mut self, index: u32) {
        let topic = self.delivery.topics.at(index);
        if topic.interest == Interest::Held && topic.is_unused() {
            topic.interest = Interest::Leaving;
            let id = self.delivery.topics.id(index);
            self.outward.ask(Up::Uninterest { topic: id });
        }
    }

    /// The next operation on a socket.
    pub fn next_task(&mut self) -> Option<Task> {
        self.outward.tasks.pop_front()
    }

    /// The next question to the hub.
    pub fn next_question(&mut self) -> Option<Up> {
        self.outward.next_question()
    }

    /// Puts a question back that the lane had no room for.
    pub fn return_question(&mut self, question: Up) {
        self.outward.return_question(question);
    }

    /// Whether questions wait.
    pub fn has_questions(&self) -> bool {
        self.outward.has_questions()
    }

    /// Whether there is something to do at once.
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.delivery.active.is_empty()
            || self.delivery.telling.is_some()
            || !self.roster.flush.is_empty()
            || !self.outward.tasks.is_empty()
    }

    /// Connections in all, refused ones included.
    pub fn connections(&self) -> usize {
        self.roster.connections.len()
    }

    /// How the shard stands now.
    pub fn standing(&self) -> Standing {
        Standing {
            balance: self.delivery.balance,
            log_bytes: self.delivery.log_bytes as u64,
            parked_bytes: self.delivery.parked_bytes as u64,
            outbox_bytes: self.roster.outbox_bytes as u64,
            subscriptions_bytes: self.delivery.topics.charged() as u64,
            topics_active: self.delivery.active.len() as u64,
        }
    }

    /// Lets others read how the shard stands. Done with each batch; the loop does it once more at
    /// its end.
    pub fn publish_standing(&self) {
        let standing = self.standing();
        let beside = self.asks.bytes() + self.roster.sessions_bytes;
        self.counters.set_small(standing.subscriptions_bytes + beside as u64);
        self.counters.standing.publish(&standing.to_numbers());
    }
}
