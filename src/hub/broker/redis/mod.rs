//! The Redis broker: every process that shares a Redis, RoadRunner's among them.
//!
//! A topic's channel is `<prefix><topic>`, its message the payload and nothing else. What is
//! published here goes to the server and comes back from there, like everybody's.
//!
//! | module | what |
//! |---|---|
//! | `settings` | what the operator says |
//! | `common` | what all connections have in common |
//! | `place` | where the server is |
//! | `sentinel` | the master, by the word of Sentinels |
//! | `cluster` | many servers |
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

mod cluster;
mod common;
mod connect;
mod health;
mod node;
mod place;
mod probe;
mod publisher;
mod receiving;
mod sending;
mod sentinel;
mod settings;
mod topics;

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::cluster::Cluster;
use self::common::Common;
use self::health::Health;
use self::node::Node;
use self::place::Place;
pub(in crate::hub) use self::probe::probe_redis;
use self::sentinel::Sentinels;
pub use self::settings::{RedisSettings, Sharded};
use super::link::{Address, Tls};
use super::remarks::Remarks;
use super::terms::own_name;
use super::{Broker, BrokerStatus, Inlet, Terms, Wanting};
use crate::hub::counters::HubCounters;
use crate::hub::lanes::Patience;
use crate::hub::sequencer::{PublishError, Publishing};
use crate::publication::{Payload, TooLarge};

/// See the module. Dropped, it gives its connections up.
pub(in crate::hub) struct Redis {
    common: Rc<Common>,
    servers: Servers,
    tasks: Vec<JoinHandle<()>>,
}

enum Servers {
    One(Rc<Node>),
    Cluster(Rc<Cluster>),
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
        let common = Rc::new(Common {
            name: name.to_owned(),
            settings: settings.clone(),
            tls: tls.and_then(Result::ok),
            terms,
            inlet,
            health: Health::new(status.clone()),
            remarks: Remarks::new(status.clone()),
            status,
            own_channel: format!("{}__roadcast:{}", settings.prefix, own_name()),
            epoch: Instant::now(),
            channels: Cell::new(0),
            has_started: Cell::new(false),
        });
        let (servers, tasks) = servers(&common, counters);
        if let Some(why) = hopeless {
            // Nothing is to be said without TLS that was to be said with it.
            tasks.iter().for_each(JoinHandle::abort);
            common.started(Err(why));
        }
        Self { common, servers, tasks }
    }
}

/// What there is to talk to, and who does.
fn servers(common: &Rc<Common>, counters: &Arc<HubCounters>) -> (Servers, Vec<JoinHandle<()>>) {
    let RedisSettings { addrs, master_name, .. } = &common.settings;
    if master_name.is_empty() && addrs.len() > 1 {
        let cluster = Rc::new(Cluster::new(common.clone(), addrs, counters));
        let following = counters.spawn(cluster::follow(cluster.clone()));
        return (Servers::Cluster(cluster), vec![following]);
    }
    let sentinels = (!master_name.is_empty()).then(|| Rc::new(Sentinels::new(master_name, addrs)));
    let place = match &sentinels {
        Some(sentinels) => Place::Sentinels(sentinels.clone()),
        None => Place::Single(addrs[0].clone()),
    };
    let node = Rc::new(Node::new(common.clone(), place, false, None));
    let mut tasks = vec![
        counters.spawn(receiving::receive(node.clone())),
        counters.spawn(sending::send(node.clone())),
    ];
    if let Some(sentinels) = sentinels {
        let moved = node.clone();
        let is_at = move |address: &Address| moved.is_at(address);
        tasks.push(counters.spawn(sentinel::watch(common.clone(), sentinels, is_at)));
    }
    (Servers::One(node), tasks)
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.common.remarks.say_left_out();
    }
}

impl Broker for Redis {
    fn publish(&self, topic: &str, payload: &Payload<'_>, _patience: Patience) -> Publishing {
        let bytes_max = self.common.terms.publication_bytes;
        if let Err(TooLarge { bytes }) = payload.frame_len(topic, bytes_max) {
            return Publishing::Now(Err(PublishError::TooLarge { bytes, bytes_max }));
        }
        self.common.status.published_bytes.add(payload.bytes().len() as u64);
        let (payload, now) = (payload.bytes(), Instant::now());
        match &self.servers {
            Servers::One(node) => node.publisher.publish(topic, payload, None, now),
            Servers::Cluster(cluster) => cluster.publish(topic, payload, now),
        }
    }

    fn want(&self, topic: &Arc<str>) -> Wanting {
        match &self.servers {
            Servers::One(node) => node.want(topic),
            Servers::Cluster(cluster) => cluster.want(topic),
        }
    }

    fn unwant(&self, topic: &str) {
        match &self.servers {
            Servers::One(node) => node.unwant(topic),
            Servers::Cluster(cluster) => cluster.unwant(topic),
        }
    }
}
