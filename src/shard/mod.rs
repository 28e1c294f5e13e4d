//! A shard: one core's connections and topics, without any I/O.
//!
//! The loop around it (`engine`, or a test) hands in what happened (`accepted`, `received`,
//! `writable`, `ended`, `take`, `expire`) and takes out what to do: a batch of sends
//! ([`Shard::plan`] … [`Shard::settle`]), operations on sockets ([`Shard::next_task`]) and
//! questions to the hub ([`Shard::next_question`]). Time is an argument.
//!
//! ```text
//! coming in
//! admission    who is let in: limits of connections, in all and per source address
//! preface      the header of the PROXY protocol
//! heads        upgrade requests that have arrived in part
//! input        the upgrade, then WebSocket messages
//! commands     joins and leaves
//! held         messages that wait behind a join
//! holding      what is held, and when it goes on
//!
//! what there is
//! connection   one connection, and the table of all
//! memberships  the topics of one connection
//! topic        one topic: its subscribers, and how far the sweep has come
//! topics       the table of all topics
//! charge       what topics and subscriptions cost in memory
//! log          the frames of one topic
//! outbox       what waits for one connection
//!
//! going out
//! sweep        publications and outboxes, a batch of sends at a time
//! parking      who has no room in a topic that skips
//! resting      sockets that promise room and take nothing
//! outgoing     replies, Close, and how connections end
//! keepalive    deadlines and pings; `timers` finds who is due
//! drain, end   goodbyes one by one; the end of all
//!
//! telling      balance, counters, report
//! made of      settings, queue, lengths, kept
//! tests        invariants
//! ```
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
mod balance;
mod batch;
pub mod charge;
mod commands;
mod connection;
mod counters;
mod drain;
mod end;
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
mod overflow;
mod parking;
mod preface;
mod queue;
mod report;
mod resting;
mod settings;
mod settle;
mod sweep;
mod timers;
mod topic;
mod topics;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

pub use admission::Admission;
pub use balance::{Balance, Dropped, Standing};
pub use batch::BATCH_SENDS;
pub use connection::ConnId;
pub(crate) use connection::Connections;
pub use counters::ShardCounters;
pub use report::{About, JoinRefusal, Reason, Refusal, Report};
pub use settings::{ConnectionBudget, Page, ShardConfig};

use admission::Sources;
use batch::PlannedSend;
use drain::Drain;
use end::{Grace, Stage};
use heads::Heads;
use log::SpareLogs;
use resting::Resting;
use timers::Timers;
use topic::Interest;
use topics::Topics;

use crate::log_rate::LogRate;
use crate::mesh::{Down, TopicId, Up};

/// What to do with a socket. Each is carried out once, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Receive from it, again and again, until told otherwise.
    Receive(ConnId),
    /// Stop receiving; what has arrived already may still be handed in.
    PauseReceive(ConnId),
    /// Hand in `writable` once when it has room.
    WatchWritable(ConnId),
    /// Hand in `measured`: what the peer has acknowledged, and what it has not.
    Measure(ConnId),
    /// End the sending direction.
    FinishSending(ConnId),
    /// End it both ways; hand in `released` when its last operation has come back and it is closed.
    Terminate {
        /// The connection.
        id: ConnId,
        /// Throw away what the kernel still holds for it, and reset.
        abort: bool,
    },
    /// Accept nobody any more.
    StopAccepting,
    /// Say in the log, with the peer's address, what happened.
    Report(ConnId, Report),
}

/// One core's connections and topics.
#[derive(Debug)]
pub struct Shard {
    settings: Arc<ShardConfig>,
    counters: Arc<ShardCounters>,
    budget: Arc<ConnectionBudget>,
    /// Limits per source address, where there are any.
    sources: Option<Box<Sources>>,
    now_ms: u64,
    connections: Connections,
    heads: Heads,
    /// Connections accepted beyond a limit, to be answered with 503 or 429.
    over_limit: usize,
    topics: Topics,
    timers: Timers,
    /// Topics with somebody behind the head, each a batch's turn at a time.
    active: VecDeque<TopicId>,
    /// Connections whose outbox may be sent.
    flush: VecDeque<ConnId>,
    batch: Vec<PlannedSend>,
    /// Topics visited since the last settlement, whose logs may be released.
    swept: Vec<TopicId>,
    tasks: VecDeque<Task>,
    /// What has been said in the log lately.
    said: LogRate<Reason>,
    resting: Resting,
    questions: VecDeque<Up>,
    /// What all outboxes cost.
    outbox_bytes: usize,
    spare_logs: SpareLogs,
    /// What the logs of active topics cost.
    log_bytes: usize,
    /// What the logs of all others cost: frames that parked subscribers wait for.
    parked_bytes: usize,
    balance: Balance,
    stage: Stage,
    grace: Grace,
    drain: Option<Drain>,
    /// Whether connections are still accepted, to be served or refused.
    listening: bool,
    due: Vec<u32>,
}

/// Room for questions that is kept while there are none.
const QUESTIONS_KEPT: usize = 1024;

/// Connections beyond a limit that a shard answers with 503 or 429 at a time; further ones are
/// closed at once.
pub const OVER_LIMIT_MAX: usize = 64;

impl Shard {
    /// A shard without connections. `budget` counts the connections of all shards.
    pub fn new(
        settings: Arc<ShardConfig>,
        counters: Arc<ShardCounters>,
        budget: Arc<ConnectionBudget>,
    ) -> Self {
        assert_eq!(
            settings.rules.demo,
            settings.demo_page.is_some(),
            "a page that is served is there"
        );
        Self {
            settings,
            counters,
            budget,
            sources: None,
            now_ms: 0,
            connections: Connections::default(),
            heads: Heads::default(),
            over_limit: 0,
            topics: Topics::default(),
            timers: Timers::default(),
            active: VecDeque::new(),
            flush: VecDeque::new(),
            batch: Vec::with_capacity(BATCH_SENDS),
            swept: Vec::new(),
            tasks: VecDeque::new(),
            said: LogRate::default(),
            resting: Resting::default(),
            questions: VecDeque::new(),
            outbox_bytes: 0,
            spare_logs: SpareLogs::default(),
            log_bytes: 0,
            parked_bytes: 0,
            balance: Balance::default(),
            stage: Stage::Serving,
            grace: Grace::NotBegun,
            drain: None,
            listening: true,
            due: Vec::new(),
        }
    }

    /// Sets the time: since the shard's start. Call once a turn, before anything is handed in.
    pub fn set_now(&mut self, now: Duration) {
        self.now_ms = now.as_millis() as u64;
    }

    /// Takes the next entry of the lane. Call only while [`Shard::wants_entries`].
    pub fn take(&mut self, entry: Down) {
        debug_assert!(self.batch.is_empty(), "logs keep still while a batch is under way");
        match entry {
            Down::Publish { topic, sequence, frame } => self.publish(topic, sequence, &frame),
            Down::Interested { topic, sequence } => self.interested(topic, sequence),
            Down::Uninterested { topic } => self.uninterested(topic),
            Down::StopAccepting => {
                self.begin_grace(Duration::from_millis(self.now_ms));
                self.stop_accepting();
            }
            Down::Drain => {
                self.stage = self.stage.max(Stage::Draining);
                self.drain_step();
            }
        }
    }

    /// Whether the logs have room for more publications.
    #[inline]
    pub fn wants_entries(&self) -> bool {
        self.log_bytes < self.settings.limits.log_bytes
    }

    fn publish(&mut self, id: TopicId, sequence: u64, frame: &[u8]) {
        let Some(topic) = self.topics.live(id) else { return };
        debug_assert_eq!(
            sequence,
            topic.sequence + 1,
            "publications of a topic come without a gap"
        );
        topic.sequence = sequence;
        self.counters.publications.add(1);
        if topic.len() == 0 {
            return;
        }
        let owed = topic.len() as u64;
        self.spare_logs.give(&mut topic.log);
        let cost = topic.append(frame);
        self.balance.owed += owed;
        self.balance.queued_logs += owed;
        // A parked log is counted apart until the topic is active, the new frame with it.
        *(if topic.parked { &mut self.parked_bytes } else { &mut self.log_bytes }) += cost;
        self.activate(id);
    }

    fn interested(&mut self, id: TopicId, sequence: u64) {
        let Some(topic) = self.topics.live(id) else { return };
        topic.interest = Interest::Held;
        topic.sequence = sequence;
        for waiter in self.topics.take_waiters(id.index) {
            self.join_answered(waiter);
        }
        self.give_up_if_unused(id.index);
    }

    fn uninterested(&mut self, id: TopicId) {
        let Some(topic) = self.topics.live(id) else { return };
        if topic.is_unused() {
            let topic = self.topics.remove(id.index);
            self.forget_log(topic.log.cost(), topic.parked);
            self.counters.topics.set(self.topics.len() as u64);
        } else {
            topic.interest = Interest::Asking;
            let (broker, name) = (topic.broker, topic.name.clone());
            self.questions.push_back(Up::Interest { topic: id, broker, name });
        }
    }

    /// Gives the hub's interest back when nobody is left who wants the topic.
    fn give_up_if_unused(&mut self, index: u32) {
        let topic = self.topics.at(index);
        if topic.interest == Interest::Held && topic.is_unused() {
            topic.interest = Interest::Leaving;
            let id = self.topics.id(index);
            self.questions.push_back(Up::Uninterest { topic: id });
        }
    }

    /// The next operation on a socket.
    pub fn next_task(&mut self) -> Option<Task> {
        self.tasks.pop_front()
    }

    /// The next question to the hub. At most one a topic is under way, which bounds the queue.
    pub fn next_question(&mut self) -> Option<Up> {
        let question = self.questions.pop_front();
        if self.questions.is_empty() && self.questions.capacity() > QUESTIONS_KEPT {
            self.questions = VecDeque::new();
        }
        question
    }

    /// Whether questions wait.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }

    /// Puts a question back that the lane had no room for.
    pub fn return_question(&mut self, question: Up) {
        self.questions.push_front(question);
    }

    /// Whether there is something to do at once.
    #[inline]
    pub fn has_work(&self) -> bool {
        !self.active.is_empty() || !self.flush.is_empty() || !self.tasks.is_empty()
    }

    /// Connections in all, refused ones included.
    pub fn connections(&self) -> usize {
        self.connections.len()
    }

    /// How the shard stands now.
    pub fn standing(&self) -> Standing {
        Standing {
            balance: self.balance,
            log_bytes: self.log_bytes as u64,
            parked_bytes: self.parked_bytes as u64,
            outbox_bytes: self.outbox_bytes as u64,
            subscriptions_bytes: self.topics.charged() as u64,
            topics_active: self.active.len() as u64,
        }
    }

    /// Lets others read how the shard stands. Done with each batch; the loop does it once more at
    /// its end.
    pub fn publish_standing(&self) {
        self.counters.standing.publish(&self.standing().to_numbers());
    }
}
