//! Interest that a broker has not confirmed yet: which shards wait for the answer of which topic.
//!
//! A shard is answered when its topic is subscribed, and publications go to answered shards alone.
//! Who waits stands here, so that a topic's [`Channel`](super::channels::Channel) is what it is
//! without brokers that take their time.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use smallvec::SmallVec;

use super::channels::Key;
use super::sequencer::Sequencer;
use super::starting::Starting;
use crate::mesh::{BrokerId, Down, Form, HUB_TOPIC_BYTES, TopicId, Unavailable};

/// The shards that wait for a topic, each with its own name for it.
type Waiters = SmallVec<[(usize, TopicId); 2]>;

/// An entry in a table that may be half empty.
const _: () = assert!(2 * (size_of::<(Key, Waiters)>() + 1) <= HUB_TOPIC_BYTES / 2);

/// See the module.
pub(super) struct Interests {
    pub(super) sequencer: Rc<Sequencer>,
    pub(super) starting: Starting,
    /// One entry a topic and shard at most: a shard asks for a topic once.
    waiting: RefCell<HashMap<Key, Waiters>>,
}

impl Interests {
    pub(super) fn new(sequencer: Rc<Sequencer>) -> Self {
        Self { sequencer, starting: Starting::default(), waiting: RefCell::default() }
    }

    /// A shard wants a topic that is subscribed.
    pub(super) fn subscribed(&self, shard: usize, topic: TopicId, key: Key) {
        self.sequencer.lanes.borrow_mut().interested(shard, topic, key);
    }

    /// A shard wants a topic that is not subscribed yet.
    pub(super) fn wait(&self, shard: usize, topic: TopicId, key: Key) {
        self.waiting.borrow_mut().entry(key).or_default().push((shard, topic));
    }

    /// A shard gives a topic up. Says which topic nobody wants any more, or waits for.
    pub(super) fn given_up(&self, shard: usize, topic: TopicId) -> Option<Key> {
        let last = self.sequencer.lanes.borrow_mut().uninterested(shard, topic)?;
        (!self.waiting.borrow().contains_key(&last)).then_some(last)
    }

    /// See [`Inlet::confirmed`](super::broker::Inlet::confirmed).
    pub(super) fn confirmed(&self, broker: BrokerId, name: &str) -> bool {
        let Some((key, waiters)) = self.take(broker, name) else {
            return self.is_wanted(broker, name);
        };
        for (shard, topic) in waiters {
            self.subscribed(shard, topic, key.clone());
        }
        true
    }

    /// See [`Inlet::unavailable`](super::broker::Inlet::unavailable).
    pub(super) fn unavailable(&self, broker: BrokerId, name: &str, why: Unavailable) -> bool {
        if let Some((_, waiters)) = self.take(broker, name) {
            let mut lanes = self.sequencer.lanes.borrow_mut();
            for (shard, topic) in waiters {
                lanes.answer(shard, Down::Unavailable { topic, why });
            }
        }
        self.is_wanted(broker, name)
    }

    /// Whether a shard that has been answered wants a topic.
    pub(super) fn is_wanted(&self, broker: BrokerId, name: &str) -> bool {
        self.sequencer.lanes.borrow().is_wanted(broker, name)
    }

    fn take(&self, broker: BrokerId, name: &str) -> Option<(Key, Waiters)> {
        let mut waiting = self.waiting.borrow_mut();
        // A map of nothing is asked for nothing, and keeps little.
        if waiting.is_empty() {
            return None;
        }
        let taken = waiting.remove_entry(&Key { broker, form: Form::Plain, name: Arc::from(name) });
        if waiting.is_empty() {
            *waiting = HashMap::new();
        }
        taken
    }
}
