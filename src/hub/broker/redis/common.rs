//! What all connections of a broker have in common.

use std::cell::Cell;
use std::sync::Arc;

use tokio::time::Instant;

use super::health::Health;
use super::settings::RedisSettings;
use crate::hub::broker::link::{Link, Silence, Tls};
use crate::hub::broker::remarks::Remarks;
use crate::hub::broker::{BrokerStatus, Inlet, Terms};

/// See the module.
pub(super) struct Common {
    pub(super) name: String,
    pub(super) settings: RedisSettings,
    pub(super) tls: Option<Tls>,
    pub(super) terms: Terms,
    pub(super) inlet: Inlet,
    pub(super) status: Arc<BrokerStatus>,
    pub(super) health: Health,
    pub(super) remarks: Remarks,
    /// Where we publish for ourselves alone, to measure the lag.
    pub(super) own_channel: String,
    /// What the times in its messages count from.
    pub(super) epoch: Instant,
    /// Topics of all servers.
    pub(super) channels: Cell<usize>,
    /// How the first attempt ended has been said.
    pub(super) has_started: Cell<bool>,
}

impl Common {
    /// As errors name it.
    pub(super) fn named(&self, place: &str) -> String {
        format!("broker \"{}\" (redis at {place})", self.name)
    }

    /// How the first attempt ended.
    pub(super) fn started(&self, outcome: Result<(), String>) {
        if !self.has_started.replace(true) {
            self.inlet.started(outcome);
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
        let RedisSettings { read_timeout, write_timeout, .. } = self.settings;
        Some(match link.silence(asked, read_timeout, write_timeout, now)? {
            Silence::Unheard(limit) => {
                format!("nothing came from the server for {limit:?} (read_timeout)")
            }
            Silence::Stuck(limit) => {
                format!("the server took nothing for {limit:?} (write_timeout)")
            }
        })
    }
}
