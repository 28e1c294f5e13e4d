//! What the hub counts.

use std::sync::Arc;

use super::broker::status::BrokerStatus;
use crate::mesh::Unrecovered;
use crate::metrics::{Counter, counters};
use crate::pulse::{Pulse, Watched};

counters! {
    /// What the hub counts.
    HubCounters {
        /// RPC connections by now.
        rpc_open: Gauge("rpc_connections_open"),
        /// RPC connections taken.
        rpc_accepted: Counter("rpc_connections_accepted"),
        /// RPC connections turned away at `rpc_connections`.
        rpc_refused: Part("rpc_connections_closed", "limit"),
        /// RPC connections closed because what they sent is not goridge or breaks its bounds.
        rpc_violations: Part("rpc_connections_closed", "violation"),
        /// RPC connections closed because a frame, or the reading of answers, took too long.
        rpc_timeouts: Part("rpc_connections_closed", "timeout"),
        /// RPC calls read, whatever became of them.
        calls: Counter("rpc_calls"),
        /// Publications asked for: one for each topic and broker.
        publications: LogOnly,
        /// Publications put into lanes, one for each interested shard.
        publications_pushed: Counter("publications_pushed"),
        /// Publications that met a full lane and waited.
        publications_waited: Counter("lane_stalls"),
        /// Publications kept for those who were away.
        history_publications: Counter("history_publications_kept"),
        /// Of these, those that have gone: too old, too many of their topic, or of all.
        history_dropped: Counter("history_publications_dropped"),
        /// What is kept, in bytes as `history_bytes` counts them.
        history_bytes: Gauge("history_bytes"),
        /// Topics of joins of which all that was missed could be given.
        recovered: Counter("recoveries"),
        /// Topics of joins of which it could not: the position was of another epoch.
        unrecovered_epoch: Part("recoveries_failed", "epoch"),
        /// Some of what was missed is not kept any more.
        unrecovered_gone: Part("recoveries_failed", "gone"),
        /// What was sent is no position, or one that lies ahead.
        unrecovered_invalid: Part("recoveries_failed", "invalid"),
        /// More was missed than an outbox holds.
        unrecovered_size: Part("recoveries_failed", "size"),
        /// The topic has no history.
        unrecovered_no_history: Part("recoveries_failed", "no_history"),
        /// Empty topic names in RPC calls, skipped.
        empty_topics: Counter("empty_topics"),
        /// Error answers: no such service or method.
        errors_method: Part("rpc_errors", "method"),
        /// Error answers: a codec that is not served.
        errors_codec: Part("rpc_errors", "codec"),
        /// Error answers: a body that cannot be decoded.
        errors_body: Part("rpc_errors", "body"),
        /// Error answers: a broker that is not configured.
        errors_broker: Part("rpc_errors", "broker"),
        /// Error answers: a broker that did not take a publication, or not for sure.
        errors_outage: Part("rpc_errors", "outage"),
        /// Error answers: a publication or topic over its limit.
        errors_size: Part("rpc_errors", "size"),
        /// Error answers: an asynchronous call over `rpc_async_bytes`.
        errors_async: Part("rpc_errors", "async"),
        /// Error answers: what an operator asked for was not done.
        errors_operator: Part("rpc_errors", "operator"),
        /// Error answers: shutting down.
        errors_shutdown: Part("rpc_errors", "shutdown"),
        /// Publications that failed after PublishAsync had been answered.
        failures_after_ok: Counter("publications_lost_after_ok"),
    } also {
        /// How each broker stands: its place is its [`BrokerId`](crate::mesh::BrokerId).
        by_broker: Box<[Arc<BrokerStatus>]>,
        /// Whether the hub is stuck.
        pulse: Pulse,
    }
}

impl HubCounters {
    /// Of those who were not given all that they had missed.
    pub(super) fn unrecovered(&self, why: Unrecovered) -> &Counter {
        match why {
            Unrecovered::Epoch => &self.unrecovered_epoch,
            Unrecovered::Gone => &self.unrecovered_gone,
            Unrecovered::Invalid => &self.unrecovered_invalid,
            Unrecovered::Size => &self.unrecovered_size,
            Unrecovered::NoHistory => &self.unrecovered_no_history,
        }
    }

    /// Counters for a hub with brokers of these names.
    pub fn new<'a>(brokers: impl IntoIterator<Item = &'a str>) -> Self {
        let status = |name| Arc::new(BrokerStatus::new(name));
        Self { by_broker: brokers.into_iter().map(status).collect(), ..Self::default() }
    }

    /// Spawns a task of the hub that counts as busy while it runs.
    pub(super) fn spawn<T: 'static>(
        self: &Arc<Self>,
        task: impl Future<Output = T> + 'static,
    ) -> tokio::task::JoinHandle<T> {
        tokio::task::spawn_local(Watched::new(self.clone(), |counters| &counters.pulse, task))
    }
}
