//! What all connections of a broker have in common.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::health::Health;
use super::settings::RedisSettings;
use crate::hub::broker::link::{Link, Tls};
use crate::hub::broker::{BrokerStatus, Inlet, Terms};

/// Between two probes of a connection.
pub(super) const PROBE: Duration = Duration::from_secs(1);

/// See the module.
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

    /// Something of a topic may have been missed.
    pub(super) fn lost(&self, topic: &str) {
        if self.inlet.lost(topic) {
            self.status.gaps.add(1);
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
        let over = |since: Instant, limit: Option<Duration>| {
            limit.filter(|limit| now.saturating_duration_since(since) > *limit)
        };
        if let Some(limit) = asked.and_then(|asked| over(asked.max(link.heard()), read_timeout)) {
            return Some(format!("nothing came from the server for {limit:?} (read_timeout)"));
        }
        let limit = link.stuck().and_then(|since| over(since, write_timeout))?;
        Some(format!("the server took nothing for {limit:?} (write_timeout)"))
    }
}
