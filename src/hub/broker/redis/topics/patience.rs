//! Who waits for a topic, and for how long.

use std::collections::HashSet;
use std::sync::Arc;

use tokio::time::Instant;

use super::{LINGER, State, Topics};
use crate::hub::broker::terms::AGAIN;

/// Names of topics that a queue may hold beside twice those that are known.
const SPARE: usize = 64;

impl Topics {
    /// Who waits for a topic has been refused. `wanted`: somebody else still wants it.
    pub(in crate::hub::broker::redis) fn turned_away(
        &mut self,
        name: &str,
        wanted: bool,
        now: Instant,
    ) {
        if let Some(topic) = self.known.get_mut(name) {
            topic.deadline = None;
        }
        if !wanted {
            self.unwant(name, now);
        }
    }

    /// A topic that somebody has was refused: it is asked for again in a while. Says whether that
    /// is news to whoever has it, who may miss something from now on.
    pub(in crate::hub::broker::redis) fn again(&mut self, name: &Arc<str>, now: Instant) -> bool {
        self.again.push_back((now + AGAIN, name.clone()));
        self.known.get_mut(name).is_some_and(|topic| {
            topic.missed = true;
            !std::mem::replace(&mut topic.told, true)
        })
    }

    /// The topics that have been waited for too long.
    pub(in crate::hub::broker::redis) fn overdue(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut overdue = Vec::new();
        while let Some((deadline, _)) = self.waiting.front()
            && *deadline <= now
        {
            let Some((deadline, name)) = self.waiting.pop_front() else { break };
            if let Some(topic) = self.known.get_mut(&name)
                && topic.deadline == Some(deadline)
            {
                topic.deadline = None;
                overdue.push(name);
            }
        }
        overdue
    }

    /// Those have lingered that nobody has wanted again.
    pub(in crate::hub::broker::redis) fn end_lingering(&mut self, now: Instant) {
        while let Some((until, _)) = self.unwanted.front()
            && *until <= now
        {
            let Some((until, name)) = self.unwanted.pop_front() else { break };
            let Some(topic) = self.known.get_mut(&name) else { continue };
            if topic.until != Some(until) {
                continue;
            }
            topic.until = None;
            match topic.state {
                State::Held => {
                    topic.state = State::Leaving;
                    self.leaving.push_back(name);
                }
                // Its answer is under way.
                State::Asked => {
                    topic.until = Some(until + LINGER);
                    self.unwanted.push_back((until + LINGER, name));
                }
                State::Leaving => {}
                State::Due | State::Refused => self.forget(&name),
            }
        }
        self.tidy();
    }

    /// Bounds the queues: takes out what is over by now where that is most of a queue.
    pub(super) fn tidy(&mut self) {
        let (known, bound) = (&self.known, 2 * self.known.len() + SPARE);
        if self.due.len() > bound {
            let mut seen = HashSet::new();
            self.due.retain(|name| {
                let is_due = known.get(name).is_some_and(|topic| topic.state == State::Due);
                is_due && seen.insert(name.clone())
            });
        }
        if self.unwanted.len() > bound {
            self.unwanted
                .retain(|(at, name)| known.get(name).is_some_and(|topic| topic.until == Some(*at)));
        }
        if self.waiting.len() > bound {
            self.waiting.retain(|(at, name)| {
                known.get(name).is_some_and(|topic| topic.deadline == Some(*at))
            });
        }
    }
}
