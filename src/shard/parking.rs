//! Topics whose policy is to skip: what becomes of a subscriber whose connection has no room.
//!
//! It is *parked*: its position moves to the newest frame of the log, what it jumps over is
//! dropped, and no round of the sweep is due for its sake. Each publication moves it on. When the
//! connection's outbox has room again, the topic visits it. So it costs no memory of its own: all
//! who are parked in a topic wait for one frame in its log.
//!
//! Invariants:
//! - a topic that is not active holds in its log the frame that some parked subscriber waits for,
//!   or nothing; such logs are counted apart (`parked_bytes`), so that whoever does not read cannot
//!   stop the shard from taking more;
//! - whoever is parked has an outbox, and each piece that leaves it looks whether there is room.

use super::Shard;
use super::balance::Dropped;
use super::connection::ConnId;
use crate::policy::Overflow;

impl Shard {
    /// Parks the connection whose record the cursor of a topic stands at.
    pub(super) fn park(&mut self, topic: u32, connection: u32) {
        let topic = self.delivery.topics.at(topic);
        let keep_newest =
            self.delivery.parked_bytes + topic.log.newest_cost() <= self.config.limits.log_bytes;
        let skipped = topic.park(keep_newest);
        self.roster.connections.at(connection).parked |= keep_newest;
        self.counters.newest_dropped.add(u64::from(!keep_newest));
        self.delivery.balance.drop_from_logs(skipped, Dropped::Skipped);
    }

    /// The outboxes of the shard have no room for the `frames` behind the one under way of a send
    /// that came back short.
    pub(super) fn no_room_behind(&mut self, id: ConnId, topic: u32, under_way: bool, frames: u64) {
        // Without a frame under way nothing but a Close would tell when the socket has room again.
        if under_way && self.delivery.topics.at(topic).overflow == Overflow::Skip {
            self.counters.newest_dropped.add(1);
            self.delivery.balance.drop_from_logs(frames, Dropped::Skipped);
        } else {
            // It is closed before it has lagged.
            self.counters.laggards.add(1);
            self.delivery.balance.drop_from_logs(frames, Dropped::Overflow);
            let bytes_max = self.config.limits.outboxes_bytes;
            self.overflow(id, "roadcast.limits.outboxes_bytes", bytes_max, frames);
        }
    }

    /// There is room in the outbox of a parked connection: its topics visit it.
    pub(super) fn unpark(&mut self, id: ConnId) {
        let connection = self.roster.connections.at(id.index);
        connection.parked = false;
        for place in 0..connection.topics.len() {
            let member = self.roster.connections.peek(id.index).topics[place];
            if !self.tell_owed(id, member) {
                // What follows the notice waits with it.
                self.roster.connections.at(id.index).parked = true;
                continue;
            }
            if self.delivery.topics.peek(member.topic).is_behind(member.record) {
                self.delivery.topics.at(member.topic).revisit(member.record);
                self.delivery.activate(self.delivery.topics.id(member.topic));
            }
        }
    }
}
