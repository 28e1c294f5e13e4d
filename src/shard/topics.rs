//! The topics of a shard: found by name when somebody joins, by [`TopicId`] when something is
//! published.

use std::hash::{BuildHasher, RandomState};

use super::charge::{SUBSCRIPTION_BYTES, WAITER_BYTES, topic_bytes};
use super::connection::{ConnId, Connections};
use super::subscriber::Subscriber;
use super::topic::{Interest, Topic};
use crate::mesh::{BrokerId, Form, TopicId};
use crate::parted::Parted;
use crate::policy::Overflow;
use crate::table::Table;

/// All topics of a shard.
#[derive(Debug, Default)]
pub struct Topics {
    slots: Table<Topic>,
    /// Slots by broker and name.
    names: Parted,
    /// Keyed at random: clients choose the names.
    hasher: RandomState,
    /// What topics, their subscribers and the joins that wait for them cost: see the module
    /// `charge`.
    charged: usize,
}

impl Topics {
    /// Number of topics.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// What all of it costs, as `subscriptions_bytes` counts it.
    pub fn charged(&self) -> usize {
        self.charged
    }

    /// Charges what waits with a join.
    pub fn charge(&mut self, bytes: usize) {
        self.charged += bytes;
    }

    /// Gives back what [`Topics::charge`] has charged.
    pub fn discharge(&mut self, bytes: usize) {
        self.charged -= bytes;
    }

    /// Keeps a topic for a join that is to subscribe to it. Returns whether the join must wait for
    /// the hub's answer.
    pub fn pin(&mut self, index: u32, id: ConnId) -> bool {
        let topic = self.slots.at_mut(index);
        topic.pins += 1;
        self.charged += SUBSCRIPTION_BYTES;
        let waits = topic.interest != Interest::Held;
        if waits {
            topic.waiters.push(id);
            self.charged += WAITER_BYTES;
        }
        waits
    }

    /// A join has ended that had pinned the topic.
    pub fn unpin(&mut self, index: u32) {
        self.slots.at_mut(index).pins -= 1;
        self.charged -= SUBSCRIPTION_BYTES;
    }

    /// Makes a pin a subscription. Returns where the topic has its record.
    pub fn subscribe(&mut self, index: u32, connection: u32, place: u32) -> u32 {
        let topic = self.slots.at_mut(index);
        topic.pins -= 1;
        topic.subscribe(connection, place)
    }

    /// Ends a subscription: see [`Topic::unsubscribe`].
    pub fn unsubscribe(
        &mut self,
        index: u32,
        record: u32,
        connections: &mut Connections,
    ) -> Subscriber {
        self.charged -= SUBSCRIPTION_BYTES;
        self.slots.at_mut(index).unsubscribe(record, connections)
    }

    /// Takes those whose join waits for the topic's answer.
    pub fn take_waiters(&mut self, index: u32) -> Vec<ConnId> {
        let waiters = std::mem::take(&mut self.slots.at_mut(index).waiters);
        self.charged -= waiters.len() * WAITER_BYTES;
        waiters
    }

    /// What the topics themselves, their subscribers and pins and waiters cost, counted anew. For
    /// tests.
    pub fn recount(&self) -> usize {
        let cost = |(_, _, topic): (u32, u32, &Topic)| {
            let subscriptions = topic.len() + topic.pins as usize;
            topic_bytes(topic.name.len())
                + subscriptions * SUBSCRIPTION_BYTES
                + topic.waiters.len() * WAITER_BYTES
        };
        self.slots.iter().map(cost).sum()
    }

    /// The slot of a topic by name.
    pub fn find(&self, broker: BrokerId, form: Form, name: &str) -> Option<u32> {
        self.names.find(self.hasher.hash_one((broker, form, name)), |index| {
            let topic = self.slots.at(index);
            topic.broker == broker && topic.form == form && *topic.name == *name
        })
    }

    /// Takes a slot for a topic that [`Topics::find`] does not find.
    pub fn insert(&mut self, broker: BrokerId, form: Form, name: &str, overflow: Overflow) -> u32 {
        let (index, _) = self.slots.insert(Topic::new(broker, form, name.into(), overflow));
        self.charged += topic_bytes(name.len());
        let Self { slots, names, hasher, .. } = self;
        names.insert(hasher.hash_one((broker, form, name)), index, |index| {
            hash_of(hasher, slots.at(index))
        });
        index
    }

    /// Frees a slot; whoever takes it next has another generation.
    pub fn remove(&mut self, index: u32) -> Topic {
        let Self { slots, names, hasher, .. } = self;
        let hash = hash_of(hasher, slots.at(index));
        names.remove(hash, index, |index| hash_of(hasher, slots.at(index)));
        let topic = self.slots.remove(index);
        self.charged -= topic_bytes(topic.name.len()) + topic.waiters.len() * WAITER_BYTES;
        topic
    }

    /// The topic's name for the hub.
    #[inline]
    pub fn id(&self, index: u32) -> TopicId {
        TopicId { index, generation: self.slots.generation(index) }
    }

    /// The topic, if it is still the same one.
    #[inline]
    pub fn live(&mut self, id: TopicId) -> Option<&mut Topic> {
        self.slots.live(id.index, id.generation)
    }

    /// The topic in a slot that is known to be in use: by a membership, or by the caller's own
    /// check.
    #[inline]
    pub fn at(&mut self, index: u32) -> &mut Topic {
        self.slots.at_mut(index)
    }

    /// As [`Topics::at`], to look only.
    #[inline]
    pub fn peek(&self, index: u32) -> &Topic {
        self.slots.at(index)
    }

    /// Every topic with its slot.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Topic)> {
        self.slots.iter().map(|(index, _, topic)| (index, topic))
    }
}

fn hash_of(hasher: &RandomState, topic: &Topic) -> u64 {
    hasher.hash_one((topic.broker, topic.form, &*topic.name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Form = Form::Plain;

    #[test]
    fn a_name_belongs_to_a_broker_and_a_slot_to_one_use() {
        let mut topics = Topics::default();
        let (one, two) = (BrokerId(0), BrokerId(1));
        let first = topics.insert(one, PLAIN, "foo", Overflow::Disconnect);
        assert_eq!(topics.find(one, PLAIN, "foo"), Some(first));
        assert_eq!(topics.find(two, PLAIN, "foo"), None);
        let id = topics.id(first);
        topics.remove(first);
        assert_eq!(topics.find(one, PLAIN, "foo"), None);
        let again = topics.insert(two, PLAIN, "foo", Overflow::Skip);
        assert_eq!(again, first);
        assert!(topics.live(id).is_none());
        assert_eq!(topics.find(two, PLAIN, "foo"), Some(again));
    }

    #[test]
    fn thousands_of_names_are_told_apart() {
        let mut topics = Topics::default();
        let mut insert =
            |n| topics.insert(BrokerId(0), PLAIN, &format!("t{n}"), Overflow::Disconnect);
        let slots: Vec<u32> = (0..5000).map(&mut insert).collect();
        for n in (0..5000).step_by(2) {
            topics.remove(slots[n]);
        }
        for (n, &slot) in slots.iter().enumerate() {
            let expected = (n % 2 == 1).then_some(slot);
            assert_eq!(topics.find(BrokerId(0), PLAIN, &format!("t{n}")), expected);
        }
    }
}
