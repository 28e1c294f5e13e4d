//! Topics whose publications are kept: in their order also what nobody wanted when it was
//! published, and an epoch that ends only when the hub has forgotten the topic.

use std::collections::{BTreeMap, HashMap};

use roadcast::mesh::{BrokerId, Form, Positioned, TopicId, Unrecovered};
use roadcast::position::{self, Since};
use roadcast::shard::ConnId;

use super::{Book, Epoch, Key};

/// The broker's number in the key of a topic that counts; the memory broker's own is 0.
pub const KEPT: u16 = 2;

/// The key of a topic in a form.
pub fn key(broker: BrokerId, form: Form, name: &str) -> Key {
    match form {
        Form::Plain => (broker.0, name.to_owned()),
        Form::Positioned => (KEPT + broker.0, name.to_owned()),
    }
}

/// The topics of a question, each with what the client has read of it.
type Asked = Box<[(TopicId, Since)]>;

#[derive(Default)]
pub struct KeptTopics {
    /// Nothing goes but by its number: neither time nor memory is short.
    pub all: bool,
    /// The bounds of the same names.
    pub publication_bytes: usize,
    pub outbox_bytes: usize,
    /// The epochs of each topic, each once, in the book's order.
    epochs: BTreeMap<Key, Vec<Option<position::Epoch>>>,
    questions: HashMap<(usize, ConnId), Asked>,
}

impl KeptTopics {
    /// The hub has taken a question about positions.
    pub fn asked(&mut self, shard: usize, id: ConnId, topics: Asked) {
        let before = self.questions.insert((shard, id), topics);
        assert!(before.is_none(), "one question a connection");
    }

    /// The number of an epoch, if it has one.
    pub fn epoch(&self, key: &Key, epoch: position::Epoch) -> Option<usize> {
        let found = self.epochs.get(key)?.iter().position(|known| *known == Some(epoch));
        found.map(|place| place + 1)
    }
}

impl Book {
    /// A shard wants a topic that counts. `stands`: where it does by now; `None`: it was given up
    /// and forgotten meanwhile.
    pub(super) fn wants_kept(
        &mut self,
        shard: usize,
        topic: TopicId,
        stands: Option<position::Position>,
    ) {
        let key = self.names[&(shard, topic)].key.clone();
        let epoch = stands.map(|stands| stands.epoch);
        let known = epoch.and_then(|epoch| self.kept.epoch(&key, epoch));
        let epochs = self.epochs.entry(key.clone()).or_default();
        let number = known.unwrap_or_else(|| {
            epochs.push(Epoch { began: self.now, ..Epoch::default() });
            self.kept.epochs.entry(key.clone()).or_default().push(epoch);
            epochs.len()
        });
        let wanted = self.wanted.entry(key.clone()).or_default();
        if wanted.is_empty() {
            self.unwanted.insert(key.clone(), self.now);
        } else {
            assert_eq!(number, epochs.len(), "{key:?} has been forgotten while it was wanted");
        }
        assert!(wanted.insert(shard), "{key:?} is asked for once");
        self.names.get_mut(&(shard, topic)).expect("asked for").epoch = number;
    }

    /// A shard takes the answer about positions: it stands where it says.
    pub(super) fn positioned(&mut self, shard: usize, id: ConnId, answers: &[Positioned]) {
        let asked = self.kept.questions.remove(&(shard, id)).expect("an answer to a question");
        assert_eq!(asked.len(), answers.len());
        for ((topic, since), answer) in asked.iter().zip(answers) {
            let Some(name) = self.names.get(&(shard, *topic)) else {
                // The client has gone, and the topic with it.
                continue;
            };
            let Some(position) = answer.said.position else {
                assert!(name.key.0 < KEPT, "{:?} is kept", name.key);
                assert!(answer.frames.is_empty() && answer.said.recovered != Some(true));
                continue;
            };
            let (key, epoch) = (name.key.clone(), name.epoch);
            assert_eq!(self.kept.epoch(&key, position.epoch), Some(epoch), "{key:?}");
            assert_eq!(name.next, Some(position.offset + 1), "{key:?}: its place in the lane");
            self.epochs.get_mut(&key).expect("an epoch")[epoch - 1].know(position.offset, self.now);
            self.check_recovered(&key, *since, position, answer);
            let first = position.offset + 1 - answer.frames.len() as u64;
            for (sequence, frame) in (first..).zip(&answer.frames) {
                self.sequenced(key.clone(), (epoch, sequence), frame);
            }
        }
    }

    /// What is given is what was missed, and where it is not, it cannot be.
    fn check_recovered(
        &self,
        key: &Key,
        since: Since,
        stands: position::Position,
        answer: &Positioned,
    ) {
        let (given, recovered) = (answer.frames.len() as u64, answer.said.recovered);
        let (_, history) = self.policies.history(&key.1).expect("it is kept");
        assert!(given <= history.size as u64);
        match since {
            Since::Now => assert_eq!((given, recovered), (0, None)),
            Since::Last(most) => assert!(given <= most && recovered.is_none()),
            Since::Unreadable => assert_eq!((given, recovered), (0, Some(false))),
            Since::Position(from) => {
                let same = from.epoch == stands.epoch && from.offset <= stands.offset;
                let missed = stands.offset.saturating_sub(from.offset);
                match recovered {
                    Some(true) => assert!(same && given == missed, "{key:?}: {missed} missed"),
                    Some(false) => {
                        let KeptTopics { all, publication_bytes, outbox_bytes, .. } = self.kept;
                        let much = missed * publication_bytes as u64 > outbox_bytes as u64;
                        let too_much = much && answer.why == Some(Unrecovered::Size);
                        let there = all && same && missed <= history.size as u64 && !too_much;
                        assert!(!there && given == 0, "{key:?}: {missed} missed and not given");
                    }
                    None => panic!("{key:?}: neither recovered nor not"),
                }
            }
        }
    }
}
