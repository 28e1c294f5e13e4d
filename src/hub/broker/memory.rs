//! The memory broker: this process and all its cores.

use std::sync::Arc;

use super::{Broker, Inlet, Wanting};
use crate::hub::lanes::Patience;
use crate::hub::sequencer::Publishing;
use crate::publication::Payload;

/// Straight on.
pub(in crate::hub) struct Memory {
    inlet: Inlet,
}

impl Memory {
    pub(in crate::hub) fn new(inlet: Inlet) -> Self {
        Self { inlet }
    }
}

impl Broker for Memory {
    fn publish(&self, topic: &str, payload: &Payload<'_>, patience: Patience) -> Publishing {
        self.inlet.deliver(topic, payload, patience)
    }

    fn want(&self, _topic: &Arc<str>) -> Wanting {
        Wanting::Now
    }

    fn unwant(&self, _topic: &str) {}
}
