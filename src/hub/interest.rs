//! Who wants what: for each topic that a shard wants, which shards, under which names, and the topic's order.
//!
//! There is no entry for a topic that nobody wants, so memory follows subscriptions, not publications; a topic that
//! is wanted again begins a new epoch, at sequence 0.

use std::collections::HashMap;
use std::rc::Rc;

use slab::Slab;
use smallvec::SmallVec;

use crate::mesh::{BrokerId, TopicId};

/// Place of a topic in the map, good until its last shard gives it up.
pub(super) type Slot = usize;

/// A topic that somebody wants.
#[derive(Debug)]
pub(super) struct Topic {
    broker: BrokerId,
    name: Rc<str>,
    /// Sequence of the last publication, 0 before the first.
    pub(super) sequence: u64,
    /// The shards that want it, each with its own name for it.
    pub(super) shards: SmallVec<[(usize, TopicId); 2]>,
}

impl Topic {
    /// What it is found by.
    pub(super) fn key(&self) -> (BrokerId, Rc<str>) {
        (self.broker, self.name.clone())
    }
}

/// The map, both ways: by name for publications, by a shard's own name for giving up.
#[derive(Debug)]
pub(super) struct Interest {
    topics: Slab<Topic>,
    by_name: Vec<HashMap<Rc<str>, Slot>>,
    by_shard: Vec<HashMap<u32, (u32, Slot)>>,
}

impl Interest {
    pub(super) fn new(shards: usize) -> Self {
        Self { topics: Slab::new(), by_name: Vec::new(), by_shard: vec![HashMap::new(); shards] }
    }

    /// Topics that somebody wants.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// The topic of that name, if anybody wants it.
    pub(super) fn find(&self, broker: BrokerId, name: &str) -> Option<Slot> {
        self.by_name.get(usize::from(broker.0))?.get(name).copied()
    }

    pub(super) fn topic(&self, slot: Slot) -> &Topic {
        &self.topics[slot]
    }

    pub(super) fn topic_mut(&mut self, slot: Slot) -> &mut Topic {
        &mut self.topics[slot]
    }

    /// Takes a shard's interest; says the topic's sequence so far, and whether nobody wanted it before.
    pub(super) fn add(&mut self, shard: usize, topic: TopicId, broker: BrokerId, name: &str) -> (u64, bool) {
        if self.by_name.len() <= usize::from(broker.0) {
            self.by_name.resize_with(usize::from(broker.0) + 1, HashMap::new);
        }
        let names = &mut self.by_name[usize::from(broker.0)];
        let (slot, first) = match names.get(name) {
            Some(slot) => (*slot, false),
            None => {
                let name: Rc<str> = name.into();
                let entry = Topic { broker, name: name.clone(), sequence: 0, shards: SmallVec::new() };
                let slot = self.topics.insert(entry);
                names.insert(name, slot);
                (slot, true)
            }
        };
        let entry = &mut self.topics[slot];
        debug_assert!(entry.shards.iter().all(|(other, _)| *other != shard), "asked twice for one topic");
        entry.shards.push((shard, topic));
        let before = self.by_shard[shard].insert(topic.index, (topic.generation, slot));
        debug_assert!(before.is_none(), "one name for two topics");
        (entry.sequence, first)
    }

    /// Drops a shard's interest; says broker and name if nobody wants the topic any more.
    pub(super) fn remove(&mut self, shard: usize, topic: TopicId) -> Option<(BrokerId, Rc<str>)> {
        let (generation, slot) = self.by_shard[shard].get(&topic.index).copied()?;
        if generation != topic.generation {
            return None;
        }
        self.by_shard[shard].remove(&topic.index);
        let entry = &mut self.topics[slot];
        entry.shards.retain(|(other, _)| *other != shard);
        if !entry.shards.is_empty() {
            return None;
        }
        let entry = self.topics.remove(slot);
        self.by_name[usize::from(entry.broker.0)].remove(&entry.name);
        Some((entry.broker, entry.name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(0);
    const B: BrokerId = BrokerId(1);

    fn id(index: u32, generation: u32) -> TopicId {
        TopicId { index, generation }
    }

    #[test]
    fn a_topic_is_keyed_by_broker_and_name() {
        let mut interest = Interest::new(1);
        assert_eq!(interest.add(0, id(0, 0), A, "foo"), (0, true));
        assert_eq!(interest.add(0, id(1, 0), B, "foo"), (0, true));
        assert_ne!(interest.find(A, "foo"), interest.find(B, "foo"));
        assert_eq!(interest.find(BrokerId(7), "foo"), None);
    }

    #[test]
    fn a_second_shard_learns_the_sequence_so_far() {
        let mut interest = Interest::new(2);
        interest.add(0, id(3, 0), A, "foo");
        let slot = interest.find(A, "foo").unwrap();
        interest.topic_mut(slot).sequence = 9;
        assert_eq!(interest.add(1, id(5, 2), A, "foo"), (9, false));
        assert_eq!(interest.topic(slot).shards[..], [(0, id(3, 0)), (1, id(5, 2))]);
    }

    #[test]
    fn nothing_is_kept_of_a_topic_that_nobody_wants() {
        let mut interest = Interest::new(2);
        interest.add(0, id(0, 0), A, "foo");
        interest.add(1, id(0, 0), A, "foo");
        interest.topic_mut(interest.find(A, "foo").unwrap()).sequence = 9;
        assert_eq!(interest.remove(0, id(0, 0)), None);
        assert_eq!(interest.remove(1, id(0, 0)), Some((A, "foo".into())));
        assert_eq!(interest.find(A, "foo"), None);
        assert!(interest.topics.is_empty() && interest.by_shard.iter().all(HashMap::is_empty));
        assert_eq!(interest.add(0, id(0, 1), A, "foo"), (0, true), "a new epoch");
    }

    #[test]
    fn giving_up_under_an_old_generation_touches_nobody_else() {
        let mut interest = Interest::new(1);
        interest.add(0, id(0, 1), A, "foo");
        assert_eq!(interest.remove(0, id(0, 0)), None);
        assert_eq!(interest.remove(0, id(7, 0)), None);
        assert!(interest.find(A, "foo").is_some());
    }
}
