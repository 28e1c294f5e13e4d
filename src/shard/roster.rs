//! Who is connected, and what each is due: its outbox, its deadlines, its rest.
//!
//! Invariants:
//! - `flush` names each connection that is marked so, once, and perhaps some that have ended;
//! - `outbox_bytes` is what all outboxes cost, `sessions_bytes` what all sessions do.

use std::collections::VecDeque;
use std::sync::Arc;

use super::connection::{ConnId, Connections};
use super::resting::Resting;
use super::timers::Timers;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Roster {
    pub connections: Connections,
    pub timers: Timers,
    /// Connections whose outbox may be sent.
    pub flush: VecDeque<ConnId>,
    /// What all outboxes cost.
    pub outbox_bytes: usize,
    /// What all sessions cost.
    pub sessions_bytes: usize,
    pub resting: Resting,
    /// Slots whose deadline has passed; empty but while they are dealt with.
    pub due: Vec<u32>,
}

impl Roster {
    /// Lets `encode` append one whole frame to the connection's outbox, and puts it in line to be
    /// sent.
    pub fn send_private(&mut self, id: ConnId, encode: impl FnOnce(&mut Vec<u8>)) {
        let outbox = self.connections.at(id.index).outbox.get_or_insert_default();
        let before = outbox.cost();
        outbox.push_private(encode);
        self.outbox_bytes += outbox.cost() - before;
        self.queue_flush(id);
    }

    /// Queues whole publications for a connection.
    pub fn send_publications(&mut self, id: ConnId, frames: &[Arc<[u8]>]) {
        let outbox = self.connections.at(id.index).outbox.get_or_insert_default();
        let before = outbox.cost();
        for frame in frames {
            outbox.push_publications(frame, std::iter::once(frame.len()));
        }
        self.outbox_bytes += outbox.cost() - before;
        self.queue_flush(id);
    }

    /// Puts a connection that has an outbox in line to be sent.
    pub fn queue_flush(&mut self, id: ConnId) {
        let connection = self.connections.at(id.index);
        if connection.outbox_cost() > 0 && !connection.flush_queued && !connection.lagging {
            connection.flush_queued = true;
            self.flush.push_back(id);
        }
    }

    /// A deadline of the connection has changed.
    pub fn reschedule(&mut self, id: ConnId) {
        let connection = self.connections.peek(id.index);
        self.timers
            .set(id.index, [connection.deadline, connection.keepalive, connection.expires()]);
    }
}
