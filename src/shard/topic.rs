//! One topic of a shard: its log, its subscribers, and how far the sweep has come round.
//!
//! The sweep goes round the subscribers in rounds. Within a round the records stand as *visited |
//! unvisited*, parted by the cursor; whoever joins or leaves in mid-round keeps the two apart. A
//! round is followed by another while somebody that it had visited may have been left behind the
//! head (`again`).
//!
//! Invariants:
//! - every position lies between the log's base and its head;
//! - a record that stands behind the head will be visited, or is *parked* at the newest frame: its
//!   connection does not keep up, the topic's policy is to skip, and the topic is made active again
//!   once the connection's outbox has room;
//! - no visited record stands before `visited_floor`, no unvisited one before `unvisited_floor`;
//! - a record's `place` and the connection's membership at that place name each other.

use std::sync::Arc;

use smallvec::SmallVec;

use super::log::Log;
use super::subscriber::{Mark, Subscriber};
use super::{ConnId, Connections, kept};
use crate::mesh::{BrokerId, Form};
use crate::policy::Overflow;

/// What the hub knows of this shard's interest. One question at most is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Asked for; the answer will complete the joins that wait.
    Asking,
    /// The hub sends this topic's publications.
    Held,
    /// Given up; the answer will free the topic, or ask again for those who wait.
    Leaving,
}

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// The broker it belongs to.
    pub broker: BrokerId,
    /// How its publications are written.
    pub form: Form,
    /// Its name.
    pub name: Arc<str>,
    /// What becomes of a subscriber that does not keep up.
    pub overflow: Overflow,
    /// What the hub knows.
    pub interest: Interest,
    /// Whether the sweep has the topic in its queue.
    pub active: bool,
    /// Whether only parked subscribers stand behind the head, so that the log is the one frame they
    /// wait for.
    pub parked: bool,
    /// Frames not yet sent to everyone.
    pub log: Log,
    /// Sequence of the last publication, as the hub counts.
    pub sequence: u64,
    /// Pending joins that name this topic: it is not given up meanwhile.
    pub pins: u32,
    /// Connections whose join waits for the hub's answer. Those that have ended meanwhile are
    /// passed over.
    pub waiters: Vec<ConnId>,
    subscribers: SmallVec<[Subscriber; 1]>,
    /// Subscribers that asked to be told of gaps.
    heeding: u32,
    cursor: u32,
    again: bool,
    visited_floor: u64,
    unvisited_floor: u64,
}

impl Topic {
    /// A topic that the hub is about to be asked for.
    pub fn new(broker: BrokerId, form: Form, name: Arc<str>, overflow: Overflow) -> Self {
        Self {
            broker,
            form,
            name,
            overflow,
            interest: Interest::Asking,
            active: false,
            parked: false,
            log: Log::default(),
            sequence: 0,
            pins: 0,
            waiters: Vec::new(),
            subscribers: SmallVec::new(),
            heeding: 0,
            cursor: 0,
            again: false,
            visited_floor: u64::MAX,
            unvisited_floor: 0,
        }
    }

    /// Whether nobody subscribes or is about to.
    pub fn is_unused(&self) -> bool {
        self.subscribers.is_empty() && self.pins == 0
    }

    /// Number of subscribers.
    pub fn len(&self) -> usize {
        self.subscribers.len()
    }

    /// All subscribers, in sweep order.
    pub fn subscribers(&self) -> &[Subscriber] {
        &self.subscribers
    }

    /// Appends a frame; the round under way serves it to the unvisited, the next to the others.
    /// Returns what it costs.
    pub fn append(&mut self, frame: &[u8]) -> usize {
        self.again |= self.cursor > 0;
        self.log.append(frame)
    }

    /// Adds a subscriber that stands at the head. Returns where its record is.
    pub fn subscribe(&mut self, connection: u32, place: u32) -> u32 {
        let position = self.log.head();
        self.subscribers.push(Subscriber::new(position, connection, place));
        self.subscribers.len() as u32 - 1
    }

    /// Removes the record at `index` and keeps visited and unvisited apart: the last visited record
    /// fills the hole, the last of all fills its place. Returns the record removed; tells
    /// `connections` who moved where.
    pub fn unsubscribe(&mut self, index: u32, connections: &mut Connections) -> Subscriber {
        let mut hole = index;
        let removed = self.subscribers[hole as usize];
        // What it alone waited for in the log is found out by another round.
        self.again |= hole < self.cursor && removed.position < self.log.head();
        if hole < self.cursor {
            self.cursor -= 1;
            self.move_record(self.cursor, hole, connections);
            hole = self.cursor;
        }
        let last = self.subscribers.len() as u32 - 1;
        self.move_record(last, hole, connections);
        self.subscribers.pop();
        kept::shrink(&mut self.subscribers);
        self.heeding -= u32::from(removed.has(Mark::Heeds));
        removed
    }

    fn move_record(&mut self, from: u32, to: u32, connections: &mut Connections) {
        if from != to {
            let record = self.subscribers[from as usize];
            self.subscribers[to as usize] = record;
            connections.moved_record(record.connection, record.place(), to);
        }
    }

    /// Has the record at `index` visited again, also if the round under way has passed it.
    pub fn revisit(&mut self, index: u32) {
        self.again |= index < self.cursor;
    }

    /// Tells a record where its connection's list now names this topic.
    pub fn moved_membership(&mut self, index: u32, place: u32) {
        self.subscribers[index as usize].set_place(place);
    }

    /// The subscriber of the record at `index` asks to be told of gaps.
    pub fn heed(&mut self, index: u32) {
        let record = &mut self.subscribers[index as usize];
        self.heeding += u32::from(!record.has(Mark::Heeds));
        record.set(Mark::Heeds, true);
    }

    /// Gives the record at `index` a mark, or takes it.
    pub fn mark(&mut self, index: u32, mark: Mark, has: bool) {
        self.subscribers[index as usize].set(mark, has);
    }

    /// There is a gap behind the newest frame: marks those who asked for gaps as due, or everyone.
    /// Returns how many they are.
    pub fn mark_gap(&mut self, everyone: bool) -> u32 {
        let due = if everyone { self.subscribers.len() as u32 } else { self.heeding };
        if due > 0 {
            for record in &mut self.subscribers {
                let is_due = everyone || record.has(Mark::Heeds);
                record.set(Mark::Due, is_due);
            }
        }
        due
    }

    /// The record that the round visits next. `None`: the round is over, and [`Topic::next_round`]
    /// says what follows.
    #[inline]
    pub fn next_visit(&self) -> Option<Subscriber> {
        self.subscribers.get(self.cursor as usize).copied()
    }

    /// Books the visit of the record at the cursor: it stands at `position` now.
    #[inline]
    pub fn visited(&mut self, position: u64) {
        self.subscribers[self.cursor as usize].position = position;
        self.cursor += 1;
        self.visited_floor = self.visited_floor.min(position);
        self.again |= position < self.log.head();
    }

    /// The record at the cursor has been told what it was owed.
    pub fn told_at_cursor(&mut self) {
        self.mark(self.cursor, Mark::Owed, false);
    }

    /// Books the visit of the record at the cursor, whose connection has no room: it stands at the
    /// newest frame now, or without that at the head, and no further round is due for its sake.
    /// Returns the frames skipped.
    pub fn park(&mut self, keep_newest: bool) -> u64 {
        let record = &mut self.subscribers[self.cursor as usize];
        let from = record.position;
        let to = if keep_newest { self.log.newest() } else { self.log.head() };
        debug_assert!(from <= to, "a record is parked behind the head");
        record.position = to;
        self.cursor += 1;
        self.visited_floor = self.visited_floor.min(to);
        to - from
    }

    /// What the record at `index` has not been served: from where to where. It stands at the head
    /// afterwards.
    pub fn serve(&mut self, index: u32) -> (u64, u64) {
        let head = self.log.head();
        (std::mem::replace(&mut self.subscribers[index as usize].position, head), head)
    }

    /// The record at `index` has been served up to `position`.
    pub fn served(&mut self, index: u32, position: u64) {
        self.subscribers[index as usize].position = position;
    }

    /// Whether the record at `index` stands behind the head.
    pub fn is_behind(&self, index: u32) -> bool {
        self.subscribers[index as usize].position < self.log.head()
    }

    /// Ends the round. Returns whether another must follow.
    pub fn next_round(&mut self) -> bool {
        self.cursor = 0;
        self.unvisited_floor = self.visited_floor.min(self.log.head());
        self.visited_floor = u64::MAX;
        std::mem::take(&mut self.again)
    }

    /// Releases what every subscriber has been served. Returns what it has cost. Not while a batch
    /// is under way.
    pub fn release(&mut self) -> usize {
        let floor = if self.subscribers.is_empty() {
            self.log.head()
        } else {
            self.visited_floor.min(self.unvisited_floor)
        };
        if floor > self.log.base() { self.log.release(floor) } else { 0 }
    }

    /// Deliveries that the log still owes. For tests: takes time proportional to the subscribers.
    pub fn queued(&self) -> u64 {
        self.subscribers.iter().map(|record| self.log.head() - record.position).sum()
    }

    /// Checks what the module's head promises. For tests.
    pub fn check_invariants(&self) {
        assert!(self.cursor as usize <= self.subscribers.len());
        let heeds = |record: &&Subscriber| record.has(Mark::Heeds);
        assert_eq!(self.subscribers.iter().filter(heeds).count(), self.heeding as usize);
        for (index, record) in self.subscribers.iter().enumerate() {
            let floor = if index < self.cursor as usize {
                self.visited_floor
            } else {
                self.unvisited_floor
            };
            assert!(record.position >= floor && record.position >= self.log.base());
            assert!(record.position <= self.log.head());
            let parked = self.overflow == Overflow::Skip && record.position == self.log.newest();
            assert!(
                self.active || record.position == self.log.head() || parked,
                "behind, yet nobody will visit"
            );
        }
    }
}
