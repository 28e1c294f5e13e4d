//! Connections that are owed more than may wait for them.

use super::balance::Dropped;
use super::connection::ConnId;
use super::{About, Reason, Shard};
use crate::ws::close::CloseCode;

impl Shard {
    /// Closes a connection whose outbox cannot take what it is owed: the frame under way is
    /// finished, the rest dropped. `dropped` publications never came as far as the outbox.
    pub(super) fn overflow(
        &mut self,
        id: ConnId,
        key: &'static str,
        bytes_max: usize,
        dropped: u64,
    ) {
        let dropped_before = self.delivery.balance.dropped(Dropped::Overflow);
        let connection = self.roster.connections.at(id.index);
        let (bytes, waiting) =
            connection.outbox.as_mut().map_or((0, 0), |outbox| outbox.drop_waiting());
        self.roster.outbox_bytes -= bytes;
        self.delivery.balance.drop_from_outboxes(waiting, Dropped::Overflow);
        self.close(id, CloseCode::TRY_AGAIN_LATER, "too slow", Dropped::Overflow);
        let dropped = dropped + self.delivery.balance.dropped(Dropped::Overflow) - dropped_before;
        self.report_overflow(id, key, bytes_max, dropped);
        // What it was promised is gone; it only has to take the Close.
        self.set_deadline(id, self.config.limits.close_timeout);
    }

    pub(super) fn report_overflow(
        &mut self,
        id: ConnId,
        key: &'static str,
        bytes_max: usize,
        dropped: u64,
    ) {
        self.counters.overflows.add(1);
        self.report(id, Reason::Overflow { key, bytes_max }, || About::Dropped(dropped));
    }
}
