//! One server, and the two connections to it: one that publishes, one that subscribes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::connect::{Connected, Credentials, Trouble, connect};
use super::health::{Health, Phase};
use super::place::Place;
use super::publisher::{Publisher, Shelter};
use super::settings::RedisSettings;
use super::topics::Topics;
use crate::hub::broker::link::{Link, Tls};
use crate::hub::broker::{BrokerStatus, Inlet, Terms, Wanting};

/// Between two looks at what is due by time.
const TICK: Duration = Duration::from_millis(250);
/// Between two probes of a connection.
pub(super) const PROBE: Duration = Duration::from_secs(1);

/// What all connections of a broker have in common.
pub(super) struct Common {
    pub(super) name: String,
    pub(super) settings: RedisSettings,
    pub(super) tls: Option<Tls>,
    pub(super) terms: Terms,
    pub(super) inlet: Inlet,
    pub(super) status: Arc<BrokerStatus>,
    pub(super) health: Health,
    /// Where we publish for ourselves alone, to measure the lag.
    pub(super) own_channel: String,
    /// What the times in its messages count from.
    pub(super) epoch: Instant,
}

impl Common {
    /// As errors name it.
    pub(super) fn named(&self, place: &str) -> String {
        format!("broker \"{}\" (redis at {place})", self.name)
    }

    /// Something of a topic may have been missed.
    pub(super) fn lost(&self, topic: &str) {
        if self.inlet.lost(topic) {
            self.status.gaps.add(1);
        }
    }
}

/// See the module.
pub(super) struct Node {
    pub(super) common: Rc<Common>,
    pub(super) place: Place,
    pub(super) publisher: Publisher,
    pub(super) topics: RefCell<Topics>,
    /// Topics are due, or the server is another one.
    pub(super) wake: Notify,
    /// Goes up when the server is another one: connections to the old one are given up.
    pub(super) turn: Cell<u64>,
    /// Of the connections, in [`Health`].
    pub(super) receiving: usize,
    pub(super) sending: usize,
    /// SSUBSCRIBE and SPUBLISH.
    pub(super) sharded: bool,
}

impl Node {
    /// Without connections.
    pub(super) fn new(common: Rc<Common>, place: Place, sharded: bool) -> Self {
        let terms = common.terms;
        let shelter = Shelter { bytes_max: terms.buffer_bytes, wait: terms.wait };
        let verb = if sharded { "SPUBLISH" } else { "PUBLISH" };
        let name = common.named(&place.to_string());
        let prefix = common.settings.prefix.clone();
        Self {
            publisher: Publisher::new(name, verb, prefix, shelter),
            topics: RefCell::new(Topics::new(terms.wait, sharded)),
            wake: Notify::new(),
            turn: Cell::new(0),
            receiving: common.health.add(),
            sending: common.health.add(),
            place,
            common,
            sharded,
        }
    }

    pub(super) fn want(&self, topic: &Arc<str>) -> Wanting {
        let wanting = self.topics.borrow_mut().want(topic, Instant::now());
        if wanting == Wanting::Later {
            self.wake.notify_one();
        }
        wanting
    }

    pub(super) fn unwant(&self, topic: &str) {
        self.topics.borrow_mut().unwant(topic, Instant::now());
    }

    /// The server is another one by now.
    #[allow(dead_code)]
    pub(super) fn moves(&self) {
        self.turn.set(self.turn.get() + 1);
        self.wake.notify_one();
    }

    /// Connects to where the server is now.
    pub(super) async fn connect(&self) -> Result<Connected, Trouble> {
        let Common { settings, tls, status, .. } = &*self.common;
        let address = self.place.find(&self.common).await?;
        let db = if self.place.is_cluster() { 0 } else { settings.db };
        let credentials = Credentials::of_server(settings, db);
        let connected = connect(settings, tls.as_ref(), &credentials, &address).await;
        if let Ok(Connected { server, .. }) = &connected {
            self.place.check(server, &self.common)?;
            status.reached(&address.to_string(), &server.version);
        } else {
            self.place.failed(&address);
        }
        connected
    }

    /// What is due by time, whether there is a connection or not.
    pub(super) fn keep_house(&self, now: Instant) {
        let overdue = self.topics.borrow_mut().overdue(now);
        for topic in overdue {
            let wanted = self.common.inlet.unavailable(&topic);
            self.topics.borrow_mut().turned_away(&topic, wanted, now);
        }
        self.publisher.expire(now);
        self.common.inlet.wake_shards();
    }

    /// Waits for something while all that is due by time is done.
    pub(super) async fn meanwhile<T>(&self, what: impl Future<Output = T>) -> T {
        let mut what = std::pin::pin!(what);
        let mut ticks = ticks();
        loop {
            tokio::select! {
                found = &mut what => return found,
                _ = ticks.tick() => self.keep_house(Instant::now()),
            }
        }
    }

    /// Why a connection is to be given up by now: `asked` is when the oldest question was put that
    /// has no answer.
    pub(super) fn is_dead(
        &self,
        link: &Link,
        asked: Option<Instant>,
        now: Instant,
    ) -> Option<String> {
        let RedisSettings { read_timeout, write_timeout, .. } = self.common.settings;
        let over = |since: Instant, limit: Option<Duration>| {
            limit.filter(|limit| now.saturating_duration_since(since) > *limit)
        };
        if let Some(limit) = asked.and_then(|asked| over(asked.max(link.heard()), read_timeout)) {
            return Some(format!("nothing came from the server for {limit:?} (read_timeout)"));
        }
        let limit = link.stuck().and_then(|since| over(since, write_timeout))?;
        Some(format!("the server took nothing for {limit:?} (write_timeout)"))
    }

    /// A connection has been made, again if `again`.
    pub(super) fn stands(&self, place: usize, phase: Phase) {
        self.common.health.set(place, phase);
    }
}

/// See [`TICK`].
pub(super) fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
