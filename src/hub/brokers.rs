//! The opened brokers, by name and by place.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::broker::{Broker, BrokerStatus, Inlet, Memory, Nats, Redis, Terms, Wanting};
use super::channels::Key;
use super::config::{Driver, HubConfig};
use super::interest::Interests;
use super::lanes::Patience;
use super::sequencer::Publishing;
use crate::mesh::BrokerId;
use crate::publication::Payload;
use crate::rpc::BrokerTold;

/// Every opened broker by name; its place is its [`BrokerId`].
pub(super) struct Brokers {
    opened: Vec<(String, Box<dyn Broker>)>,
    default: BrokerId,
    /// The words of their drivers.
    drivers: Vec<&'static str>,
    /// Every place, in order.
    places: Vec<usize>,
    /// Those that a message goes to which names none.
    all: Vec<usize>,
}

/// Makes a broker of its name and driver, with where it delivers and where it says how it stands.
pub type Open<'a> = &'a mut dyn FnMut(&str, &Driver, Inlet, Arc<BrokerStatus>) -> Box<dyn Broker>;

/// The brokers that are configured, as they are.
pub fn open(
    config: &HubConfig,
    name: &str,
    driver: &Driver,
    inlet: Inlet,
    status: Arc<BrokerStatus>,
) -> Box<dyn Broker> {
    let (terms, counters) = (Terms::of(config), &config.counters);
    match driver {
        Driver::Memory => Box::new(Memory::new(inlet, status)),
        Driver::Redis(settings) => {
            Box::new(Redis::open(name, settings, terms, inlet, status, counters))
        }
        Driver::Nats(settings) => {
            Box::new(Nats::open(name, settings, terms, inlet, status, counters))
        }
    }
}

impl Brokers {
    pub(super) fn new(config: &HubConfig, interests: &Rc<Interests>, open: Open<'_>) -> Self {
        let open = |(place, (name, driver)): (usize, &(String, Driver))| {
            let status = config.counters.by_broker.get(place).cloned().unwrap_or_default();
            let inlet = Inlet::new(interests.clone(), BrokerId(place as u16), status.clone());
            (name.clone(), open(name, driver, inlet, status))
        };
        let opened = config.brokers.iter().enumerate().map(open).collect();
        let places: Vec<usize> = (0..config.brokers.len()).collect();
        Self {
            opened,
            default: config.default_broker,
            drivers: config.brokers.iter().map(|(_, driver)| driver.name()).collect(),
            all: config.broker_rules.publish_to.clone().unwrap_or_else(|| places.clone()),
            places,
        }
    }

    /// The places of those that a message goes to which names none.
    pub(super) fn all(&self) -> &[usize] {
        &self.all
    }

    /// That place alone.
    pub(super) fn only(&self, place: usize) -> &[usize] {
        self.places.get(place..=place).unwrap_or_default()
    }

    /// The place of the one of that name; of the default one where none is named.
    pub(super) fn named(&self, name: &str) -> Option<usize> {
        match name {
            "" => Some(usize::from(self.default.0)),
            name => self.opened.iter().position(|(known, _)| known == name),
        }
    }

    /// All names, as an error lists them.
    pub(super) fn names(&self) -> String {
        self.opened.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// How they are, as operators are told.
    pub(super) fn told(&self, statuses: &[Arc<BrokerStatus>]) -> Vec<BrokerTold> {
        let now = SystemTime::now();
        let told = |(place, status): (usize, &Arc<BrokerStatus>)| {
            let standing = status.standing();
            let since = now.checked_sub(standing.since.elapsed()).unwrap_or(now);
            BrokerTold {
                name: status.name().to_owned(),
                driver: self.drivers.get(place).copied().unwrap_or_default(),
                default: place == usize::from(self.default.0),
                state: standing.state.name(),
                since: since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
                why: standing.why,
                last_error: standing.last_error,
                address: standing.address,
                server: standing.server,
                channels: status.channels.value(),
                received: status.received.value(),
                received_bytes: status.received_bytes.value(),
                published: status.published.value(),
                published_bytes: status.published_bytes.value(),
                publish_errors: status.publish_errors.value(),
                reconnects: status.reconnects.value(),
                gaps: status.gaps.value(),
                lag_seconds: status.lag().map(|lag| lag.as_secs_f64()),
            }
        };
        statuses.iter().enumerate().map(told).collect()
    }

    /// Publishes to the broker at a place, if there is one.
    #[inline]
    pub(super) fn publish(
        &self,
        place: usize,
        topic: &str,
        payload: &Payload<'_>,
        patience: Patience,
    ) -> Publishing {
        match self.opened.get(place) {
            Some((_, broker)) => broker.publish(topic, payload, patience),
            None => Publishing::Now(Ok(())),
        }
    }

    /// Tells a broker that a shard of this process wants a topic. Says whether it is subscribed.
    pub(super) fn want(&self, broker: BrokerId, topic: &Arc<str>) -> Wanting {
        match self.opened.get(usize::from(broker.0)) {
            Some((_, broker)) => broker.want(topic),
            None => Wanting::Now,
        }
    }

    /// Tells a broker that nobody wants a topic any more.
    pub(super) fn unwant(&self, key: &Key) {
        if let Some((_, broker)) = self.opened.get(usize::from(key.broker.0)) {
            broker.unwant(&key.name);
        }
    }
}
