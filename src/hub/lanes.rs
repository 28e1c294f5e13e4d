//! The lanes down: sequencing and pushing publications, and waiting for room, first come first
//! served.
//!
//! What waits is the *publication*, not a task that holds a reservation: whoever finds room pushes
//! it, to all lanes of its topic in one go. Its task only learns that it is done.
//!
//! Invariants worth naming:
//! - **A publish is atomic over shards.** A publication is pushed when every interested lane has
//!   room for it, then to all of them, and the topic's sequence moves; nothing is awaited in
//!   between, and interest is looked up at that moment, so a change of interest during the wait
//!   needs no second thought.
//! - **Only what needs a full lane waits.** A publication is stopped by a lane that has no room for
//!   it, or in which an older one waits for room; never by one that waits for another lane.
//! - **Nobody starves.** In the lanes that have room for it, the *oldest* waiting publication keeps
//!   that room while it waits for the others: younger ones pass only if they leave it. A lane that
//!   lacks room for it takes nothing but it. Shards always drain their lanes, so it goes, and the
//!   next is the oldest.
//! - **What cannot move costs nothing.** Of publications that go to the same shards only the oldest
//!   is looked at ([`super::waiting`]), however many wait behind it.
//! - **No deadlock**: only one publication, the oldest, ever holds anything, and what it waits for
//!   depends on shards alone.
//! - **Interest answers are never passed.** They cost no bytes; those that find no free entry wait
//!   here, at most one a topic and shard, and nothing else enters that lane before them.
//!
//! A lane whose shard is gone takes everything and keeps nothing.

mod kept;
mod lane;
mod losses;
mod offer;
mod positions;

use std::sync::Arc;

use tokio::sync::oneshot;

use self::lane::Lane;
pub(super) use self::offer::Offer;
pub use self::offer::Patience;
use super::accounts::Accounts;
use super::channels::{ChannelId, Channels, Key};
use super::counters::HubCounters;
use super::history::Histories;
use super::waiting::{Done, Front, Line, Waiting};
use crate::lane::Sender;
use crate::limits::Limits;
use crate::mesh::{BrokerId, Down, Form, TopicId};
use crate::policy::Policies;
use crate::publication;

/// The lanes to all shards, what they carry for whom, and what waits for room in them.
#[derive(Debug)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    channels: Channels,
    /// What is kept, where anything is.
    histories: Option<Histories>,
    /// Bytes of publications in the answer to one question, at most: as many as an outbox holds.
    answer_bytes: usize,
    /// One publication a connection, and what accounts may have besides, bound it.
    waiting: Line,
    /// What waits of calls that have been answered: frames, and [`WAITING_BYTES`] for each.
    accounts: Accounts,
    /// Something that waited has gone since the last look, because nobody wants it any more.
    unwanted: bool,
    counters: Arc<HubCounters>,
    /// The last entry of every lane has been queued.
    ended: bool,
    /// Waiting publications that have been looked at.
    #[cfg(test)]
    looks: std::cell::Cell<u64>,
}

/// What a waiting publication costs beside its frame, generously: it also bounds how many there
/// are.
pub(super) const WAITING_BYTES: usize = 512;

impl Lanes {
    pub(super) fn new(
        down: Vec<Sender<Down>>,
        limits: &Limits,
        policies: &Policies,
        counters: Arc<HubCounters>,
    ) -> Self {
        let channels = Channels::new(down.len());
        let lane_bytes = limits.lane_bytes as u64;
        let lanes = down.into_iter().map(|down| Lane::new(down, lane_bytes)).collect();
        Self {
            lanes,
            channels,
            histories: Histories::new(policies.clone(), limits.history_bytes, counters.clone()),
            answer_bytes: limits.outbox_bytes,
            waiting: Line::default(),
            accounts: Accounts::default(),
            unwanted: false,
            counters,
            ended: false,
            #[cfg(test)]
            looks: std::cell::Cell::default(),
        }
    }

    /// Topics that some shard wants.
    pub(super) fn topics(&self) -> usize {
        let idle = self.histories.as_ref().map_or(0, Histories::idle);
        self.channels.len() - idle
    }

    /// The channel of a topic that some shard wants as RoadRunner writes it, good for
    /// [`Lanes::publish`] until interest changes.
    pub(super) fn wanted(&self, broker: BrokerId, name: &str) -> Option<ChannelId> {
        self.channels.find(broker, Form::Plain, name).filter(|_| !self.ended)
    }

    /// A shard wants a topic: its answer, then every later publication.
    pub(super) fn interested(&mut self, shard: usize, topic: TopicId, key: Key) {
        if self.ended {
            return;
        }
        let id = self.channels.find(key.broker, key.form, &key.name).unwrap_or_else(|| {
            let positioned = key.form == Form::Positioned;
            let histories = self.histories.as_ref().filter(|_| positioned);
            let kept = histories.and_then(|histories| histories.begin(&key.name));
            self.channels.create(key, kept)
        });
        let sequence = self.channels.add(shard, topic, id);
        if let Some(histories) = &mut self.histories {
            histories.wanted(&mut self.channels, id);
        }
        self.lanes[shard].answer(Down::Interested { topic, sequence });
        // What waits goes to this shard, too.
        if let Some(id) = self.waits_for(shard, topic) {
            self.waiting.redirect(id, self.channels.at(id).shards());
        }
        self.tell_losses();
    }

    /// Answers a shard, behind what its lane holds and ahead of all that waits for room.
    pub(super) fn answer(&mut self, shard: usize, answer: Down) {
        if !self.ended {
            self.lanes[shard].answer(answer);
            self.tell_losses();
        }
    }

    /// A shard gives a topic up: its answer, behind the last publication. Says which topic nobody
    /// wants any more.
    pub(super) fn uninterested(&mut self, shard: usize, topic: TopicId) -> Option<Key> {
        if self.ended {
            return None;
        }
        let id = self.waits_for(shard, topic);
        let last = self.remove(shard, topic);
        self.lanes[shard].answer(Down::Uninterested { topic });
        self.tell_losses();
        if let Some(id) = id {
            if last.is_none() {
                let shards = self.channels.at(id).shards();
                self.waiting.redirect(id, shards);
                return last;
            }
            // Nobody wants it any more: there is nothing left to wait for.
            for waiting in self.waiting.remove(id) {
                self.unwanted = true;
                if let Some(key) = last.as_ref().filter(|key| key.form == Form::Positioned)
                    && let Some(id) = self.keeping(key.broker, &key.name)
                {
                    self.push(id, &waiting.frame);
                }
                self.done(waiting);
            }
        }
        if let Some(key) = &last {
            self.becomes_idle(key);
        }
        last
    }

    /// The topic of that name of a shard's own, if publications of it wait.
    fn waits_for(&self, shard: usize, topic: TopicId) -> Option<ChannelId> {
        if self.waiting.is_empty() {
            return None;
        }
        self.channels.of_shard(shard, topic).filter(|id| self.waiting.holds(*id))
    }

    /// A publication waits no more. Its publisher may have gone; it went all the same.
    fn done(&mut self, waiting: Waiting) {
        match waiting.done {
            Done::Caller(caller) => drop(caller.send(())),
            Done::Account(account) => {
                self.accounts.remove(account, waiting.frame.len() + WAITING_BYTES)
            }
        }
    }

    /// Sends every shard a word of its own, behind what its lane holds.
    pub(super) fn announce(&mut self, word: impl Fn() -> Down) {
        for lane in &mut self.lanes {
            lane.answer(word());
        }
    }

    /// Queues the last entry of every lane. What still waits is refused, and nothing more is taken.
    /// Says how many of these publications belong to calls that have been answered.
    pub(super) fn end(&mut self) -> u64 {
        let mut lost = 0;
        for Waiting { frame, done } in self.waiting.clear() {
            if let Done::Account(account) = done {
                self.accounts.remove(account, frame.len() + WAITING_BYTES);
                lost += 1;
            }
        }
        self.advance();
        self.lanes.iter_mut().for_each(|lane| lane.questions.clear());
        self.announce(|| Down::Drain);
        self.ended = true;
        lost
    }

    /// Whether they have their last entry.
    pub(super) fn have_ended(&self) -> bool {
        self.ended
    }

    /// Whether every shard has let go of its lane.
    pub(super) fn is_abandoned(&self) -> bool {
        self.lanes.iter().all(|lane| lane.down.is_abandoned())
    }

    /// Publishes to all interested shards at once, now or as soon as every one of their lanes has
    /// room.
    pub(super) fn publish(&mut self, id: ChannelId, frame: Arc<[u8]>, patience: Patience) -> Offer {
        let cost = frame.len() as u64;
        let oldest = self.waiting.is_empty();
        let behind = !oldest && self.waiting.holds(id);
        if !behind && self.fits_or_blocks(id, cost, oldest) {
            self.push(id, &frame);
            return Offer::Pushed;
        }
        self.counters.publications_waited.add(1);
        let bytes = frame.len() + WAITING_BYTES;
        let account = match patience {
            Patience::Caller => None,
            Patience::Account(account, max) => {
                self.accounts.admits(account, bytes, max).then_some(account)
            }
            Patience::Reserved(account) => Some(account),
        };
        let (done, offer) = match account {
            None => {
                let (done, waits) = oneshot::channel();
                (Done::Caller(done), Offer::Waits(waits))
            }
            Some(account) => {
                self.accounts.add(account, bytes);
                (Done::Account(account), Offer::Left(bytes))
            }
        };
        self.waiting.push(id, self.channels.at(id).shards(), Waiting { frame, done });
        self.want_room();
        // Look again after asking: what was taken before the question wakes nobody. What moves on
        // may fill a lane that nobody has asked for yet.
        let wants = &self.channels.at(id).wants;
        let look = wants
            .iter()
            .any(|(shard, _)| self.lanes[*shard].blocked && self.lanes[*shard].has_room(cost));
        let mut moved = look && self.advance();
        while moved {
            self.want_room();
            moved = self.advance();
        }
        offer
    }

    /// Whether every interested lane has room; if not, at least one of them is blocked when this
    /// returns. A shard may take something between the two looks: room that nobody would be told
    /// of.
    fn fits_or_blocks(&mut self, id: ChannelId, cost: u64, oldest: bool) -> bool {
        loop {
            if self.fits(id, cost) {
                return true;
            }
            if self.block(id, cost, oldest) {
                return false;
            }
        }
    }

    fn fits(&self, id: ChannelId, cost: u64) -> bool {
        let mut lanes = self.channels.at(id).wants.iter().map(|(shard, _)| &self.lanes[*shard]);
        lanes.all(|lane| !lane.blocked && lane.has_room(cost))
    }

    fn push(&mut self, id: ChannelId, frame: &Arc<[u8]>) {
        let channel = self.channels.at_mut(id);
        channel.sequence += 1;
        // Its room was asked for without the offset: some 30 bytes of each entry stand over.
        let positioned = channel.kept.is_some().then(|| publication::at(frame, channel.sequence));
        let sent = positioned.as_ref().unwrap_or(frame);
        for (shard, topic) in &channel.wants {
            let entry =
                Down::Publish { topic: *topic, sequence: channel.sequence, frame: sent.clone() };
            let lane = &mut self.lanes[*shard];
            lane.push(frame.len() as u64, entry);
            lane.question_due = true;
        }
        self.counters.publications_pushed.add(channel.wants.len() as u64);
        if let (Some(frame), Some(histories)) = (positioned, &mut self.histories) {
            histories.keep(&mut self.channels, id, frame);
        }
    }

    /// Stops younger publications where this one lacks room; the oldest keeps the room that it has
    /// elsewhere. `false`: it lacks room nowhere by now.
    fn block(&mut self, id: ChannelId, cost: u64, oldest: bool) -> bool {
        let wants = &self.channels.at(id).wants;
        let mut blocked = false;
        for (shard, _) in wants {
            let lane = &mut self.lanes[*shard];
            lane.blocked |= !lane.has_room(cost);
            blocked |= lane.blocked;
        }
        if blocked && oldest {
            for (shard, _) in wants {
                let lane = &mut self.lanes[*shard];
                // Room once seen stays.
                lane.held = (!lane.blocked).then_some(cost);
            }
        }
        blocked
    }

    /// Pushes what fits by now: answers first, then waiting publications from the oldest on. Says
    /// whether any did.
    pub(super) fn advance(&mut self) -> bool {
        let mut progress = std::mem::take(&mut self.unwanted);
        for lane in &mut self.lanes {
            progress |= lane.push_answers();
            lane.blocked = false;
            lane.held = None;
        }
        progress |= self.tell_losses();
        progress |= self.answer_first();
        let (mut oldest, mut looked_at): (bool, Option<Front>) = (true, None);
        while let Some(front) = self.waiting.next(looked_at) {
            looked_at = Some(front);
            #[cfg(test)]
            self.looks.set(self.looks.get() + 1);
            if !self.fits_or_blocks(front.channel, front.cost, oldest) {
                oldest = false;
                continue;
            }
            let Some(waiting) = self.waiting.take(front) else { continue };
            self.push(front.channel, &waiting.frame);
            self.done(waiting);
            progress = true;
        }
        progress | self.answer_rest()
    }

    /// Whether publications wait for room.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// What waits of calls that have been answered.
    pub(super) fn accounts(&mut self) -> &mut Accounts {
        &mut self.accounts
    }

    /// Asks to be woken when there is room where something waits. Call [`Lanes::advance`] once more
    /// afterwards.
    pub(super) fn want_room(&self) {
        for lane in &self.lanes {
            if lane.blocked || !lane.answers.is_empty() || !lane.questions.is_empty() {
                lane.down.want_room();
            }
        }
    }

    /// Wakes every shard that something was pushed to and that sleeps. Due before anything is
    /// awaited.
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
