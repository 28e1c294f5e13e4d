//! Publications of a slot that moves to another master.
//!
//! The old master answers MOVED to those that were under way, in order. What is published
//! meanwhile is held behind them. When the old one has answered all, and the new home is known,
//! they go there.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::hub::broker::flight::{ENTRY_BYTES, FLIGHT_BYTES_MAX};
use crate::hub::broker::redis::node::Node;
use crate::hub::broker::redis::publisher::Kept;
use crate::hub::sequencer::Publishing;
use crate::resp;

/// Before a master is asked again that has sent publications back to nowhere.
const AGAIN: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Moving {
    /// Where it was.
    pub(super) from: Rc<Node>,
    /// Sent back, in order.
    returned: VecDeque<Kept>,
    /// Not sent there, as they waited for room.
    behind: VecDeque<Kept>,
    /// Published meanwhile.
    held: VecDeque<Kept>,
    held_bytes: usize,
    since: Instant,
}

impl Moving {
    pub(super) fn new(from: Rc<Node>) -> Self {
        let (returned, behind, held) = Default::default();
        Self { from, returned, behind, held, held_bytes: 0, since: Instant::now() }
    }

    /// Whether the old master may be asked again, where nobody knows of another one.
    pub(super) fn may_try_again(&self) -> bool {
        self.since.elapsed() >= AGAIN
    }

    /// A publication was sent back.
    pub(super) fn give_back(&mut self, kept: Kept) {
        self.returned.push_back(kept);
    }

    /// A publication comes back that was not sent.
    pub(super) fn give_back_behind(&mut self, kept: Kept) {
        self.behind.push_back(kept);
    }

    /// A publication that is to go behind them. Fails with why there is no room for it.
    pub(super) fn hold(
        &mut self,
        slot: u16,
        prefix: &str,
        topic: &str,
        payload: &[u8],
    ) -> Result<Publishing, String> {
        if self.held_bytes > FLIGHT_BYTES_MAX {
            return Err(format!("slot {slot} is moving, and too much waits for it"));
        }
        let mut command = Vec::new();
        resp::publish(&mut command, "SPUBLISH", prefix, topic, payload);
        self.held_bytes += command.len() + ENTRY_BYTES;
        let (answer, sent) = oneshot::channel();
        self.held.push_back(Kept { slot, command, answer, tries: 0 });
        Ok(Publishing::Sent(sent))
    }

    /// Whether the old master has answered all that it was sent.
    pub(super) fn is_answered(&self, slot: u16) -> bool {
        self.from.publisher.pending_of(slot) == 0
    }

    /// All of them, in order.
    pub(super) fn into_order(self) -> impl Iterator<Item = Kept> {
        self.returned.into_iter().chain(self.behind).chain(self.held)
    }
}
