//! A fleet: one server's subscribers and its publishers, in one thread and one epoll.
//!
//! Invariants worth naming:
//! - Edges, not levels: a socket is read until a read comes back short, and costs nothing until
//!   more arrives.
//! - A message is looked at where the kernel put it; only the head of a frame that came in two is
//!   copied.
//! - What is expected is known before it is sent, so what never comes is known too.

pub mod beside;
pub mod churn;
pub mod drive;
pub mod flight;
mod input;
mod publisher;
pub mod readers;
mod subscriber;
#[cfg(test)]
mod tests;
pub use subscriber::{begin_connect_from, upgrade_request};
pub mod tally;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::clock::Clock;
use crate::dialect::{Dialect, Link, TopicName};
use crate::order::Order;
use crate::stamp::{FILLER, STAMP_BYTES, Stamp};
use flight::Flight;
use publisher::Publisher;
use subscriber::{Stage, Subscriber};
use tally::Tally;

/// Bytes read at a time: more than a socket holds in most turns.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Events taken at a time.
const EVENTS: usize = 1024;

/// The first token of a publisher; subscribers have their place.
const PUBLISHERS: u64 = 1 << 32;

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Topics.
    pub topics: u32,
    /// Bytes of a payload, at least [`STAMP_BYTES`].
    pub payload: usize,
    /// Publications that may be under way.
    pub window: usize,
    /// Whether the generator polls without sleeping.
    pub spin: bool,
    /// Connections that publish, each to its share of the topics; none where another fleet
    /// publishes, whose departures are not known here.
    pub publishers: u32,
}

/// One server's clients.
pub struct Fleet {
    clock: Clock,
    plan: Plan,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    dialect: Box<dyn Dialect>,
    clients: SocketAddr,
    upgrade: Vec<u8>,
    command: Vec<u8>,
    subscribers: Vec<Subscriber>,
    /// Subscribers that are neither ready nor closed.
    pending: usize,
    /// Joins that were refused.
    refused: u64,
    publishers: Vec<Publisher>,
    topics: Vec<TopicName>,
    /// Of each topic: its next sequence, and how many subscribers count on it.
    sequences: Vec<u32>,
    audience: Vec<u32>,
    turn_of: usize,
    payload: Vec<u8>,
    flight: Flight,
    tally: Tally,
    /// Time spent polling for nothing, where the generator does not sleep.
    idle: Duration,
}

impl Fleet {
    /// A fleet without subscribers for the server whose clients connect to `clients` and whose
    /// publishes go to `publishes`, if the dialect has a socket for them.
    pub fn new(
        dialect: Box<dyn Dialect>,
        clients: SocketAddr,
        publishes: Option<SocketAddr>,
        plan: Plan,
        clock: Clock,
    ) -> Result<Self> {
        if plan.payload < STAMP_BYTES {
            bail!("a payload must have at least {STAMP_BYTES} bytes, its stamp");
        }
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let mut publishers = Vec::new();
        for place in 0..plan.publishers {
            let server = match dialect.link() {
                Link::Socket => publishes
                    .context("this kind of server needs the address of its publish socket")?,
                Link::WebSocket => clients,
            };
            let token = PUBLISHERS + u64::from(place);
            publishers.push(Publisher::connect(server, dialect.as_ref(), &epoll, token)?);
        }
        Ok(Self {
            clock,
            epoll,
            events: Vec::with_capacity(EVENTS),
            scratch: vec![0; SCRATCH_BYTES],
            upgrade: subscriber::upgrade_request(dialect.path(), clients, ""),
            command: Vec::new(),
            dialect,
            clients,
            subscribers: Vec::new(),
            pending: 0,
            refused: 0,
            publishers,
            topics: (0..plan.topics).map(TopicName::at).collect(),
            sequences: vec![0; plan.topics as usize],
            audience: vec![0; plan.topics as usize],
            turn_of: 0,
            payload: vec![FILLER; plan.payload],
            flight: Flight::new(plan.window),
            tally: Tally::default(),
            idle: Duration::ZERO,
            plan,
        })
    }

    /// The lines of each subscriber's upgrade request beside those that all have.
    pub fn with_headers(mut self, headers: &str) -> Self {
        self.upgrade = subscriber::upgrade_request(self.dialect.path(), self.clients, headers);
        self
    }

    /// Connects `count` more subscribers, `window` at a time, and waits until all have joined. The
    /// topics go round.
    pub fn grow(&mut self, count: usize, window: usize) -> Result<()> {
        let target = self.subscribers.len() + count;
        let mut progress = Instant::now();
        let mut before = (0, 0);
        while self.subscribers.len() < target || self.pending > 0 {
            while self.subscribers.len() < target && self.pending < window {
                self.begin_one()?;
            }
            self.turn(Duration::from_millis(100))?;
            if self.refused > 0 || self.tally.faults.closed > 0 {
                bail!(
                    "{} joins refused, {} connections closed",
                    self.refused,
                    self.tally.faults.closed
                );
            }
            let now = (self.subscribers.len(), self.pending);
            if now != before {
                (before, progress) = (now, Instant::now());
            } else if progress.elapsed() > Duration::from_secs(10) {
                bail!("{} of {target} connections: nothing has moved for 10 s", now.0 - now.1);
            }
        }
        Ok(())
    }

    /// Begins one more connection.
    fn begin_one(&mut self) -> Result<()> {
        let place = self.subscribers.len();
        let topic = place % self.topics.len();
        let order = if self.plan.publishers > 0 {
            Order::starting_at(self.sequences[topic])
        } else {
            Order::default()
        };
        let subscriber =
            Subscriber::connect(self.clients, &self.epoll, place as u64, topic as u32, order)?;
        self.subscribers.push(subscriber);
        self.pending += 1;
        Ok(())
    }

    /// Has the last `count` subscribers read nothing any more, and expects nothing of them.
    pub fn stop_reading(&mut self, count: usize) -> Result<()> {
        let from = self.subscribers.len().saturating_sub(count);
        for subscriber in &mut self.subscribers[from..] {
            if let Some(socket) = &subscriber.socket {
                epoll::delete(&self.epoll, socket)?;
                self.audience[subscriber.topic as usize] -= 1;
            }
        }
        Ok(())
    }

    /// How long subscribers have waited for the answer to their upgrade, and to their join, in
    /// ticks, since this was last asked.
    pub fn take_answers(&mut self) -> [Histogram<u64>; 2] {
        let answers = [&mut self.tally.upgrade_latency, &mut self.tally.join_latency];
        answers.map(|latency| {
            let taken = latency.clone();
            latency.reset();
            taken
        })
    }

    /// Messages that were published to the topic at a place.
    pub fn published(&self, topic: usize) -> u32 {
        self.sequences[topic]
    }

    /// Ends all connections of subscribers.
    pub fn shrink(&mut self, reset: bool) {
        self.subscribers.iter_mut().for_each(|subscriber| subscriber.close(reset));
        self.subscribers.clear();
        self.audience.fill(0);
        self.pending = 0;
    }

    /// Sends a leave.
    fn leave(&mut self, place: usize) -> Result<()> {
        let subscriber = &mut self.subscribers[place];
        self.command.clear();
        self.dialect.leave(&self.topics[subscriber.topic as usize], &mut self.command);
        subscriber.stage = Stage::Leaving;
        subscriber.send(&self.command)
    }

    /// Joins again, expecting the topic from whichever message comes first.
    fn join_again(&mut self, place: usize) -> Result<()> {
        let subscriber = &mut self.subscribers[place];
        self.command.clear();
        self.dialect.join_again(&self.topics[subscriber.topic as usize], &mut self.command);
        subscriber.stage = Stage::Joining;
        subscriber.order = Order::default();
        self.pending += 1;
        subscriber.send(&self.command)
    }

    /// Resets a connection and begins another in its place.
    fn replace(&mut self, place: usize) -> Result<()> {
        let topic = self.subscribers[place].topic;
        self.subscribers[place].close(true);
        self.subscribers[place] =
            Subscriber::connect(self.clients, &self.epoll, place as u64, topic, Order::default())?;
        self.pending += 1;
        Ok(())
    }

    /// Appends one publication, due at `due`, to what the publisher sends; false when the window is
    /// full.
    fn publish(&mut self, due: Instant) -> Result<bool> {
        let topic = self.turn_of;
        if self.publishers.is_empty() {
            bail!("this fleet does not publish");
        }
        let publisher = topic % self.publishers.len();
        let Some(publication) = self.flight.depart(topic as u32, self.audience[topic]) else {
            return Ok(false);
        };
        self.turn_of = (topic + 1) % self.topics.len();
        let sequence = self.sequences[topic];
        self.sequences[topic] = sequence.wrapping_add(1);
        let due = self.clock.ticks_at(due);
        Stamp { publication, sequence, due }.write(&mut self.payload);
        if self.dialect.answers() {
            self.publishers[publisher].departs(due);
        }
        self.dialect.publish(&self.topics[topic], &self.payload, self.publishers[publisher].out());
        Ok(true)
    }

    fn flush(&mut self) -> Result<()> {
        self.publishers.iter_mut().try_for_each(Publisher::flush)
    }

    /// Waits for events, `timeout` at most, and deals with them.
    pub fn turn(&mut self, timeout: Duration) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let waited = self.wait(&mut events, timeout);
        for event in &events {
            match event.data.u64() {
                token if token >= PUBLISHERS => {
                    self.publisher_event((token - PUBLISHERS) as usize)?
                }
                place => self.subscriber_event(place as usize, event.flags)?,
            }
        }
        self.events = events;
        waited
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>, timeout: Duration) -> Result<()> {
        let mut take = |timeout: Option<&Timespec>| {
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(events), timeout) {
                Ok(_) | Err(Errno::INTR) => Ok(!events.is_empty()),
                Err(error) => Err(error),
            }
        };
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        if !self.plan.spin || timeout.is_zero() {
            take(Some(&Timespec::try_from(timeout).unwrap_or(nothing)))?;
            return Ok(());
        }
        if take(Some(&nothing))? {
            return Ok(());
        }
        let start = Instant::now();
        while !take(Some(&nothing))? && start.elapsed() < timeout {
            std::hint::spin_loop();
        }
        self.idle += start.elapsed();
        Ok(())
    }

    fn publisher_event(&mut self, place: usize) -> Result<()> {
        let Some(publisher) = self.publishers.get_mut(place) else { return Ok(()) };
        publisher.flush()?;
        let answers = publisher.read_answers(self.dialect.as_mut())?;
        self.tally.answered += answers;
        let now = self.clock.ticks();
        for due in (0..answers).map_while(|_| publisher.answered()) {
            let _ = self.tally.answer_latency.record(u64::from(now.wrapping_sub(due)));
        }
        for publication in self.dialect.take_refused() {
            self.flight.cancel(publication);
            self.tally.refused += 1;
        }
        Ok(())
    }
}
