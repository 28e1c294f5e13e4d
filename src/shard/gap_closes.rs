//! Where `roadcast.on_gap` is `close`: whoever may have missed a publication of a topic and did not
//! ask to be told is closed with 1012, so that its client comes again and loads what it lacks.
//!
//! An outage concerns all topics at once, and nearly everyone. So each has a moment of its own,
//! spread over 10 s by its place in the table. A connection that is marked stands in the queue of
//! moments once, however many of its topics have gaps.

use std::collections::VecDeque;

use super::balance::Dropped;
use super::connection::ConnId;
use super::{About, Reason, Shard};
use crate::ws::close::CloseCode;

/// Between two moments.
const STEP_MS: u64 = 100;
/// Moments that the goodbyes are spread over: 10 s.
const SPREAD: u64 = 100;
/// So many later whoever had no room for what is queued for it is looked at again.
const AGAIN: u64 = 10;
/// The reason in the Close.
const GOODBYE: &str = "messages may be missing: connect again";

/// Who is to be closed, by the moment. One entry a mark: bounded by the connections that there were
/// while they last.
#[derive(Debug, Default)]
pub(super) struct GapCloses {
    moments: VecDeque<Vec<ConnId>>,
    /// When the first of them comes.
    first_ms: u64,
}

impl GapCloses {
    /// When somebody may be due.
    pub fn next_ms(&self) -> Option<u64> {
        (!self.moments.is_empty()).then_some(self.first_ms)
    }

    /// So many moments from now on, or a part of one later.
    fn add(&mut self, id: ConnId, now_ms: u64, moments: u64) {
        if self.moments.is_empty() {
            self.first_ms = now_ms;
        }
        let after_ms = (now_ms + moments * STEP_MS).saturating_sub(self.first_ms);
        let place = after_ms.div_ceil(STEP_MS) as usize;
        while self.moments.len() <= place {
            self.moments.push_back(Vec::new());
        }
        self.moments[place].push(id);
    }

    /// Those of the next moment, if that has come.
    fn take(&mut self, now_ms: u64) -> Option<Vec<ConnId>> {
        if self.moments.is_empty() || self.first_ms > now_ms {
            return None;
        }
        self.first_ms += STEP_MS;
        self.moments.pop_front()
    }
}

impl Shard {
    /// A connection may have missed something: it will be closed.
    pub(super) fn close_for_gap(&mut self, index: u32) {
        let connection = self.roster.connections.at(index);
        if !std::mem::replace(&mut connection.gap_close, true) {
            // Multiplication by the golden ratio spreads consecutive slots evenly.
            let share = u64::from(index.wrapping_mul(0x9E37_79B9) >> 16);
            let id = self.roster.connections.id(index);
            self.gap_closes.add(id, self.now_ms, SPREAD * share / 0x1_0000);
        }
    }

    /// Closes those whose moment has come.
    pub(super) fn close_gapped(&mut self) {
        while let Some(ids) = self.gap_closes.take(self.now_ms) {
            for id in ids {
                let connection = self.roster.connections.live(id);
                if connection.is_some_and(|connection| connection.is_open()) {
                    self.gap_close_passed(id);
                }
            }
        }
    }

    /// What is queued for it goes first; for whom more is queued than its outbox holds, it comes
    /// later.
    fn gap_close_passed(&mut self, id: ConnId) {
        if !self.queue_all(id) {
            return self.gap_closes.add(id, self.now_ms, AGAIN);
        }
        self.counters.gap_closes.add(1);
        self.report(id, Reason::Gap, || About::Nothing);
        self.close(id, CloseCode::SERVICE_RESTART, GOODBYE, Dropped::Closed);
    }
}
