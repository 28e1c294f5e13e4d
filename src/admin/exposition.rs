//! All counters as OpenMetrics text, read at the moment of the scrape; `format` makes the older
//! text format of it. What they mean: docs/metrics.md.
//!
//! Labels have few values: shards, configured brokers, fixed sets of codes and reasons.

use std::fmt;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::telemetry::{ShardTelemetry, Telemetry};
use crate::hub::HubCounters;
use crate::metrics::Counter;
use crate::ring::LoopCounters;
use crate::shard::{Dropped, ShardCounters, Standing};

/// Name (without prefix and `_total`), what it counts, where it stands.
type Counted<T> = (&'static str, &'static str, fn(&T) -> &Counter);

const SHARD: &[Counted<ShardCounters>] = &[
    ("connections_accepted", "Connections accepted", |of| &of.accepted),
    ("connections_upgraded", "Connections that became WebSockets", |of| &of.upgraded),
    ("forwarded_missing", "Requests of trusted proxies that named no client address", |of| {
        &of.forwarded_missing
    }),
    (
        "sources_forgotten",
        "Source addresses without a connection that were forgotten early",
        |of| &of.sources_forgotten,
    ),
    ("commands", "Commands understood", |of| &of.commands),
    ("commands_malformed", "Messages that are no command, ignored", |of| &of.malformed),
    ("joins", "Joins answered with @join", |of| &of.joins),
    ("joins_refused", "Joins answered with #join", |of| &of.joins_refused),
    ("leaves", "Leaves answered with @leave", |of| &of.leaves),
    ("protocol_violations", "Connections closed because they broke the WebSocket protocol", |of| {
        &of.violations
    }),
    ("publications_taken", "Publications taken from the lane", |of| &of.publications),
    ("deliveries_delayed", "Deliveries that went through an outbox", |of| &of.delayed),
    ("newest_dropped", "Times that even the newest publication was skipped", |of| {
        &of.newest_dropped
    }),
    ("bytes_sent", "Bytes that the kernel took", |of| &of.bytes_sent),
    ("bytes_received", "Bytes received", |of| &of.bytes_received),
    ("input_held_bytes", "Bytes received that waited behind a join or unread replies", |of| {
        &of.input_held
    }),
    ("laggards", "Times a connection began to lag", |of| &of.laggards),
    ("room_denied", "Times a socket promised room and took nothing: no memory for sockets", |of| {
        &of.room_denied
    }),
    (
        "overflows",
        "Connections closed with 1013 because what waited for them passed a bound",
        |of| &of.overflows,
    ),
    ("pings", "Pings sent", |of| &of.pings),
    ("batches", "Batches of sends planned, empty ones included", |of| &of.batches),
    ("sends", "Sends asked of the kernel", |of| &of.sends),
    ("sweep_steps", "Work of the sweep, in looks at a subscriber", |of| &of.sweep_steps),
    ("sweep_rounds", "Times the sweep has come round all subscribers of a topic", |of| &of.rounds),
];

const LOOP: &[Counted<LoopCounters>] = &[
    ("loop_turns", "Turns of a shard's event loop", |of| &of.turns),
    ("loop_sleeps", "Times a shard's event loop slept", |of| &of.sleeps),
    ("log_stalls", "Turns in which the lane waited because the logs were full", |of| {
        &of.log_stalls
    }),
    ("cq_overflows", "Times the completion queue of a shard overflowed", |of| &of.cq_overflows),
    ("receive_buffer_shortages", "Receives that had to wait for a buffer", |of| {
        &of.buffer_shortages
    }),
    ("accept_rests", "Times accepting rested because descriptors or memory had run out", |of| {
        &of.accept_rests
    }),
];

const HUB: &[Counted<HubCounters>] = &[
    ("rpc_connections_accepted", "RPC connections taken", |of| &of.rpc_accepted),
    ("rpc_calls", "RPC calls read, whatever became of them", |of| &of.calls),
    ("publications_pushed", "Publications put into lanes, one for each interested shard", |of| {
        &of.publications_pushed
    }),
    ("lane_stalls", "Publications that met a full lane and waited", |of| &of.publications_waited),
    ("empty_topics", "Empty topic names in RPC calls, skipped", |of| &of.empty_topics),
    (
        "publications_lost_after_ok",
        "Publications that failed after PublishAsync had been answered",
        |of| &of.failures_after_ok,
    ),
];

/// Why an RPC connection was closed, as a label.
const RPC_CLOSED: &[Counted<HubCounters>] = &[
    ("limit", "", |of| &of.rpc_refused),
    ("violation", "", |of| &of.rpc_violations),
    ("timeout", "", |of| &of.rpc_timeouts),
];

/// What kind of error an RPC call was answered with, as a label.
const RPC_ERRORS: &[Counted<HubCounters>] = &[
    ("method", "", |of| &of.errors_method),
    ("codec", "", |of| &of.errors_codec),
    ("body", "", |of| &of.errors_body),
    ("broker", "", |of| &of.errors_broker),
    ("size", "", |of| &of.errors_size),
    ("async", "", |of| &of.errors_async),
    ("shutdown", "", |of| &of.errors_shutdown),
];

/// Why a connection ended without a closing handshake, as a label.
const ENDED: &[Counted<ShardCounters>] = &[
    ("gone", "", |of| &of.gone),
    ("too_slow", "", |of| &of.too_slow),
    ("silent", "", |of| &of.pongs_missing),
];

/// Why a connection did not become a WebSocket, as a label; HTTP statuses besides.
const REFUSED: &[Counted<ShardCounters>] = &[
    ("limit", "", |of| &of.refused_limit),
    ("address_connections", "", |of| &of.refused_address_connections),
    ("address_handshakes", "", |of| &of.refused_address_handshakes),
    ("shutdown", "", |of| &of.refused_shutdown),
    ("timeout", "", |of| &of.head_timeouts),
];

struct Writer<'a>(DescriptorEncoder<'a>);

impl Writer<'_> {
    fn family<L: EncodeLabelSet>(
        &mut self,
        (name, help): (&str, &str),
        kind: MetricType,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            let mut sample = metric.encode_family(&labels)?;
            match kind {
                MetricType::Counter => sample.encode_counter::<NoLabelSet, _, u64>(&value, None)?,
                _ => sample.encode_gauge(&value)?,
            }
        }
        Ok(())
    }

    /// A metric of the process, without labels.
    fn single(&mut self, (name, help): (&str, &str), kind: MetricType, value: u64) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        match kind {
            MetricType::Counter => metric.encode_counter::<NoLabelSet, _, u64>(&value, None),
            _ => metric.encode_gauge(&value),
        }
    }

    fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family((name, help), MetricType::Counter, samples)
    }

    fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family((name, help), MetricType::Gauge, samples)
    }
}

/// The label set of one shard.
fn of(shard: &ShardTelemetry) -> [(&'static str, &str); 1] {
    [("shard", shard.name.as_str())]
}

impl Collector for Telemetry {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let out = &mut Writer(encoder);
        self.encode_process(out)?;
        self.encode_hub(out)?;
        self.encode_deliveries(out)?;
        self.encode_connections(out)?;
        for (name, help, counter) in SHARD {
            out.counter(
                name,
                help,
                self.shards.iter().map(|shard| (of(shard), counter(&shard.counts).value())),
            )?;
        }
        for (name, help, counter) in LOOP {
            out.counter(
                name,
                help,
                self.shards.iter().map(|shard| (of(shard), counter(&shard.around).value())),
            )?;
        }
        Ok(())
    }
}

impl Telemetry {
    fn encode_process(&self, out: &mut Writer<'_>) -> fmt::Result {
        let now = Instant::now();
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        out.gauge("build_info", "Always 1; the version is the label", version)?;
        out.single(
            ("ready", "1 when /ready answers 200"),
            MetricType::Gauge,
            u64::from(self.is_ready(now).is_ok()),
        )?;
        out.single(
            (
                "log_lines_lost",
                "Lines missing from the log: it was not read in time, or could not be written",
            ),
            MetricType::Counter,
            self.log.lines(),
        )?;
        let busy =
            self.stuck(now).map(|(name, stuck)| ([("thread", name)], stuck.as_millis() as u64));
        out.gauge(
            "turn_milliseconds",
            "How long the turn under way of a thread has taken, or it has overslept; 0 while it sleeps",
            busy,
        )
    }

    fn encode_hub(&self, out: &mut Writer<'_>) -> fmt::Result {
        let hub = &*self.hub;
        out.single(
            ("rpc_connections_open", "RPC connections by now"),
            MetricType::Gauge,
            hub.rpc_open.value(),
        )?;
        for (name, help, counter) in HUB {
            out.single((name, help), MetricType::Counter, counter(hub).value())?;
        }
        let by = |label: &'static str, counted: &'static [Counted<HubCounters>]| {
            counted.iter().map(move |(name, _, counter)| ([(label, *name)], counter(hub).value()))
        };
        out.counter(
            "rpc_connections_closed",
            "RPC connections closed by the server",
            by("reason", RPC_CLOSED),
        )?;
        out.counter("rpc_errors", "RPC calls answered with an error", by("kind", RPC_ERRORS))?;
        let brokers = self.brokers.iter().zip(&hub.by_broker);
        let published = brokers
            .map(|(name, count)| ([("broker", name.as_str()), ("source", "rpc")], count.value()));
        out.counter(
            "publications",
            "Publications asked for, one for each topic and broker",
            published,
        )?;
        let lanes = || self.shards.iter();
        let entries = lanes().map(|shard| (of(shard), shard.lane.entries()));
        out.gauge("lane_entries", "Entries queued for a shard", entries)?;
        out.gauge(
            "lane_bytes",
            "Bytes queued for a shard",
            lanes().map(|shard| (of(shard), shard.lane.cost())),
        )
    }

    /// The balance of each shard is read once, so that its numbers belong together.
    fn encode_deliveries(&self, out: &mut Writer<'_>) -> fmt::Result {
        let standings: Vec<Standing> =
            self.shards.iter().map(|shard| shard.counts.standing()).collect();
        let each = |number: fn(&Standing) -> u64| {
            let shards = self.shards.iter().zip(&standings);
            shards.map(move |(shard, standing)| (of(shard), number(standing)))
        };
        let owed = each(|standing| standing.balance.owed);
        out.counter("deliveries_owed", "Publications times subscribers", owed)?;
        let delivered = each(|standing| standing.balance.delivered);
        out.counter("deliveries", "Deliveries that the kernel has taken whole", delivered)?;
        let shards = || self.shards.iter().zip(&standings);
        let dropped = shards().flat_map(|(shard, standing)| {
            let labels =
                |reason: Dropped| [("shard", shard.name.as_str()), ("reason", reason.name())];
            Dropped::ALL.map(|reason| (labels(reason), standing.balance.dropped(reason)))
        });
        out.counter("deliveries_dropped", "Deliveries dropped", dropped)?;
        let queued = shards().flat_map(|(shard, standing)| {
            let balance = standing.balance;
            let places = [("log", balance.queued_logs), ("outbox", balance.queued_outboxes)];
            places
                .map(|(place, queued)| ([("shard", shard.name.as_str()), ("place", place)], queued))
        });
        out.gauge(
            "deliveries_queued",
            "Deliveries owed and neither delivered nor dropped",
            queued,
        )?;
        out.gauge("log_bytes", "Bytes of topic logs", each(|standing| standing.log_bytes))?;
        let parked = each(|standing| standing.parked_bytes);
        out.gauge(
            "parked_bytes",
            "Bytes of newest publications kept for those who were skipped",
            parked,
        )?;
        out.gauge("outbox_bytes", "Bytes of all outboxes", each(|standing| standing.outbox_bytes))?;
        let subscriptions = each(|standing| standing.subscriptions_bytes);
        out.gauge("subscriptions_bytes", "Bytes of topics and subscriptions", subscriptions)?;
        let active = each(|standing| standing.topics_active);
        out.gauge("topics_active", "Topics with a subscriber that has not been served yet", active)
    }

    fn encode_connections(&self, out: &mut Writer<'_>) -> fmt::Result {
        let shards = || self.shards.iter();
        let open = shards().map(|shard| (of(shard), shard.counts.open.value()));
        out.gauge("connections_open", "Connections by now", open)?;
        let topics = shards().map(|shard| (of(shard), shard.counts.topics.value()));
        out.gauge("topics", "Topics with a subscriber", topics)?;
        let by = |counted: &'static [Counted<ShardCounters>]| {
            move |shard: &ShardTelemetry| -> Vec<(&'static str, u64)> {
                counted
                    .iter()
                    .map(|(name, _, counter)| (*name, counter(&shard.counts).value()))
                    .collect()
            }
        };
        let labelled =
            |label: &'static str, counts: &dyn Fn(&ShardTelemetry) -> Vec<(&'static str, u64)>| {
                let samples = shards().flat_map(|shard| {
                    let counts = counts(shard).into_iter();
                    counts.map(move |(name, count)| {
                        ([("shard", shard.name.as_str()), (label, name)], count)
                    })
                });
                samples.collect::<Vec<_>>()
            };
        let refused = labelled("reason", &|shard| {
            by(REFUSED)(shard).into_iter().chain(shard.counts.refusals.each()).collect()
        });
        out.counter("connections_refused", "Connections that did not become WebSockets", refused)?;
        let ended = labelled("reason", &by(ENDED));
        out.counter(
            "connections_ended",
            "Connections that ended without a closing handshake",
            ended,
        )?;
        let closes = labelled("code", &|shard| shard.counts.closes.each().collect());
        out.counter("closes", "Close frames sent on the server's own account", closes)?;
        let closes = labelled("code", &|shard| shard.counts.closes_by_client.each().collect());
        out.counter("client_closes", "Close frames of clients", closes)
    }
}
