//! What a server answers, and what it says unasked.

use std::sync::Arc;

use super::{Confirmed, Ended, Refused, State, Topics, Verb};

impl Topics {
    /// Whether a topic is subscribed and wanted here.
    pub(in crate::hub::broker::redis) fn is_held(&self, name: &str) -> bool {
        self.known.get(name).is_some_and(|topic| topic.wanted && topic.state == State::Held)
    }

    /// The server has confirmed a subscription.
    pub(in crate::hub::broker::redis) fn confirmed(&mut self, name: &str) -> Confirmed {
        let Some((name, topic)) = self.known.get_key_value(name) else { return Confirmed::Unasked };
        if topic.state != State::Asked {
            return Confirmed::Unasked;
        }
        let (name, mut topic) = (name.clone(), *topic);
        (topic.deadline, topic.told) = (None, false);
        let missed = std::mem::take(&mut topic.missed);
        if std::mem::take(&mut topic.owed) {
            self.owed -= 1;
        }
        // It may have been given to another server meanwhile.
        topic.state = if topic.wanted { State::Held } else { State::Leaving };
        self.known.insert(name.clone(), topic);
        self.answered(&name, Verb::Subscribe);
        if topic.wanted {
            return Confirmed::Held { missed };
        }
        self.leaving.push_back(name);
        Confirmed::Unasked
    }

    /// The server has ended a subscription.
    pub(in crate::hub::broker::redis) fn ended(&mut self, name: &str) -> Ended {
        let Some((name, topic)) = self.known.get_key_value(name) else { return Ended::Left };
        let (name, state) = (name.clone(), topic.state);
        match state {
            // Otherwise the server ended it by itself, and the answer is still to come.
            State::Leaving if self.answered(&name, Verb::Unsubscribe) => {
                self.gone(&name);
                Ended::Left
            }
            State::Held => {
                let topic = self.known.get_mut(&name).expect("just found");
                (topic.state, topic.missed) = (State::Due, true);
                self.due.push_back(name);
                Ended::Moved
            }
            State::Leaving | State::Due | State::Asked | State::Refused => Ended::Left,
        }
    }

    /// A topic that was to be left is not subscribed any more.
    pub(in crate::hub::broker::redis) fn gone(&mut self, name: &Arc<str>) {
        match self.known.get_mut(name) {
            Some(topic) if topic.state != State::Leaving => {}
            Some(topic) if topic.wanted => {
                topic.state = State::Due;
                self.due.push_back(name.clone());
            }
            _ => self.forget(name),
        }
    }

    /// A topic that was to be left may not be: it is subscribed still. Says whether it is wanted.
    pub(in crate::hub::broker::redis) fn stays(&mut self, name: &str) -> bool {
        match self.known.get_mut(name) {
            Some(topic) if topic.state == State::Leaving => {
                (topic.state, topic.deadline) = (State::Held, None);
                topic.wanted
            }
            _ => false,
        }
    }

    /// Counts an answer, if it is one to the oldest question.
    fn answered(&mut self, name: &str, verb: Verb) -> bool {
        let Some(question) = self.asked.front_mut() else { return false };
        let rest = question.topics.get(question.answered..).unwrap_or_default();
        // The first, nearly always.
        if question.verb != verb || !rest.iter().any(|topic| **topic == *name) {
            return false;
        }
        question.answered += 1;
        if question.answered >= question.topics.len() {
            self.asked.pop_front();
        }
        true
    }

    /// The server refused the oldest question that is unanswered.
    pub(in crate::hub::broker::redis) fn refused(&mut self) -> Refused {
        let Some(mut question) = self.asked.pop_front() else { return Refused::Other };
        match (question.verb, question.topics.len()) {
            (Verb::Subscribe, 1) => {
                let name = question.topics.remove(0);
                if let Some(topic) = self.known.get_mut(&name) {
                    topic.state = State::Refused;
                    if std::mem::take(&mut topic.owed) {
                        self.owed -= 1;
                    }
                }
                Refused::Topic(name)
            }
            (Verb::Subscribe, count) => {
                let rest = question.topics.split_off(count / 2);
                self.parts.push_back(question.topics);
                self.parts.push_back(rest);
                Refused::Split
            }
            (Verb::Unsubscribe, _) => Refused::Leave(question.topics),
            (Verb::Beside, _) => Refused::Other,
        }
    }
}
