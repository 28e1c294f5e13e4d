//! One server, and the two connections to it: one that publishes, one that subscribes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::common::Common;
use super::connect::{Connected, Credentials, Trouble, connect};
use super::health::Phase;
use super::place::Place;
use super::publisher::{Publisher, Shelter};
use super::topics::Topics;
use crate::hub::broker::Wanting;
use crate::hub::broker::link::Address;
use crate::mesh::Unavailable;

/// Why connections to a server are given up that is not the right one any more.
pub(super) const MOVED: &str = "another server is the master now";
/// Between two looks at what is due by time.
const TICK: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Node {
    pub(super) common: Rc<Common>,
    pub(super) place: Place,
    pub(super) publisher: Publisher,
    pub(super) topics: RefCell<Topics>,
    /// Topics are due, or the server is another one.
    pub(super) wake: Notify,
    /// Where the server is, by the latest word: connections to elsewhere are given up.
    at: RefCell<Option<Address>>,
    /// The connections stand otherwise, or the server is another one: of interest to the one that
    /// publishes.
    changed: Notify,
    /// Of the connections, in the broker's health.
    pub(super) receiving: usize,
    pub(super) sending: usize,
    /// SSUBSCRIBE and SPUBLISH.
    pub(super) sharded: bool,
    /// Told when something is at home elsewhere.
    stale: Option<Rc<Notify>>,
    /// Topics as they were counted last.
    counted: Cell<usize>,
}

impl Node {
    /// Without connections.
    pub(super) fn new(
        common: Rc<Common>,
        place: Place,
        sharded: bool,
        stale: Option<Rc<Notify>>,
    ) -> Self {
        let terms = common.terms;
        let shelter = Shelter { bytes_max: terms.buffer_bytes, wait: terms.wait };
        let verb = if sharded { "SPUBLISH" } else { "PUBLISH" };
        let name = common.named(&place.to_string());
        let prefix = common.settings.prefix.clone();
        Self {
            publisher: Publisher::new(name, verb, prefix, shelter, common.status.clone()),
            topics: RefCell::new(Topics::new(terms.wait, sharded)),
            wake: Notify::new(),
            at: RefCell::new(None),
            changed: Notify::new(),
            receiving: common.health.add(),
            sending: common.health.add(),
            place,
            common,
            sharded,
            stale,
            counted: Cell::new(0),
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

    /// The server is there by now. Who is connected to it already stays.
    pub(super) fn is_at(&self, address: &Address) {
        let before = self.at.replace(Some(address.clone()));
        if before.is_none_or(|before| before == *address) {
            return;
        }
        // What the old one is told from now on, nobody hears.
        self.publisher.disconnected(MOVED, Instant::now());
        self.stands(self.sending, Phase::Down(MOVED.to_owned()));
        self.wake.notify_one();
    }

    /// Something is at home elsewhere.
    pub(super) fn is_stale(&self) {
        if let Some(stale) = &self.stale {
            stale.notify_one();
        }
    }

    /// Whether the server is elsewhere by now.
    pub(super) fn has_left(&self, address: &Address) -> bool {
        self.at.borrow().as_ref().is_some_and(|at| at != address)
    }

    /// Connects to where the server is now, unless it becomes another one meanwhile.
    pub(super) async fn connect(&self) -> Result<Connected, Trouble> {
        let before = self.at.borrow().clone();
        let address = self.place.find(&self.common).await?;
        let left = async {
            while *self.at.borrow() == before || !self.has_left(&address) {
                sleep(TICK).await;
            }
        };
        let connected = tokio::select! {
            connected = self.dial(&address) => connected?,
            () = left => return Err(Trouble::Passing(MOVED.to_owned())),
        };
        self.is_at(&address);
        Ok(connected)
    }

    async fn dial(&self, address: &Address) -> Result<Connected, Trouble> {
        let Common { settings, tls, status, .. } = &*self.common;
        let db = if self.place.is_cluster() { 0 } else { settings.db };
        let credentials = Credentials::of_server(settings, db);
        let connected = connect(settings, tls.as_ref(), &credentials, address).await;
        match connected {
            Ok(mut connected) => {
                self.place.check(&mut connected, &self.common).await?;
                status.reached(&address.to_string(), &connected.server.version);
                Ok(connected)
            }
            Err(trouble) => {
                self.place.failed(address);
                if self.place.is_cluster() {
                    self.is_stale();
                }
                Err(trouble)
            }
        }
    }

    /// Ends when the other connection has all its topics, or is to go elsewhere: what is published
    /// before would miss the clients of this process.
    pub(super) async fn subscribed(&self, address: &Address) {
        while !self.common.health.is_up(self.receiving) && !self.has_left(address) {
            self.changed.notified().await;
        }
    }

    /// Counts its topics.
    pub(super) fn count(&self, topics: usize) {
        let before = self.counted.replace(topics);
        let all = (self.common.channels.get() + topics).saturating_sub(before);
        self.common.channels.set(all);
        self.common.status.channels.set(all as u64);
    }

    /// What is due by time, whether there is a connection or not.
    pub(super) fn keep_house(&self, now: Instant) {
        let overdue = self.topics.borrow_mut().overdue(now);
        for topic in overdue {
            let wanted = self.common.inlet.unavailable(&topic, Unavailable::Late);
            self.topics.borrow_mut().turned_away(&topic, wanted, now);
        }
        self.topics.borrow_mut().end_lingering(now);
        self.publisher.expire(now);
        self.count(self.topics.borrow().len());
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

    /// How one of its connections stands from now on.
    pub(super) fn stands(&self, place: usize, phase: Phase) {
        self.common.health.set(place, phase);
        self.changed.notify_one();
    }
}

/// See [`TICK`].
pub(super) fn ticks() -> tokio::time::Interval {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
