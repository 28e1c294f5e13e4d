//! The connection that subscribes, as long as there is a broker.
//!
//! Invariants worth naming:
//! - **It reads nothing while a lane is full**: what it has read is delivered first. The server
//!   keeps the rest, up to its `client-output-buffer-limit pubsub`; past that it ends the
//!   connection, which is a gap.
//! - **A gap is told before the next publication** of its topic: at the confirmation, behind which
//!   publications follow.

use std::rc::Rc;

use tokio::time::{Instant, sleep};

use super::common::Common;
use super::connect::{Connected, Trouble, without_args};
use super::health::Phase;
use super::node::{MOVED, Node, ticks};
use super::publisher::is_elsewhere;
use super::topics::{Confirmed, Ended, Refused, Verb};
use crate::hub::broker::backoff::{Backoff, random_fraction};
use crate::hub::broker::link::{Address, Link};
use crate::hub::broker::terms::PROBE;
use crate::hub::lanes::Patience;
use crate::hub::sequencer::{Later, PublishError, Publishing};
use crate::mesh::Unavailable;
use crate::publication::Payload;
use crate::resp::{self, Pushed};

/// Bytes of commands that are queued at once: the rest of the topics waits where it is.
const QUEUED_MAX: usize = 1 << 20;
/// Bytes of a channel's name, or more: a payload that is longer than clients may have is skipped.
const NAME_BYTES_MAX: usize = 64 * 1024;

/// Connects again and again.
pub(super) async fn receive(node: Rc<Node>) {
    let common = node.common.clone();
    let settings = &common.settings;
    let mut backoff = Backoff::new(settings.min_retry_backoff, settings.max_retry_backoff);
    let (mut first, mut known) = (true, false);
    loop {
        let connected = node.meanwhile(node.connect()).await;
        if std::mem::take(&mut first) {
            common.started(match &connected {
                Err(Trouble::Hopeless(why)) => {
                    Err(format!("{}: {why}", common.named(&node.place.to_string())))
                }
                _ => Ok(()),
            });
        }
        let why = match connected {
            Ok(Connected { link, address, .. }) => {
                backoff.connected(Instant::now());
                if std::mem::replace(&mut known, true) {
                    common.status.reconnects.add(1);
                }
                node.stands(node.receiving, Phase::Resubscribing);
                let why = Session::new(&node, link, address).run().await;
                node.topics.borrow_mut().disconnected();
                why
            }
            Err(trouble) => trouble.why(),
        };
        node.stands(node.receiving, Phase::Down(why));
        node.meanwhile(sleep(backoff.pause(Instant::now(), random_fraction()))).await;
    }
}

/// One connection's life.
struct Session<'n> {
    node: &'n Node,
    link: Link,
    address: Address,
    bulk_max: usize,
    /// When the oldest PING was sent that has no answer.
    asked: Option<Instant>,
    pinged: Instant,
    /// The own channel has been answered, in whichever way.
    begun: bool,
    up: bool,
}

impl<'n> Session<'n> {
    fn new(node: &'n Node, link: Link, address: Address) -> Self {
        let common = &node.common;
        let bulk_max = common.terms.publication_bytes.max(NAME_BYTES_MAX);
        let now = Instant::now();
        let own = common.own_channel.as_bytes();
        link.out().queue(|out| resp::command(out, [&b"SUBSCRIBE"[..], own].into_iter()));
        node.topics.borrow_mut().asked_beside();
        let (asked, begun, up) = (Some(now), false, false);
        Self { node, link, address, bulk_max, asked, pinged: now, begun, up }
    }

    /// Says why it ended.
    async fn run(mut self) -> String {
        let bytes_max = 2 * self.bulk_max + NAME_BYTES_MAX;
        let mut ticks = ticks();
        loop {
            self.ask();
            let read = tokio::select! {
                read = self.link.read(bytes_max) => Some(read),
                () = self.node.wake.notified() => None,
                _ = ticks.tick() => {
                    let now = Instant::now();
                    self.node.keep_house(now);
                    if let Some(why) = self.look_after(now) {
                        return why;
                    }
                    None
                }
            };
            let result = match read {
                None if self.node.has_left(&self.address) => Err(MOVED.to_owned()),
                None => Ok(()),
                Some(Err(error)) => Err(error.to_string()),
                Some(Ok(())) => self.take().await,
            };
            if let Err(why) = result {
                return why;
            }
        }
    }

    /// Sends what topics are due for.
    fn ask(&mut self) {
        let (node, now) = (self.node, Instant::now());
        let prefix = node.common.settings.prefix.as_str();
        let mut topics = node.topics.borrow_mut();
        while self.link.out().queued() < QUEUED_MAX {
            let Some((verb, names)) = topics.next(now) else { break };
            let verb: &[u8] = match (verb, node.sharded) {
                (Verb::Subscribe, false) => b"SUBSCRIBE",
                (Verb::Subscribe, true) => b"SSUBSCRIBE",
                (Verb::Unsubscribe, false) => b"UNSUBSCRIBE",
                (Verb::Unsubscribe, true) => b"SUNSUBSCRIBE",
                (Verb::Beside, _) => continue,
            };
            self.link.out().queue(|out| resp::channels(out, verb, prefix, names));
        }
        self.up |= self.begun && topics.is_settled();
        node.count(topics.len());
        drop(topics);
        if self.up {
            node.stands(node.receiving, Phase::Up);
        }
    }

    /// Probes, and says why the connection is to be given up, if it is.
    fn look_after(&mut self, now: Instant) -> Option<String> {
        let why = self.node.common.is_dead(&self.link, self.asked, now);
        if why.is_none() && now.saturating_duration_since(self.pinged) >= PROBE {
            self.pinged = now;
            self.asked.get_or_insert(now);
            self.link.out().queue(|out| resp::command(out, [&b"PING"[..]].into_iter()));
            self.node.topics.borrow_mut().asked_beside();
        }
        why
    }

    /// Works through what has come.
    async fn take(&mut self) -> Result<(), String> {
        let now = Instant::now();
        loop {
            let (pushed, bytes) = match resp::pushed(self.link.bytes(), self.bulk_max) {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(problem) => return Err(problem.to_string()),
            };
            let (mut skip, mut later) = (0, None);
            match pushed {
                Pushed::Message { channel, payload } => {
                    later = message(self.node, channel, payload, now);
                }
                Pushed::Long { channel, skip: rest } => {
                    skip = rest;
                    if let Some(topic) = topic(self.node, channel) {
                        // Its line ends behind it.
                        too_long(self.node, topic, rest.saturating_sub(2));
                    }
                }
                Pushed::Subscribed(channel) if channel == own(self.node) => {
                    self.begun = true;
                    self.asked = None;
                    self.node.topics.borrow_mut().answered_beside();
                }
                Pushed::Subscribed(channel) => subscribed(self.node, channel, now),
                Pushed::Unsubscribed(channel) => unsubscribed(self.node, channel),
                Pushed::Pong => {
                    self.asked = None;
                    self.node.topics.borrow_mut().answered_beside();
                }
                Pushed::Error(why) => {
                    self.begun = true;
                    self.asked = None;
                    refused(self.node, without_args(&String::from_utf8_lossy(why)), now)?;
                }
                Pushed::Other => {}
            }
            self.link.consume(bytes);
            self.link.skip(skip);
            if let Some(later) = later {
                self.wait_for_lanes(later).await;
            }
        }
        self.node.common.inlet.wake_shards();
        self.node.common.terms.runtime.give_way().await;
        Ok(())
    }

    /// Reads nothing until a publication has found room.
    async fn wait_for_lanes(&mut self, later: Later) {
        self.node.common.inlet.wake_shards();
        let Self { node, link, .. } = self;
        let mut later = later;
        node.meanwhile(async {
            tokio::select! {
                _ = &mut later => {}
                // Reading will tell.
                _ = link.drive() => drop(later.await),
            }
        })
        .await;
        // It was not the server that was silent.
        self.asked = self.asked.map(|_| Instant::now());
    }
}

fn own(node: &Node) -> &[u8] {
    node.common.own_channel.as_bytes()
}

/// The topic of a channel, if it is one of ours.
fn topic<'a>(node: &Node, channel: &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(channel.strip_prefix(node.common.settings.prefix.as_bytes())?).ok()
}

fn message(node: &Node, channel: &[u8], payload: &[u8], now: Instant) -> Option<Later> {
    let common = &node.common;
    if channel == own(node) {
        let sent = std::str::from_utf8(payload).ok()?.parse().ok()?;
        let now = now.saturating_duration_since(common.epoch).as_micros() as u64;
        common.status.lag_us.set(now.saturating_sub(sent).max(1));
        return None;
    }
    let topic = topic(node, channel)?;
    // A late one of a slot's old master would come behind those of the new one.
    if node.sharded && !node.topics.borrow().is_held(topic) {
        return None;
    }
    common.status.received.add(1);
    common.status.received_bytes.add(payload.len() as u64);
    match common.inlet.deliver(topic, &Payload::new(payload), Patience::Caller) {
        Publishing::Later(later) => Some(later),
        Publishing::Now(Err(PublishError::TooLarge { .. })) => {
            too_long(node, topic, payload.len() as u64);
            None
        }
        Publishing::Now(_) | Publishing::Left(_) | Publishing::Sent(_) => None,
    }
}

/// A publication that clients cannot have is a gap.
fn too_long(node: &Node, topic: &str, bytes: u64) {
    let Common { inlet, remarks, terms, .. } = &*node.common;
    if inlet.lost(topic) {
        remarks.too_long(topic, bytes, terms.publication_bytes);
    }
}

fn subscribed(node: &Node, channel: &[u8], now: Instant) {
    let Some(topic) = topic(node, channel) else { return };
    let confirmed = node.topics.borrow_mut().confirmed(topic);
    if let Confirmed::Held { missed } = confirmed {
        if missed {
            node.common.inlet.lost(topic);
        }
        if !node.common.inlet.confirmed(topic) {
            node.topics.borrow_mut().unwant(topic, now);
        }
    }
}

fn unsubscribed(node: &Node, channel: &[u8]) {
    let Some(topic) = topic(node, channel) else { return };
    if node.topics.borrow_mut().ended(topic) == Ended::Moved {
        node.is_stale();
    }
}

/// A command was refused. Fails where the connection cannot go on.
fn refused(node: &Node, why: &str, now: Instant) -> Result<(), String> {
    let elsewhere = node.sharded && is_elsewhere(why);
    if !why.starts_with("NOPERM") && !elsewhere {
        return Err(why.to_owned());
    }
    let refused = node.topics.borrow_mut().refused();
    if elsewhere {
        if let Refused::Topic(topic) = refused {
            node.topics.borrow_mut().postpone(topic, now);
        } else if let Refused::Leave(topics) = refused {
            topics.iter().for_each(|topic| node.topics.borrow_mut().gone(topic));
        }
        node.is_stale();
        return Ok(());
    }
    if let Refused::Leave(topics) = &refused {
        for topic in topics {
            let wanted = node.topics.borrow_mut().stays(topic);
            if wanted && !node.common.inlet.confirmed(topic) {
                node.topics.borrow_mut().unwant(topic, now);
            }
        }
    }
    if let Refused::Topic(topic) = refused {
        let Common { inlet, remarks, settings, .. } = &*node.common;
        let wanted = inlet.unavailable(&topic, Unavailable::Forbidden);
        let is_news = !wanted || node.topics.borrow_mut().again(&topic, now);
        if is_news {
            remarks.refused(&topic, &format!("{}{topic}", settings.prefix), why);
        }
        if wanted && is_news {
            inlet.lost(&topic);
        }
        node.topics.borrow_mut().turned_away(&topic, wanted, now);
    }
    Ok(())
}
