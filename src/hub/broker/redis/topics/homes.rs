//! Topics of a Cluster, which move from one server to another.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{State, Topics};

/// Before a topic is asked for again that is at home elsewhere, where nobody knows yet where.
const POSTPONED: Duration = Duration::from_millis(250);

impl Topics {
    /// A topic comes from another server, where it was held if `missed`.
    pub(in crate::hub::broker::redis) fn adopt(
        &mut self,
        name: Arc<str>,
        missed: bool,
        now: Instant,
    ) {
        self.want(&name, now);
        let topic = self.known.get_mut(&name).expect("just put there");
        topic.missed |= missed;
    }

    /// Gives all topics up that are wanted and are not this server's; says of each whether it was
    /// held, or missed something before. Those that linger are gone.
    pub(in crate::hub::broker::redis) fn release(
        &mut self,
        mut is_ours: impl FnMut(&str) -> bool,
    ) -> Vec<(Arc<str>, bool)> {
        let others: Vec<Arc<str>> =
            self.known.keys().filter(|name| !is_ours(name)).cloned().collect();
        let mut released = Vec::new();
        for name in others {
            let Some(topic) = self.known.get_mut(&name) else { continue };
            if topic.wanted {
                let held = topic.missed || topic.state == State::Held;
                released.push((name.clone(), held));
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
