//! What the broker that takes its time has said: who waits for it, what it has lost, and to which
//! shards that is still to be told.

use std::collections::{BTreeMap, HashMap, HashSet};

use roadcast::hub::Wanting;
use roadcast::mesh::TopicId;

use super::super::bus::Told;
use super::super::wire;
use super::{Book, Key, Message, Position};

/// The broker that takes its time.
pub const BUS: u16 = 1;

/// Losses of a topic that a shard is to be told.
#[derive(Debug, Default)]
struct Untold {
    /// When they came. Some that come one behind the other may be told as one.
    since: Vec<u64>,
    /// The last that the shard has heard of the topic was a loss.
    heard: bool,
}

#[derive(Default)]
pub struct Losses {
    /// Where it matters to clients: `roadcast.on_gap` is `close`.
    pub closes: bool,
    waiting: BTreeMap<Key, Vec<(usize, TopicId)>>,
    /// Refused by the broker, and not taken by the shard yet.
    refused: HashSet<(usize, TopicId)>,
    /// When a shard last heard that a topic cannot be had.
    unavailable: HashMap<(usize, Key), u64>,
    /// When it last lost something of a topic.
    lost: HashMap<Key, u64>,
    /// What shards are to be told.
    untold: HashMap<(usize, Key), Untold>,
    /// Shards that have come to want a topic while others were to be told: they may be, too.
    late: HashSet<(usize, Key)>,
    /// When publications came from it.
    delivered: HashMap<(Key, Message), u64>,
    /// Publications that it did not take for sure.
    doubtful: HashSet<(Key, Message)>,
    /// Those of them whose call ended there.
    last_of_call: HashSet<(Key, Message)>,
    /// Where shards have heard of a loss, and when: ahead of the publication of this place.
    gaps: HashMap<(usize, Key), Vec<(Position, u64)>>,
    /// Losses told, topics given up: that there have been some is checked.
    pub counts: [u64; 3],
}

impl Losses {
    pub(super) fn wait(&mut self, key: Key, shard: usize, topic: TopicId) {
        self.waiting.entry(key).or_default().push((shard, topic));
    }

    pub(super) fn waits_for_nothing(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A shard has given a topic up: it is told nothing more.
    pub(super) fn forget(&mut self, shard: usize, key: &Key) {
        self.untold.remove(&(shard, key.clone()));
        self.late.remove(&(shard, key.clone()));
    }

    /// A shard comes to want a topic.
    pub(super) fn wants(&mut self, shard: usize, key: &Key) {
        if self.untold.iter().any(|((_, of), untold)| of == key && !untold.since.is_empty()) {
            self.late.insert((shard, key.clone()));
        }
    }

    /// A shard takes word that a topic cannot be had.
    pub(super) fn take_refusal(&mut self, shard: usize, topic: TopicId, key: Key, now: u64) {
        assert!(self.refused.remove(&(shard, topic)), "refused by nobody");
        self.unavailable.insert((shard, key), now);
    }

    /// A shard takes word of a loss.
    pub(super) fn take(&mut self, shard: usize, key: &Key, place: Position, now: u64) {
        let place_of = (shard, key.clone());
        let untold = self.untold.entry(place_of.clone()).or_default();
        let is_due = !untold.since.is_empty() || self.late.remove(&place_of);
        assert!(is_due, "a loss of {key:?} that there was not");
        untold.heard = true;
        untold.since.drain(..untold.since.len().min(1));
        self.gaps.entry(place_of).or_default().push((place, now));
    }

    /// A shard takes a publication: it has heard of every loss before.
    pub(super) fn check_none_passed(&mut self, shard: usize, key: &Key, frame: &[u8]) {
        let Some(untold) = self.untold.get_mut(&(shard, key.clone())) else { return };
        let parts = wire::front(frame).expect("a whole frame");
        let (_, message) = Message::of(&frame[parts.payload..parts.end]);
        let delivered = self.delivered[&(key.clone(), message)];
        let before = untold.since.len();
        untold.since.retain(|since| *since > delivered);
        let passed = untold.since.len() < before && !untold.heard;
        assert!(!passed, "{message:?} of {key:?} has passed a loss");
        untold.heard = false;
    }

    /// Nothing is under way: every shard has heard of every loss.
    pub fn check_told(&self) {
        let untold = |untold: &Untold| !untold.since.is_empty() && !untold.heard;
        assert!(!self.untold.values().any(untold), "not told: {:?}", self.untold);
        assert!(self.refused.is_empty(), "not refused: {:?}", self.refused);
    }

    /// Where the clients of a shard hear of losses of a topic, and when it has heard.
    pub fn gaps(&self, shard: usize, key: &Key) -> &[(Position, u64)] {
        self.gaps.get(&(shard, key.clone())).map_or(&[], Vec::as_slice)
    }

    /// Whether a shard has heard of any loss.
    pub fn has_gap(&self, shard: usize) -> bool {
        self.gaps.keys().any(|(of, _)| *of == shard)
    }

    /// Whether a shard has heard since `then` that a topic cannot be had.
    pub fn is_unavailable_since(&self, shard: usize, key: &Key, then: u64) -> bool {
        self.unavailable.get(&(shard, key.clone())).is_some_and(|at| *at >= then)
    }

    /// Whether a publication may be missing, since it was sent at `then`.
    pub fn may_miss(&self, key: &Key, then: u64) -> bool {
        self.lost.get(key).is_some_and(|at| *at >= then)
    }

    /// The call of these publications ended before them.
    pub fn never_published(&mut self, publications: Vec<(Key, Message)>) {
        self.doubtful.extend(publications);
    }

    /// Whether the broker did not take a publication for sure.
    pub fn doubts(&self, key: &Key, message: Message) -> bool {
        self.doubtful.contains(&(key.clone(), message))
    }

    /// Whether the call of a publication ended with it.
    pub fn ended_call(&self, key: &Key, message: Message) -> bool {
        self.last_of_call.contains(&(key.clone(), message))
    }
}

impl Book {
    /// Whether a topic is wanted as soon as it is asked for.
    pub(super) fn is_wanted_now(&self, key: &Key, told: &mut impl Iterator<Item = Told>) -> bool {
        if key.0 != BUS {
            return true;
        }
        match told.next() {
            Some(Told::Wanted(topic, wanting)) if topic == key.1 => wanting == Wanting::Now,
            other => panic!("{key:?} was asked for, and {other:?} came"),
        }
    }

    /// The broker that takes its time has said something, or was given a publication.
    pub fn told(&mut self, told: Told) {
        self.tick();
        let now = self.now;
        match told {
            Told::Wanted(..) => {}
            // The lanes have their last entry.
            Told::Confirmed(_) | Told::Unavailable(_) | Told::Lost(_) if self.drained => {}
            Told::Confirmed(topic) => {
                for (shard, topic) in self.waiting_for(topic) {
                    self.wants(shard, topic);
                }
            }
            Told::Unavailable(topic) => {
                let waiting = self.waiting_for(topic);
                self.losses.counts[1] += u64::from(!waiting.is_empty());
                self.losses.refused.extend(waiting);
            }
            Told::Lost(topic) => {
                let key = (BUS, topic);
                let wanted = self.wanted.get(&key).into_iter().flatten();
                let losses = &mut self.losses;
                losses.counts[0] += 1;
                for shard in wanted {
                    losses.untold.entry((*shard, key.clone())).or_default().since.push(now);
                }
                losses.lost.insert(key, now);
            }
            Told::Delivered(topic, message) => {
                self.losses.delivered.insert(((BUS, topic), message), now);
            }
            Told::Refused { topic, message, ends_call } => {
                self.losses.counts[2] += 1;
                let publication = ((BUS, topic), message);
                if ends_call {
                    self.losses.last_of_call.insert(publication.clone());
                }
                self.losses.doubtful.insert(publication);
            }
        }
    }

    fn waiting_for(&mut self, topic: String) -> Vec<(usize, TopicId)> {
        self.losses.waiting.remove(&(BUS, topic)).unwrap_or_default()
    }
}
