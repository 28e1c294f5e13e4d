//! The simplest hub: interest, sequences, and everything ever published.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::limits::Limits;
use roadcast::mesh::{Down, HubEnd, TopicId, Up};
use roadcast::policy::{Overflow, Policies};
use roadcast::publication;

/// A broker and a topic's name within it.
pub type Key = (u16, String);

pub struct Hub {
    lanes: HubEnd,
    publication_bytes: usize,
    interest: BTreeMap<Key, Vec<Option<TopicId>>>,
    names: HashMap<(usize, TopicId), Key>,
    sequences: HashMap<Key, u64>,
    answers: Vec<VecDeque<Down>>,
    /// Publications that wait for room: topic and payload bytes, first come first served.
    waiting: VecDeque<(Key, usize)>,
    /// The frames of each topic, in their order.
    pub history: HashMap<Key, Vec<Arc<[u8]>>>,
    pub drained: bool,
    pub policies: Policies,
}

impl Hub {
    pub fn new(lanes: HubEnd, limits: &Limits, policies: Policies) -> Self {
        let answers = lanes.down.iter().map(|_| VecDeque::new()).collect();
        Self {
            lanes,
            publication_bytes: limits.publication_bytes,
            interest: BTreeMap::new(),
            names: HashMap::new(),
            sequences: HashMap::new(),
            answers,
            waiting: VecDeque::new(),
            history: HashMap::new(),
            drained: false,
            policies,
        }
    }

    pub fn skips(&self, key: &Key) -> bool {
        self.policies.overflow(&key.1) == Overflow::Skip
    }

    /// How many publications of a topic have been sequenced.
    pub fn published(&self, key: &Key) -> usize {
        self.history.get(key).map_or(0, Vec::len)
    }

    pub fn publish(&mut self, key: Key, payload_bytes: usize) {
        self.waiting.push_back((key, payload_bytes));
    }

    /// Whether publishers have to wait.
    pub fn is_behind(&self) -> bool {
        self.waiting.len() > 3
    }

    pub fn is_quiet(&self) -> bool {
        self.waiting.is_empty()
            && self.answers.iter().all(VecDeque::is_empty)
            && self.lanes.up.iter().all(|lane| lane.is_empty())
    }

    pub fn wants_nothing(&self) -> bool {
        self.interest.is_empty()
    }

    /// Tells every shard to accept nobody any more.
    pub fn stop_accepting(&mut self) {
        self.answers.iter_mut().for_each(|answers| answers.push_back(Down::StopAccepting));
    }

    /// Puts the last entry in every lane. Nothing may wait.
    pub fn drain(&mut self) {
        assert!(self.is_quiet());
        self.drained = true;
        self.answers.iter_mut().for_each(|answers| answers.push_back(Down::Drain));
        self.flush_answers();
    }

    /// Answers some questions and sequences what has room.
    pub fn step(&mut self, rng: &mut SmallRng) {
        for shard in 0..self.answers.len() {
            for _ in 0..rng.random_range(0..4) {
                let Some(question) = self.lanes.up[shard].pop() else { break };
                if !self.drained {
                    self.answer(shard, question);
                }
            }
        }
        self.flush_answers();
        while let Some((key, bytes)) = self.waiting.front().cloned() {
            if !self.sequence(&key, bytes) {
                break;
            }
            self.waiting.pop_front();
        }
    }

    fn answer(&mut self, shard: usize, question: Up) {
        let answer = match question {
            Up::Interest { topic, broker, name } => {
                let key = (broker.0, String::from(name));
                let shards = self.answers.len();
                let interest = self.interest.entry(key.clone()).or_insert_with(|| vec![None; shards]);
                assert_eq!(interest[shard].replace(topic), None, "{key:?} is asked for once");
                assert_eq!(self.names.insert((shard, topic), key.clone()), None);
                Down::Interested { topic, sequence: *self.sequences.entry(key).or_default() }
            }
            Up::Uninterest { topic } => {
                let key = self.names.remove(&(shard, topic)).expect("only what is held is given up");
                let interest = self.interest.get_mut(&key).expect("named by the shard");
                assert_eq!(interest[shard].take(), Some(topic));
                if interest.iter().all(Option::is_none) {
                    self.interest.remove(&key);
                    self.sequences.remove(&key);
                }
                Down::Uninterested { topic }
            }
        };
        self.answers[shard].push_back(answer);
    }

    fn flush_answers(&mut self) {
        for (answers, lane) in self.answers.iter_mut().zip(&mut self.lanes.down) {
            while let Some(answer) = answers.pop_front() {
                if let Err(answer) = lane.push(0, answer) {
                    answers.push_front(answer);
                    break;
                }
            }
        }
    }

    /// Publishes to every interested shard at once, if there is room in all their lanes.
    fn sequence(&mut self, key: &Key, bytes: usize) -> bool {
        let index = self.published(key);
        let mut payload = format!("{}.{index}:", key.0).into_bytes();
        payload.resize(payload.len() + bytes, b'x');
        let frame = publication::encode(&key.1, &payload, self.publication_bytes).expect("it fits");
        let none = Vec::new();
        let interest = self.interest.get(key).unwrap_or(&none);
        let targets: Vec<(usize, TopicId)> =
            interest.iter().enumerate().filter_map(|(shard, topic)| Some((shard, (*topic)?))).collect();
        let cost = frame.len() as u64;
        let has_room = |shard: usize| self.answers[shard].is_empty() && self.lanes.down[shard].has_room(cost);
        if !targets.iter().all(|&(shard, _)| has_room(shard)) {
            return false;
        }
        if let Some(sequence) = self.sequences.get_mut(key) {
            *sequence += 1;
            for (shard, topic) in targets {
                let entry = Down::Publish { topic, sequence: *sequence, frame: frame.clone() };
                assert!(self.lanes.down[shard].push(cost, entry).is_ok(), "room once seen stays");
            }
        }
        self.history.entry(key.clone()).or_default().push(frame);
        true
    }
}
