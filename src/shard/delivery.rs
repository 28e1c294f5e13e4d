//! What is delivered: topics with their logs, the sweep's place among them, and the books of it.
//!
//! Invariants:
//! - `active` names each topic that is marked so, once;
//! - `log_bytes` is what the logs of topics cost that are not parked, `parked_bytes` of those that
//!   are;
//! - logs keep still while a batch is under way.

use std::collections::VecDeque;

use super::balance::Balance;
use super::batch::{BATCH_SENDS, PlannedSend, Source};
use super::connection::Connections;
use super::gaps::Telling;
use super::log::SpareLogs;
use super::topics::Topics;
use crate::mesh::TopicId;

/// See the module.
#[derive(Debug)]
pub(super) struct Delivery {
    pub topics: Topics,
    /// Topics with somebody behind the head, each a batch's turn at a time.
    pub active: VecDeque<TopicId>,
    pub batch: Vec<PlannedSend>,
    /// Topics visited since the last settlement, whose logs may be released.
    pub swept: Vec<TopicId>,
    pub spare_logs: SpareLogs,
    /// A gap that is being told: nothing is published before it has been.
    pub telling: Option<Telling>,
    /// What the logs of active topics cost.
    pub log_bytes: usize,
    /// What the logs of all others cost: frames that parked subscribers wait for.
    pub parked_bytes: usize,
    pub balance: Balance,
}

impl Default for Delivery {
    fn default() -> Self {
        Self {
            topics: Topics::default(),
            active: VecDeque::new(),
            batch: Vec::with_capacity(BATCH_SENDS),
            swept: Vec::new(),
            spare_logs: SpareLogs::default(),
            telling: None,
            log_bytes: 0,
            parked_bytes: 0,
            balance: Balance::default(),
        }
    }
}

impl Delivery {
    /// A publication has come: it is owed to everyone who is subscribed. Returns whether the topic
    /// is still there.
    pub fn publish(&mut self, id: TopicId, sequence: u64, frame: &[u8]) -> bool {
        let Some(topic) = self.topics.live(id) else { return false };
        debug_assert_eq!(
            sequence,
            topic.sequence + 1,
            "publications of a topic come without a gap"
        );
        topic.sequence = sequence;
        if topic.len() == 0 {
            return true;
        }
        let owed = topic.len() as u64;
        self.spare_logs.give(&mut topic.log);
        let cost = topic.append(frame);
        self.balance.owed += owed;
        self.balance.queued_logs += owed;
        // A parked log is counted apart until the topic is active, the new frame with it.
        *(if topic.parked { &mut self.parked_bytes } else { &mut self.log_bytes }) += cost;
        self.activate(id);
        true
    }

    /// Puts a topic in line for the sweep.
    pub fn activate(&mut self, id: TopicId) {
        let topic = self.topics.at(id.index);
        if topic.active {
            return;
        }
        topic.active = true;
        if std::mem::take(&mut topic.parked) {
            self.parked_bytes -= topic.log.cost();
            self.log_bytes += topic.log.cost();
        }
        self.active.push_back(id);
    }

    /// Releases what every subscriber of a topic has been served. The memory of a log without
    /// frames is kept for the next one.
    #[inline]
    pub fn release(&mut self, id: TopicId) {
        let Some(topic) = self.topics.live(id) else { return };
        self.log_bytes -= topic.release();
        self.spare_logs.take(&mut topic.log);
        self.park_log(id.index);
    }

    /// Counts the log of a topic that the sweep is done with apart.
    fn park_log(&mut self, index: u32) {
        let topic = self.topics.at(index);
        if !topic.active && !topic.parked && !topic.log.is_empty() {
            topic.parked = true;
            self.parked_bytes += topic.log.cost();
            self.log_bytes -= topic.log.cost();
        }
    }

    /// A topic that nobody wants is gone, with its log.
    pub fn remove(&mut self, index: u32) {
        let topic = self.topics.remove(index);
        *(if topic.parked { &mut self.parked_bytes } else { &mut self.log_bytes }) -=
            topic.log.cost();
    }

    /// What a send of the batch carries.
    #[inline]
    pub fn bytes_of<'a>(&'a self, send: &PlannedSend, connections: &'a Connections) -> &'a [u8] {
        match send.source {
            Source::Outbox => {
                connections.peek(send.id.index).outbox.as_ref().map_or(&[], |o| o.front())
            }
            Source::Log { topic, from, to } => self.topics.peek(topic).log.slice(from, to),
        }
    }
}
