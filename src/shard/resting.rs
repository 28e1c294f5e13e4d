//! Sockets that promise room and take nothing.
//!
//! When the kernel's memory for sockets has run out (a container's limit, `net.ipv4.tcp_mem`), a
//! socket that is watched has room at once, since what it may hold is not full, and takes nothing
//! all the same. To watch it again at once would spin. Such a connection rests first. It lags all
//! the while: its deadline runs, and its publications go to its outbox.

use super::connection::ConnId;
use super::{About, Reason, Shard, Task};

/// How long a rest is at least.
const REST_MS: u64 = 10;
/// One millisecond more for so many who rest: what trying again costs stays bounded, at some 10,000
/// sends a second.
const RESTING_PER_MS: u64 = 10;

/// Who rests, and since when. One entry a rest: bounded by the connections that there were during
/// it.
#[derive(Debug, Default)]
pub struct Resting {
    ids: Vec<ConnId>,
    since_ms: u64,
}

impl Resting {
    /// When whoever rests is watched again.
    pub fn until_ms(&self) -> Option<u64> {
        let rest_ms = REST_MS + self.ids.len() as u64 / RESTING_PER_MS;
        (!self.ids.is_empty()).then_some(self.since_ms + rest_ms)
    }
}

impl Shard {
    /// A lagging connection's socket has promised room and taken nothing.
    pub(super) fn rest(&mut self, id: ConnId) {
        self.counters.room_denied.add(1);
        if self.roster.resting.ids.is_empty() {
            self.roster.resting.since_ms = self.now_ms;
        }
        self.roster.resting.ids.push(id);
        self.report(id, Reason::RoomDenied, || About::Nothing);
    }

    /// Watches those again whose rest is over.
    pub(super) fn end_rest(&mut self) {
        if self.roster.resting.until_ms().is_none_or(|until_ms| until_ms > self.now_ms) {
            return;
        }
        for id in std::mem::take(&mut self.roster.resting.ids) {
            if self.roster.connections.live(id).is_some_and(|connection| connection.lagging) {
                self.outward.push(Task::WatchWritable(id));
            }
        }
    }
}
