//! The opened brokers, by name and by place.

use std::ops::Range;
use std::rc::Rc;

use super::broker::{Broker, Inlet, Memory};
use super::config::{Driver, HubConfig};
use super::lanes::Patience;
use super::sequencer::{Publishing, Sequencer};
use crate::mesh::BrokerId;
use crate::publication::Payload;

/// Every opened broker by name; its place is its [`BrokerId`].
pub(super) struct Brokers {
    opened: Vec<(String, Box<dyn Broker>)>,
    default: BrokerId,
}

impl Brokers {
    pub(super) fn open(config: &HubConfig, sequencer: &Rc<Sequencer>) -> Self {
        let open = |(place, (name, driver)): (usize, &(String, Driver))| {
            let inlet = Inlet::new(sequencer.clone(), BrokerId(place as u16));
            let broker: Box<dyn Broker> = match driver {
                Driver::Memory => Box::new(Memory::new(inlet)),
            };
            tracing::debug!(broker = name, state = ?broker.state(), "broker opened");
            (name.clone(), broker)
        };
        let opened = config.brokers.iter().enumerate().map(open).collect();
        Self { opened, default: config.default_broker }
    }

    /// The places of all.
    pub(super) fn all(&self) -> Range<usize> {
        0..self.opened.len()
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

    /// Tells a broker that this process begins or ceases to want a topic.
    pub(super) fn tell(&self, broker: BrokerId, topic: &str, wanted: bool) {
        if let Some((_, broker)) = self.opened.get(usize::from(broker.0)) {
            broker.interest(topic, wanted);
        }
    }
}
