//! Who wants what: for each topic that a shard wants, which shards, under which names, and the
//! topic's order.
//!
//! There is no entry for a topic that nobody wants, so memory follows subscriptions, not
//! publications; a topic that is wanted again begins a new epoch, at sequence 0.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::mesh::{BrokerId, Down, HUB_TOPIC_BYTES, TopicId};
use crate::pages::Pages;
use crate::parted::Parted;

/// Place of a topic in the map, good until its last shard gives it up.
pub(super) type Slot = u32;

/// Shards, in order.
pub(super) type Shards = SmallVec<[usize; 4]>;

/// A topic that somebody wants.
#[derive(Debug)]
pub(super) struct Topic {
    broker: BrokerId,
    name: Arc<str>,
    /// Sequence of the last publication, 0 before the first.
    pub(super) sequence: u64,
    /// The shards that want it, each with its own name for it.
    pub(super) shards: SmallVec<[(usize, TopicId); 2]>,
}

impl Topic {
    /// The shards that want it, in order.
    pub(super) fn shards(&self) -> Shards {
        let mut shards: Shards = self.shards.iter().map(|(shard, _)| *shard).collect();
        shards.sort_unstable();
        shards
    }

    /// The name that a shard has for it.
    fn id_of(&self, shard: usize) -> Option<TopicId> {
        self.shards.iter().find(|(of, _)| *of == shard).map(|(_, id)| *id)
    }
}

/// An entry, two tables that may be half empty, and an answer in a queue that may be, too.
const _: () = assert!(size_of::<Topic>() + 8 + 2 * 12 + 2 * size_of::<Down>() <= HUB_TOPIC_BYTES);

/// The map, both ways: by name for publications, by a shard's own name for giving up.
#[derive(Debug)]
pub(super) struct Interest {
    topics: Pages<Topic>,
    by_name: Parted,
    by_shard: Vec<Parted>,
    /// Keyed at random: clients choose the names.
    hasher: RandomState,
}

impl Interest {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            topics: Pages::default(),
            by_name: Parted::default(),
            by_shard: (0..shards).map(|_| Parted::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Topics that somebody wants.
    pub(super) fn len(&self) -> usize {
        self.topics.len()
    }

    /// The topic of that name, if anybody wants it.
    pub(super) fn find(&self, broker: BrokerId, name: &str) -> Option<Slot> {
        // Before anybody has joined, a publication need not even be hashed.
        if self.len() == 0 {
            return None;
        }
        self.by_name.find(self.hasher.hash_one((broker, name)), |slot| {
            let topic = self.topics.at(slot);
            topic.broker == broker && *topic.name == *name
        })
    }

    pub(super) fn topic(&self, slot: Slot) -> &Topic {
        self.topics.at(slot)
    }

    pub(super) fn topic_mut(&mut self, slot: Slot) -> &mut Topic {
        self.topics.at_mut(slot)
    }

    /// The topic of that name of a shard's own, if it wants it.
    pub(super) fn of_shard(&self, shard: usize, topic: TopicId) -> Option<Slot> {
        let hash = self.hasher.hash_one(topic.index);
        self.by_shard[shard].find(hash, |slot| self.topics.at(slot).id_of(shard) == Some(topic))
    }

    /// Takes a shard's interest; says the topic's sequence so far, and whether nobody wanted it
    /// before.
    pub(super) fn add(
        &mut self,
        shard: usize,
        topic: TopicId,
        broker: BrokerId,
        name: Arc<str>,
    ) -> (u64, bool) {
        let found = self.find(broker, &name);
        let Self { topics, by_name, by_shard, hasher } = self;
        let slot = found.unwrap_or_else(|| {
            let hash = hasher.hash_one((broker, &*name));
            let slot = topics.insert(Topic { broker, name, sequence: 0, shards: SmallVec::new() });
            by_name.insert(hash, slot, |slot| hash_of_name(hasher, topics.at(slot)));
            slot
        });
        let entry = topics.at_mut(slot);
        debug_assert!(
            entry.shards.iter().all(|(other, _)| *other != shard),
            "asked twice for one topic"
        );
        entry.shards.push((shard, topic));
        let sequence = entry.sequence;
        let hash_of = |slot| hash_of_id(hasher, topics.at(slot), shard);
        by_shard[shard].insert(hasher.hash_one(topic.index), slot, hash_of);
        (sequence, found.is_none())
    }

    /// Drops a shard's interest; says broker and name if nobody wants the topic any more.
    pub(super) fn remove(&mut self, shard: usize, topic: TopicId) -> Option<(BrokerId, Arc<str>)> {
        let slot = self.of_shard(shard, topic)?;
        let Self { topics, by_name, by_shard, hasher } = self;
        let hash = hasher.hash_one(topic.index);
        by_shard[shard].remove(hash, slot, |slot| hash_of_id(hasher, topics.at(slot), shard));
        let entry = topics.at_mut(slot);
        entry.shards.retain(|(other, _)| *other != shard);
        if !entry.shards.is_empty() {
            return None;
        }
        let hash = hash_of_name(hasher, topics.at(slot));
        by_name.remove(hash, slot, |slot| hash_of_name(hasher, topics.at(slot)));
        let entry = topics.remove(slot);
        Some((entry.broker, entry.name))
    }
}

fn hash_of_name(hasher: &RandomState, topic: &Topic) -> u64 {
    hasher.hash_one((topic.broker, &*topic.name))
}

fn hash_of_id(hasher: &RandomState, topic: &Topic, shard: usize) -> u64 {
    hasher.hash_one(topic.id_of(shard).map_or(0, |id| id.index))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::*;

    const A: BrokerId = BrokerId(0);
    const B: BrokerId = BrokerId(1);

    fn id(index: u32, generation: u32) -> TopicId {
        TopicId { index, generation }
    }

    #[test]
    fn a_topic_is_keyed_by_broker_and_name() {
        let mut interest = Interest::new(1);
        assert_eq!(interest.add(0, id(0, 0), A, "foo".into()), (0, true));
        assert_eq!(interest.add(0, id(1, 0), B, "foo".into()), (0, true));
        assert_ne!(interest.find(A, "foo"), interest.find(B, "foo"));
        assert_eq!(interest.find(BrokerId(7), "foo"), None);
    }

    #[test]
    fn a_second_shard_learns_the_sequence_so_far() {
        let mut interest = Interest::new(2);
        interest.add(0, id(3, 0), A, "foo".into());
        let slot = interest.find(A, "foo").unwrap();
        interest.topic_mut(slot).sequence = 9;
        assert_eq!(interest.add(1, id(5, 2), A, "foo".into()), (9, false));
        assert_eq!(interest.topic(slot).shards[..], [(0, id(3, 0)), (1, id(5, 2))]);
    }

    #[test]
    fn nothing_is_kept_of_a_topic_that_nobody_wants() {
        let mut interest = Interest::new(2);
        interest.add(0, id(0, 0), A, "foo".into());
        interest.add(1, id(0, 0), A, "foo".into());
        interest.topic_mut(interest.find(A, "foo").unwrap()).sequence = 9;
        assert_eq!(interest.remove(0, id(0, 0)), None);
        assert_eq!(interest.remove(1, id(0, 0)), Some((A, "foo".into())));
        assert_eq!(interest.find(A, "foo"), None);
        assert_eq!((interest.len(), interest.by_name.len()), (0, 0));
        assert!(interest.by_shard.iter().all(|names| names.len() == 0));
        assert_eq!(interest.add(0, id(0, 1), A, "foo".into()), (0, true), "a new epoch");
    }

    #[test]
    fn giving_up_under_an_old_generation_touches_nobody_else() {
        let mut interest = Interest::new(1);
        interest.add(0, id(0, 1), A, "foo".into());
        assert_eq!(interest.remove(0, id(0, 0)), None);
        assert_eq!(interest.remove(0, id(7, 0)), None);
        assert!(interest.find(A, "foo").is_some());
    }

    /// Two shards want and give up thousands of topics, each under names of its own; against plain
    /// maps.
    #[test]
    fn thousands_of_topics_are_found_by_name_and_by_each_shards_own_name() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut interest = Interest::new(2);
        let mut model: HashMap<String, [Option<TopicId>; 2]> = HashMap::new();
        for step in 0..20_000 {
            let name = format!("t{}", rng.random_range(0..3_000));
            let shard = rng.random_range(0..2);
            let ids = model.entry(name.clone()).or_default();
            let wanted = ids.iter().any(Option::is_some);
            assert_eq!(interest.find(A, &name).is_some(), wanted);
            match ids[shard].take() {
                None if rng.random_bool(if step < 10_000 { 0.9 } else { 0.1 }) => {
                    let id = id(step, rng.random());
                    assert_eq!(interest.add(shard, id, A, name.as_str().into()), (0, !wanted));
                    ids[shard] = Some(id);
                }
                None => {}
                Some(id) => {
                    let last = ids[1 - shard].is_none();
                    assert_eq!(interest.remove(shard, id), last.then(|| (A, name.as_str().into())));
                }
            }
            if let Some(slot) = interest.find(A, &name) {
                let shards = &interest.topic(slot).shards;
                assert!((0..2).all(|shard| {
                    shards.iter().find(|of| of.0 == shard).map(|of| of.1) == model[&name][shard]
                }));
            }
        }
        let wanted = model.values().filter(|ids| ids.iter().any(Option::is_some)).count();
        assert_eq!(interest.len(), wanted);
    }
}
