//! Answers to interest: what shards ask in the lanes up, which are drained always.

use std::sync::Arc;

use super::broker::Wanting;
use super::brokers::Brokers;
use super::channels::Key;
use super::interest::Interests;
use crate::lane::{Receiver, Wake};
use crate::mesh::Up;

/// Entries taken from one lane before others, and RPC, get their turn.
const TURN_ENTRIES: usize = 256;

/// The hub's receiving ends.
pub(super) struct Questions {
    up: Vec<Receiver<Up>>,
    wake: Arc<Wake>,
}

impl Questions {
    pub(super) fn new(up: Vec<Receiver<Up>>, wake: Arc<Wake>) -> Self {
        Self { up, wake }
    }

    pub(super) fn fall_asleep(&self) {
        self.wake.fall_asleep();
    }

    pub(super) fn stay_awake(&self) {
        self.wake.stay_awake();
    }

    /// Whether some have not been answered.
    pub(super) fn are_there(&self) -> bool {
        self.up.iter().any(|lane| !lane.is_empty())
    }

    /// Answers some. Says whether there were any.
    pub(super) fn take(&mut self, interests: &Interests, brokers: &Brokers) -> bool {
        let mut taken = false;
        for (shard, lane) in self.up.iter_mut().enumerate() {
            for _ in 0..TURN_ENTRIES {
                let Some(question) = lane.pop() else { break };
                match question {
                    Up::Interest { topic, broker, form, name } => {
                        let wanting = brokers.want(broker, &name);
                        let key = Key { broker, form, name };
                        match wanting {
                            Wanting::Now => interests.subscribed(shard, topic, key),
                            Wanting::Later => interests.wait(shard, topic, key),
                        }
                    }
                    Up::Positions { connection, topics } => {
                        interests.sequencer.lanes.borrow_mut().asked(shard, connection, topics);
                    }
                    Up::Uninterest { topic } => {
                        if let Some(key) = interests.given_up(shard, topic) {
                            brokers.unwant(&key);
                        }
                    }
                }
                taken = true;
            }
        }
        taken
    }
}
