//! The sweep: how publications and outboxes leave, a batch of sends at a time.
//!
//! `plan` names the sends of one batch, the loop submits them all and reaps what failed, `book`
//! notes each failure and `settle` draws the consequences. A send that is not booked has been taken
//! whole: the kernel posts no completion for it.
//!
//! Active topics take turns, so a hot one starves nobody. A turn visits subscribers from the
//! topic's cursor on and gives each all that it has not had, in one send. A visit costs a send, or
//! a copy where an outbox stands in the way.

use super::balance::Dropped;
use super::connection::ConnId;
use super::outbox::Outbox;
use super::{About, Reason, Shard, Stage, Task};
use crate::mesh::TopicId;
use crate::policy::Overflow;
use crate::ws::close::CloseCode;
use crate::ws::frame::{self, Opcode};

/// Sends in one batch. Measured: 16 to 64 an `enter` are as cheap as 1,024, and later subscribers
/// find newer frames.
pub const BATCH_SENDS: usize = 64;

/// What planning one batch may cost at most, in looks at a record. A copy into an outbox counts as
/// many.
const STEPS_MAX: u32 = 2048;
const COPY_STEPS: u32 = 32;

/// Marks a connection that is not in the batch.
pub(super) const NO_SLOT: u8 = u8::MAX;
const _: () = assert!(BATCH_SENDS < NO_SLOT as usize);

/// Not booked: taken whole.
const ALL: i32 = i32::MAX;

/// One send of a batch.
#[derive(Debug)]
pub(super) struct Slot {
    id: ConnId,
    pub(super) source: Source,
    result: i32,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Outbox,
    /// A range of a topic's log, between two borders.
    Log {
        topic: u32,
        from: u64,
        to: u64,
    },
}

/// What the kernel has taken of one batch.
#[derive(Default)]
struct Taken {
    bytes: u64,
    /// Publications sent whole, straight from a log.
    frames: u64,
}

/// What became of a visit.
enum Visit {
    Done,
    Overflow(ConnId, &'static str, usize),
}

impl Shard {
    /// Plans the next batch. Returns its number of sends, at most [`BATCH_SENDS`]. A batch of none
    /// is settled already.
    pub fn plan(&mut self) -> usize {
        debug_assert!(self.batch.is_empty());
        // Private frames and publications leave each other half a batch.
        self.plan_outboxes(if self.active.is_empty() { BATCH_SENDS } else { BATCH_SENDS / 2 });
        self.plan_topics();
        self.plan_outboxes(BATCH_SENDS);
        self.counters.batches.add(1);
        self.counters.sends.add(self.batch.len() as u64);
        if self.batch.is_empty() {
            // Laggards have been served without a send, and the log may be released all the same.
            self.settle();
        }
        self.batch.len()
    }

    /// The sends planned: place in the batch, connection, bytes. The bytes keep still until
    /// [`Shard::settle`].
    pub fn batch(&self) -> impl ExactSizeIterator<Item = (usize, ConnId, &[u8])> {
        self.batch.iter().enumerate().map(|(place, slot)| (place, slot.id, self.bytes_of(slot)))
    }

    /// Notes how the send at `place` ended if it did not end whole: bytes sent, or a negative
    /// errno.
    pub fn book(&mut self, place: usize, result: i32) {
        self.batch[place].result = result;
    }

    /// Ends the batch: what was not sent moves to outboxes, dead sockets are ended, logs are
    /// released.
    pub fn settle(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        let mut taken = Taken::default();
        for slot in batch.drain(..) {
            self.settle_slot(slot, &mut taken);
        }
        self.batch = batch;
        self.counters.bytes_sent.add(taken.bytes);
        self.balance.queued_logs -= taken.frames;
        self.balance.delivered += taken.frames;
        let mut swept = std::mem::take(&mut self.swept);
        for id in swept.drain(..) {
            self.release_log(id);
        }
        self.swept = swept;
        if self.stage == Stage::Draining {
            self.drain_step();
        }
        self.publish_standing();
    }

    fn bytes_of(&self, slot: &Slot) -> &[u8] {
        match slot.source {
            Source::Outbox => {
                self.connections.peek(slot.id.index).outbox.as_ref().map_or(&[], |o| o.front())
            }
            Source::Log { topic, from, to } => self.topics.peek(topic).log.slice(from, to),
        }
    }

    fn plan_outboxes(&mut self, sends_max: usize) {
        while self.batch.len() < sends_max {
            let Some(id) = self.flush.pop_front() else { break };
            let Some(connection) = self.connections.live(id) else { continue };
            connection.flush_queued = false;
            if connection.outbox.is_none() || connection.lagging || connection.in_batch() {
                continue;
            }
            connection.slot = self.batch.len() as u8;
            self.batch.push(Slot { id, source: Source::Outbox, result: ALL });
        }
    }

    fn plan_topics(&mut self) {
        let mut steps = STEPS_MAX;
        // One turn each: whoever has got a send in this batch takes no more before it is settled.
        let mut turns = self.active.len();
        while self.batch.len() < BATCH_SENDS && steps > 0 && turns > 0 {
            turns -= 1;
            let Some(id) = self.active.pop_front() else { break };
            if self.topics.live(id).is_none() {
                continue;
            }
            // One look is charged for the topic itself, so that empty ones end too.
            steps -= 1;
            let mut remains = true;
            while self.batch.len() < BATCH_SENDS && steps > 0 {
                let topic = self.topics.at(id.index);
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
                if let Visit::Overflow(id, key, bytes_max) = self.visit(id, record, &mut steps) {
                    self.overflow(id, key, bytes_max, 0);
                }
            }
            let topic = self.topics.at(id.index);
            topic.active = remains;
            if remains {
                self.active.push_back(id);
            }
            if self.swept.last() != Some(&id) {
                self.swept.push(id);
            }
        }
        self.counters.sweep_steps.add(u64::from(STEPS_MAX - steps));
    }

    /// Serves the record at the topic's cursor.
    #[inline]
    fn visit(
        &mut self,
        topic_id: TopicId,
        record: super::topic::Subscriber,
        steps: &mut u32,
    ) -> Visit {
        let topic = self.topics.at(topic_id.index);
        let (from, to) = (record.position, topic.log.visit_end(record.position));
        let connection = self.connections.at(record.connection);
        if connection.outbox.is_none() && !connection.in_batch() {
            let id = self.connections.id(record.connection);
            self.connections.at(record.connection).slot = self.batch.len() as u8;
            let source = Source::Log { topic: topic_id.index, from, to };
            self.batch.push(Slot { id, source, result: ALL });
            topic.visited(to);
            return Visit::Done;
        }
        *steps = steps.saturating_sub(COPY_STEPS);
        let slot = usize::from(connection.slot);
        let planned = match self.batch.get(slot).map(|slot| slot.source) {
            Some(Source::Log { topic, from, to }) => Some((topic, from, to)),
            Some(Source::Outbox) | None => None,
        };
        let (mut bytes, policy) = (topic.log.outbox_cost(from, to), topic.overflow);
        if let Some((topic, from, to)) = planned {
            bytes += self.topics.peek(topic).log.outbox_cost(from, to);
        }
        let limits = &self.settings.limits;
        let passed = if connection.outbox_cost() + bytes > limits.outbox_bytes {
            Some(("roadcast.limits.outbox_bytes", limits.outbox_bytes))
        } else if self.outbox_bytes + bytes > limits.outboxes_bytes {
            Some(("roadcast.limits.outboxes_bytes", limits.outboxes_bytes))
        } else {
            None
        };
        match passed {
            Some(_) if connection.lagging && policy == Overflow::Skip => {
                self.park(topic_id.index, record.connection);
                return Visit::Done;
            }
            Some((key, bytes_max)) if connection.lagging => {
                return Visit::Overflow(self.connections.id(record.connection), key, bytes_max);
            }
            // Its socket has refused nothing: what it has in line leaves first, and the next round
            // comes again.
            Some(_) => {
                self.topics.at(topic_id.index).visited(from);
                return Visit::Done;
            }
            None => {}
        }
        if let Some((topic, from, to)) = planned {
            // A second topic of one connection: its send becomes one of the outbox, which takes
            // both in order.
            self.copy_to_outbox(record.connection, topic, from, to);
            self.batch[slot].source = Source::Outbox;
        }
        self.copy_to_outbox(record.connection, topic_id.index, from, to);
        self.topics.at(topic_id.index).visited(to);
        Visit::Done
    }

    pub(super) fn copy_to_outbox(&mut self, connection: u32, topic: u32, from: u64, to: u64) {
        let log = &self.topics.peek(topic).log;
        let outbox = self.connections.at(connection).outbox.get_or_insert_default();
        outbox.push_publications(log.slice(from, to), log.lengths(from, to));
        self.outbox_bytes += log.outbox_cost(from, to);
        self.delayed(to - from);
    }

    /// Publications have gone from a log to an outbox.
    fn delayed(&mut self, frames: u64) {
        self.counters.delayed.add(frames);
        self.balance.queued_logs -= frames;
        self.balance.queued_outboxes += frames;
    }

    fn settle_slot(&mut self, slot: Slot, taken: &mut Taken) {
        let bytes = match slot.source {
            Source::Outbox => self.bytes_of(&slot).len(),
            Source::Log { topic, from, to } => self.topics.peek(topic).log.bytes_between(from, to),
        };
        let connection = self.connections.at(slot.id.index);
        connection.slot = NO_SLOT;
        let sent = match slot.result {
            ALL => bytes,
            sent if sent >= 0 => (sent as usize).min(bytes),
            // No room in the socket, or none in the kernel by now: wait until it says that there
            // is.
            errno if [libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM, libc::EINTR].contains(&-errno) => {
                0
            }
            _ => {
                if let Source::Log { from, to, .. } = slot.source {
                    self.balance.drop_from_logs(to - from, Dropped::Gone);
                }
                self.counters.gone.add(u64::from(self.connections.peek(slot.id.index).is_open()));
                self.terminate(slot.id, Dropped::Gone, false);
                return;
            }
        };
        taken.bytes += sent as u64;
        match slot.source {
            Source::Outbox => self.settle_outbox(slot.id, bytes, sent),
            Source::Log { from, to, .. } if sent == bytes => taken.frames += to - from,
            Source::Log { topic, from, to } => {
                taken.frames += self.settle_short(slot.id, topic, (from, to), sent)
            }
        }
    }

    fn settle_outbox(&mut self, id: ConnId, bytes: usize, sent: usize) {
        let connection = self.connections.at(id.index);
        let denied = std::mem::take(&mut connection.promised) && sent == 0;
        let Some(outbox) = connection.outbox.as_mut() else { return };
        let cost = outbox.cost();
        let left = outbox.advance(sent);
        self.outbox_bytes -= cost - outbox.cost();
        self.balance.queued_outboxes -= left;
        self.balance.delivered += left;
        let (drained, pong) = (outbox.is_empty(), outbox.due_pong());
        // Half empty: what is parked now goes on for a while before it is parked again.
        if connection.parked && sent > 0 && outbox.cost() <= self.settings.limits.outbox_bytes / 2 {
            self.unpark(id);
        }
        if sent < bytes {
            self.lag(id, denied);
        } else if drained {
            self.outbox_drained(id);
        }
        if self.connections.at(id.index).is_open() {
            if let Some(payload) = pong {
                self.send_private(id, |out| frame::encode(out, Opcode::Pong, &payload));
            }
            // Also while it lags: it may say that it leaves, and what it causes is bounded.
            self.resume(id);
        }
        self.queue_flush(id);
    }

    /// A send from a log came back short: what it left moves to the outbox. Returns the
    /// publications that were sent whole.
    fn settle_short(&mut self, id: ConnId, topic: u32, (from, to): (u64, u64), sent: usize) -> u64 {
        let log = &self.topics.peek(topic).log;
        let (border, rest) = log.cut(from, sent);
        let (frames, behind, under_way) = (to - from, to - border, !rest.is_empty());
        let unsent = behind + u64::from(under_way);
        let bytes_max = self.settings.limits.outboxes_bytes;
        let fits = |cost: usize| self.outbox_bytes + cost <= bytes_max;
        let kept = if fits(rest.len() + log.outbox_cost(border, to)) { to } else { border };
        if kept == border && !fits(rest.len()) {
            // Not even the frame under way: nothing that it could understand can be said to it.
            self.counters.laggards.add(1);
            self.balance.drop_from_logs(unsent, Dropped::Overflow);
            self.report_overflow(id, "roadcast.limits.outboxes_bytes", bytes_max, unsent);
            self.terminate(id, Dropped::Overflow, true);
            return frames - unsent;
        }
        if under_way || kept > border {
            let mut outbox = Box::new(Outbox::default());
            outbox.push_cut_publication(rest);
            outbox.push_publications(log.slice(border, kept), log.lengths(border, kept));
            let delayed = outbox.publications();
            self.outbox_bytes += outbox.cost();
            self.connections.at(id.index).outbox = Some(outbox);
            self.delayed(delayed);
        }
        if kept < to {
            self.no_room_behind(id, topic, under_way, behind);
        }
        self.lag(id, false);
        frames - unsent
    }

    /// The socket took less than it was given: the connection waits for room, alone. `denied`: what
    /// it had is none.
    fn lag(&mut self, id: ConnId, denied: bool) {
        let laggard_timeout = self.settings.limits.laggard_timeout;
        let connection = self.connections.at(id.index);
        connection.lagging = true;
        if denied {
            self.rest(id);
        } else {
            self.tasks.push_back(Task::WatchWritable(id));
        }
        let connection = self.connections.at(id.index);
        if connection.is_open() && connection.deadline.is_none() {
            self.counters.laggards.add(1);
            if let Some(outbox) = connection.outbox.as_mut() {
                outbox.set_laggard_mark();
            }
            self.set_deadline(id, laggard_timeout);
        }
    }

    /// The socket of a lagging connection has room again.
    pub fn writable(&mut self, id: ConnId) {
        let Some(connection) = self.connections.live(id) else { return };
        connection.lagging = false;
        connection.promised = true;
        connection.heard = true;
        self.queue_flush(id);
    }

    /// Closes a connection whose outbox cannot take what it is owed: the frame under way is
    /// finished, the rest dropped. `dropped` publications never came as far as the outbox.
    pub(super) fn overflow(
        &mut self,
        id: ConnId,
        key: &'static str,
        bytes_max: usize,
        dropped: u64,
    ) {
        let dropped_before = self.balance.dropped(Dropped::Overflow);
        let connection = self.connections.at(id.index);
        let (bytes, waiting) =
            connection.outbox.as_mut().map_or((0, 0), |outbox| outbox.drop_waiting());
        self.outbox_bytes -= bytes;
        self.balance.drop_from_outboxes(waiting, Dropped::Overflow);
        self.close(id, CloseCode::TRY_AGAIN_LATER, "too slow", Dropped::Overflow);
        let dropped = dropped + self.balance.dropped(Dropped::Overflow) - dropped_before;
        self.report_overflow(id, key, bytes_max, dropped);
        // What it was promised is gone; it only has to take the Close.
        self.set_deadline(id, self.settings.limits.close_timeout);
    }

    fn report_overflow(&mut self, id: ConnId, key: &'static str, bytes_max: usize, dropped: u64) {
        self.counters.overflows.add(1);
        self.report(id, Reason::Overflow { key, bytes_max }, || About::Dropped(dropped));
    }
}
