//! Channels: the hub's side of topics. For each topic that a shard wants: its order, and which
//! shards want it, under which names.
//!
//! There is no channel for a topic that nobody wants, unless its publications are kept, so memory
//! follows subscriptions; a topic that is wanted again begins a new epoch, at sequence 0. A topic
//! is a channel in each form that somebody wants, each with an order of its own.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use smallvec::SmallVec;

use super::kept::Kept;
use crate::mesh::{BrokerId, Down, Form, HUB_TOPIC_BYTES, TopicId};
use crate::parted::Parted;
use crate::table::Table;

/// Place of a channel in the table, good while a shard wants it. One that nobody wants, of which
/// something is kept, may be forgotten by whatever is kept next.
pub(super) type ChannelId = u32;

/// Shards, in order.
pub(super) type Shards = SmallVec<[usize; 4]>;

/// What a topic is known by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) broker: BrokerId,
    pub(super) form: Form,
    pub(super) name: Arc<str>,
}

/// A topic that somebody wants, or of which something is kept.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) key: Key,
    /// Sequence of the last publication, 0 before the first.
    pub(super) sequence: u64,
    /// The shards that want it, each with its own name for it.
    pub(super) wants: SmallVec<[(usize, TopicId); 2]>,
    /// What is kept of its publications.
    pub(super) kept: Option<Box<Kept>>,
}

impl Channel {
    /// The shards that want it, in order.
    pub(super) fn shards(&self) -> Shards {
        let mut shards: Shards = self.wants.iter().map(|(shard, _)| *shard).collect();
        shards.sort_unstable();
        shards
    }

    /// The name that a shard has for it.
    fn name_of(&self, shard: usize) -> Option<TopicId> {
        self.wants.iter().find(|(of, _)| *of == shard).map(|(_, topic)| *topic)
    }
}

/// An entry, two tables that may be half empty, and an answer in a queue that may be, too.
const _: () =
    assert!(size_of::<Channel>() + 8 + 2 * 12 + 2 * size_of::<Down>() <= HUB_TOPIC_BYTES / 2);

/// The table, found both ways: by key for publications, by a shard's own name for giving up.
#[derive(Debug)]
pub(super) struct Channels {
    channels: Table<Channel>,
    by_key: Parted,
    by_shard: Vec<Parted>,
    /// Keyed at random: clients choose the names.
    hasher: RandomState,
}

impl Channels {
    pub(super) fn new(shards: usize) -> Self {
        Self {
            channels: Table::default(),
            by_key: Parted::default(),
            by_shard: (0..shards).map(|_| Parted::default()).collect(),
            hasher: RandomState::new(),
        }
    }

    /// Channels that are wanted or kept.
    pub(super) fn len(&self) -> usize {
        self.channels.len()
    }

    /// The channel of a topic in a form, if there is one.
    pub(super) fn find(&self, broker: BrokerId, form: Form, name: &str) -> Option<ChannelId> {
        // Before anybody has joined, a publication need not even be hashed.
        if self.len() == 0 {
            return None;
        }
        self.by_key.find(self.hasher.hash_one((broker, form, name)), |id| {
            let key = &self.channels.at(id).key;
            key.broker == broker && key.form == form && *key.name == *name
        })
    }

    pub(super) fn at(&self, id: ChannelId) -> &Channel {
        self.channels.at(id)
    }

    pub(super) fn at_mut(&mut self, id: ChannelId) -> &mut Channel {
        self.channels.at_mut(id)
    }

    /// The channel of a topic by a shard's own name for it, if that shard wants it.
    pub(super) fn of_shard(&self, shard: usize, topic: TopicId) -> Option<ChannelId> {
        let hash = self.hasher.hash_one(topic.index);
        self.by_shard[shard].find(hash, |id| self.channels.at(id).name_of(shard) == Some(topic))
    }

    /// Whether some shard wants the topic of a channel as RoadRunner writes it.
    pub(super) fn is_wanted_plain(&self, id: ChannelId) -> bool {
        let key = &self.at(id).key;
        self.find(key.broker, Form::Plain, &key.name).is_some()
    }

    /// A channel that is not there, and keeps so much.
    pub(super) fn create(&mut self, key: Key, kept: Option<Box<Kept>>) -> ChannelId {
        let Self { channels, by_key, hasher, .. } = self;
        let hash = hash_of_key(hasher, &key);
        let (id, _) = channels.insert(Channel { key, sequence: 0, wants: SmallVec::new(), kept });
        by_key.insert(hash, id, |id| hash_of_key(hasher, &channels.at(id).key));
        id
    }

    /// Takes a shard's interest; says the topic's sequence so far.
    pub(super) fn add(&mut self, shard: usize, topic: TopicId, id: ChannelId) -> u64 {
        let Self { channels, by_shard, hasher, .. } = self;
        let channel = channels.at_mut(id);
        debug_assert!(
            channel.wants.iter().all(|(other, _)| *other != shard),
            "asked twice for one topic"
        );
        channel.wants.push((shard, topic));
        let sequence = channel.sequence;
        let hash_of = |id| hash_of_name(hasher, channels.at(id), shard);
        by_shard[shard].insert(hasher.hash_one(topic.index), id, hash_of);
        sequence
    }

    /// Drops a shard's interest; says the topic's key if nobody wants it any more. One of which
    /// something is kept stays.
    pub(super) fn remove(&mut self, shard: usize, topic: TopicId) -> Option<Key> {
        let id = self.of_shard(shard, topic)?;
        let Self { channels, by_shard, hasher, .. } = self;
        let hash = hasher.hash_one(topic.index);
        by_shard[shard].remove(hash, id, |id| hash_of_name(hasher, channels.at(id), shard));
        let channel = channels.at_mut(id);
        channel.wants.retain(|(other, _)| *other != shard);
        if !channel.wants.is_empty() {
            return None;
        }
        Some(if channel.kept.is_some() { channel.key.clone() } else { self.forget(id) })
    }

    /// A channel that nobody wants goes.
    pub(super) fn forget(&mut self, id: ChannelId) -> Key {
        let Self { channels, by_key, hasher, .. } = self;
        debug_assert!(channels.at(id).wants.is_empty());
        let hash = hash_of_key(hasher, &channels.at(id).key);
        by_key.remove(hash, id, |id| hash_of_key(hasher, &channels.at(id).key));
        channels.remove(id).key
    }
}

fn hash_of_key(hasher: &RandomState, key: &Key) -> u64 {
    hasher.hash_one((key.broker, key.form, &*key.name))
}

fn hash_of_name(hasher: &RandomState, channel: &Channel, shard: usize) -> u64 {
    hasher.hash_one(channel.name_of(shard).map_or(0, |topic| topic.index))
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

    fn add(channels: &mut Channels, shard: usize, topic: TopicId, key: Key) -> u64 {
        let found = channels.find(key.broker, key.form, &key.name);
        let id = found.unwrap_or_else(|| channels.create(key, None));
        channels.add(shard, topic, id)
    }

    fn key(broker: BrokerId, name: &str) -> Key {
        Key { broker, form: Form::Plain, name: name.into() }
    }

    #[test]
    fn a_topic_is_keyed_by_broker_and_name() {
        let mut channels = Channels::new(1);
        assert_eq!(add(&mut channels, 0, id(0, 0), key(A, "foo")), 0);
        assert_eq!(add(&mut channels, 0, id(1, 0), key(B, "foo")), 0);
        assert_ne!(channels.find(A, Form::Plain, "foo"), channels.find(B, Form::Plain, "foo"));
        assert_eq!(channels.find(BrokerId(7), Form::Plain, "foo"), None);
    }

    #[test]
    fn a_second_shard_learns_the_sequence_so_far() {
        let mut channels = Channels::new(2);
        add(&mut channels, 0, id(3, 0), key(A, "foo"));
        let found = channels.find(A, Form::Plain, "foo").unwrap();
        channels.at_mut(found).sequence = 9;
        assert_eq!(add(&mut channels, 1, id(5, 2), key(A, "foo")), 9);
        assert_eq!(channels.at(found).wants[..], [(0, id(3, 0)), (1, id(5, 2))]);
    }

    #[test]
    fn nothing_is_kept_of_a_topic_that_nobody_wants() {
        let mut channels = Channels::new(2);
        add(&mut channels, 0, id(0, 0), key(A, "foo"));
        add(&mut channels, 1, id(0, 0), key(A, "foo"));
        channels.at_mut(channels.find(A, Form::Plain, "foo").unwrap()).sequence = 9;
        assert_eq!(channels.remove(0, id(0, 0)), None);
        assert_eq!(channels.remove(1, id(0, 0)), Some(key(A, "foo")));
        assert_eq!(channels.find(A, Form::Plain, "foo"), None);
        assert_eq!((channels.len(), channels.by_key.len()), (0, 0));
        assert!(channels.by_shard.iter().all(|names| names.len() == 0));
        assert_eq!(add(&mut channels, 0, id(0, 1), key(A, "foo")), 0, "a new epoch");
    }

    #[test]
    fn giving_up_under_an_old_generation_touches_nobody_else() {
        let mut channels = Channels::new(1);
        add(&mut channels, 0, id(0, 1), key(A, "foo"));
        assert_eq!(channels.remove(0, id(0, 0)), None);
        assert_eq!(channels.remove(0, id(7, 0)), None);
        assert!(channels.find(A, Form::Plain, "foo").is_some());
    }

    /// Two shards want and give up thousands of topics, each under names of its own; against plain
    /// maps.
    #[test]
    fn thousands_of_topics_are_found_by_name_and_by_each_shards_own_name() {
        let mut rng = StdRng::seed_from_u64(7);
        let mut channels = Channels::new(2);
        let mut model: HashMap<String, [Option<TopicId>; 2]> = HashMap::new();
        for step in 0..20_000 {
            let name = format!("t{}", rng.random_range(0..3_000));
            let shard = rng.random_range(0..2);
            let ids = model.entry(name.clone()).or_default();
            let wanted = ids.iter().any(Option::is_some);
            assert_eq!(channels.find(A, Form::Plain, &name).is_some(), wanted);
            match ids[shard].take() {
                None if rng.random_bool(if step < 10_000 { 0.9 } else { 0.1 }) => {
                    let id = id(step, rng.random());
                    assert_eq!(add(&mut channels, shard, id, key(A, &name)), 0);
                    ids[shard] = Some(id);
                }
                None => {}
                Some(id) => {
                    let last = ids[1 - shard].is_none();
                    assert_eq!(channels.remove(shard, id), last.then(|| key(A, &name)));
                }
            }
            if let Some(found) = channels.find(A, Form::Plain, &name) {
                let shards = &channels.at(found).wants;
                assert!((0..2).all(|shard| {
                    shards.iter().find(|of| of.0 == shard).map(|of| of.1) == model[&name][shard]
                }));
            }
        }
        let wanted = model.values().filter(|ids| ids.iter().any(Option::is_some)).count();
        assert_eq!(channels.len(), wanted);
    }
}
