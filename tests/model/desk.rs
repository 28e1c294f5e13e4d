//! The desk, as shards know it: it answers every question once, in any order, late, also for those
//! who have gone.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::access::{Grant, Identity, Join, Pattern, Rule, Rules};
use roadcast::lane::Depth;
use roadcast::mesh::desk::{About, Answer, Ask, Denial, DeskEnd, Why, Word};
use roadcast::shard::AccessConfig;

/// The path of somebody who may not connect.
pub const DENIED: &str = "/ws?denied";
/// The path of somebody whose token runs out soon.
pub const EXPIRING: &str = "/ws?expiring";
/// A token that is good, and one that is not.
pub const TOKENS: [&str; 2] = ["good", "bad"];

/// What becomes of a join of a topic, whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nobody is asked.
    Free,
    /// The desk says so.
    Asked(bool),
    /// A rule forbids it.
    Denied,
}

/// See [`Verdict`].
pub fn verdict_of(topic: &str) -> Verdict {
    match topic {
        "t3" | "b5" => Verdict::Denied,
        "t1" | "t4" | "b1" | "b4" => Verdict::Asked(true),
        "t6" => Verdict::Asked(false),
        _ => Verdict::Free,
    }
}

/// The rules that say so.
pub fn config() -> AccessConfig {
    let rule = |topics: &[&str], join| Rule {
        topics: topics.iter().map(|topic| Pattern::parse(topic).unwrap()).collect(),
        join,
        place: String::new(),
    };
    let rules =
        vec![rule(&["t3", "b5"], Join::Deny), rule(&["t1", "t4", "b1", "b4", "t6"], Join::Ask)];
    let rules = Rules { rules, default: Join::Allow, one_by_one: false };
    AccessConfig { asks_to_connect: true, takes_tokens: true, rules }
}

pub struct Desk {
    end: DeskEnd,
    /// Questions that it has taken, with the shard that asks.
    pending: Vec<(usize, Ask)>,
    /// Answers that the lane has no room for.
    waiting: Vec<(usize, Word)>,
    /// Sometimes it cannot find out, and says no.
    pub fails: bool,
    /// How often it answers one of its questions in a step.
    pace: f64,
}

impl Desk {
    pub fn new(end: DeskEnd, rng: &mut SmallRng) -> Self {
        let (fails, pace) = (rng.random_bool(0.3), [0.05, 0.5, 1.0][rng.random_range(0..3)]);
        Self { end, pending: Vec::new(), waiting: Vec::new(), fails, pace }
    }

    /// How full each lane to a shard is.
    pub fn depths(&self) -> Vec<Depth> {
        self.end.words.iter().map(|lane| lane.depth()).collect()
    }

    pub fn is_quiet(&self) -> bool {
        self.pending.is_empty()
            && self.waiting.is_empty()
            && self.end.asks.iter().all(|lane| lane.is_empty())
    }

    pub fn step(&mut self, rng: &mut SmallRng) {
        for (shard, lane) in self.end.asks.iter_mut().enumerate() {
            for _ in 0..rng.random_range(0..4) {
                let Some(ask) = lane.pop() else { break };
                let twice = self.pending.iter().any(|(of, other)| {
                    let same = other.ticket.connection == ask.ticket.connection;
                    *of == shard && same && other.waits.strong_count() > 0
                });
                assert!(!twice, "two questions of one connection: {ask:?}");
                self.pending.push((shard, ask));
            }
        }
        while !self.pending.is_empty() && rng.random_bool(self.pace) {
            let (shard, ask) = self.pending.swap_remove(rng.random_range(0..self.pending.len()));
            let answer = self.answer(&ask, rng);
            self.waiting.push((shard, Word::Answer(ask.ticket, answer)));
        }
        for (shard, word) in std::mem::take(&mut self.waiting) {
            let lane = &mut self.end.words[shard];
            match lane.push(0, word) {
                Ok(()) => lane.wake(),
                Err(word) => self.waiting.push((shard, word)),
            }
        }
    }

    fn answer(&self, ask: &Ask, rng: &mut SmallRng) -> Answer {
        let why = Why::NoAnswer;
        let fails = self.fails && rng.random_bool(0.1);
        match &ask.about {
            About::Connect(request) => {
                let head = String::from_utf8_lossy(&request.head);
                if fails || head.contains(DENIED) {
                    let response = b"HTTP/1.1 403 \r\nContent-Length: 0\r\n\r\n".to_vec();
                    return Answer::Denied(Denial { why, user: None, response });
                }
                let expires = head.contains(EXPIRING).then(|| rng.random_range(100..3_000));
                Answer::Granted(grant(expires))
            }
            About::Join { topics, .. } => {
                assert!(!topics.is_empty(), "nothing is asked");
                let allowed = topics.iter().all(|topic| match verdict_of(topic) {
                    Verdict::Asked(allowed) => allowed,
                    other => panic!("{topic} is not to be asked about: {other:?}"),
                });
                if allowed && !fails { Answer::Allowed } else { Answer::Refused(why) }
            }
            About::Token { token, .. } => match &**token {
                "good" if !fails => Answer::Granted(grant(Some(rng.random_range(500..5_000)))),
                _ => Answer::Refused(why),
            },
        }
    }
}

fn grant(expires_ms: Option<u64>) -> Arc<Grant> {
    let identity = Identity { user: Some("somebody".into()), ..Identity::default() };
    Arc::new(Grant {
        identity,
        expires_in: expires_ms.map(Duration::from_millis),
        ..Grant::default()
    })
}
