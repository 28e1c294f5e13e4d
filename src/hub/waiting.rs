//! The line of publications that wait for room: oldest first, and never walked where nothing can
//! move.
//!
//! A topic's publications wait in a queue of its own. Topics that go to the same shards form a
//! group, since room for the oldest of them decides about all: the others are behind it. So what is
//! looked at is the oldest of each group, however many wait behind it, and there are no more groups
//! than sets of shards.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use slab::Slab;
use tokio::sync::oneshot;

use super::accounts::Account;
use super::channels::{ChannelId, Shards};

/// A publication that waits.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) frame: Arc<[u8]>,
    pub(super) done: Done,
}

/// Who is told that it waits no more.
#[derive(Debug)]
pub(super) enum Done {
    /// The caller of a `Publish`. Dropped unsent when the publication is refused.
    Caller(oneshot::Sender<()>),
    /// Nobody: its call has been answered. It waits at the cost of this account.
    Account(Account),
}

/// Topics for which a line keeps its memory once nothing waits: more only wait in a stall.
const KEPT_QUEUES: usize = 64;

/// When a publication came, against the others.
type Age = u64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Line {
    queues: HashMap<ChannelId, Queue>,
    groups: Slab<Group>,
    by_shards: HashMap<Shards, usize>,
    /// The oldest of each group.
    fronts: BTreeSet<(Age, usize)>,
    next_age: Age,
}

/// What waits of one topic.
#[derive(Debug)]
struct Queue {
    group: usize,
    waiting: VecDeque<(Age, Waiting)>,
}

#[derive(Debug)]
struct Group {
    shards: Shards,
    /// The oldest of each topic.
    fronts: BTreeMap<Age, ChannelId>,
}

/// The oldest publication of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Front {
    pub(super) channel: ChannelId,
    pub(super) cost: u64,
    age: Age,
    group: usize,
}

impl Line {
    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// Whether a publication of this topic waits.
    pub(super) fn holds(&self, channel: ChannelId) -> bool {
        self.queues.contains_key(&channel)
    }

    /// Appends a publication of a topic that goes to these shards by now.
    pub(super) fn push(&mut self, channel: ChannelId, shards: Shards, waiting: Waiting) {
        self.next_age += 1;
        let age = self.next_age;
        if let Some(queue) = self.queues.get_mut(&channel) {
            queue.waiting.push_back((age, waiting));
            return;
        }
        let group = self.enter_group(shards, age, channel);
        self.queues.insert(channel, Queue { group, waiting: [(age, waiting)].into() });
    }

    /// The oldest publication of the next group, by its age, behind that one.
    pub(super) fn next(&self, behind: Option<Front>) -> Option<Front> {
        let behind = behind.map_or(Unbounded, |front| Excluded((front.age, front.group)));
        let (age, group) = *self.fronts.range((behind, Unbounded)).next()?;
        let channel = self.groups[group].fronts[&age];
        let (_, waiting) = self.queues[&channel].waiting.front()?;
        Some(Front { channel, cost: waiting.frame.len() as u64, age, group })
    }

    /// Takes the oldest publication of a group out.
    pub(super) fn take(&mut self, front: Front) -> Option<Waiting> {
        let queue = self.queues.get_mut(&front.channel)?;
        let (_, waiting) = queue.waiting.pop_front()?;
        let next = queue.waiting.front().map(|(age, _)| *age);
        if next.is_none() {
            self.queues.remove(&front.channel);
        }
        self.change_group(front.group, |fronts| {
            fronts.remove(&front.age);
            if let Some(age) = next {
                fronts.insert(age, front.channel);
            }
        });
        self.give_memory_back();
        Some(waiting)
    }

    /// A topic goes to other shards from now on.
    pub(super) fn redirect(&mut self, channel: ChannelId, shards: Shards) {
        let Some(queue) = self.queues.get(&channel) else { return };
        let (group, Some((age, _))) = (queue.group, queue.waiting.front()) else { return };
        let age = *age;
        self.change_group(group, |fronts| {
            fronts.remove(&age);
        });
        let group = self.enter_group(shards, age, channel);
        if let Some(queue) = self.queues.get_mut(&channel) {
            queue.group = group;
        }
    }

    /// Nobody wants a topic any more: all of it that waited, in order.
    pub(super) fn remove(&mut self, channel: ChannelId) -> impl Iterator<Item = Waiting> + use<> {
        let queue = self.queues.remove(&channel);
        if let Some(queue) = &queue
            && let Some((age, _)) = queue.waiting.front()
        {
            let age = *age;
            self.change_group(queue.group, |fronts| {
                fronts.remove(&age);
            });
        }
        self.give_memory_back();
        queue.into_iter().flat_map(|queue| queue.waiting).map(|(_, waiting)| waiting)
    }

    /// Everything, in no order.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        let all = std::mem::take(self);
        all.queues.into_values().flat_map(|queue| queue.waiting).map(|(_, waiting)| waiting)
    }

    /// What a stall has made large is not kept once it is over.
    fn give_memory_back(&mut self) {
        if self.queues.is_empty() && self.queues.capacity() > KEPT_QUEUES {
            *self = Self { next_age: self.next_age, ..Self::default() };
        }
    }

    fn enter_group(&mut self, shards: Shards, age: Age, channel: ChannelId) -> usize {
        let group = match self.by_shards.get(&shards) {
            Some(group) => *group,
            None => {
                let group =
                    self.groups.insert(Group { shards: shards.clone(), fronts: BTreeMap::new() });
                self.by_shards.insert(shards, group);
                group
            }
        };
        self.change_group(group, |fronts| {
            fronts.insert(age, channel);
        });
        group
    }

    /// Changes the fronts of a group, and its place with them; a group without any is forgotten.
    fn change_group(&mut self, group: usize, change: impl FnOnce(&mut BTreeMap<Age, ChannelId>)) {
        let fronts = &mut self.groups[group].fronts;
        let before = fronts.first_key_value().map(|(age, _)| *age);
        change(fronts);
        let after = fronts.first_key_value().map(|(age, _)| *age);
        if before != after {
            before.map(|age| self.fronts.remove(&(age, group)));
            after.map(|age| self.fronts.insert((age, group)));
        }
        if after.is_none() {
            let Group { shards, .. } = self.groups.remove(group);
            self.by_shards.remove(&shards);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting() -> Waiting {
        Waiting { frame: Arc::from([0; 4]), done: Done::Caller(oneshot::channel().0) }
    }

    fn kept(line: &Line) -> [usize; 3] {
        [line.queues.capacity(), line.by_shards.capacity(), line.groups.capacity()]
    }

    #[test]
    fn a_line_keeps_little_memory_once_nothing_waits_and_its_ages_go_on() {
        const TOPICS: ChannelId = 5_000;
        for unwanted in [false, true] {
            let mut line = Line::default();
            for channel in 0..TOPICS {
                line.push(channel, [channel as usize].into_iter().collect(), waiting());
            }
            let newest = line.next_age;
            assert!(kept(&line).iter().all(|capacity| *capacity >= TOPICS as usize));
            for channel in 0..TOPICS {
                match unwanted {
                    true => assert_eq!(line.remove(channel).count(), 1),
                    false => {
                        assert!(line.next(None).is_some_and(|front| line.take(front).is_some()))
                    }
                }
            }
            assert!(line.is_empty() && line.next(None).is_none());
            assert!(
                kept(&line).iter().all(|capacity| *capacity <= KEPT_QUEUES),
                "{:?}",
                kept(&line)
            );
            line.push(7, [0].into_iter().collect(), waiting());
            assert!(line.next(None).is_some_and(|front| front.age == newest + 1));
        }
    }
}
