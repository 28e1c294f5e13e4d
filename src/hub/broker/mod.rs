//! What a broker is: where a publication goes before it is sequenced. It is a sink of publications
//! (from RPC), a source of them (into this process, through its [`Inlet`]), and is told which
//! topics this process wants.
//!
//! Invariants worth naming:
//! - **A shard is answered when its topic is subscribed.** [`Broker::want`] says whether it is by
//!   now. If not, the broker confirms it later, or says that it cannot be.
//! - **One way in.** A publication reaches this process through [`Inlet::deliver`] alone, also one
//!   that was published here: what other processes share with this one, it gets back from there.
//! - **Nothing is missed in silence.** Whatever may have missed a publication of a topic says
//!   [`Inlet::lost`] before it delivers the next one.

mod backoff;
mod flight;
mod link;
mod memory;
mod nats;
mod probed;
mod redis;
mod remarks;
pub(super) mod status;
mod terms;

use std::rc::Rc;
use std::sync::Arc;

pub use self::link::{Address, Link, Outbound, Tls};
pub(super) use self::memory::Memory;
pub(super) use self::nats::{Nats, probe_nats};
pub use self::nats::{NatsLogin, NatsServer, NatsSettings};
pub use self::probed::Probed;
pub(super) use self::redis::{Redis, probe_redis};
pub use self::redis::{RedisSettings, Sharded};
pub use self::status::{BrokerState, BrokerStatus, Standing};
pub use self::terms::Terms;
use super::interest::Interests;
use super::lanes::Patience;
use super::sequencer::Publishing;
use crate::mesh::{BrokerId, Unavailable};
use crate::publication::Payload;

/// A configured broker.
pub trait Broker {
    /// Takes a publication, in order. `patience` says who waits if it has to.
    fn publish(&self, topic: &str, payload: &Payload<'_>, patience: Patience) -> Publishing;

    /// This process wants a topic. Asked for each shard that begins to, and must not tell the inlet
    /// anything: what there is to say is said by the answer, or later.
    fn want(&self, topic: &Arc<str>) -> Wanting;

    /// Nobody in this process wants a topic any more, or waits for it.
    fn unwant(&self, topic: &str);
}

/// Whether a topic is subscribed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanting {
    /// It is: every publication from now on is delivered, or said to be lost.
    Now,
    /// Not yet: [`Inlet::confirmed`] or [`Inlet::unavailable`] follows.
    Later,
}

/// Where a broker delivers: into the order of this process.
#[derive(Clone)]
pub struct Inlet {
    interests: Rc<Interests>,
    broker: BrokerId,
    status: Arc<BrokerStatus>,
}

impl Inlet {
    pub(super) fn new(
        interests: Rc<Interests>,
        broker: BrokerId,
        status: Arc<BrokerStatus>,
    ) -> Self {
        Self { interests, broker, status }
    }

    /// The broker begins its first attempt to reach its server: the start waits a moment for what
    /// [`Inlet::started`] says.
    pub fn starting(&self) {
        self.interests.starting.begin();
    }

    /// How the first attempt ended. A server that is away is no error: it is waited for. An error
    /// ends the start: it says what is wrong, where, and what to do.
    pub fn started(&self, outcome: Result<(), String>) {
        self.interests.starting.end(outcome);
    }

    /// Sequences a publication and hands it to every interested shard. Whoever gets
    /// [`Publishing::Later`] with [`Patience::Caller`] reads nothing more until it has ended: that
    /// is how a full lane slows its broker down.
    pub fn deliver(&self, topic: &str, payload: &Payload<'_>, patience: Patience) -> Publishing {
        self.interests.sequencer.deliver(self.broker, topic, payload, patience)
    }

    /// Whether a shard that has been answered wants a topic.
    pub fn is_wanted(&self, topic: &str) -> bool {
        self.interests.is_wanted(self.broker, topic)
    }

    /// A topic is subscribed: answers all who wait for it. Says whether anybody does, or has it.
    pub fn confirmed(&self, topic: &str) -> bool {
        self.interests.confirmed(self.broker, topic)
    }

    /// A topic could not be subscribed: refuses all who wait for it. Says whether somebody still
    /// wants it, who joined it before.
    pub fn unavailable(&self, topic: &str, why: Unavailable) -> bool {
        self.interests.unavailable(self.broker, topic, why)
    }

    /// Publications of a topic may be missing from here on: tells every shard that has it, before
    /// the topic's next publication. Says whether anybody has, and counts it as a gap if so.
    pub fn lost(&self, topic: &str) -> bool {
        let told = self.interests.sequencer.lost(self.broker, topic);
        self.status.gaps.add(u64::from(told));
        told
    }

    /// Wakes the shards that were given something. Due before anything is awaited by whoever
    /// delivers what came from elsewhere.
    pub fn wake_shards(&self) {
        // Nobody's call: whoever publishes next does not pay for it.
        self.interests.sequencer.take_encoded();
        self.interests.sequencer.wake_shards();
    }
}
