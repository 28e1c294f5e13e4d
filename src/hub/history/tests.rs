use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;
use crate::access::Pattern;
use crate::mesh::{BrokerId, Form, TopicId};
use crate::policy::{History, TopicRule};
use crate::position::Epoch;

const SECOND: Duration = Duration::from_secs(1);

/// Histories under a test's hands, with their channels.
struct Bed {
    histories: Histories,
    channels: Channels,
    counters: Arc<HubCounters>,
}

fn rule(pattern: &str, size: usize, ttl: Duration, idle: Duration) -> TopicRule {
    let history = Some(History { size, ttl, idle });
    TopicRule { pattern: Pattern::parse(pattern).unwrap(), overflow: None, history }
}

impl Bed {
    fn new(bytes_max: usize, topics: Vec<TopicRule>) -> Self {
        let counters = Arc::new(HubCounters::default());
        let policies = Policies { topics, ..Policies::default() };
        let histories = Histories::new(policies, bytes_max, counters.clone()).unwrap();
        Self { histories, channels: Channels::new(1), counters }
    }

    fn find(&self, name: &str) -> Option<ChannelId> {
        self.channels.find(BrokerId(0), Form::Positioned, name)
    }

    fn channel(&mut self, name: &str) -> ChannelId {
        self.find(name).unwrap_or_else(|| {
            let kept = self.histories.begin(name);
            let key = Key { broker: BrokerId(0), form: Form::Positioned, name: name.into() };
            self.channels.create(key, kept)
        })
    }

    fn join(&mut self, name: &str, topic: TopicId) {
        let id = self.channel(name);
        self.channels.add(0, topic, id);
        self.histories.wanted(&mut self.channels, id);
    }

    fn leave(&mut self, topic: TopicId) {
        if let Some(key) = self.channels.remove(0, topic)
            && key.form == Form::Positioned
        {
            let id = self.find(&key.name).unwrap();
            self.histories.unwanted(&mut self.channels, id);
        }
    }

    fn publish(&mut self, name: &str, bytes: usize) {
        let id = self.channel(name);
        let channel = self.channels.at_mut(id);
        channel.sequence += 1;
        let frame = vec![channel.sequence as u8; bytes].into();
        self.histories.keep(&mut self.channels, id, frame);
    }

    /// The position, and the offsets of what is given, which must end there.
    fn ask(&mut self, name: &str, since: Since) -> (Position, Option<bool>, Vec<u64>) {
        let id = self.find(name).unwrap();
        let answer = self.histories.position(&mut self.channels, id, &since, usize::MAX);
        let (position, frames) = (answer.said.position.unwrap(), answer.frames);
        let first = position.offset + 1 - frames.len() as u64;
        let offsets: Vec<u64> = (first..=position.offset).collect();
        for (frame, offset) in frames.iter().zip(&offsets) {
            assert!(frame.iter().all(|byte| *byte == *offset as u8), "the frame of {offset}");
        }
        (position, answer.said.recovered, offsets)
    }

    fn recovered(&mut self, name: &str, offset: u64, epoch: Epoch) -> Option<Vec<u64>> {
        let (_, recovered, offsets) = self.ask(name, Since::Position(Position { offset, epoch }));
        assert!(recovered == Some(true) || offsets.is_empty());
        recovered.unwrap().then_some(offsets)
    }
}

fn id(index: u32) -> TopicId {
    TopicId { index, generation: 0 }
}

#[test]
fn what_was_missed_is_given_or_it_is_said_that_it_is_not_all_there() {
    let mut bed = Bed::new(1 << 20, vec![rule("chat.*", 3, 60 * SECOND, 60 * SECOND)]);
    bed.join("chat.a", id(0));
    let epoch = bed.ask("chat.a", Since::Now).0.epoch;
    assert_eq!(bed.recovered("chat.a", 0, epoch), Some(vec![]), "nothing was published");
    assert_eq!(bed.recovered("chat.a", 1, epoch), None, "of the future");
    (0..5).for_each(|_| bed.publish("chat.a", 10));
    assert_eq!(bed.recovered("chat.a", 5, epoch), Some(vec![]));
    assert_eq!(bed.recovered("chat.a", 3, epoch), Some(vec![4, 5]));
    assert_eq!(bed.recovered("chat.a", 2, epoch), Some(vec![3, 4, 5]));
    assert_eq!(bed.recovered("chat.a", 1, epoch), None, "more than are kept");
    assert_eq!(bed.recovered("chat.a", 4, Epoch(epoch.0 ^ 1)), None, "another epoch");
    assert_eq!(bed.ask("chat.a", Since::Unreadable).1, Some(false));
    assert_eq!(bed.ask("chat.a", Since::Last(2)).2, [4, 5]);
    assert_eq!(bed.ask("chat.a", Since::Last(u64::MAX)).2, [3, 4, 5]);
    assert_eq!(bed.ask("chat.a", Since::Last(0)).1, None);
    assert!(bed.histories.begin("news").is_none());
}

#[test]
fn publications_age_one_by_one_and_a_topic_that_nobody_wants_is_forgotten_with_its_epoch() {
    let mut bed = Bed::new(1 << 20, vec![rule("*", 9, 10 * SECOND, 20 * SECOND)]);
    bed.join("a", id(0));
    let epoch = bed.ask("a", Since::Now).0.epoch;
    bed.publish("a", 1);
    bed.histories.set_now(&mut bed.channels, 5 * SECOND);
    bed.publish("a", 1);
    bed.histories.set_now(&mut bed.channels, 10 * SECOND);
    assert_eq!(bed.recovered("a", 0, epoch), None);
    assert_eq!(bed.recovered("a", 1, epoch), Some(vec![2]));
    bed.histories.set_now(&mut bed.channels, 15 * SECOND);
    assert_eq!(bed.recovered("a", 1, epoch), None);
    assert_eq!(bed.recovered("a", 2, epoch), Some(vec![]), "its place is known");
    bed.histories.set_now(&mut bed.channels, 1_000 * SECOND);
    assert_eq!(bed.recovered("a", 2, epoch), Some(vec![]), "somebody has it");
    bed.leave(id(0));
    bed.histories.set_now(&mut bed.channels, 1_019 * SECOND);
    assert!(bed.find("a").is_some());
    bed.publish("a", 1);
    bed.histories.set_now(&mut bed.channels, 1_038 * SECOND);
    assert_eq!(bed.recovered("a", 3, epoch), Some(vec![]), "published to meanwhile");
    bed.histories.set_now(&mut bed.channels, 1_039 * SECOND);
    assert!(bed.find("a").is_none());
    bed.publish("a", 1);
    assert_eq!(bed.recovered("a", 0, epoch), None, "another count");
}

#[test]
fn past_the_bound_the_oldest_of_all_topics_goes_first_and_then_topics_that_nobody_wants() {
    let one = 100 + PUBLICATION_BYTES;
    let rules =
        vec![rule("a*", 9, 60 * SECOND, 60 * SECOND), rule("b*", 9, 60 * SECOND, 60 * SECOND)];
    let mut bed = Bed::new(3 * one, rules);
    bed.join("a", id(0));
    bed.join("b", id(1));
    for (second, name) in ["b", "a", "b", "a"].into_iter().enumerate() {
        bed.histories.set_now(&mut bed.channels, second as u32 * SECOND);
        bed.publish(name, 100);
    }
    assert_eq!(bed.ask("a", Since::Last(9)).2, [1, 2]);
    assert_eq!(bed.ask("b", Since::Last(9)).2, [2]);
    // Nobody has these: each costs more than there is left.
    for n in 0..50 {
        bed.publish(&format!("a{n}"), 1);
        assert!(bed.histories.bytes <= 3 * one);
    }
    assert!(bed.channels.len() <= 2 + 3, "{} topics", bed.channels.len());
}

#[test]
fn topics_that_were_joined_and_left_and_never_published_to_go_before_any_message() {
    let mut bed = Bed::new(3_000, vec![rule("*", 9, 60 * SECOND, 60 * SECOND)]);
    bed.publish("a", 100);
    for n in 0..100 {
        bed.join(&format!("made-up-{n}"), id(n));
        bed.leave(id(n));
    }
    assert_eq!(bed.ask("a", Since::Last(9)).2, [1]);
    assert!(bed.histories.bytes <= 3_000);
}

#[test]
fn a_topic_that_somebody_has_without_offsets_is_not_forgotten() {
    let mut bed = Bed::new(1 << 20, vec![rule("*", 9, 60 * SECOND, 2 * SECOND)]);
    let plain = Key { broker: BrokerId(0), form: Form::Plain, name: "a".into() };
    let plain = bed.channels.create(plain, None);
    bed.channels.add(0, id(0), plain);
    bed.publish("a", 1);
    bed.histories.set_now(&mut bed.channels, 30 * SECOND);
    assert_eq!(bed.ask("a", Since::Last(9)).2, [1]);
    bed.leave(id(0));
    bed.histories.set_now(&mut bed.channels, 33 * SECOND);
    assert!(bed.find("a").is_none());
}

#[test]
fn what_is_counted_is_what_is_there_whatever_happens() {
    for seed in 0..30 {
        let mut rng = StdRng::seed_from_u64(seed);
        let bytes_max = [0, 2_000, 20_000, 1 << 30][rng.random_range(0..4)];
        let rules = vec![
            rule("a*", 1, 3 * SECOND, 9 * SECOND),
            rule("b*", 4, 30 * SECOND, 2 * SECOND),
            rule("*", 50, 8 * SECOND, 8 * SECOND),
        ];
        let mut bed = Bed::new(bytes_max, rules);
        let (mut now, mut joined) = (Duration::ZERO, std::collections::BTreeSet::new());
        for _ in 0..2_000 {
            let topic = rng.random_range(0..9);
            let name = format!("{}{topic}", ["a", "b", "c"][topic as usize % 3]);
            match rng.random_range(0..10) {
                0 if joined.insert(topic) => bed.join(&name, id(topic)),
                1 if joined.remove(&topic) => bed.leave(id(topic)),
                2 => {
                    now += SECOND * rng.random_range(0..4);
                    bed.histories.set_now(&mut bed.channels, now);
                }
                3 if bed.find(&name).is_some() => {
                    bed.ask(&name, Since::Last(rng.random_range(0..60)));
                }
                _ => bed.publish(&name, rng.random_range(0..300)),
            }
            bed.check(&joined);
        }
    }
}

impl Bed {
    /// Counts anew what is there.
    fn check(&self, joined: &std::collections::BTreeSet<u32>) {
        let (mut bytes, mut publications) = (0, 0);
        let (mut oldest, mut idle) = (0, 0);
        for topic in 0..9 {
            let name = format!("{}{topic}", ["a", "b", "c"][topic as usize % 3]);
            let Some(id) = self.find(&name) else {
                assert!(!joined.contains(&topic), "{name} is wanted");
                continue;
            };
            let kept = self.channels.at(id).kept.as_deref().unwrap();
            assert!(kept.publications.len() <= kept.size);
            publications += kept.publications.len() as u64;
            bytes += kept
                .publications
                .iter()
                .map(|of| of.frame.len() + PUBLICATION_BYTES)
                .sum::<usize>();
            let rule = &self.histories.rules[kept.rule];
            if let Some(front) = kept.publications.front() {
                oldest += 1;
                assert!(rule.oldest.contains(&(front.at, id)));
            }
            assert_eq!(kept.idle.is_none(), joined.contains(&topic), "{name}");
            if let Some(since) = kept.idle {
                idle += 1;
                bytes += CHANNEL_BYTES + name.len();
                let unused = self.channels.at(id).sequence == 0;
                assert_eq!(rule.unused.contains(&(since, id)), unused, "{name}");
                assert_eq!(rule.idle.contains(&(since, id)), !unused, "{name}");
            }
        }
        let rules = &self.histories.rules;
        assert_eq!(rules.iter().map(|rule| rule.oldest.len()).sum::<usize>(), oldest);
        assert_eq!(self.histories.idle(), idle);
        assert_eq!(self.histories.bytes, bytes);
        assert!(bytes <= self.histories.bytes_max);
        let HubCounters { history_publications, history_dropped, history_bytes, .. } =
            &*self.counters;
        assert_eq!(history_publications.value() - history_dropped.value(), publications);
        assert_eq!(history_bytes.value(), bytes as u64);
    }
}
