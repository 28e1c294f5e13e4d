//! The sweep: how publications and outboxes leave, a batch of sends at a time.
//!
//! `plan` names the sends of one batch (see the module `batch`), the loop has the backend send
//! them, `book` notes each that was not taken whole and `settle` draws the consequences.
//!
//! Active topics take turns, so a hot one starves nobody. A turn visits subscribers from the
//! topic's cursor on and gives each all that it has not had, in one send. A visit costs a send, or
//! a copy where an outbox stands in the way.

use super::Shard;
use super::batch::{BATCH_SENDS, COPY_STEPS, PlannedSend, STEPS_MAX, Source};
use super::gaps::notice_cost;
use super::subscriber::{Mark, Subscriber};
use crate::policy::Overflow;

/// A bound that a copy into an outbox would pass: its key, and its value.
pub(super) type Passed = (&'static str, usize);

impl Shard {
    /// Plans the next batch. Returns its number of sends, at most [`BATCH_SENDS`]. A batch of none
    /// is settled already.
    pub fn plan(&mut self) -> usize {
        debug_assert!(self.delivery.batch.is_empty());
        if self.delivery.telling.is_some() {
            self.tell_gap();
        }
        // Private frames and publications leave each other half a batch.
        self.plan_outboxes(if self.delivery.active.is_empty() {
            BATCH_SENDS
        } else {
            BATCH_SENDS / 2
        });
        self.plan_topics();
        self.plan_outboxes(BATCH_SENDS);
        self.counters.batches.add(1);
        self.counters.sends.add(self.delivery.batch.len() as u64);
        if self.delivery.batch.is_empty() {
            // Laggards have been served without a send, and the log may be released all the same.
            self.settle();
        }
        self.delivery.batch.len()
    }

    fn plan_outboxes(&mut self, sends_max: usize) {
        while self.delivery.batch.len() < sends_max {
            let Some(id) = self.roster.flush.pop_front() else { break };
            let Some(connection) = self.roster.connections.live(id) else { continue };
            connection.flush_queued = false;
            if connection.outbox.is_none() || connection.lagging || connection.in_batch() {
                continue;
            }
            connection.send = self.delivery.batch.len() as u8;
            self.delivery.batch.push(PlannedSend::new(id, Source::Outbox));
        }
    }

    fn plan_topics(&mut self) {
        let mut steps = STEPS_MAX;
        // One turn each: whoever has got a send in this batch takes no more before it is settled.
        let mut turns = self.delivery.active.len();
        while self.delivery.batch.len() < BATCH_SENDS && steps > 0 && turns > 0 {
            turns -= 1;
            let Some(id) = self.delivery.active.pop_front() else { break };
            if self.delivery.topics.live(id).is_none() {
                continue;
            }
            // One look is charged for the topic itself, so that empty ones end too.
            steps -= 1;
            let mut remains = true;
            while self.delivery.batch.len() < BATCH_SENDS && steps > 0 {
                let topic = self.delivery.topics.at(id.index);
                let Some(record) = topic.next_visit() else {
                    remains = topic.next_round();
                    self.counters.rounds.add(1);
                    break;
                };
                steps -= 1;
                if record.position == topic.log.head() {
                    topic.visited(record.position);
                    continue;
                }
                if !self.visit_direct(id.index, record) {
                    steps = steps.saturating_sub(COPY_STEPS);
                    self.visit_outbox(id.index, record);
                }
            }
            let topic = self.delivery.topics.at(id.index);
            topic.active = remains;
            if remains {
                self.delivery.active.push_back(id);
            }
            if self.delivery.swept.last() != Some(&id) {
                self.delivery.swept.push(id);
            }
        }
        self.counters.sweep_steps.add(u64::from(STEPS_MAX - steps));
    }

    /// Serves the record at the topic's cursor in a send of its own, straight from the log, if
    /// nothing stands in the way. Returns whether it did.
    #[inline]
    fn visit_direct(&mut self, topic: u32, record: Subscriber) -> bool {
        let connection = self.roster.connections.at(record.connection);
        if connection.outbox.is_some() || connection.in_batch() {
            return false;
        }
        connection.send = self.delivery.batch.len() as u8;
        let id = self.roster.connections.id(record.connection);
        let swept = self.delivery.topics.at(topic);
        let (from, to) = (record.position, swept.log.visit_end(record.position));
        swept.visited(to);
        self.delivery.batch.push(PlannedSend::new(id, Source::Log { topic, from, to }));
        true
    }

    /// Serves the record at the topic's cursor through its connection's outbox.
    fn visit_outbox(&mut self, topic: u32, record: Subscriber) {
        let swept = self.delivery.topics.peek(topic);
        let (from, to) = (record.position, swept.log.visit_end(record.position));
        let (policy, mut cost) = (swept.overflow, swept.log.outbox_cost(from, to));
        let owed = record.has(Mark::Owed);
        if owed {
            cost += notice_cost(swept);
        }
        let connection = self.roster.connections.peek(record.connection);
        let (lagging, place) = (connection.lagging, usize::from(connection.send));
        // A second topic of one connection: its send becomes one of the outbox, which takes both in
        // order.
        let planned = match self.delivery.batch.get(place).map(|send| send.source) {
            Some(Source::Log { topic, from, to }) => Some((topic, from, to)),
            Some(Source::Outbox) | None => None,
        };
        if let Some((topic, from, to)) = planned {
            cost += self.delivery.topics.peek(topic).log.outbox_cost(from, to);
        }
        match self.room_in_outbox(record.connection, cost) {
            Ok(()) => {
                if let Some((topic, from, to)) = planned {
                    self.copy_to_outbox(record.connection, topic, from, to);
                    self.delivery.batch[place].source = Source::Outbox;
                }
                if owed {
                    self.say_gap(topic, record.connection);
                    self.delivery.topics.at(topic).told_at_cursor();
                }
                self.copy_to_outbox(record.connection, topic, from, to);
                self.delivery.topics.at(topic).visited(to);
            }
            // Its socket has refused nothing: what it has in line leaves first, and the next round
            // comes again.
            Err(_) if !lagging => self.delivery.topics.at(topic).visited(from),
            Err(_) if policy == Overflow::Skip => self.park(topic, record.connection),
            Err((key, bytes_max)) => {
                self.overflow(self.roster.connections.id(record.connection), key, bytes_max, 0);
            }
        }
    }

    /// Whether so much more may wait for a connection, and for all.
    pub(super) fn room_in_outbox(&self, connection: u32, cost: usize) -> Result<(), Passed> {
        let limits = &self.config.limits;
        if self.roster.connections.peek(connection).outbox_cost() + cost > limits.outbox_bytes {
            return Err(("roadcast.limits.outbox_bytes", limits.outbox_bytes));
        }
        if self.roster.outbox_bytes + cost > limits.outboxes_bytes {
            return Err(("roadcast.limits.outboxes_bytes", limits.outboxes_bytes));
        }
        Ok(())
    }

    pub(super) fn copy_to_outbox(&mut self, connection: u32, topic: u32, from: u64, to: u64) {
        let log = &self.delivery.topics.peek(topic).log;
        let outbox = self.roster.connections.at(connection).outbox.get_or_insert_default();
        outbox.push_publications(log.slice(from, to), log.lengths(from, to));
        self.roster.outbox_bytes += log.outbox_cost(from, to);
        self.delayed(to - from);
    }

    /// Publications have gone from a log to an outbox.
    pub(super) fn delayed(&mut self, frames: u64) {
        self.counters.delayed.add(frames);
        self.delivery.balance.queued_logs -= frames;
        self.delivery.balance.queued_outboxes += frames;
    }
}
