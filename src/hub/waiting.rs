//! The line of publications that wait for room: oldest first, and never walked where nothing can
//! move.
//!
//! A topic's publications wait in the topic's own line. Topics that go to the same shards form a
//! group, since room for the oldest of them decides about all: the others are behind it. So what is
//! looked at is the oldest of each group, however many wait behind it, and there are no more groups
//! than sets of shards.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

use slab::Slab;
use tokio::sync::oneshot;

use super::accounts::Account;
use super::interest::{Shards, Slot};

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
const KEPT_TOPICS: usize = 64;

/// When a publication came, against the others.
type Age = u64;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Line {
    topics: HashMap<Slot, Topic>,
    groups: Slab<Group>,
    by_shards: HashMap<Shards, usize>,
    /// The oldest of each group.
    heads: BTreeSet<(Age, usize)>,
    next_age: Age,
}

#[derive(Debug)]
struct Topic {
    group: usize,
    line: VecDeque<(Age, Waiting)>,
}

#[derive(Debug)]
struct Group {
    shards: Shards,
    /// The oldest of each topic.
    heads: BTreeMap<Age, Slot>,
}

/// The oldest publication of a group.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) slot: Slot,
    pub(super) cost: u64,
    age: Age,
    group: usize,
}

impl Line {
    /// Whether nothing waits.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    /// Whether a publication of this topic waits.
    pub(super) fn holds(&self, slot: Slot) -> bool {
        self.topics.contains_key(&slot)
    }

    /// Appends a publication of a topic that goes to these shards by now.
    pub(super) fn push(&mut self, slot: Slot, shards: Shards, waiting: Waiting) {
        self.next_age += 1;
        let age = self.next_age;
        if let Some(topic) = self.topics.get_mut(&slot) {
            topic.line.push_back((age, waiting));
            return;
        }
        let group = self.enter_group(shards, age, slot);
        self.topics.insert(slot, Topic { group, line: [(age, waiting)].into() });
    }

    /// The oldest publication of the next group, by its age, behind that one.
    pub(super) fn next(&self, behind: Option<Head>) -> Option<Head> {
        let behind = behind.map_or(Unbounded, |head| Excluded((head.age, head.group)));
        let (age, group) = *self.heads.range((behind, Unbounded)).next()?;
        let slot = self.groups[group].heads[&age];
        let (_, waiting) = self.topics[&slot].line.front()?;
        Some(Head { slot, cost: waiting.frame.len() as u64, age, group })
    }

    /// Takes the oldest publication of a group out.
    pub(super) fn take(&mut self, head: Head) -> Option<Waiting> {
        let topic = self.topics.get_mut(&head.slot)?;
        let (_, waiting) = topic.line.pop_front()?;
        let next = topic.line.front().map(|(age, _)| *age);
        if next.is_none() {
            self.topics.remove(&head.slot);
        }
        self.change_group(head.group, |heads| {
            heads.remove(&head.age);
            if let Some(age) = next {
                heads.insert(age, head.slot);
            }
        });
        self.give_memory_back();
        Some(waiting)
    }

    /// A topic goes to other shards from now on.
    pub(super) fn redirect(&mut self, slot: Slot, shards: Shards) {
        let Some(topic) = self.topics.get(&slot) else { return };
        let (group, Some((age, _))) = (topic.group, topic.line.front()) else { return };
        let age = *age;
        self.change_group(group, |heads| {
            heads.remove(&age);
        });
        let group = self.enter_group(shards, age, slot);
        if let Some(topic) = self.topics.get_mut(&slot) {
            topic.group = group;
        }
    }

    /// Nobody wants a topic any more: all of it that waited, in order.
    pub(super) fn remove(&mut self, slot: Slot) -> impl Iterator<Item = Waiting> + use<> {
        let topic = self.topics.remove(&slot);
        if let Some(topic) = &topic
            && let Some((age, _)) = topic.line.front()
        {
            let age = *age;
            self.change_group(topic.group, |heads| {
                heads.remove(&age);
            });
        }
        self.give_memory_back();
        topic.into_iter().flat_map(|topic| topic.line).map(|(_, waiting)| waiting)
    }

    /// Everything, in no order.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Waiting> + use<> {
        let all = std::mem::take(self);
        all.topics.into_values().flat_map(|topic| topic.line).map(|(_, waiting)| waiting)
    }

    /// What a stall has made large is not kept once it is over.
    fn give_memory_back(&mut self) {
        if self.topics.is_empty() && self.topics.capacity() > KEPT_TOPICS {
            *self = Self { next_age: self.next_age, ..Self::default() };
        }
    }

    fn enter_group(&mut self, shards: Shards, age: Age, slot: Slot) -> usize {
        let group = match self.by_shards.get(&shards) {
            Some(group) => *group,
            None => {
                let group =
                    self.groups.insert(Group { shards: shards.clone(), heads: BTreeMap::new() });
                self.by_shards.insert(shards, group);
                group
            }
        };
        self.change_group(group, |heads| {
            heads.insert(age, slot);
        });
        group
    }

    /// Changes the heads of a group, and its own place with them; a group without any is forgotten.
    fn change_group(&mut self, group: usize, change: impl FnOnce(&mut BTreeMap<Age, Slot>)) {
        let heads = &mut self.groups[group].heads;
        let before = heads.first_key_value().map(|(age, _)| *age);
        change(heads);
        let after = heads.first_key_value().map(|(age, _)| *age);
        if before != after {
            before.map(|age| self.heads.remove(&(age, group)));
            after.map(|age| self.heads.insert((age, group)));
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
        [line.topics.capacity(), line.by_shards.capacity(), line.groups.capacity()]
    }

    #[test]
    fn a_line_keeps_little_memory_once_nothing_waits_and_its_ages_go_on() {
        const TOPICS: Slot = 5_000;
        for unwanted in [false, true] {
            let mut line = Line::default();
            for slot in 0..TOPICS {
                line.push(slot, [slot as usize].into_iter().collect(), waiting());
            }
            let newest = line.next_age;
            assert!(kept(&line).iter().all(|capacity| *capacity >= TOPICS as usize));
            for slot in 0..TOPICS {
                match unwanted {
                    true => assert_eq!(line.remove(slot).count(), 1),
                    false => assert!(line.next(None).is_some_and(|head| line.take(head).is_some())),
                }
            }
            assert!(line.is_empty() && line.next(None).is_none());
            assert!(
                kept(&line).iter().all(|capacity| *capacity <= KEPT_TOPICS),
                "{:?}",
                kept(&line)
            );
            line.push(7, [0].into_iter().collect(), waiting());
            assert!(line.next(None).is_some_and(|head| head.age == newest + 1));
        }
    }
}
