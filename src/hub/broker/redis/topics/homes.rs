//! Topics of a Cluster, which move from one server to another.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{State, Topics};

/// Before a topic is asked for again that is at home elsewhere, where nobody knows yet where.
const POSTPONED: Duration = Duration::from_millis(250);

/// A topic that goes to another server.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::hub::broker::redis) struct Released {
    pub(in crate::hub::broker::redis) name: Arc<str>,
    /// It was held, or missed something before.
    pub(in crate::hub::broker::redis) missed: bool,
    /// Of whoever waits for it.
    pub(in crate::hub::broker::redis) deadline: Option<Instant>,
}

impl Topics {
    /// A topic comes from another server. Whoever waits for it waits no longer because of that.
    pub(in crate::hub::broker::redis) fn adopt(&mut self, released: Released, now: Instant) {
        let Released { name, missed, deadline } = released;
        let before = self.known.get(&name).and_then(|topic| topic.deadline);
        self.want(&name, now);
        let topic = self.known.get_mut(&name).expect("just put there");
        topic.missed |= missed;
        topic.deadline = before.into_iter().chain(deadline).min();
        if let Some(deadline) = topic.deadline {
            let place = self.waiting.partition_point(|(at, _)| *at <= deadline);
            self.waiting.insert(place, (deadline, name));
        }
    }

    /// Where topics are kept that no server has, nothing is asked.
    pub(in crate::hub::broker::redis) fn ask_nothing(&mut self) {
        self.due.clear();
    }

    /// Gives all topics up that are wanted and are not this server's, by their deadlines. Those
    /// that linger are gone.
    pub(in crate::hub::broker::redis) fn release(
        &mut self,
        mut is_ours: impl FnMut(&str) -> bool,
    ) -> Vec<Released> {
        let others: Vec<Arc<str>> =
            self.known.keys().filter(|name| !is_ours(name)).cloned().collect();
        let mut released = Vec::new();
        for name in others {
            let Some(topic) = self.known.get_mut(&name) else { continue };
            if topic.wanted {
                let missed = topic.missed || topic.state == State::Held;
                released.push(Released { name: name.clone(), missed, deadline: topic.deadline });
            }
            match topic.state {
                State::Held => {
                    (topic.wanted, topic.missed, topic.deadline) = (false, false, None);
                    topic.state = State::Leaving;
                    self.leaving.push_back(name);
                }
                // What is under way is answered, and left then.
                State::Asked | State::Leaving => {
                    (topic.wanted, topic.missed, topic.deadline) = (false, false, None);
                    if std::mem::take(&mut topic.owed) {
                        self.owed -= 1;
                    }
                }
                State::Due | State::Refused => self.forget(&name),
            }
        }
        released.sort_unstable_by_key(|topic| topic.deadline);
        released
    }

    /// A topic that was refused is asked for again in a moment, if it is here still.
    pub(in crate::hub::broker::redis) fn postpone(&mut self, name: Arc<str>, now: Instant) {
        let Some(topic) = self.known.get_mut(&name) else { return };
        topic.state = State::Due;
        if topic.missed && !std::mem::replace(&mut topic.owed, true) {
            self.owed += 1;
        }
        self.postponed.push_back((now + POSTPONED, name));
    }
}
