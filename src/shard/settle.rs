//! What follows from a batch: what was not sent moves to outboxes, and whoever took less than it
//! was given lags: it waits for room, alone.

use super::balance::Dropped;
use super::batch::{ALL, PlannedSend, Source};
use super::connection::{ConnId, NO_SEND};
use super::outbox::Outbox;
use super::{Lifecycle, Shard, Task};

/// What the kernel has taken of one batch.
#[derive(Default)]
struct Taken {
    bytes: u64,
    /// Publications sent whole, straight from a log.
    frames: u64,
}

impl Shard {
    /// Ends the batch: what was not sent moves to outboxes, dead sockets are ended, logs are
    /// released.
    pub fn settle(&mut self) {
        let mut batch = std::mem::take(&mut self.delivery.batch);
        let mut taken = Taken::default();
        for send in batch.drain(..) {
            self.settle_send(send, &mut taken);
        }
        self.delivery.batch = batch;
        self.counters.bytes_sent.add(taken.bytes);
        self.delivery.balance.queued_logs -= taken.frames;
        self.delivery.balance.delivered += taken.frames;
        let mut swept = std::mem::take(&mut self.delivery.swept);
        for id in swept.drain(..) {
            self.delivery.release(id);
        }
        self.delivery.swept = swept;
        if self.lifecycle == Lifecycle::Draining {
            self.drain_step();
        }
        self.publish_standing();
    }

    fn settle_send(&mut self, send: PlannedSend, taken: &mut Taken) {
        let bytes = match send.source {
            Source::Outbox => self.delivery.bytes_of(&send, &self.roster.connections).len(),
            Source::Log { topic, from, to } => {
                self.delivery.topics.peek(topic).log.bytes_between(from, to)
            }
        };
        let connection = self.roster.connections.at(send.id.index);
        connection.send = NO_SEND;
        let sent = match send.result {
            ALL => bytes,
            sent if sent >= 0 => (sent as usize).min(bytes),
            // No room in the socket, or none in the kernel by now: wait until it says that there
            // is.
            errno if [libc::EAGAIN, libc::ENOBUFS, libc::ENOMEM, libc::EINTR].contains(&-errno) => {
                0
            }
            _ => {
                if let Source::Log { from, to, .. } = send.source {
                    self.delivery.balance.drop_from_logs(to - from, Dropped::Gone);
                }
                self.counters
                    .gone
                    .add(u64::from(self.roster.connections.peek(send.id.index).is_open()));
                self.terminate(send.id, Dropped::Gone, false);
                return;
            }
        };
        taken.bytes += sent as u64;
        match send.source {
            Source::Outbox => self.settle_outbox(send.id, bytes, sent),
            Source::Log { from, to, .. } if sent == bytes => taken.frames += to - from,
            Source::Log { topic, from, to } => {
                taken.frames += self.settle_short(send.id, topic, (from, to), sent)
            }
        }
    }

    fn settle_outbox(&mut self, id: ConnId, bytes: usize, sent: usize) {
        let connection = self.roster.connections.at(id.index);
        let denied = std::mem::take(&mut connection.promised) && sent == 0;
        let Some(outbox) = connection.outbox.as_mut() else { return };
        let cost = outbox.cost();
        let left = outbox.advance(sent);
        self.roster.outbox_bytes -= cost - outbox.cost();
        self.delivery.balance.queued_outboxes -= left;
        self.delivery.balance.delivered += left;
        // Half empty: what is parked now goes on for a while before it is parked again.
        if connection.parked && sent > 0 && outbox.cost() <= self.config.limits.outbox_bytes / 2 {
            self.unpark(id);
        }
        if sent < bytes {
            self.lag(id, denied);
        } else if self.roster.connections.peek(id.index).outbox_cost() == 0 {
            self.outbox_drained(id);
        }
        if self.roster.connections.at(id.index).is_open() {
            // Also while it lags: it may say that it leaves, and what it causes is bounded.
            self.resume(id);
        }
        self.roster.queue_flush(id);
    }

    /// A send from a log came back short: what it left moves to the outbox. Returns the
    /// publications that were sent whole.
    fn settle_short(&mut self, id: ConnId, topic: u32, (from, to): (u64, u64), sent: usize) -> u64 {
        let log = &self.delivery.topics.peek(topic).log;
        let (border, rest) = log.cut(from, sent);
        let (frames, behind, under_way) = (to - from, to - border, !rest.is_empty());
        let unsent = behind + u64::from(under_way);
        let bytes_max = self.config.limits.outboxes_bytes;
        let fits = |cost: usize| self.roster.outbox_bytes + cost <= bytes_max;
        let kept = if fits(rest.len() + log.outbox_cost(border, to)) { to } else { border };
        if kept == border && !fits(rest.len()) {
            // Not even the frame under way: nothing that it could understand can be said to it.
            self.counters.laggards.add(1);
            self.delivery.balance.drop_from_logs(unsent, Dropped::Overflow);
            self.report_overflow(id, "roadcast.limits.outboxes_bytes", bytes_max, unsent);
            self.terminate(id, Dropped::Overflow, true);
            return frames - unsent;
        }
        if under_way || kept > border {
            let mut outbox = Box::new(Outbox::default());
            outbox.push_cut_publication(rest);
            outbox.push_publications(log.slice(border, kept), log.lengths(border, kept));
            let delayed = outbox.publications();
            self.roster.outbox_bytes += outbox.cost();
            self.roster.connections.at(id.index).outbox = Some(outbox);
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
        let laggard_timeout = self.config.limits.laggard_timeout;
        let connection = self.roster.connections.at(id.index);
        connection.lagging = true;
        if denied {
            self.rest(id);
        } else {
            self.outward.push(Task::WatchWritable(id));
        }
        let connection = self.roster.connections.at(id.index);
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
        let Some(connection) = self.roster.connections.live(id) else { return };
        connection.lagging = false;
        connection.promised = true;
        connection.heard = true;
        self.roster.queue_flush(id);
    }
}
