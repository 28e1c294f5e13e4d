//! What holds of every broker that has servers.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::hub::config::HubConfig;
use crate::hub::runtime::Runtime;

/// For how long a topic stays subscribed that nobody wants any more: a page that is reloaded costs
/// nothing.
pub(super) const LINGER: Duration = Duration::from_secs(1);
/// Before a topic is asked for again that a server refuses to whoever has it: permissions and
/// limits change.
pub(super) const AGAIN: Duration = Duration::from_secs(2);
/// Between two probes of a connection.
pub(super) const PROBE: Duration = Duration::from_secs(1);

/// The end of a name that nobody else publishes to, from 64 random bits.
pub(super) fn own_name() -> String {
    format!("{:016x}", RandomState::new().hash_one(std::process::id()))
}

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// What the hub runs on.
    pub runtime: Runtime,
    /// `roadcast.broker_wait`: how long a join, or a publication that is held, waits for a server.
    pub wait: Duration,
    /// `roadcast.broker_buffer`: bytes of publications that are held while there is no server.
    pub buffer_bytes: usize,
    /// `roadcast.limits.publication_bytes`
    pub publication_bytes: usize,
}

impl Terms {
    /// As the hub is told them.
    pub fn of(config: &HubConfig) -> Self {
        Self {
            runtime: config.runtime,
            wait: config.broker_rules.wait,
            buffer_bytes: config.broker_rules.buffer_bytes,
            publication_bytes: config.limits.publication_bytes,
        }
    }
}
