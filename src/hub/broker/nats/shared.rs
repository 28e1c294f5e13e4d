//! What the two connections and the hub know of each other.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::servers::Servers;
use super::session::LoadedTls;
use super::settings::{NatsServer, NatsSettings};
use super::topics::Topics;
use crate::hub::broker::flight::Flight;
use crate::hub::broker::link::{Address, Outbound};
use crate::hub::broker::remarks::Remarks;
use crate::hub::broker::terms::own_name;
use crate::hub::broker::{BrokerState, BrokerStatus, Inlet, Terms};
use crate::hub::sequencer::PublishError;

/// How one of the connections stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    /// It is being made, or not all topics are back.
    Coming,
    Up,
    /// Why.
    Down(String),
}

/// What is published over.
pub(super) struct Way {
    pub(super) out: Outbound,
    pub(super) address: Address,
    /// The server's.
    pub(super) payload_bytes_max: usize,
}

/// A publication of our own that is to come back.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) number: u64,
    pub(super) sent: Instant,
}

pub(super) struct Shared {
    pub(super) name: String,
    pub(super) settings: NatsSettings,
    pub(super) tls: LoadedTls,
    pub(super) terms: Terms,
    pub(super) inlet: Inlet,
    pub(super) status: Arc<BrokerStatus>,
    pub(super) remarks: Remarks,
    pub(super) topics: RefCell<Topics>,
    pub(super) flight: RefCell<Flight>,
    pub(super) servers: RefCell<Servers>,
    /// Where the subscriber is, and the publisher is to be.
    pub(super) home: RefCell<Option<NatsServer>>,
    /// To the subscriber's server.
    pub(super) said: RefCell<Option<Outbound>>,
    pub(super) way: RefCell<Option<Way>>,
    pub(super) probe: Cell<Option<Probe>>,
    /// What probes are published to; nobody else knows it.
    pub(super) probe_subject: String,
    /// Publishers that wait for room.
    pub(super) waiting: Cell<usize>,
    pub(super) room: Notify,
    /// Topics have been asked for.
    pub(super) wanted: Notify,
    /// Publications have been given to the publisher's connection.
    pub(super) published: Notify,
    pub(super) moved: Notify,
    pub(super) timers: Notify,
    subscriber: RefCell<Stands>,
    publisher: RefCell<Stands>,
    /// The server that went away last, or could not be reached.
    failed: RefCell<Option<Address>>,
    /// Since when it is not up.
    down_since: Cell<Instant>,
    /// It has been up.
    known: Cell<bool>,
    /// The first attempt has not ended.
    starting: Cell<bool>,
}

impl Shared {
    pub(super) fn new(
        name: &str,
        settings: &NatsSettings,
        terms: Terms,
        inlet: Inlet,
        status: Arc<BrokerStatus>,
    ) -> Self {
        let servers = Servers::new(&settings.servers);
        status.becomes(BrokerState::Connecting, None);
        Self {
            name: name.to_owned(),
            settings: settings.clone(),
            tls: LoadedTls::new(),
            topics: RefCell::new(Topics::new(terms.wait)),
            terms,
            inlet,
            remarks: Remarks::new(status.clone()),
            status,
            flight: RefCell::default(),
            servers: RefCell::new(servers),
            home: RefCell::default(),
            said: RefCell::default(),
            way: RefCell::default(),
            probe: Cell::default(),
            probe_subject: format!("_INBOX.roadcast{}", own_name()),
            waiting: Cell::default(),
            room: Notify::new(),
            wanted: Notify::new(),
            published: Notify::new(),
            moved: Notify::new(),
            timers: Notify::new(),
            subscriber: RefCell::new(Stands::Coming),
            publisher: RefCell::new(Stands::Coming),
            failed: RefCell::default(),
            down_since: Cell::new(Instant::now()),
            known: Cell::new(false),
            starting: Cell::new(true),
        }
    }

    /// The first attempt has ended, at a server.
    pub(super) fn started(&self, address: &Address, outcome: Result<(), String>) {
        if self.starting.replace(false) {
            let named = |why| format!("broker \"{}\" (nats at {address}): {why}", self.name);
            self.inlet.started(outcome.map_err(named));
        }
    }

    /// The subscriber is at a server, and the publisher is to follow. Until it has, nothing is
    /// published.
    pub(super) fn is_at(&self, server: NatsServer) {
        let left = self.way.borrow().as_ref().is_some_and(|way| way.address != server.address);
        *self.home.borrow_mut() = Some(server);
        if left {
            self.publisher_stands(Stands::Coming);
        }
        self.moved.notify_one();
    }

    pub(super) fn is_up(&self) -> bool {
        *self.subscriber.borrow() == Stands::Up && *self.publisher.borrow() == Stands::Up
    }

    pub(super) fn subscriber_stands(&self, stands: Stands) {
        restate_if(&self.subscriber, stands, || self.restate());
    }

    pub(super) fn publisher_stands(&self, stands: Stands) {
        restate_if(&self.publisher, stands, || self.restate());
    }

    /// The subscriber has no connection to a server, and why.
    pub(super) fn subscriber_fails(&self, address: &Address, why: String) {
        *self.failed.borrow_mut() = Some(address.clone());
        self.subscriber_stands(Stands::Down(why));
    }

    /// The publisher has no connection to a server, and why.
    pub(super) fn publisher_fails(&self, address: &Address, why: String) {
        *self.failed.borrow_mut() = Some(address.clone());
        self.publisher_stands(Stands::Down(why));
    }

    fn restate(&self) {
        let (state, why) = match (&*self.subscriber.borrow(), &*self.publisher.borrow()) {
            (Stands::Up, Stands::Up) => (BrokerState::Up, None),
            (Stands::Down(why), _) | (_, Stands::Down(why)) => {
                (BrokerState::Down, Some(why.clone()))
            }
            _ if self.known.get() => (BrokerState::Resubscribing, None),
            _ => (BrokerState::Connecting, None),
        };
        match state {
            BrokerState::Up => {
                self.known.set(true);
                self.started(&self.address(), Ok(()));
                // What is held may go.
                self.published.notify_one();
            }
            _ if self.status.state() == BrokerState::Up => self.down_since.set(Instant::now()),
            _ => {}
        }
        self.status.becomes(state, why.as_deref());
    }

    /// Queues something to the subscriber's server, if there is one.
    pub(super) fn say(&self, write: impl FnOnce(&mut Vec<u8>)) {
        if let Some(out) = &*self.said.borrow() {
            out.queue(write);
        }
    }

    /// A publication was not published, and why.
    pub(super) fn is_down(&self) -> PublishError {
        let standing = self.status.standing();
        let seconds = self.down_since.get().elapsed().as_secs();
        let why = standing.why.or(standing.last_error).map(|why| format!(": {why}"));
        let address = self.failed.borrow().clone().unwrap_or_else(|| self.address());
        self.error(
            &address,
            &format!(
                "is {} since {seconds} s ago{}; nothing was published",
                standing.state.name(),
                why.unwrap_or_default()
            ),
        )
    }

    /// Where the broker is, or is to be tried next.
    pub(super) fn address(&self) -> Address {
        let home = self.home.borrow().as_ref().map(|home| home.address.clone());
        home.unwrap_or_else(|| self.servers.borrow().current().address.clone())
    }

    /// An error answer that names the broker and a server of it.
    pub(super) fn error(&self, address: &Address, what: &str) -> PublishError {
        PublishError::Broker(self.named(address, what))
    }

    /// The same, of a publication that is over what the server takes.
    pub(super) fn over(&self, address: &Address, what: &str) -> PublishError {
        PublishError::OverBroker(self.named(address, what))
    }

    fn named(&self, address: &Address, what: &str) -> String {
        format!("broker \"{}\" (nats at {address}) {what}", self.name)
    }
}

/// Has it restated how the broker stands, if one of the connections stands otherwise. A reason that
/// is said again may not have been said in the log by now.
fn restate_if(known: &RefCell<Stands>, stands: Stands, restate: impl FnOnce()) {
    let is_down = matches!(stands, Stands::Down(_));
    if known.replace(stands.clone()) != stands || is_down {
        restate();
    }
}
