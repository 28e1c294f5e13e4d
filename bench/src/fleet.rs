//! A fleet: one server's subscribers and its publisher, in one thread and one epoll.
//!
//! Invariants worth naming:
//! - Edges, not levels: a socket is read until a read comes back short, and costs nothing until more arrives.
//! - A message is looked at where the kernel put it; only the head of a frame that came in two is copied.
//! - What is expected is known before it is sent, so what never comes is known too.

pub mod churn;
pub mod drive;
pub mod flight;
mod publisher;
mod subscriber;
#[cfg(test)]
mod tests;
pub use subscriber::upgrade_request;
pub mod tally;

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use crate::clock::Clock;
use crate::dialect::{Dialect, Link, Topic};
use crate::frame;
use crate::order::Order;
use crate::stamp::{FILLER, MARK, STAMP_BYTES, Stamp};
use flight::Flight;
use publisher::Publisher;
use subscriber::{Stage, Subscriber};
use tally::{Expected, Tally};

/// Bytes read at a time: more than a socket holds in most turns.
const SCRATCH_BYTES: usize = 256 * 1024;

/// Events taken at a time.
const EVENTS: usize = 1024;

/// The token of the publisher; subscribers have their place.
const PUBLISHER: u64 = u64::MAX;

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
    /// Whether departures are known here; if not, another fleet publishes.
    pub publishes: bool,
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
    publisher: Option<Publisher>,
    topics: Vec<Topic>,
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
    /// A fleet without subscribers for the server whose clients connect to `clients` and whose publishes go to
    /// `publishes`, if the dialect has a socket for them.
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
        let publisher = if plan.publishes {
            let server = match dialect.link() {
                Link::Socket => {
                    publishes.context("this kind of server needs the address of its publish socket")?
                }
                Link::WebSocket => clients,
            };
            Some(Publisher::connect(server, dialect.as_ref(), &epoll, PUBLISHER)?)
        } else {
            None
        };
        Ok(Self {
            clock,
            epoll,
            events: Vec::with_capacity(EVENTS),
            scratch: vec![0; SCRATCH_BYTES],
            upgrade: subscriber::upgrade_request(dialect.path(), clients),
            command: Vec::new(),
            dialect,
            clients,
            subscribers: Vec::new(),
            pending: 0,
            refused: 0,
            publisher,
            topics: (0..plan.topics).map(Topic::at).collect(),
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

    /// Connects `count` more subscribers, `window` at a time, and waits until all have joined. The topics go round.
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
                bail!("{} joins refused, {} connections closed", self.refused, self.tally.faults.closed);
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
        let order =
            if self.plan.publishes { Order::starting_at(self.sequences[topic]) } else { Order::default() };
        let subscriber = Subscriber::connect(self.clients, &self.epoll, place as u64, topic as u32, order)?;
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

    /// Appends one publication, due at `due`, to what the publisher sends; false when the window is full.
    fn publish(&mut self, due: Instant) -> Result<bool> {
        let publisher = self.publisher.as_mut().context("this fleet does not publish")?;
        let topic = self.turn_of;
        let Some(publication) = self.flight.depart(topic as u32, self.audience[topic]) else {
            return Ok(false);
        };
        self.turn_of = (topic + 1) % self.topics.len();
        let sequence = self.sequences[topic];
        self.sequences[topic] = sequence.wrapping_add(1);
        Stamp { publication, sequence, due: self.clock.ticks_at(due) }.write(&mut self.payload);
        self.dialect.publish(&self.topics[topic], &self.payload, publisher.out());
        Ok(true)
    }

    fn flush(&mut self) -> Result<()> {
        self.publisher.as_mut().map_or(Ok(()), Publisher::flush)
    }

    /// Waits for events, `timeout` at most, and deals with them.
    pub fn turn(&mut self, timeout: Duration) -> Result<()> {
        let mut events = std::mem::take(&mut self.events);
        let waited = self.wait(&mut events, timeout);
        for event in &events {
            match event.data.u64() {
                PUBLISHER => self.publisher_event()?,
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

    fn publisher_event(&mut self) -> Result<()> {
        let Some(publisher) = &mut self.publisher else { return Ok(()) };
        publisher.flush()?;
        self.tally.answered += publisher.read_answers(self.dialect.as_mut())?;
        Ok(())
    }

    fn subscriber_event(&mut self, place: usize, flags: epoll::EventFlags) -> Result<()> {
        let Some(subscriber) = self.subscribers.get_mut(place) else { return Ok(()) };
        if subscriber.stage == Stage::Connecting && flags.contains(epoll::EventFlags::OUT) {
            subscriber.stage = Stage::Upgrading;
            // A refused connection shows when it is read.
            let _ = subscriber.send(&self.upgrade);
        }
        if !flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::RDHUP | epoll::EventFlags::ERR) {
            return Ok(());
        }
        loop {
            let subscriber = &mut self.subscribers[place];
            let Some(socket) = &subscriber.socket else { return Ok(()) };
            let kept = subscriber.partial.len();
            if self.scratch.len() < kept + SCRATCH_BYTES / 2 {
                self.scratch.resize(kept + SCRATCH_BYTES, 0);
            }
            self.scratch[..kept].copy_from_slice(&subscriber.partial);
            subscriber.partial.clear();
            let room = self.scratch.len() - kept;
            match recv(socket, &mut self.scratch[kept..], RecvFlags::empty()) {
                Ok((0, _)) => return self.ended(place),
                Ok((received, _)) => {
                    self.input(place, kept + received)?;
                    if received < room {
                        return Ok(());
                    }
                }
                Err(Errno::AGAIN) => {
                    self.subscribers[place].partial.extend_from_slice(&self.scratch[..kept]);
                    return Ok(());
                }
                Err(_) => return self.ended(place),
            }
        }
    }

    fn ended(&mut self, place: usize) -> Result<()> {
        let subscriber = &mut self.subscribers[place];
        match subscriber.stage {
            Stage::Closed => return Ok(()),
            Stage::Leaving | Stage::Left => {}
            Stage::Ready => self.audience[subscriber.topic as usize] -= 1,
            _ => self.pending -= 1,
        }
        self.tally.faults.closed += 1;
        subscriber.close(false);
        Ok(())
    }

    /// Reads the frames in the first `bytes` of the scratch, and keeps the head of the last.
    fn input(&mut self, place: usize, bytes: usize) -> Result<()> {
        let Self { scratch, subscribers, dialect, command, tally, flight, plan, clock, .. } = self;
        let subscriber = &mut subscribers[place];
        let input = &scratch[..bytes];
        let mut at = 0;
        if subscriber.stage == Stage::Upgrading {
            match subscriber::upgrade_answer(input)? {
                Some(head) => {
                    at = head;
                    subscriber.stage = Stage::Joining;
                    command.clear();
                    dialect.join(&self.topics[subscriber.topic as usize], command);
                    subscriber.send(command)?;
                }
                None => {
                    subscriber.partial.extend_from_slice(input);
                    return Ok(());
                }
            }
        }
        let now = clock.ticks();
        let expected = Expected { payload: plan.payload, departures: plan.publishes };
        loop {
            let frame = match frame::head(&input[at..]) {
                frame::Head::Frame(frame) => frame,
                frame::Head::Partial => break,
                frame::Head::Invalid => {
                    bail!("a frame that is none: {:?}", &input[at..input.len().min(at + 16)])
                }
            };
            at += frame.bytes;
            match (frame.opcode, subscriber.stage) {
                (frame::PING, _) => {
                    command.clear();
                    frame::encode_masked(command, frame::PONG, frame.payload);
                    if let Some(socket) = &subscriber.socket {
                        // A pong that finds no room is not missed: the next one will do.
                        let _ = send(socket, command, SendFlags::NOSIGNAL);
                    }
                }
                (frame::PONG, _) => {}
                (frame::CLOSE, _) => return self.ended(place),
                (_, Stage::Ready) => {
                    let (topic, order) = (subscriber.topic, &mut subscriber.order);
                    tally.message(frame.payload, topic, order, flight, expected, now);
                }
                (_, stage) => {
                    let stamped = memchr::memchr(MARK, frame.payload).is_some();
                    // Some servers send a reply and what follows it in one frame.
                    let reply = match stage {
                        Stage::Joining => dialect.joined(frame.payload),
                        Stage::Leaving => dialect.left(frame.payload).then_some(true),
                        _ => None,
                    };
                    match (stage, reply) {
                        (Stage::Joining, Some(true)) => {
                            subscriber.stage = Stage::Ready;
                            self.pending -= 1;
                            self.audience[subscriber.topic as usize] += 1;
                        }
                        (Stage::Joining, Some(false)) => self.refused += 1,
                        (Stage::Leaving, Some(_)) => {
                            subscriber.stage = Stage::Left;
                            self.audience[subscriber.topic as usize] -= 1;
                        }
                        // Before its join is answered, and after its leave is, a subscriber gets nothing.
                        (Stage::Joining | Stage::Left, None) if stamped => tally.faults.damaged += 1,
                        _ => {}
                    }
                    if stamped && matches!(subscriber.stage, Stage::Ready | Stage::Leaving) {
                        let (topic, order) = (subscriber.topic, &mut subscriber.order);
                        tally.message(frame.payload, topic, order, flight, expected, now);
                    }
                }
            }
        }
        subscriber.partial.extend_from_slice(&input[at..]);
        Ok(())
    }
}
