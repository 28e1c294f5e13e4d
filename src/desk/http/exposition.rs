//! All counters as OpenMetrics text, read at the moment of the scrape; `format` makes the older
//! text format of it. What they mean: docs/metrics.md.
//!
//! Labels have few values: shards, configured brokers, fixed sets of codes and reasons.
//!
//! A count that is a metric by itself needs no line here: its row in [`crate::metrics::counters`]
//! says name and meaning. Here stands what is told by labels, and what is no count.

use std::fmt;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::telemetry::{ShardTelemetry, Telemetry};
use crate::desk::access::AccessCounters;
use crate::desk::access::callback::CallbackCounters;
use crate::desk::access::jwks::KeyCounters;
use crate::desk::access::workers::WorkerCounters;
use crate::engine::LoopCounters;
use crate::hub::HubCounters;
use crate::metrics::{Count, Shown};
use crate::shard::{Dropped, ShardCounters, Standing};

/// Writes metrics.
pub(super) struct Writer<'a>(DescriptorEncoder<'a>);

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

    /// A count, if it is a metric by itself.
    fn count<'a, T: 'static, L: EncodeLabelSet, S: Iterator<Item = (L, &'a T)>>(
        &mut self,
        count: &Count<T>,
        samples: impl Fn() -> S,
    ) -> fmt::Result {
        let Some((name, kind)) = metric(count.shown) else { return Ok(()) };
        let samples = samples().map(|(labels, of)| (labels, (count.value)(of)));
        self.family((name, help(count)), kind, samples)
    }

    /// A count of the process, if it is a metric by itself.
    fn process_count<T: 'static>(&mut self, count: &Count<T>, of: &T) -> fmt::Result {
        let Some((name, kind)) = metric(count.shown) else { return Ok(()) };
        self.single((name, help(count)), kind, (count.value)(of))
    }

    /// All counts of the process: those that are metrics by themselves, and of these wholes, each
    /// with its help, the parts by reason.
    fn process_counts<T: 'static>(
        &mut self,
        counts: &'static [Count<T>],
        of: &T,
        wholes: &[(&'static str, &str)],
    ) -> fmt::Result {
        counts.iter().try_for_each(|count| self.process_count(count, of))?;
        for &(name, help) in wholes {
            let parts = parts(counts, name, of);
            self.counter(name, help, parts.map(|(reason, value)| ([("reason", reason)], value)))?;
        }
        Ok(())
    }

    /// A histogram of the process: the upper bound of each bucket, and what is in it alone.
    fn histogram(
        &mut self,
        (name, help): (&str, &str),
        sum: f64,
        buckets: &[(f64, u64)],
    ) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
    }

    pub(super) fn counter<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family((name, help), MetricType::Counter, samples)
    }

    pub(super) fn gauge<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        self.family((name, help), MetricType::Gauge, samples)
    }

    /// A gauge of times, with their fractions.
    pub(super) fn seconds<L: EncodeLabelSet>(
        &mut self,
        name: &str,
        help: &str,
        samples: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in samples {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}

/// Name and type of a count that is a metric by itself.
fn metric(shown: Shown) -> Option<(&'static str, MetricType)> {
    match shown {
        Shown::Counter(name) => Some((name, MetricType::Counter)),
        Shown::Gauge(name) => Some((name, MetricType::Gauge)),
        Shown::Part(..) | Shown::LogOnly => None,
    }
}

/// What a count counts; the encoder ends it with a full stop.
fn help<T>(count: &Count<T>) -> &'static str {
    count.help.trim_end_matches('.')
}

/// The parts of a whole, by the values of their label.
fn parts<T>(
    counts: &'static [Count<T>],
    whole: &'static str,
    of: &T,
) -> impl Iterator<Item = (&'static str, u64)> {
    counts.iter().filter_map(move |count| match count.shown {
        Shown::Part(name, part) if name == whole => Some((part, (count.value)(of))),
        _ => None,
    })
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
        self.encode_brokers(out)?;
        self.encode_deliveries(out)?;
        self.encode_connections(out)?;
        self.encode_access(out)?;
        self.encode_workers(out)?;
        self.encode_callback(out)?;
        if let Some(keys) = self.keys.get() {
            out.process_counts(KeyCounters::COUNTS, &keys.counts, &[])?;
        }
        for count in ShardCounters::COUNTS {
            out.count(count, || self.shards.iter().map(|shard| (of(shard), &*shard.counts)))?;
        }
        for count in LoopCounters::COUNTS {
            out.count(count, || self.shards.iter().map(|shard| (of(shard), &*shard.around)))?;
        }
        Ok(())
    }
}

impl Telemetry {
    fn encode_access(&self, out: &mut Writer<'_>) -> fmt::Result {
        let Some(access) = &self.access else { return Ok(()) };
        let refused =
            ("access_refused", "Clients refused by who is asked who may connect, by reason");
        out.process_counts(AccessCounters::COUNTS, access, &[refused])
    }

    fn encode_workers(&self, out: &mut Writer<'_>) -> fmt::Result {
        let Some(workers) = self.workers.get() else { return Ok(()) };
        let counts = &workers.counts;
        let wholes = [
            ("worker_questions_refused", "Questions that no worker was asked, by reason"),
            ("worker_failures", "Questions that workers did not answer, by reason"),
        ];
        out.process_counts(WorkerCounters::COUNTS, counts, &wholes)?;
        let buckets: Vec<_> = counts.answer_time.buckets().collect();
        let of = ("worker_answer_seconds", "How long workers took to answer");
        out.histogram(of, counts.answer_time.sum().as_secs_f64(), &buckets)
    }

    fn encode_callback(&self, out: &mut Writer<'_>) -> fmt::Result {
        let Some(callback) = self.callback.get() else { return Ok(()) };
        let counts = &callback.counts;
        let refused = "Questions that were not put to the callback, by reason";
        let wholes = [
            ("callback_questions_refused", refused),
            ("callback_failures", "Questions that the callback did not answer, by reason"),
        ];
        out.process_counts(CallbackCounters::COUNTS, counts, &wholes)?;
        let buckets: Vec<_> = counts.answer_time.buckets().collect();
        let of = ("callback_answer_seconds", "How long the callback took to answer");
        out.histogram(of, counts.answer_time.sum().as_secs_f64(), &buckets)
    }

    fn encode_process(&self, out: &mut Writer<'_>) -> fmt::Result {
        let now = Instant::now();
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1)];
        out.gauge("build_info", "Always 1; the version is the label", version)?;
        let backend = [([("backend", self.backend.name())], 1)];
        out.gauge("backend_info", "Always 1; what the threads run on is the label", backend)?;
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
        for count in HubCounters::COUNTS {
            if let Some((name, kind)) = metric(count.shown) {
                out.single((name, help(count)), kind, (count.value)(hub))?;
            }
        }
        let by = |label: &'static str, whole: &'static str| {
            parts(HubCounters::COUNTS, whole, hub)
                .map(move |(part, count)| ([(label, part)], count))
        };
        let closed = by("reason", "rpc_connections_closed");
        out.counter("rpc_connections_closed", "RPC connections closed by the server", closed)?;
        let errors = by("kind", "rpc_errors");
        out.counter("rpc_errors", "RPC calls answered with an error", errors)?;
        const FAILED: &str = "Topics of joins whose client was not given all that it had missed";
        let failed = by("reason", "recoveries_failed");
        out.counter("recoveries_failed", FAILED, failed)?;
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
            let refused = parts(ShardCounters::COUNTS, "connections_refused", &shard.counts);
            refused.chain(shard.counts.refusals.each()).collect()
        });
        out.counter("connections_refused", "Connections that did not become WebSockets", refused)?;
        let ended = labelled("reason", &|shard| {
            parts(ShardCounters::COUNTS, "connections_ended", &shard.counts).collect()
        });
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
