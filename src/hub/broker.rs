//! Brokers: where a publication goes before it is sequenced. A broker is a sink of publications
//! (from RPC), a source of them (into this process, through its [`Inlet`]), and has a state.

use std::pin::Pin;
use std::rc::Rc;

use super::room::Patience;
use super::sequencer::{PublishError, Sequencer};
use crate::mesh::BrokerId;
use crate::publication::Payload;

/// Whether a broker passes publications on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All of them.
    Up,
}

/// A publication on its way.
pub(super) enum Publishing {
    /// Done or failed at once: what the memory broker does unless a lane is full.
    Now(Result<(), PublishError>),
    /// To be waited for; what is due to others should go first.
    Later(Later),
    /// It waits by itself, and has put so many bytes on the account.
    Left(usize),
}

/// What becomes of a publication that waits. It goes its way even if nobody asks.
pub(super) type Later = Pin<Box<dyn Future<Output = Result<(), PublishError>>>>;

/// A configured broker.
pub(super) trait Broker {
    /// Its state by now.
    fn state(&self) -> State;

    /// Takes a publication; it is taken when the result is there. `patience` says who waits if it
    /// has to.
    fn publish(&self, topic: &str, payload: &Payload<'_>, patience: Patience) -> Publishing;

    /// This process begins or ceases to want a topic, as a whole. Shards are told at once: a broker
    /// that takes time to subscribe needs its shards' answers held back until it has.
    fn interest(&self, topic: &str, wanted: bool);
}

/// Where a broker delivers: into the order of this process.
pub(super) struct Inlet {
    sequencer: Rc<Sequencer>,
    broker: BrokerId,
}

impl Inlet {
    pub(super) fn new(sequencer: Rc<Sequencer>, broker: BrokerId) -> Self {
        Self { sequencer, broker }
    }

    /// Sequences a publication and hands it to every interested shard.
    pub(super) fn deliver(
        &self,
        topic: &str,
        payload: &Payload<'_>,
        patience: Patience,
    ) -> Publishing {
        self.sequencer.deliver(self.broker, topic, payload, patience)
    }
}

/// This process and all its cores.
pub(super) struct Memory {
    pub(super) inlet: Inlet,
}

impl Broker for Memory {
    fn state(&self) -> State {
        State::Up
    }

    fn publish(&self, topic: &str, payload: &Payload<'_>, patience: Patience) -> Publishing {
        self.inlet.deliver(topic, payload, patience)
    }

    fn interest(&self, _topic: &str, _wanted: bool) {}
}
