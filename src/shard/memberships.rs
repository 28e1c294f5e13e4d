//! The topics of one connection: a list, with an index from some length on, so that a join or leave
//! costs the same however many topics the connection has. Most have one to three: those pay for the
//! list alone.
//!
//! Invariant: where there is an index, it finds each membership of the list, and nothing else.

use std::hash::{BuildHasher, RandomState};
use std::ops::Deref;

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::kept;

/// A topic in a connection's list.
#[derive(Clone, Copy, Debug)]
pub struct Membership {
    /// Slot of the topic.
    pub topic: u32,
    /// Where the topic's list names this connection.
    pub record: u32,
}

/// Up to here the list is looked through: four cache lines.
const LOOKED_THROUGH: usize = 32;

/// See the module.
#[derive(Debug, Default)]
pub struct Memberships {
    list: SmallVec<[Membership; 2]>,
    index: Option<Box<Index>>,
}

#[derive(Debug, Default)]
struct Index {
    /// Places in the list, by topic.
    places: HashTable<u32>,
    /// Keyed at random: clients choose their topics.
    hasher: RandomState,
}

impl Memberships {
    /// Where the list names this topic.
    pub fn find(&self, topic: u32) -> Option<u32> {
        let is = |place: &u32| self.list[*place as usize].topic == topic;
        match &self.index {
            Some(index) => index.places.find(index.hasher.hash_one(topic), is).copied(),
            None => {
                self.list.iter().position(|member| member.topic == topic).map(|place| place as u32)
            }
        }
    }

    /// Adds a topic that the list does not name. Its place is the last.
    pub fn push(&mut self, membership: Membership) {
        let place = self.list.len() as u32;
        self.list.push(membership);
        let list = &self.list;
        match &mut self.index {
            Some(index) => index.insert(place, list),
            None if list.len() > LOOKED_THROUGH => {
                let mut index = Box::<Index>::default();
                (0..=place).for_each(|place| index.insert(place, list));
                self.index = Some(index);
            }
            None => {}
        }
    }

    /// Removes the membership at `place`; the last one takes its place.
    pub fn swap_remove(&mut self, place: u32) -> Membership {
        if let Some(index) = &mut self.index {
            index.remove(place, self.list[place as usize].topic);
            let last = self.list.len() as u32 - 1;
            if place != last {
                index.moved(last, place, self.list[last as usize].topic);
            }
        }
        let removed = self.list.swap_remove(place as usize);
        if self.list.len() <= LOOKED_THROUGH / 2 {
            self.index = None;
        }
        if kept::shrink(&mut self.list) {
            self.shrink_index();
        }
        removed
    }

    /// Nobody will look for one of them any more: all are about to be removed.
    pub fn forget_index(&mut self) {
        self.index = None;
    }

    fn shrink_index(&mut self) {
        let list = &self.list;
        if let Some(Index { places, hasher }) = self.index.as_deref_mut() {
            places.shrink_to(list.len() * 2, |place| hasher.hash_one(list[*place as usize].topic));
        }
    }

    /// A topic has moved its record of this connection.
    pub fn moved_record(&mut self, place: u32, record: u32) {
        self.list[place as usize].record = record;
    }

    /// Checks what the module's head promises. For tests.
    pub fn check_invariants(&self) {
        assert!(self.index.as_ref().is_none_or(|index| index.places.len() == self.list.len()));
        assert!(self.index.is_some() || self.list.len() <= LOOKED_THROUGH);
        for (place, member) in self.list.iter().enumerate() {
            assert_eq!(self.find(member.topic), Some(place as u32));
        }
    }
}

impl Index {
    fn insert(&mut self, place: u32, list: &[Membership]) {
        let Self { places, hasher } = self;
        let hash = |place: &u32| hasher.hash_one(list[*place as usize].topic);
        places.insert_unique(hash(&place), place, hash);
    }

    fn remove(&mut self, place: u32, topic: u32) {
        if let Ok(entry) =
            self.places.find_entry(self.hasher.hash_one(topic), |named| *named == place)
        {
            entry.remove();
        }
    }

    fn moved(&mut self, from: u32, to: u32, topic: u32) {
        if let Some(place) =
            self.places.find_mut(self.hasher.hash_one(topic), |named| *named == from)
        {
            *place = to;
        }
    }
}

impl Deref for Memberships {
    type Target = [Membership];

    fn deref(&self) -> &[Membership] {
        &self.list
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{RngExt, SeedableRng};

    use super::kept::KEPT;
    use super::*;

    /// Against a plain list that is looked through, across both sides of the index's threshold.
    #[test]
    fn memberships_are_found_as_in_a_plain_list_whatever_comes_and_goes() {
        for seed in 0..50 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut memberships, mut model) = (Memberships::default(), Vec::new());
            let topics = [4, 40, 400][rng.random_range(0..3)];
            for step in 0..2_000 {
                let topic = rng.random_range(0..topics);
                let place = model.iter().position(|of: &(u32, u32)| of.0 == topic);
                assert_eq!(memberships.find(topic), place.map(|place| place as u32), "seed {seed}");
                // It grows for a while, then it shrinks.
                match place {
                    None if rng.random_bool(if step < 1_000 { 0.9 } else { 0.2 }) => {
                        memberships.push(Membership { topic, record: step });
                        model.push((topic, step));
                    }
                    Some(place) if rng.random_bool(if step < 1_000 { 0.2 } else { 0.9 }) => {
                        let removed = memberships.swap_remove(place as u32);
                        assert_eq!(
                            (removed.topic, removed.record),
                            model.swap_remove(place),
                            "seed {seed}"
                        );
                    }
                    Some(place) => {
                        memberships.moved_record(place as u32, step + 7);
                        model[place].1 = step + 7;
                    }
                    None => {}
                }
                memberships.check_invariants();
            }
            let listed: Vec<_> =
                memberships.iter().map(|member| (member.topic, member.record)).collect();
            assert_eq!(listed, model, "seed {seed}");
        }
    }

    #[test]
    fn a_long_list_has_an_index_and_gives_its_memory_back_when_it_is_short_again() {
        let mut memberships = Memberships::default();
        (0..10_000).for_each(|topic| memberships.push(Membership { topic, record: 0 }));
        assert_eq!(memberships.index.as_ref().map(|index| index.places.len()), Some(10_000));
        while memberships.len() > 20 {
            memberships.swap_remove(0);
        }
        let index = memberships.index.as_ref().expect("still some");
        assert!(memberships.list.capacity() <= KEPT * 2 && index.places.capacity() <= KEPT * 4);
        while !memberships.is_empty() {
            memberships.swap_remove(0);
        }
        assert!(memberships.index.is_none() && memberships.list.capacity() <= KEPT);
    }
}
