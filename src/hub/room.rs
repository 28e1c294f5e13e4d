//! Room in the lanes: sequencing and pushing publications, and waiting for room, first come first served.
//!
//! What waits is the *publication*, not a task that holds a reservation: whoever finds room pushes it, to all lanes
//! of its topic in one go. Its task only learns that it is done.
//!
//! Invariants worth naming:
//! - **A publish is atomic over shards.** A publication is pushed when every interested lane has room for it, then to
//!   all of them, and the topic's sequence moves; nothing is awaited in between, and interest is looked up at that
//!   moment, so a change of interest during the wait needs no second thought.
//! - **Only what needs a full lane waits.** A publication is stopped by a lane that has no room for it, or in which an
//!   older one waits for room; never by one that waits for another lane.
//! - **Nobody starves.** In the lanes that have room for it, the *oldest* waiting publication keeps that room while
//!   it waits for the others: younger ones pass only if they leave it. A lane that lacks room for it takes nothing
//!   but it. Shards always drain their lanes, so it goes, and the next is the oldest.
//! - **No deadlock**: only one publication, the oldest, ever holds anything, and what it waits for depends on shards
//!   alone.
//! - **Interest answers are never passed.** They cost no bytes; those that find no free entry wait here, at most one a
//!   topic and shard, and nothing else enters that lane before them.
//!
//! A lane whose shard is gone takes everything and keeps nothing.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::HubCounters;
use super::interest::{Interest, Slot};
use crate::lane::Sender;
use crate::mesh::{BrokerId, Down, TopicId};

/// Bytes pushed after which a shard is woken although the hub goes on. Waking it for the first entry cost 1.12 times as much per
/// publish of a pipelined caller where both share a core: the shard went to sleep again after each few.
const EARLY_WAKE_BYTES: u64 = 64 * 1024;

/// Room for answers that is kept while there are none.
const ANSWERS_KEPT: usize = 1024;

/// The lanes to all shards, what they carry for whom, and what waits for room in them.
#[derive(Debug)]
pub(super) struct Room {
    lanes: Vec<Lane>,
    interest: Interest,
    /// Oldest first. One a connection, what `rpc_async_bytes` allows besides, and what brokers deliver bound it.
    waiting: VecDeque<Waiting>,
    /// Of `waiting`: frames, and [`WAITING_BYTES`] for each.
    waiting_bytes: usize,
    counters: Arc<HubCounters>,
    /// The last entry of every lane has been queued.
    ended: bool,
}

#[derive(Debug)]
struct Lane {
    down: Sender<Down>,
    cost_max: u64,
    /// Answers that found no free entry, ahead of all publications.
    answers: VecDeque<Down>,
    /// A waiting publication lacks room here: younger ones wait behind it.
    blocked: bool,
    /// Room that the oldest waiting publication keeps here.
    held: Option<u64>,
    /// Bytes pushed since the shard was last woken, and one for each entry.
    pushed: u64,
}

/// What a waiting publication costs beside its frame, generously: it also bounds how many there are.
pub(super) const WAITING_BYTES: usize = 512;

#[derive(Debug)]
struct Waiting {
    broker: BrokerId,
    name: Arc<str>,
    frame: Arc<[u8]>,
    /// Dropped unsent when the publication is refused.
    done: Option<oneshot::Sender<()>>,
}

/// What became of a publication.
#[derive(Debug)]
pub(super) enum Offer {
    /// Every interested lane holds it.
    Pushed,
    /// It waits for room. An error means that it was refused and reached no lane.
    Waits(oneshot::Receiver<()>),
}

impl Lane {
    fn has_room(&self, cost: u64) -> bool {
        if self.down.is_abandoned() {
            return true;
        }
        if !self.answers.is_empty() {
            return false;
        }
        match self.held {
            None => self.down.has_room(cost),
            Some(held) => {
                self.down.free_entries() >= 2 && self.down.queued_cost() + held + cost <= self.cost_max
            }
        }
    }

    fn push(&mut self, cost: u64, entry: Down) {
        let pushed = self.down.push(cost, entry).is_ok();
        debug_assert!(pushed || self.down.is_abandoned(), "pushed without room");
        self.count_push(cost);
    }

    /// Wakes the shard when much has been pushed, so that it begins while the hub goes on.
    fn count_push(&mut self, cost: u64) {
        self.pushed += cost + 1;
        if self.pushed > EARLY_WAKE_BYTES {
            self.down.wake();
            self.pushed = 1;
        }
    }

    fn answer(&mut self, entry: Down) {
        self.answers.push_back(entry);
        self.push_answers();
        if !self.answers.is_empty() {
            // The hub may sleep by now: ask, then look again, as for a publication.
            self.down.want_room();
            self.push_answers();
        }
    }

    fn push_answers(&mut self) -> bool {
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

impl Room {
    pub(super) fn new(down: Vec<Sender<Down>>, lane_bytes: usize, counters: Arc<HubCounters>) -> Self {
        let interest = Interest::new(down.len());
        let lane = |down| Lane {
            down,
            cost_max: lane_bytes as u64,
            answers: VecDeque::new(),
            blocked: false,
            held: None,
            pushed: 0,
        };
        let lanes = down.into_iter().map(lane).collect();
        Self { lanes, interest, waiting: VecDeque::new(), waiting_bytes: 0, counters, ended: false }
    }

    /// Topics that some shard wants.
    pub(super) fn topics(&self) -> usize {
        self.interest.len()
    }

    /// A topic that some shard wants, good for [`Room::publish`] until the next change of interest.
    pub(super) fn wanted(&self, broker: BrokerId, name: &str) -> Option<Slot> {
        self.interest.find(broker, name).filter(|_| !self.ended)
    }

    /// A shard wants a topic: its answer, then every later publication. Says whether nobody wanted it before.
    pub(super) fn interested(
        &mut self,
        shard: usize,
        topic: TopicId,
        broker: BrokerId,
        name: impl Into<Arc<str>>,
    ) -> bool {
        if self.ended {
            return false;
        }
        let (sequence, first) = self.interest.add(shard, topic, broker, name.into());
        self.lanes[shard].answer(Down::Interested { topic, sequence });
        first
    }

    /// A shard gives a topic up: its answer, behind the last publication. Says which topic nobody wants any more.
    pub(super) fn uninterested(&mut self, shard: usize, topic: TopicId) -> Option<(BrokerId, Arc<str>)> {
        if self.ended {
            return None;
        }
        let last = self.interest.remove(shard, topic);
        self.lanes[shard].answer(Down::Uninterested { topic });
        last
    }

    /// Sends every shard a word of its own, behind what its lane holds.
    pub(super) fn announce(&mut self, word: impl Fn() -> Down) {
        for lane in &mut self.lanes {
            lane.answer(word());
        }
    }

    /// Queues the last entry of every lane. What still waits is refused, and nothing more is taken.
    pub(super) fn end(&mut self) {
        self.refuse_waiting();
        self.announce(|| Down::Drain);
        self.ended = true;
    }

    /// Whether every shard has let go of its lane.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lanes.iter().all(|lane| lane.down.is_abandoned())
    }

    /// Publishes to all interested shards at once, now or as soon as every one of their lanes has room.
    pub(super) fn publish(&mut self, slot: Slot, frame: Arc<[u8]>) -> Offer {
        let cost = frame.len() as u64;
        if self.fits_or_blocks(slot, cost, self.waiting.is_empty()) {
            self.push(slot, &frame);
            return Offer::Pushed;
        }
        let (done, waits) = oneshot::channel();
        self.counters.publications_waited.add(1);
        let (broker, name) = self.interest.topic(slot).key();
        self.waiting_bytes += frame.len() + WAITING_BYTES;
        self.waiting.push_back(Waiting { broker, name, frame, done: Some(done) });
        self.want_room();
        // Look again after asking: what was taken before the question wakes nobody. What moves on may fill a lane that
        // nobody has asked for yet.
        let shards = &self.interest.topic(slot).shards;
        let look =
            shards.iter().any(|(shard, _)| self.lanes[*shard].blocked && self.lanes[*shard].has_room(cost));
        let mut moved = look && self.advance();
        while moved {
            self.want_room();
            moved = self.advance();
        }
        Offer::Waits(waits)
    }

    /// Whether every interested lane has room; if not, at least one of them is blocked when this returns. A shard may take
    /// something between the two looks: room that nobody would be told of.
    fn fits_or_blocks(&mut self, slot: Slot, cost: u64, oldest: bool) -> bool {
        loop {
            if self.fits(slot, cost) {
                return true;
            }
            if self.block(slot, cost, oldest) {
                return false;
            }
        }
    }

    fn fits(&self, slot: Slot, cost: u64) -> bool {
        let mut lanes = self.interest.topic(slot).shards.iter().map(|(shard, _)| &self.lanes[*shard]);
        lanes.all(|lane| !lane.blocked && lane.has_room(cost))
    }

    fn push(&mut self, slot: Slot, frame: &Arc<[u8]>) {
        let topic = self.interest.topic_mut(slot);
        topic.sequence += 1;
        for (shard, id) in &topic.shards {
            let entry = Down::Publish { topic: *id, sequence: topic.sequence, frame: frame.clone() };
            self.lanes[*shard].push(frame.len() as u64, entry);
        }
        self.counters.publications_pushed.add(topic.shards.len() as u64);
    }

    /// Stops younger publications where this one lacks room; the oldest keeps the room that it has elsewhere. `false`: it
    /// lacks room nowhere by now.
    fn block(&mut self, slot: Slot, cost: u64, oldest: bool) -> bool {
        let shards = &self.interest.topic(slot).shards;
        let mut blocked = false;
        for (shard, _) in shards {
            let lane = &mut self.lanes[*shard];
            lane.blocked |= !lane.has_room(cost);
            blocked |= lane.blocked;
        }
        if blocked && oldest {
            for (shard, _) in shards {
                let lane = &mut self.lanes[*shard];
                // Room once seen stays.
                lane.held = (!lane.blocked).then_some(cost);
            }
        }
        blocked
    }

    /// Pushes what fits by now: answers first, then waiting publications from the oldest on. Says whether any did.
    pub(super) fn advance(&mut self) -> bool {
        let mut progress = false;
        for lane in &mut self.lanes {
            progress |= lane.push_answers();
            lane.blocked = false;
            lane.held = None;
        }
        let mut oldest = true;
        let mut waiting = std::mem::take(&mut self.waiting);
        waiting.retain_mut(|publication| {
            let cost = publication.frame.len() as u64;
            // Nobody may want it any more: then there is nothing left to wait for.
            if let Some(slot) = self.interest.find(publication.broker, &publication.name) {
                if !self.fits_or_blocks(slot, cost, oldest) {
                    oldest = false;
                    return true;
                }
                self.push(slot, &publication.frame);
            }
            progress = true;
            self.waiting_bytes -= publication.frame.len() + WAITING_BYTES;
            // The publisher may have gone; its publication went all the same.
            let _ = publication.done.take().map(|done| done.send(()));
            false
        });
        self.waiting = waiting;
        progress
    }

    /// Bytes that wait for room.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes
    }

    /// Refuses everything that waits; none of it has reached a lane.
    pub(super) fn refuse_waiting(&mut self) {
        self.waiting.clear();
        self.waiting_bytes = 0;
        self.advance();
    }

    /// Asks to be woken when there is room where something waits. Call [`Room::advance`] once more afterwards.
    pub(super) fn want_room(&self) {
        for lane in &self.lanes {
            if lane.blocked || !lane.answers.is_empty() {
                lane.down.want_room();
            }
        }
    }

    /// Wakes every shard that something was pushed to and that sleeps. Due before anything is awaited.
    pub(super) fn wake(&mut self) {
        for lane in &mut self.lanes {
            if std::mem::take(&mut lane.pushed) > 0 {
                lane.down.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests;
