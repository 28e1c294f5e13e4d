//! The NATS broker: core NATS, raw payloads, a topic is a subject.
//!
//! ```text
//! settings     what an operator says
//! servers      which server is next
//! session      a connection, up to the server's word that we may go on
//! probe        what a server is and lets us do, for whoever checks a configuration
//! subscriber   the connection that subscribes and receives
//! arrivals     what comes over it, handed on
//! publisher    the connection that publishes
//! topics       which topics are wanted, and how far each is
//! shared       what both and the hub know of each other
//! ```
//!
//! Two connections to one server, so that what waits for room in the lanes keeps nobody from
//! publishing. To one, since servers of a cluster learn of each other's subscriptions in their own
//! time: a publication over another server could be ahead of a subscription that is confirmed.
//!
//! Invariants worth naming:
//! - **A PONG confirms**, and nothing else: topics that were asked for before its PING, and
//!   publications that were sent before it. A server works through one connection in order.
//! - **Nothing is resubscribed in silence.** Each topic that was subscribed when the connection
//!   broke has a gap.
//! - Our own publications come back from the server, like everybody's.

mod arrivals;
mod probe;
mod publisher;
mod servers;
mod session;
mod settings;
mod shared;
mod subscriber;
mod topics;

use std::rc::Rc;
use std::sync::Arc;

use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

pub(in crate::hub) use self::probe::probe_nats;
pub use self::settings::{NatsLogin, NatsServer, NatsSettings};
use self::shared::Shared;
use self::topics::Due;
use super::{Broker, BrokerStatus, Inlet, Terms, Wanting};
use crate::hub::counters::HubCounters;
use crate::hub::lanes::Patience;
use crate::hub::sequencer::Publishing;
use crate::mesh::Unavailable;
use crate::nats;
use crate::publication::Payload;

/// See the module.
pub(in crate::hub) struct Nats {
    shared: Rc<Shared>,
    tasks: [JoinHandle<()>; 3],
}

impl Nats {
    /// Begins to connect. Called on the hub's runtime.
    pub(in crate::hub) fn open(
        name: &str,
        settings: &NatsSettings,
        terms: Terms,
        inlet: Inlet,
        status: Arc<BrokerStatus>,
        counters: &Arc<HubCounters>,
    ) -> Self {
        inlet.starting();
        let shared = Rc::new(Shared::new(name, settings, terms, inlet, status));
        let tasks = [
            counters.spawn(subscriber::run(shared.clone())),
            counters.spawn(publisher::run(shared.clone())),
            counters.spawn(keep_time(shared.clone())),
        ];
        Self { shared, tasks }
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
        self.shared.remarks.say_left_out();
    }
}

impl Broker for Nats {
    fn publish(&self, topic: &str, payload: &Payload<'_>, _patience: Patience) -> Publishing {
        publisher::publish(&self.shared, topic, payload)
    }

    fn want(&self, topic: &Arc<str>) -> Wanting {
        let mut topics = self.shared.topics.borrow_mut();
        let wanting = topics.want(topic, Instant::now());
        self.shared.status.channels.set(topics.len() as u64);
        if wanting == Wanting::Later {
            self.shared.wanted.notify_one();
            self.shared.timers.notify_one();
        }
        wanting
    }

    fn unwant(&self, topic: &str) {
        let mut topics = self.shared.topics.borrow_mut();
        topics.unwant(topic, Instant::now());
        self.shared.status.channels.set(topics.len() as u64);
        self.shared.timers.notify_one();
    }
}

/// Tells those who have waited for too long, whatever becomes of connections, and gives back what
/// has lingered.
async fn keep_time(shared: Rc<Shared>) {
    loop {
        let now = Instant::now();
        loop {
            let due = shared.topics.borrow_mut().due(now);
            match due {
                None => break,
                Some(Due::Unavailable(id, name)) => {
                    if !shared.inlet.unavailable(&name, Unavailable::Late) {
                        shared.topics.borrow_mut().forget(id, now);
                    }
                }
                Some(Due::Release(id, _)) => {
                    shared.say(|out| nats::unsubscribe(out, id.number()));
                }
            }
        }
        shared.status.channels.set(shared.topics.borrow().len() as u64);
        shared.inlet.wake_shards();
        if shared.topics.borrow().are_queued() {
            shared.wanted.notify_one();
        }
        let patience = shared.terms.wait;
        let next = {
            let mut flight = shared.flight.borrow_mut();
            if flight.next_expiry(patience).is_some_and(|at| at <= now) {
                flight.expire(now, patience, &shared.is_down());
            }
            flight.next_expiry(patience).into_iter().chain(shared.topics.borrow().next_due()).min()
        };
        tokio::select! {
            () = shared.timers.notified() => {}
            () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
        }
    }
}
