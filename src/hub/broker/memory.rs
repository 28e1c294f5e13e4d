//! The memory broker: this process and all its cores.

use std::cell::Cell;
use std::sync::Arc;

use super::{Broker, BrokerStatus, Inlet, Wanting};
use crate::hub::lanes::Patience;
use crate::hub::sequencer::Publishing;
use crate::publication::Payload;

/// Straight on. Its topics are counted where they are joined and left. What is received, and bytes,
/// are not counted: that would cost each publication.
pub(in crate::hub) struct Memory {
    inlet: Inlet,
    status: Arc<BrokerStatus>,
    channels: Cell<u64>,
}

impl Memory {
    pub(in crate::hub) fn new(inlet: Inlet, status: Arc<BrokerStatus>) -> Self {
        Self { inlet, status, channels: Cell::new(0) }
    }

    fn count(&self, channels: u64) {
        self.channels.set(channels);
        self.status.channels.set(channels);
    }
}

impl Broker for Memory {
    fn publish(&self, topic: &str, payload: &Payload<'_>, patience: Patience) -> Publishing {
        let publishing = self.inlet.deliver(topic, payload, patience);
        if !matches!(publishing, Publishing::Now(Err(_))) {
            self.status.published.add(1);
        }
        publishing
    }

    fn want(&self, topic: &Arc<str>) -> Wanting {
        // By the first shard.
        if !self.inlet.is_wanted(topic) {
            self.count(self.channels.get() + 1);
        }
        Wanting::Now
    }

    fn unwant(&self, topic: &str) {
        // One that is left with offsets may be had without.
        if !self.inlet.is_wanted(topic) {
            self.count(self.channels.get().saturating_sub(1));
        }
    }
}
