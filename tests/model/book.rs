//! What must hold over all shards: which of them wants which topic by the hub's word, and each
//! topic's one order.
//!
//! The book sees what travels on the lanes, at their ends: questions when a shard asks them,
//! entries when a shard takes them. When nobody wants a topic any more its order ends; who wants it
//! next begins a new *epoch*, at sequence 1. Where the broker takes its time, a shard wants a topic
//! from the moment at which the broker confirms it: module `losses`.

mod kept;
mod losses;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use roadcast::hub::Core;
use roadcast::mesh::{Down, TopicId, Up};
use roadcast::policy::{Overflow, Policies};

pub use self::kept::KEPT;
use self::kept::KeptTopics;
pub use self::losses::BUS;
use self::losses::Losses;
use super::bus::Told;
use super::wire;

/// A broker and a topic's name within it.
pub type Key = (u16, String);

/// A message of a publisher: its place, and the number of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Message {
    pub publisher: usize,
    pub number: u32,
}

impl Message {
    /// Whose payload this is.
    pub fn of_payload(payload: &[u8]) -> Self {
        let start = String::from_utf8_lossy(&payload[..payload.len().min(40)]).into_owned();
        let fields: Vec<&str> = start.split(['.', ':']).collect();
        let [_, publisher, number, ..] = fields[..] else { panic!("{start}") };
        Self { publisher: publisher.parse().unwrap(), number: number.parse().unwrap() }
    }

    /// A payload that names broker and message, `bytes` longer than it must be.
    pub fn payload(self, broker: u16, bytes: usize) -> Vec<u8> {
        let mut payload = format!("{broker}.{}.{}:", self.publisher, self.number).into_bytes();
        payload.resize(payload.len() + bytes, b'x');
        payload
    }

    /// Topic and message of a publication as a client reads it.
    pub fn of(text: &[u8]) -> (Key, Self) {
        let start = String::from_utf8_lossy(&text[..text.len().min(80)]).into_owned();
        let fields: Vec<&str> = start.split(['"', '.', ':']).collect();
        let [_, _, _, _, topic, _, _, _, _, broker, publisher, number, ..] = fields[..] else {
            panic!("{start}")
        };
        let message =
            Self { publisher: publisher.parse().unwrap(), number: number.parse().unwrap() };
        ((broker.parse().unwrap(), topic.to_owned()), message)
    }
}

/// A publication's place in its topic's order: epoch, sequence. Both count from 1.
pub type Position = (usize, u64);

/// One order of a topic.
#[derive(Default)]
struct Epoch {
    began: u64,
    /// Of each sequence from 1 on, when it was first known to exist.
    known: Vec<u64>,
    /// Of each sequence, once some shard has taken it: its message and frame.
    taken: BTreeMap<u64, (Message, Arc<[u8]>)>,
}

/// What a lane says of a shard's topic.
struct Name {
    key: Key,
    epoch: usize,
    /// The next sequence, once the question has been answered.
    next: Option<u64>,
}

#[derive(Default)]
pub struct Book {
    now: u64,
    pub policies: Policies,
    /// The hub takes no more questions and no publications.
    pub drained: bool,
    /// Clients may be told goodbye.
    pub goodbyes: bool,
    /// Somebody is asked who may connect and join.
    pub asks: bool,
    /// And what is asked may be refused for want of an answer, or of room.
    pub desk_fails: bool,
    /// Asked and not taken by the hub, of each shard.
    asked: Vec<VecDeque<Up>>,
    /// The shards that want a topic.
    wanted: BTreeMap<Key, HashSet<usize>>,
    /// When nobody wanted a topic that somebody wants now.
    unwanted: HashMap<Key, u64>,
    names: HashMap<(usize, TopicId), Name>,
    epochs: BTreeMap<Key, Vec<Epoch>>,
    places: HashMap<(Key, Message), Position>,
    /// When the hub was given a publication.
    offered: HashMap<(Key, Message), u64>,
    /// Bytes of the payload of each message.
    payloads: HashMap<Message, usize>,
    /// Publications taken from lanes.
    pub publications: u64,
    pub losses: Losses,
    pub kept: KeptTopics,
}

impl Book {
    pub fn new(shards: usize, policies: Policies) -> Self {
        Self { asked: (0..shards).map(|_| VecDeque::new()).collect(), policies, ..Self::default() }
    }

    /// Time that counts events.
    pub fn now(&self) -> u64 {
        self.now
    }

    pub fn tick(&mut self) {
        self.now += 1;
    }

    /// Whether publications of a topic are kept.
    pub fn keeps(&self, topic: &str) -> bool {
        self.policies.history(topic).is_some()
    }

    pub fn skips(&self, key: &Key) -> bool {
        self.policies.overflow(&key.1) == Overflow::Skip
    }

    /// A message is sent whose payload is `bytes` longer than it must be.
    pub fn sent(&mut self, message: Message, bytes: usize) {
        self.payloads.insert(message, bytes);
    }

    /// The hub has been given a publication.
    pub fn offered(&mut self, key: Key, message: Message) {
        self.offered.insert((key, message), self.now);
    }

    /// A shard asks.
    pub fn asked(&mut self, shard: usize, question: &Up) {
        let question = match question {
            Up::Interest { topic, broker, form, name } => {
                Up::Interest { topic: *topic, broker: *broker, form: *form, name: name.clone() }
            }
            Up::Positions { connection, topics } => {
                Up::Positions { connection: *connection, topics: topics.clone() }
            }
            Up::Uninterest { topic } => Up::Uninterest { topic: *topic },
        };
        self.asked[shard].push_back(question);
    }

    /// Whether the hub has taken all questions.
    pub fn has_no_questions(&self) -> bool {
        self.asked.iter().all(VecDeque::is_empty)
    }

    /// The hub has taken all questions, those of the first shard first. `told` is what the broker
    /// that takes its time has been asked meanwhile.
    pub fn hub_took_questions(&mut self, told: Vec<Told>, core: &Core) {
        let mut told = told.into_iter();
        for shard in 0..self.asked.len() {
            for question in std::mem::take(&mut self.asked[shard]) {
                if !self.drained {
                    self.hub_took(shard, question, &mut told, core);
                }
            }
        }
    }

    fn hub_took(
        &mut self,
        shard: usize,
        question: Up,
        told: &mut impl Iterator<Item = Told>,
        core: &Core,
    ) {
        match question {
            Up::Interest { topic, broker, form, name } => {
                let key = kept::key(broker, form, &name);
                let named = Name { key: key.clone(), epoch: 0, next: None };
                assert!(
                    self.names.insert((shard, topic), named).is_none(),
                    "one name for one topic"
                );
                if key.0 == KEPT {
                    self.wants_kept(shard, topic, core.position(broker, &name));
                } else if self.is_wanted_now(&key, told) {
                    self.wants(shard, topic);
                } else {
                    self.losses.wait(key, shard, topic);
                }
            }
            Up::Positions { connection, topics } => self.kept.asked(shard, connection, topics),
            Up::Uninterest { topic } => {
                let name = self.names.get(&(shard, topic)).expect("only what is held is given up");
                let wanted = self.wanted.get_mut(&name.key).expect("it was wanted");
                assert!(wanted.remove(&shard));
                if wanted.is_empty() {
                    self.wanted.remove(&name.key);
                }
            }
        }
    }

    /// A shard wants a topic from now on.
    fn wants(&mut self, shard: usize, topic: TopicId) {
        let name = self.names.get_mut(&(shard, topic)).expect("it has been asked for");
        let wanted = self.wanted.entry(name.key.clone()).or_default();
        let epochs = self.epochs.entry(name.key.clone()).or_default();
        if wanted.is_empty() {
            epochs.push(Epoch { began: self.now, ..Epoch::default() });
            self.unwanted.insert(name.key.clone(), self.now);
        }
        assert!(wanted.insert(shard), "{:?} is asked for once", name.key);
        name.epoch = epochs.len();
        self.losses.wants(shard, &name.key);
    }

    /// A shard takes an entry of its lane.
    pub fn taken(&mut self, shard: usize, entry: &Down) {
        match entry {
            Down::Interested { topic, sequence } => {
                let name = self.names.get_mut(&(shard, *topic)).expect("an answer to a question");
                assert_eq!(name.next, None, "{:?} is answered once", name.key);
                assert!(name.epoch > 0, "{:?} is answered before it is confirmed", name.key);
                name.next = Some(sequence + 1);
                let epoch = &mut self.epochs.get_mut(&name.key).unwrap()[name.epoch - 1];
                epoch.know(*sequence, self.now);
            }
            Down::Uninterested { topic } => {
                let name = self.names.remove(&(shard, *topic)).expect("an answer to a question");
                self.losses.forget(shard, &name.key);
                assert!(!self.wanted.get(&name.key).is_some_and(|shards| shards.contains(&shard)));
            }
            Down::Publish { topic, sequence, frame } => {
                self.publications += 1;
                let name =
                    self.names.get_mut(&(shard, *topic)).expect("a topic that the shard wants");
                let due = name.next.expect("the answer comes before the first publication");
                assert_eq!(due, *sequence, "{:?}: a gap in the lane of shard {shard}", name.key);
                name.next = Some(sequence + 1);
                let (key, position) = (name.key.clone(), (name.epoch, *sequence));
                self.sequenced(key, position, frame);
                self.losses.check_none_passed(shard, &self.names[&(shard, *topic)].key, frame);
            }
            Down::Unavailable { topic, .. } => {
                let name = self.names.remove(&(shard, *topic)).expect("an answer to a question");
                assert_eq!(name.epoch, 0, "{:?} has been confirmed", name.key);
                self.losses.take_refusal(shard, *topic, name.key, self.now);
            }
            Down::Lost { topic } => {
                let name = self.names.get(&(shard, *topic)).expect("a topic that the shard wants");
                let next = name.next.expect("the answer comes before the first loss");
                self.losses.take(shard, &name.key, (name.epoch, next), self.now);
            }
            Down::Positioned { connection, topics } => {
                self.positioned(shard, *connection, topics);
            }
            // The memory broker has all topics at once, and misses nothing.
            Down::StopAccepting | Down::Drain => {}
        }
    }

    fn sequenced(&mut self, key: Key, position: Position, frame: &Arc<[u8]>) {
        let epoch = &mut self.epochs.get_mut(&key).unwrap()[position.0 - 1];
        epoch.know(position.1, self.now);
        if let Some((_, known)) = epoch.taken.get(&position.1) {
            assert!(Arc::ptr_eq(known, frame), "{key:?} {position:?} is the same for every shard");
            return;
        }
        let parts = wire::front(frame).expect("a whole frame");
        let text = &frame[parts.payload..parts.end];
        let (named, message) = Message::of(text);
        assert_eq!(named, (key.0 % KEPT, key.1.clone()), "a publication of another topic");
        let payload = message.payload(key.0 % KEPT, self.payloads[&message]);
        let offset = match key.0 {
            KEPT => format!(r#","offset":{}"#, position.1),
            _ => String::new(),
        };
        let expected = [
            br#"{"topic":""#,
            key.1.as_bytes(),
            br#"","payload":""#,
            &payload,
            br#"""#,
            offset.as_bytes(),
            b"}",
        ]
        .concat();
        assert!(text == expected && parts.end == frame.len(), "{message:?} as it was published");
        epoch.taken.insert(position.1, (message, frame.clone()));
        let before = self.places.insert((key, message), position);
        assert_eq!(before, None, "{message:?} is published twice");
    }

    /// Where a publication stands in its topic's order, if it has come to any shard.
    pub fn place(&self, key: &Key, message: Message) -> Option<Position> {
        self.places.get(&(key.clone(), message)).copied()
    }

    /// The message and frame at a place.
    pub fn at(&self, key: &Key, (epoch, sequence): Position) -> Option<&(Message, Arc<[u8]>)> {
        self.epochs.get(key)?.get(epoch - 1)?.taken.get(&sequence)
    }

    /// Whether who has read `@join` at `then` may hear this as the first of a topic: nothing that
    /// came behind the reply has been passed over.
    pub fn may_begin(&self, key: &Key, (epoch, sequence): Position, then: u64) -> bool {
        let epoch = &self.epochs[key][epoch - 1];
        match sequence {
            1 => epoch.began <= then,
            // What had been published when the reply was read need not come.
            _ => epoch.known[sequence as usize - 2] <= then,
        }
    }

    /// The place behind the last publication of a topic that a shard wants.
    pub fn end(&self, shard: usize, key: &Key) -> Position {
        let name = self.names.iter().find(|((of, _), name)| *of == shard && name.key == *key);
        let (_, name) = name.unwrap_or_else(|| panic!("{key:?} is not wanted by shard {shard}"));
        (name.epoch, self.epochs[key][name.epoch - 1].known.len() as u64 + 1)
    }

    /// Whether somebody has wanted a topic all the time since `then`.
    pub fn is_wanted_since(&self, key: &Key, then: u64) -> bool {
        self.wanted.contains_key(key) && self.unwanted[key] < then
    }

    pub fn wants_nothing(&self) -> bool {
        self.wanted.is_empty() && self.losses.waits_for_nothing()
    }

    /// Topics that some shard wants.
    pub fn topics(&self) -> usize {
        self.wanted.len()
    }

    /// Each topic is in one order, in which the hub was given its publications; so those of one
    /// publisher are in theirs.
    pub fn check_order(&self) {
        for (key, epochs) in &self.epochs {
            let (mut offered, mut numbers) = (0, HashMap::new());
            for (message, _) in epochs.iter().flat_map(|epoch| epoch.taken.values()) {
                if let Some(&at) = self.offered.get(&(key.clone(), *message)) {
                    assert!(at >= offered, "{message:?} has passed one of {key:?} that waited");
                    offered = at;
                }
                let before = numbers.insert(message.publisher, message.number);
                assert!(before < Some(message.number), "{message:?} of {key:?} behind {before:?}");
            }
        }
    }
}

impl Epoch {
    /// All publications up to `sequence` exist.
    fn know(&mut self, sequence: u64, now: u64) {
        if self.known.len() < sequence as usize {
            self.known.resize(sequence as usize, now);
        }
    }
}
