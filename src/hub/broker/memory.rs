//! The memory broker: this process and all its cores.

use std::sync::Arc;

use super::{Broker, BrokerStatus, Inlet, Wanting};
use crate::hub::lanes::Patience;
use crate::hub::sequencer::Publishing;
use crate::publication::Payload;

/// Straight on.
pub(in crate::hub) struct Memory {
    inlet: Inlet,
    status: Arc<BrokerStatus>,
}

impl Memory {
    pub(in crate::hub) fn new(inlet: Inlet, status: Arc<BrokerStatus>) -> Self {
        Self { inlet, status }
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

    fn want(&self, _topic: &Arc<str>) -> Wanting {
        Wanting::Now
    }

    fn unwant(&self, _topic: &str) {}
}
