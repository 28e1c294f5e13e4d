//! How the brokers are: as metrics, and for whoever asks whether clients should come here.

use std::fmt;
use std::sync::Arc;

use super::exposition::Writer;
use super::telemetry::Telemetry;
use crate::hub::{BrokerState, BrokerStatus};

impl Telemetry {
    /// Whether all brokers are up that must be; if not, which are not, and why.
    pub fn brokers_are_up(&self) -> Result<(), String> {
        let must = |status: &&Arc<BrokerStatus>| !self.ready_without.contains(status.name());
        let told = self.hub.by_broker.iter().filter(must).filter_map(|status| {
            let standing = status.standing();
            let (name, state) = (status.name(), standing.state.name());
            let seconds = standing.since.elapsed().as_secs();
            let why = standing.why.map(|why| format!(": {why}")).unwrap_or_default();
            (standing.state != BrokerState::Up)
                .then(|| format!("broker {name} has been {state} for {seconds} s{why}"))
        });
        let told: Vec<String> = told.collect();
        if told.is_empty() { Ok(()) } else { Err(told.join("\n")) }
    }

    pub(super) fn encode_brokers(&self, out: &mut Writer<'_>) -> fmt::Result {
        let brokers = &self.hub.by_broker;
        let each = |count: fn(&BrokerStatus) -> u64| {
            brokers.iter().map(move |status| (of(status), count(status)))
        };
        let standings: Vec<_> = brokers.iter().map(|status| status.standing()).collect();
        let states = brokers.iter().zip(&standings).flat_map(|(status, standing)| {
            BrokerState::ALL.map(|state| {
                let labels = [("broker", status.name()), ("state", state.name())];
                (labels, u64::from(standing.state == state))
            })
        });
        out.gauge("broker_state", "1 for the state that a broker is in", states)?;
        let since = brokers.iter().zip(&standings);
        let since =
            since.map(|(status, standing)| (of(status), standing.since.elapsed().as_secs()));
        out.gauge("broker_state_seconds", "How long a broker has been in that state", since)?;
        let published = brokers.iter().map(|status| {
            ([("broker", status.name()), ("source", "rpc")], status.publications.value())
        });
        out.counter(
            "publications",
            "Publications asked for, one for each topic and broker",
            published,
        )?;
        out.counter(
            "broker_published",
            "Publications that a broker has taken",
            each(|status| status.published.value()),
        )?;
        let bytes = each(|status| status.published_bytes.value());
        out.counter("broker_published_bytes", "Bytes of payloads given to a broker", bytes)?;
        out.counter(
            "broker_publish_errors",
            "Publications that a broker did not take, or not for sure",
            each(|status| status.publish_errors.value()),
        )?;
        let received = each(|status| status.received.value());
        out.counter("broker_received", "Publications that came from a broker", received)?;
        let bytes = each(|status| status.received_bytes.value());
        out.counter("broker_received_bytes", "Bytes of their payloads", bytes)?;
        out.gauge(
            "broker_channels",
            "Topics that are subscribed at a broker, or about to be",
            each(|status| status.channels.value()),
        )?;
        out.counter(
            "broker_reconnects",
            "Connections to a broker that were made anew",
            each(|status| status.reconnects.value()),
        )?;
        out.counter(
            "broker_gaps",
            "Topics of which a broker may have missed something, each time",
            each(|status| status.gaps.value()),
        )?;
        // Until a probe has come back there is nothing to tell, and what was is no lag any more.
        let lag = brokers.iter().filter_map(|status| Some((of(status), status.lag()?)));
        out.seconds(
            "broker_lag_seconds",
            "From publishing to receiving, as the last probe of a broker had it",
            lag.map(|(labels, lag)| (labels, lag.as_secs_f64())),
        )
    }
}

/// The label set of one broker.
fn of(status: &BrokerStatus) -> [(&'static str, &str); 1] {
    [("broker", status.name())]
}
