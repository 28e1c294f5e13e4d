//! What every thread counts, and the log's lines about it.

use std::sync::Arc;

use crate::config::Config;
use crate::desk::access::AccessCounters;
use crate::engine::LoopCounters;
use crate::hub::HubCounters;
use crate::shard::{Dropped, ShardCounters};

/// What every thread counts.
pub struct Counters {
    /// Of the hub.
    pub hub: Arc<HubCounters>,
    /// Of each shard.
    pub shards: Vec<Arc<ShardCounters>>,
    /// Of the loops around the shards, in the same order.
    pub loops: Vec<Arc<LoopCounters>>,
    /// Of access, at the desk.
    pub access: Arc<AccessCounters>,
}

impl Counters {
    /// All at zero.
    pub fn new(config: &Config) -> Self {
        Self {
            hub: Arc::new(HubCounters::new(config.brokers.iter().map(|broker| &*broker.name))),
            shards: (0..config.shards).map(|_| Arc::default()).collect(),
            loops: (0..config.shards).map(|_| Arc::default()).collect(),
            access: Arc::default(),
        }
    }

    /// Clients and publishers that are connected by now.
    pub fn connected(&self) -> (u64, u64) {
        (self.shards.iter().map(|shard| shard.open.value()).sum(), self.hub.rpc_open.value())
    }

    /// Clients that have come and publications that were asked for, in all.
    pub fn in_all(&self) -> (u64, u64) {
        (
            self.shards.iter().map(|shard| shard.upgraded.value()).sum(),
            self.hub.publications.value(),
        )
    }

    /// One line a thread: every count that is not zero.
    pub fn log(&self, when: &str) {
        let listed = |counts: &mut dyn Iterator<Item = (&'static str, u64)>| {
            let counts = counts.filter(|(_, count)| *count > 0);
            let counts: Vec<_> = counts.map(|(name, count)| format!("{name}={count}")).collect();
            if counts.is_empty() { "none".to_owned() } else { counts.join(" ") }
        };
        tracing::info!("counts {when}, hub: {}", listed(&mut self.hub.each()));
        if self.access.each().any(|(_, count)| count > 0) {
            tracing::info!("counts {when}, access: {}", listed(&mut self.access.each()));
        }
        for (index, (shard, around)) in self.shards.iter().zip(&self.loops).enumerate() {
            let balance = shard.standing().balance;
            let dropped =
                Dropped::ALL.into_iter().map(|reason| (reason.name(), balance.dropped(reason)));
            let deliveries = [
                ("owed", balance.owed),
                ("delivered", balance.delivered),
                ("queued", balance.queued_logs + balance.queued_outboxes),
            ];
            tracing::info!(
                "counts {when}, shard {index}: {}",
                listed(&mut shard.each().chain(around.each()))
            );
            tracing::info!(
                "deliveries {when}, shard {index}: {}",
                listed(&mut deliveries.into_iter().chain(dropped))
            );
        }
    }
}
