//! What this process wants of one server, and how far each topic has come. Pure: time is an
//! argument, and what is to be sent is asked for.
//!
//! ```text
//!          want           sent             confirmed          linger over        answered
//! (none) ────────▶ Due ────────▶ Asked ──────────────▶ Held ────────────▶ Leaving ────────▶ (none)
//!                   ▲                                   │                   │
//!                   └──── connection or slot gone: a gap┴──── wanted again ─┘
//! ```
//!
//! Invariants worth naming:
//! - **One question a topic.** While SUBSCRIBE or UNSUBSCRIBE is unanswered, no other is sent for
//!   the topic: so an answer is about what was asked last.
//! - **A gap is told when the topic is subscribed again**, before its next publication, and once.
//! - Whoever waits is told by a deadline; a topic is kept while anybody wants it.

mod answers;
mod homes;
mod patience;

pub(super) use self::homes::Released;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::broker::Wanting;
use crate::hub::broker::terms::LINGER;

/// Channels and bytes of one command.
const COMMAND_CHANNELS: usize = 1_000;
const COMMAND_BYTES: usize = 64 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Due,
    Asked,
    Held,
    Leaving,
    /// The server refused it: asked for again on the next connection.
    Refused,
}

#[derive(Clone, Copy, Debug)]
struct Topic {
    state: State,
    wanted: bool,
    /// It was held and may have missed something.
    missed: bool,
    /// It must be answered before this server counts as up.
    owed: bool,
    /// Of whoever waits for it.
    deadline: Option<Instant>,
    /// Nobody wants it, and it lingers so long.
    until: Option<Instant>,
    /// It was refused while somebody had it, who has been told.
    told: bool,
}

/// A command whose answers are due.
#[derive(Debug)]
struct Question {
    verb: Verb,
    topics: Vec<Arc<str>>,
    /// Answers that have come.
    answered: usize,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Subscribe,
    Unsubscribe,
    /// Something else, answered in its place: PING, the own channel.
    Beside,
}

/// What a confirmation means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Confirmed {
    /// It is subscribed; `missed`: again, so that there is a gap.
    Held {
        /// It was subscribed before.
        missed: bool,
    },
    /// Nobody asked, or nobody wants it here any more.
    Unasked,
}

/// What the end of a subscription means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// As asked.
    Left,
    /// By the server alone: its slot has gone to another node.
    Moved,
}

/// What an error answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// One of several channels: they are asked for in smaller parts.
    Split,
    /// That topic.
    Topic(Arc<str>),
    /// To leave those.
    Leave(Vec<Arc<str>>),
    /// It was not about a subscription.
    Other,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Topics {
    known: HashMap<Arc<str>, Topic>,
    /// To be subscribed, in parts of one command each at most; may name what is not `Due` any more.
    due: VecDeque<Arc<str>>,
    /// Parts of commands that were refused.
    parts: VecDeque<Vec<Arc<str>>>,
    asked: VecDeque<Question>,
    /// Until when those linger that nobody wants; may name what is wanted again, see
    /// [`Self::tidy`].
    unwanted: VecDeque<(Instant, Arc<str>)>,
    /// To be unsubscribed.
    leaving: VecDeque<Arc<str>>,
    waiting: VecDeque<(Instant, Arc<str>)>,
    /// To be due later.
    postponed: VecDeque<(Instant, Arc<str>)>,
    /// Refused and wanted, to be asked for again.
    again: VecDeque<(Instant, Arc<str>)>,
    owed: usize,
    /// How long a topic may be waited for.
    patience: Duration,
    command_channels: usize,
}

impl Topics {
    /// `patience`: how long a topic may be waited for. `single`: a command names one channel, as of
    /// a Cluster, where each may be at home elsewhere.
    pub(super) fn new(patience: Duration, single: bool) -> Self {
        Self {
            known: HashMap::new(),
            due: VecDeque::new(),
            parts: VecDeque::new(),
            asked: VecDeque::new(),
            unwanted: VecDeque::new(),
            leaving: VecDeque::new(),
            waiting: VecDeque::new(),
            postponed: VecDeque::new(),
            again: VecDeque::new(),
            owed: 0,
            patience,
            command_channels: if single { 1 } else { COMMAND_CHANNELS },
        }
    }

    /// Topics that are wanted or linger.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether everything that was held on an earlier connection is answered on this one.
    pub(super) fn is_settled(&self) -> bool {
        self.owed == 0
    }

    /// Somebody wants a topic.
    pub(super) fn want(&mut self, name: &Arc<str>, now: Instant) -> Wanting {
        let topic = self.known.entry(name.clone()).or_insert_with(|| {
            self.due.push_back(name.clone());
            Topic {
                state: State::Due,
                wanted: true,
                missed: false,
                owed: false,
                deadline: None,
                until: None,
                told: false,
            }
        });
        (topic.wanted, topic.until) = (true, None);
        if topic.state == State::Held {
            return Wanting::Now;
        }
        if topic.state == State::Refused {
            topic.state = State::Due;
            self.due.push_back(name.clone());
        }
        // Who came first waits no longer because others came.
        if topic.deadline.is_none() {
            topic.deadline = Some(now + self.patience);
            self.waiting.push_back((now + self.patience, name.clone()));
        }
        self.tidy();
        Wanting::Later
    }

    /// Nobody wants a topic any more.
    pub(super) fn unwant(&mut self, name: &str, now: Instant) {
        if let Some((name, topic)) = self.known.get_key_value(name) {
            let (name, mut topic) = (name.clone(), *topic);
            let until = now + LINGER;
            (topic.wanted, topic.deadline, topic.until) = (false, None, Some(until));
            self.known.insert(name.clone(), topic);
            self.unwanted.push_back((until, name));
            self.tidy();
        }
    }

    fn forget(&mut self, name: &str) {
        if let Some(topic) = self.known.remove(name)
            && topic.owed
        {
            self.owed -= 1;
        }
    }

    /// What is to be sent next: its verb, and the topics in it. Counts as sent.
    pub(super) fn next(&mut self, now: Instant) -> Option<(Verb, &[Arc<str>])> {
        self.end_lingering(now);
        while self.postponed.front().is_some_and(|(at, _)| *at <= now) {
            self.due.extend(self.postponed.pop_front().map(|(_, name)| name));
        }
        while self.again.front().is_some_and(|(at, _)| *at <= now) {
            let Some((_, name)) = self.again.pop_front() else { break };
            if let Some(topic) = self.known.get_mut(&name)
                && topic.state == State::Refused
                && topic.wanted
            {
                topic.state = State::Due;
                self.due.push_back(name);
            }
        }
        let question = match self.parts.pop_front() {
            Some(topics) => Question { verb: Verb::Subscribe, topics, answered: 0 },
            None => {
                let topics = self.take_due();
                if topics.is_empty() {
                    let topics = self.take_leaving();
                    Question { verb: Verb::Unsubscribe, topics, answered: 0 }
                } else {
                    Question { verb: Verb::Subscribe, topics, answered: 0 }
                }
            }
        };
        if question.topics.is_empty() {
            return None;
        }
        self.asked.push_back(question);
        self.asked.back().map(|question| (question.verb, &question.topics[..]))
    }

    /// Something is asked beside topics, whose answer comes in its place.
    pub(super) fn asked_beside(&mut self) {
        self.asked.push_back(Question { verb: Verb::Beside, topics: Vec::new(), answered: 0 });
    }

    /// It is answered.
    pub(super) fn answered_beside(&mut self) {
        if self.asked.front().is_some_and(|question| question.verb == Verb::Beside) {
            self.asked.pop_front();
        }
    }

    fn take_due(&mut self) -> Vec<Arc<str>> {
        let (mut topics, mut bytes) = (Vec::new(), 0);
        while topics.len() < self.command_channels && bytes < COMMAND_BYTES {
            let Some(name) = self.due.pop_front() else { break };
            match self.known.get_mut(&name) {
                Some(topic) if topic.state == State::Due => topic.state = State::Asked,
                _ => continue,
            }
            bytes += name.len();
            topics.push(name);
        }
        topics
    }

    fn take_leaving(&mut self) -> Vec<Arc<str>> {
        let (mut topics, mut bytes) = (Vec::new(), 0);
        while topics.len() < self.command_channels && bytes < COMMAND_BYTES {
            let Some(name) = self.leaving.pop_front() else { break };
            if !self.known.get(&name).is_some_and(|topic| topic.state == State::Leaving) {
                continue;
            }
            bytes += name.len();
            topics.push(name);
        }
        topics
    }

    /// The connection has gone: all that is wanted is due on the next one.
    pub(super) fn disconnected(&mut self) {
        self.asked.clear();
        self.parts.clear();
        self.due.clear();
        self.leaving.clear();
        self.unwanted.clear();
        self.postponed.clear();
        self.again.clear();
        self.owed = 0;
        self.known.retain(|name, topic| {
            topic.missed |= topic.state == State::Held;
            topic.state = State::Due;
            topic.owed = true;
            if topic.wanted {
                self.owed += 1;
                self.due.push_back(name.clone());
            }
            topic.wanted
        });
    }
}

#[cfg(test)]
mod tests;
