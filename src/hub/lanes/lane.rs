//! One shard's lane down: what waits ahead of publications, and who may use what room.

use std::collections::{BTreeSet, VecDeque};

use crate::hub::channels::ChannelId;
use crate::lane::Sender;
use crate::mesh::{ConnId, Down, TopicId};
use crate::position::Since;

/// Bytes pushed after which a shard is woken although the hub goes on. Waking it for the first
/// entry cost 1.12 times as much per publish of a pipelined caller where both share a core: the
/// shard went to sleep again after each few.
const EARLY_WAKE_BYTES: u64 = 64 * 1024;

/// Room for answers that is kept while there are none.
const ANSWERS_KEPT: usize = 1024;

/// Where topics stand, and what a connection has missed of them: see [`Up::Positions`].
///
/// [`Up::Positions`]: crate::mesh::Up::Positions
#[derive(Debug)]
pub(super) struct Question {
    pub(super) connection: ConnId,
    pub(super) topics: Box<[(TopicId, Since)]>,
}

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) down: Sender<Down>,
    cost_max: u64,
    /// Answers that found no free entry, ahead of all publications.
    pub(super) answers: VecDeque<Down>,
    /// Channels of which a loss waits for those answers to leave; empty while there are none.
    pub(super) losses: BTreeSet<ChannelId>,
    /// Those whose answer has found no room; one a connection at most.
    pub(super) questions: VecDeque<Question>,
    /// What the answer to the first of them took when it was last made.
    pub(super) question_cost: u64,
    /// It is its turn.
    pub(super) question_due: bool,
    /// A waiting publication lacks room here: younger ones wait behind it.
    pub(super) blocked: bool,
    /// Room that the oldest waiting publication keeps here.
    pub(super) held: Option<u64>,
    /// Bytes pushed since the shard was last woken, and one for each entry.
    pub(super) pushed: u64,
}

impl Lane {
    pub(super) fn new(down: Sender<Down>, cost_max: u64) -> Self {
        Self {
            down,
            cost_max,
            answers: VecDeque::new(),
            losses: BTreeSet::new(),
            questions: VecDeque::new(),
            question_cost: 0,
            question_due: true,
            blocked: false,
            held: None,
            pushed: 0,
        }
    }

    pub(super) fn has_room(&self, cost: u64) -> bool {
        if self.down.is_abandoned() {
            return true;
        }
        if !self.answers.is_empty() {
            return false;
        }
        match self.held {
            None => self.down.has_room(cost),
            Some(held) => {
                self.down.free_entries() >= 2
                    && self.down.queued_cost() + held + cost <= self.cost_max
            }
        }
    }

    pub(super) fn push(&mut self, cost: u64, entry: Down) {
        let pushed = self.down.push(cost, entry).is_ok();
        debug_assert!(pushed || self.down.is_abandoned(), "pushed without room");
        self.count_push(cost);
    }

    /// Wakes the shard when much has been pushed, so that it begins while the hub goes on.
    pub(super) fn count_push(&mut self, cost: u64) {
        self.pushed += cost + 1;
        if self.pushed > EARLY_WAKE_BYTES {
            self.down.wake();
            self.pushed = 1;
        }
    }

    pub(super) fn answer(&mut self, entry: Down) {
        self.answers.push_back(entry);
        self.push_answers();
        if !self.answers.is_empty() {
            // The hub may sleep by now: ask, then look again, as for a publication.
            self.down.want_room();
            self.push_answers();
        }
    }

    pub(super) fn push_answers(&mut self) -> bool {
        let before = self.answers.len();
        if self.down.is_abandoned() {
            self.answers.clear();
        }
        while let Some(entry) = self.answers.pop_front() {
            if let Err(entry) = self.down.push(0, entry) {
                self.answers.push_front(entry);
                break;
            }
        }
        if self.answers.is_empty() && self.answers.capacity() > ANSWERS_KEPT {
            self.answers = VecDeque::new();
        }
        let progress = self.answers.len() < before;
        if progress {
            self.count_push(0);
        }
        progress
    }
}
