//! The Redis broker: every process that shares a Redis, RoadRunner's among them.
//!
//! A topic's channel is `<prefix><topic>`, its message the payload and nothing else. What is
//! published here goes to the server and comes back from there, like everybody's.
//!
//! | module | what |
//! |---|---|
//! | `settings` | what the operator says |
//! | `place` | where the server is |
//! | `connect` | TLS, AUTH, and what kind of server it is |
//! | `probe` | what a server is and lets us do, for whoever checks a configuration |
//! | `node` | one server: two connections, and what is due by time |
//! | `receiving` | the one that subscribes |
//! | `topics` | what is wanted, and how far each topic has come |
//! | `sending` | the one that publishes |
//! | `publisher` | publications and their answers |
//! | `health` | how all that stands, as one state |
//!
//! The protocol is RESP2, in `crate::resp`; the connections are those of `hub/broker/link`.

mod connect;
mod health;
mod node;
mod place;
mod probe;
mod publisher;
mod receiving;
mod sending;
mod settings;
mod topics;

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::health::Health;
use self::node::{Common, Node};
use self::place::Place;
pub(in crate::hub) use self::probe::probe_redis;
pub use self::settings::{RedisSettings, Sharded};
use super::link::Tls;
use super::{Broker, BrokerStatus, Inlet, Terms, Wanting};
use crate::hub::counters::HubCounters;
use crate::hub::lanes::Patience;
use crate::hub::sequencer::{PublishError, Publishing};
use crate::publication::{Payload, TooLarge};

/// See the module. Dropped, it gives its connections up.
pub(in crate::hub) struct Redis {
    common: Rc<Common>,
    node: Rc<Node>,
    tasks: Vec<JoinHandle<()>>,
}

impl Redis {
    /// Begins to connect. Called on the hub's thread, in its runtime.
    pub(in crate::hub) fn open(
        name: &str,
        settings: &RedisSettings,
        terms: Terms,
        inlet: Inlet,
        status: Arc<BrokerStatus>,
        counters: &Arc<HubCounters>,
    ) -> Self {
        inlet.starting();
        let tls = settings.tls.as_ref().map(Tls::new);
        let hopeless = match &tls {
            Some(Err(why)) => Some(format!("broker \"{name}\": `tls`: {why}")),
            _ => None,
        };
        let random = {
            use std::hash::{BuildHasher, RandomState};
            RandomState::new().hash_one(std::process::id())
        };
        let common = Rc::new(Common {
            name: name.to_owned(),
            settings: settings.clone(),
            tls: tls.and_then(Result::ok),
            terms,
            inlet,
            health: Health::new(status.clone()),
            status,
            own_channel: format!("{}__roadcast:{random:016x}", settings.prefix),
            epoch: Instant::now(),
        });
        let place = Place::Single(settings.addrs[0].clone());
        let node = Rc::new(Node::new(common.clone(), place, false));
        let mut tasks = Vec::new();
        match hopeless {
            Some(why) => common.inlet.started(Err(why)),
            None => {
                tasks.push(counters.spawn(receiving::receive(node.clone())));
                tasks.push(counters.spawn(sending::send(node.clone())));
            }
        }
        Self { common, node, tasks }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Broker for Redis {
    fn publish(&self, topic: &str, payload: &Payload<'_>, _patience: Patience) -> Publishing {
        let bytes_max = self.common.terms.publication_bytes;
        if let Err(TooLarge { bytes }) = payload.frame_len(topic, bytes_max) {
            return Publishing::Now(Err(PublishError::TooLarge { bytes, bytes_max }));
        }
        self.common.status.published_bytes.add(payload.bytes().len() as u64);
        self.node.publisher.publish(topic, payload.bytes(), Instant::now())
    }

    fn want(&self, topic: &Arc<str>) -> Wanting {
        self.node.want(topic)
    }

    fn unwant(&self, topic: &str) {
        self.node.unwant(topic);
    }
}
