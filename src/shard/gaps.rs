//! Gaps: places of a topic's order where publications may be missing, as its broker has said.
//!
//! Who asked for them is told in its place: behind what was published before the gap, ahead of what
//! follows. So it is brought up to date through its outbox, as a laggard is, and the notice queued
//! behind that. Until everyone has been told the shard takes nothing from its lane. What becomes of
//! the others is the module `gap_closes`.
//!
//! Whoever lags and has no room is closed, as for a publication; in a topic that skips it is
//! *owed* the notice. It is parked then without a frame: what it jumps over, the newest included,
//! may be missing like what the gap has swallowed. So there is nothing ahead of the notice, and
//! further gaps are told with it.
//!
//! Invariants:
//! - subscribers are marked as due in one topic at most, and `left` is how many;
//! - whoever is owed a notice is parked, and has an outbox.

use super::Shard;
use super::balance::Dropped;
use super::batch::{COPY_STEPS, STEPS_MAX};
use super::connection::ConnId;
use super::lengths::LENGTH_BYTES;
use super::memberships::Membership;
use super::subscriber::{Mark, Subscriber};
use super::topic::Topic;
use crate::mesh::TopicId;
use crate::policy::{OnGap, Overflow};
use crate::reply::{self, Reply};

/// A gap that is being told.
#[derive(Debug)]
pub(super) struct Telling {
    topic: TopicId,
    /// The record that is looked at next. Records move when subscribers leave, so the way round may
    /// be gone more than once.
    at: u32,
    /// Subscribers whose turn has not come.
    pub left: u32,
}

/// Appends the notice that something of a topic may be missing.
fn encode(out: &mut Vec<u8>, name: &str) {
    reply::encode(out, Reply::Gap, Some(&[name]));
}

/// What the notice costs in an outbox.
pub(super) fn notice_cost(topic: &Topic) -> usize {
    reply::encoded_len(Reply::Gap, Some(&[&*topic.name])) + LENGTH_BYTES
}

impl Shard {
    /// Publications of a topic may be missing from here on.
    pub(super) fn lost(&mut self, id: TopicId) {
        let everyone = self.config.on_gap == OnGap::Close;
        let Some(topic) = self.delivery.topics.live(id) else { return };
        self.counters.gaps.add(1);
        let left = topic.mark_gap(everyone);
        if left > 0 {
            debug_assert!(self.delivery.telling.is_none());
            self.delivery.telling = Some(Telling { topic: id, at: 0, left });
            self.tell_gap();
        }
    }

    /// Deals with some of those whose turn has not come, with each once at most. Not while a batch
    /// is under way.
    pub(super) fn tell_gap(&mut self) {
        let mut steps = STEPS_MAX;
        let mut looks = None;
        while let Some(telling) = &mut self.delivery.telling {
            if telling.left == 0 {
                self.delivery.telling = None;
                return;
            }
            let (topic, at) = (telling.topic.index, telling.at);
            let records = self.delivery.topics.peek(topic).subscribers();
            let looks = looks.get_or_insert(records.len());
            if steps == 0 || *looks == 0 {
                return;
            }
            (steps, *looks) = (steps - 1, *looks - 1);
            telling.at = if (at as usize) + 1 < records.len() { at + 1 } else { 0 };
            let Some(&record) = records.get(at as usize).filter(|record| record.has(Mark::Due))
            else {
                continue;
            };
            if record.has(Mark::Heeds) {
                steps = steps.saturating_sub(COPY_STEPS);
                self.tell_subscriber(topic, at, record);
            } else {
                self.dealt_with(topic, at);
                self.close_for_gap(record.connection);
            }
        }
    }

    /// The turn of a record that is due has come.
    fn dealt_with(&mut self, topic: u32, at: u32) {
        self.delivery.topics.at(topic).mark(at, Mark::Due, false);
        self.gone_while_due();
    }

    /// A record that is due needs no turn any more.
    pub(super) fn gone_while_due(&mut self) {
        if let Some(telling) = &mut self.delivery.telling {
            telling.left -= 1;
        }
    }

    /// Tells a subscriber that asked, or leaves it due, where what it has in line leaves first.
    fn tell_subscriber(&mut self, index: u32, at: u32, record: Subscriber) {
        let topic = self.delivery.topics.peek(index);
        let (from, to) = (record.position, topic.log.head());
        // Of an earlier gap, ahead of what was published since.
        let owed = record.has(Mark::Owed) && from < to;
        let cost = topic.log.outbox_cost(from, to) + notice_cost(topic) * (1 + usize::from(owed));
        let skips = topic.overflow == Overflow::Skip;
        let room = self.room_in_outbox(record.connection, cost);
        let connection = self.roster.connections.peek(record.connection);
        match room {
            Ok(()) => {}
            // Its socket has refused nothing: it gets as much as it takes in a turn, whatever waits
            // for it or for others. Else who sends commands on and on could put it off for ever.
            Err(_) if !connection.lagging => return self.tell_in_part(index, at, record),
            Err(_) if skips && connection.outbox.is_some() => {
                return self.owe_notice(index, at, record);
            }
            Err((key, bytes_max)) => {
                let id = self.roster.connections.id(record.connection);
                return self.overflow(id, key, bytes_max, 0);
            }
        }
        if owed {
            self.say_gap(index, record.connection);
        }
        self.bring_up_to_date(index, at, record.connection);
        self.say_gap(index, record.connection);
        self.delivery.topics.at(index).mark(at, Mark::Owed, false);
        self.dealt_with(index, at);
    }

    /// As [`Shard::tell_subscriber`], past the bounds by a visit's worth at most; who is behind by
    /// more stays due.
    fn tell_in_part(&mut self, index: u32, at: u32, record: Subscriber) {
        if record.has(Mark::Owed) {
            self.say_gap(index, record.connection);
            self.delivery.topics.at(index).mark(at, Mark::Owed, false);
        }
        let topic = self.delivery.topics.at(index);
        let (from, to) = (record.position, topic.log.visit_end(record.position));
        let at_head = to == topic.log.head();
        topic.served(at, to);
        if from < to {
            self.copy_to_outbox(record.connection, index, from, to);
            self.delivery.activate(self.delivery.topics.id(index));
        }
        if at_head {
            self.say_gap(index, record.connection);
            self.dealt_with(index, at);
        }
    }

    /// Puts all that the log holds for a record into its connection's outbox.
    pub(super) fn bring_up_to_date(&mut self, index: u32, at: u32, connection: u32) {
        let (from, to) = self.delivery.topics.at(index).serve(at);
        if from < to {
            self.copy_to_outbox(connection, index, from, to);
            // A round finds out what the others still wait for.
            self.delivery.activate(self.delivery.topics.id(index));
        }
    }

    /// Queues the notice for a connection that has been brought up to date.
    pub(super) fn say_gap(&mut self, index: u32, connection: u32) {
        let id = self.roster.connections.id(connection);
        let name = &self.delivery.topics.peek(index).name;
        self.roster.send_private(id, |out| encode(out, name));
        self.counters.gaps_told.add(1);
    }

    /// A laggard of a topic that skips has no room for the notice.
    fn owe_notice(&mut self, index: u32, at: u32, record: Subscriber) {
        let topic = self.delivery.topics.at(index);
        let (from, to) = topic.serve(at);
        topic.mark(at, Mark::Owed, true);
        if from < to {
            self.counters.newest_dropped.add(1);
            self.delivery.balance.drop_from_logs(to - from, Dropped::Skipped);
            self.delivery.activate(self.delivery.topics.id(index));
        }
        self.roster.connections.at(record.connection).parked = true;
        self.dealt_with(index, at);
    }

    /// There is room in the outbox of a parked connection, or nothing in it: tells what it is owed
    /// of one of its topics. Returns whether nothing is owed any more.
    pub(super) fn tell_owed(&mut self, id: ConnId, member: Membership) -> bool {
        let topic = self.delivery.topics.peek(member.topic);
        if !topic.subscribers()[member.record as usize].has(Mark::Owed) {
            return true;
        }
        let fits = self.room_in_outbox(id.index, notice_cost(topic)).is_ok();
        if !fits && self.roster.connections.peek(id.index).outbox_cost() > 0 {
            return false;
        }
        self.say_gap(member.topic, id.index);
        self.delivery.topics.at(member.topic).mark(member.record, Mark::Owed, false);
        true
    }
}
