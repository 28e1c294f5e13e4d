//! What a broker is: where a publication goes before it is sequenced. It is a sink of publications
//! (from RPC), a source of them (into this process, through its [`Inlet`]), and has a state.

mod link;
mod memory;
mod nats;
mod redis;

use std::rc::Rc;

pub use self::link::Address;
pub(super) use self::memory::Memory;
pub use self::nats::{NatsLogin, NatsServer, NatsSettings};
pub use self::redis::{RedisSettings, Sharded};
use super::lanes::Patience;
use super::sequencer::{Publishing, Sequencer};
use crate::mesh::BrokerId;
use crate::publication::Payload;

/// Whether a broker passes publications on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All of them.
    Up,
}

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
