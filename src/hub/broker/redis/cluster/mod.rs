//! A Cluster: many servers behind one broker.
//!
//! Plain, all nodes know all channels, so one of them is used, and another if that one goes.
//! Sharded (Redis 7.0), each channel is at home at the master that serves its hash slot: there are
//! two connections to each master.
//!
//! | module | what |
//! |---|---|
//! | `slots` | hash slots, and which master serves which |
//! | `topology` | asks nodes for that, and moves what has another home |
//! | `moving` | publications that were sent to a master that is not theirs any more |
//!
//! Invariants worth naming:
//! - **A slot that moves is a gap** of the topics that were held there: the old master says nothing
//!   more of them, and the new one knows nothing of what came between.
//! - **Publications of a slot stay in order** while it moves.

mod moving;
mod slots;
mod topology;

pub(super) use self::topology::follow;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::moving::Moving;
use self::slots::{Slots, slot_of};
use super::common::Common;
use super::node::Node;
use super::place::{Nodes, Place};
use super::topics::Topics;
use super::{receiving, sending};
use crate::hub::broker::Wanting;
use crate::hub::broker::link::Address;
use crate::hub::counters::HubCounters;
use crate::hub::sequencer::{PublishError, Publishing};

/// See the module.
pub(super) struct Cluster {
    common: Rc<Common>,
    counters: Arc<HubCounters>,
    /// All that are known.
    nodes: Rc<Nodes>,
    mode: RefCell<Mode>,
    /// Topics whose slot no master serves, or that are wanted before that is known.
    homeless: RefCell<Topics>,
    /// By slot.
    moving: RefCell<HashMap<u16, Moving>>,
    /// Something was at another place than was thought.
    stale: Rc<Notify>,
    /// Of the topology, in the broker's health.
    place: usize,
}

enum Mode {
    Unknown,
    Plain(Member),
    Sharded(Slots, Vec<Member>),
}

/// A server, and the tasks that talk to it. Dropped, they end.
struct Member {
    node: Rc<Node>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Member {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.node.publisher.disconnected("it is no master any more", Instant::now());
        self.node.count(0);
        let health = &self.node.common.health;
        health.remove(self.node.receiving);
        health.remove(self.node.sending);
    }
}

impl Cluster {
    /// Of which these nodes are known.
    pub(super) fn new(
        common: Rc<Common>,
        addresses: &[Address],
        counters: &Arc<HubCounters>,
    ) -> Self {
        Self {
            nodes: Rc::new(Nodes::new(addresses)),
            mode: RefCell::new(Mode::Unknown),
            homeless: RefCell::new(Topics::new(common.terms.wait, true)),
            moving: RefCell::default(),
            stale: Rc::new(Notify::new()),
            place: common.health.add(),
            counters: counters.clone(),
            common,
        }
    }

    fn member(&self, place: Place, sharded: bool) -> Member {
        let node = Node::new(self.common.clone(), place, sharded, Some(self.stale.clone()));
        let node = Rc::new(node);
        let receiving = self.counters.spawn(receiving::receive(node.clone()));
        let sending = self.counters.spawn(sending::send(node.clone()));
        Member { node, tasks: [receiving, sending] }
    }

    fn slot(&self, topic: &str) -> u16 {
        slot_of(&self.common.settings.prefix, topic)
    }

    /// Publishes at the topic's home.
    pub(super) fn publish(&self, topic: &str, payload: &[u8], now: Instant) -> Publishing {
        let mode = self.mode.borrow();
        if let Mode::Plain(member) = &*mode {
            return member.node.publisher.publish(topic, payload, None, now);
        }
        let slot = self.slot(topic);
        if let Some(moving) = self.moving.borrow_mut().get_mut(&slot) {
            let held = moving.hold(slot, &self.common.settings.prefix, topic, payload);
            return held.unwrap_or_else(|why| Publishing::Now(Err(self.refuse(&why))));
        }
        match mode.home(slot) {
            Some(node) => node.publisher.publish(topic, payload, Some(slot), now),
            None => {
                let why = match &*mode {
                    Mode::Sharded(..) => unserved(slot),
                    _ => "the Cluster has not been reached yet".to_owned(),
                };
                Publishing::Now(Err(self.refuse(&why)))
            }
        }
    }

    /// Counts a publication that goes nowhere. Says why.
    fn refuse(&self, why: &str) -> PublishError {
        self.common.status.publish_errors.add(1);
        PublishError::Broker(format!("{}: {why}: not published", self.common.named("Cluster")))
    }

    pub(super) fn want(&self, topic: &Arc<str>) -> Wanting {
        let mode = self.mode.borrow();
        match mode.home_of(|| self.slot(topic)) {
            Some(node) => node.want(topic),
            None => self.homeless.borrow_mut().want(topic, Instant::now()),
        }
    }

    pub(super) fn unwant(&self, topic: &str) {
        let mode = self.mode.borrow();
        match mode.home_of(|| self.slot(topic)) {
            Some(node) => node.unwant(topic),
            None => self.homeless.borrow_mut().unwant(topic, Instant::now()),
        }
    }
}

fn unserved(slot: u16) -> String {
    format!("no node of the Cluster serves slot {slot}")
}

impl Mode {
    /// The node that a slot is at home at, of a Cluster that is sharded.
    fn home(&self, slot: u16) -> Option<&Rc<Node>> {
        let Self::Sharded(slots, members) = self else { return None };
        let address = slots.home(slot)?;
        let member = members.iter().find(|member| member.node.place.is_at(address))?;
        Some(&member.node)
    }

    fn home_of(&self, slot: impl FnOnce() -> u16) -> Option<&Rc<Node>> {
        match self {
            Self::Unknown => None,
            Self::Plain(member) => Some(&member.node),
            Self::Sharded(..) => self.home(slot()),
        }
    }
}
