//! Draining: from the signal on everyone of this shard is told goodbye one by one, evenly over a
//! time, in the order in which they came. So those who come back do not come all at once, and a
//! server that takes over finds them little by little.
//!
//! Meanwhile all goes on for those who have not been told: publications, joins, publishers. Nobody
//! is let in any more. What begins when the drain is over, or when nobody is left to be told, is
//! the end as it is without one: see the module `end`. Those who are refused meanwhile do not
//! count: they come again and again.

use std::time::Duration;

use super::Shard;
use super::balance::Dropped;
use super::connection::ConnId;
use super::end::GOODBYE;
use super::gaps::notice_cost;
use super::subscriber::Mark;
use crate::ws::close::CloseCode;

/// Who is still to be told, and when.
#[derive(Debug)]
pub(super) struct Drain {
    began_ms: u64,
    over_ms: u64,
    /// In the order of their goodbyes. Some have gone by then.
    ids: Vec<ConnId>,
    told: usize,
    /// From this place on all have gone.
    left: usize,
    over: bool,
}

impl Drain {
    /// How many are due by now: the first after their share of the time, the last when it is over.
    fn due(&self, now_ms: u64) -> usize {
        let passed_ms = now_ms.saturating_sub(self.began_ms).min(self.over_ms);
        (self.ids.len() as u64 * passed_ms / self.over_ms) as usize
    }

    /// When the next is due.
    pub fn next_ms(&self) -> Option<u64> {
        let share = |told: usize| (told as u64 * self.over_ms).div_ceil(self.ids.len() as u64);
        (self.told < self.left).then(|| self.began_ms + share(self.told + 1))
    }

    /// How long it goes on, in whole seconds.
    pub fn left_s(&self, now_ms: u64) -> u64 {
        (self.began_ms + self.over_ms).saturating_sub(now_ms).div_ceil(1000)
    }
}

impl Shard {
    /// Begins to tell everyone, where a drain is configured.
    pub(super) fn begin_drain(&mut self, at: Duration) {
        let (over_ms, began_ms) = (self.config.drain.as_millis() as u64, at.as_millis() as u64);
        if over_ms == 0 {
            return;
        }
        let mut ids = self.roster.connections.by_age();
        ids.retain(|id| self.roster.connections.peek(id.index).is_open());
        let left = ids.len();
        self.drain = Some(Drain { began_ms, over_ms, ids, told: 0, left, over: false });
        if !self.config.drain_accept {
            self.stop_listening();
        }
    }

    /// Tells those who are due.
    pub(super) fn drain_due(&mut self) {
        let Some(drain) = &mut self.drain else { return };
        let due = drain.due(self.now_ms);
        let ids: Vec<ConnId> = drain.ids[drain.told..due].to_vec();
        drain.told = due;
        for id in ids {
            let open =
                self.roster.connections.live(id).is_some_and(|connection| connection.is_open());
            // For whom more is queued than its outbox holds, the goodbye comes behind it, with
            // everyone's at the end.
            if open && self.queue_all(id) {
                self.close(id, CloseCode::GOING_AWAY, GOODBYE, Dropped::Shutdown);
            }
        }
    }

    /// Whether a drain has come to its end, since everyone has been told or has gone. Says so once.
    pub fn has_drained(&mut self) -> bool {
        let Some(drain) = self.drain.as_mut().filter(|drain| !drain.over) else { return false };
        let connections = &mut self.roster.connections;
        let mut is_open = |id| connections.live(id).is_some_and(|connection| connection.is_open());
        // Nobody opens again, so each place is passed once in all.
        while drain.told < drain.left && !is_open(drain.ids[drain.left - 1]) {
            drain.left -= 1;
        }
        drain.over = drain.told >= drain.left;
        drain.over
    }

    /// How many clients were there when the drain began.
    pub fn clients_to_drain(&self) -> usize {
        self.drain.as_ref().map_or(0, |drain| drain.ids.len())
    }

    /// Puts all that the logs hold for a connection into its outbox, if it has room for it, and the
    /// notices of gaps that it is owed.
    pub(super) fn queue_all(&mut self, id: ConnId) -> bool {
        let connection = self.roster.connections.peek(id.index);
        let behind = connection.topics.iter().map(|member| {
            let topic = self.delivery.topics.peek(member.topic);
            let record = topic.subscribers()[member.record as usize];
            let notice = if record.has(Mark::Owed) { notice_cost(topic) } else { 0 };
            topic.log.outbox_cost(record.position, topic.log.head()) + notice
        });
        let (bytes, limits) = (behind.sum::<usize>(), &self.config.limits);
        if connection.outbox_cost() + bytes > limits.outbox_bytes
            || self.roster.outbox_bytes + bytes > limits.outboxes_bytes
        {
            return bytes == 0;
        }
        for place in 0..connection.topics.len() {
            let member = self.roster.connections.peek(id.index).topics[place];
            self.tell_owed(id, member);
            self.bring_up_to_date(member.topic, member.record, id.index);
        }
        true
    }
}
