//! What a case measured: per server and round the values of its metrics, and what they come to
//! beside the base.

use std::collections::BTreeMap;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::clock::TICK_NANOS;
use crate::fleet::tally::Faults;
use crate::server::Kind;
use crate::stats::Spread;

/// Something measured. Less is better unless it is a speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// CPU of the server per message delivered, µs.
    CpuPerDelivery,
    /// CPU of the server per publish, µs.
    CpuPerPublish,
    /// CPU of the server per connection that shook hands and joined, µs.
    CpuPerConnection,
    /// Share of that CPU that softirq threads took, %.
    SoftirqShare,
    /// Median time from due to arrival, ms.
    LatencyP50,
    /// Time from due to arrival of 99 %, ms.
    LatencyP99,
    /// Median time from an upgrade request to its answer, ms.
    UpgradeP50,
    /// Time from an upgrade request to the answer of 99 %, ms.
    UpgradeP99,
    /// Median time from a join to its answer, ms.
    JoinP50,
    /// Time from a join to the answer of 99 %, ms.
    JoinP99,
    /// Messages delivered a second.
    DeliveriesPerSecond,
    /// Publishes answered a second.
    PublishesPerSecond,
    /// Joins, leaves and resets a second, beside the deliveries.
    ActionsPerSecond,
    /// Connections a second.
    ConnectionsPerSecond,
    /// Resident memory of the server at its start, MiB.
    RssAtStart,
    /// Resident memory per connection, KiB.
    RssPerConnection,
    /// Memory of the kernel per connection, both ends together, KiB.
    KernelPerConnection,
}

impl Metric {
    /// A column's title, with the unit.
    pub fn title(self) -> &'static str {
        match self {
            Self::CpuPerDelivery => "CPU µs/delivery",
            Self::CpuPerPublish => "CPU µs/publish",
            Self::CpuPerConnection => "CPU µs/connection",
            Self::SoftirqShare => "softirq %",
            Self::LatencyP50 => "p50 ms",
            Self::LatencyP99 => "p99 ms",
            Self::UpgradeP50 => "upgrade p50 ms",
            Self::UpgradeP99 => "upgrade p99 ms",
            Self::JoinP50 => "join p50 ms",
            Self::JoinP99 => "join p99 ms",
            Self::DeliveriesPerSecond => "deliveries/s",
            Self::PublishesPerSecond => "publishes/s",
            Self::ActionsPerSecond => "joins, leaves, resets/s",
            Self::ConnectionsPerSecond => "connections/s",
            Self::RssAtStart => "RSS at start MiB",
            Self::RssPerConnection => "RSS KiB/connection",
            Self::KernelPerConnection => "kernel KiB/connection",
        }
    }

    /// Whether its ratio to the base says something.
    pub fn compares(self) -> bool {
        !matches!(self, Self::SoftirqShare | Self::ActionsPerSecond)
    }
}

/// The values of one round.
pub type Round = BTreeMap<Metric, f64>;

/// What one server did in a case.
#[derive(Debug)]
pub struct Record {
    /// The server.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// What it says it is.
    pub version: String,
    /// Its subscribers, where servers of a case have different numbers of them, and the name that
    /// they share.
    pub point: Option<(String, usize)>,
    /// Its rounds. Round `n` of one server ran beside round `n` of the others.
    pub rounds: Vec<Round>,
    /// What went wrong, in all rounds.
    pub faults: Faults,
    /// Messages delivered in all rounds.
    pub deliveries: u64,
    /// The busiest slice of the generator, 0 to 1.
    pub generator_busy: f64,
    /// All latencies, in ticks.
    pub latency: Option<Histogram<u64>>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

impl Record {
    /// An empty record.
    pub fn new(label: &str, kind: Kind, version: &str) -> Self {
        Self {
            label: label.to_owned(),
            kind,
            version: version.to_owned(),
            point: None,
            rounds: Vec::new(),
            faults: Faults::default(),
            deliveries: 0,
            generator_busy: 0.0,
            latency: None,
            notes: Vec::new(),
        }
    }
}

/// Above this share of a slice the generator may have been the limit.
pub const GENERATOR_LIMIT: f64 = 0.9;

/// One metric of one server, over all rounds.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub metric: Metric,
    /// Its value.
    pub value: Spread,
    /// Its ratio to the base's value of the same round.
    pub ratio: Option<Spread>,
    /// The values, round by round.
    pub rounds: Vec<f64>,
}

/// A point of a latency distribution.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Percentile {
    /// Share of the messages, %.
    pub percent: f64,
    /// That arrived in so many ms.
    pub ms: f64,
}

/// What one server's record comes to.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// The server.
    pub server: String,
    /// What it is.
    pub kind: Kind,
    /// What it says it is.
    pub version: String,
    /// Its subscribers, where servers of a case have different numbers of them, and the name that
    /// they share.
    pub point: Option<(String, usize)>,
    /// Its figures.
    pub figures: Vec<Figure>,
    /// What went wrong.
    pub faults: Faults,
    /// Messages that were checked.
    pub deliveries: u64,
    /// The busiest slice of the generator, 0 to 1.
    pub generator_busy: f64,
    /// How latencies are distributed.
    pub latency: Vec<Percentile>,
    /// What a reader must know.
    pub notes: Vec<String>,
}

/// A case's results.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// The case.
    pub case: String,
    /// What it asks.
    pub question: String,
    /// Its rounds, and the seconds of a slice.
    pub rounds: usize,
    /// Seconds of a slice.
    pub slice_seconds: f64,
    /// The server that ratios refer to.
    pub base: Option<String>,
    /// What the servers did.
    pub rows: Vec<Row>,
    /// Servers that were asked for and not measured, with the reason.
    pub missing: Vec<String>,
}

impl Row {
    /// A figure of this row.
    pub fn figure(&self, metric: Metric) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.metric == metric)
    }
}

/// Sums a record up beside the base's.
pub fn row(record: &Record, base: Option<&Record>) -> Row {
    let mut metrics: Vec<Metric> =
        record.rounds.iter().flat_map(|round| round.keys().copied()).collect();
    metrics.sort();
    metrics.dedup();
    let figures = metrics.into_iter().filter_map(|metric| {
        let rounds: Vec<f64> =
            record.rounds.iter().filter_map(|round| round.get(&metric).copied()).collect();
        let ratios = base.map(|base| {
            let pairs = record.rounds.iter().zip(&base.rounds);
            pairs.filter_map(|(own, base)| Some(own.get(&metric)? / base.get(&metric)?))
        });
        let ratio = ratios.filter(|_| metric.compares()).and_then(Spread::of);
        Some(Figure { metric, value: Spread::of(rounds.iter().copied())?, ratio, rounds })
    });
    let mut notes = record.notes.clone();
    if record.generator_busy > GENERATOR_LIMIT {
        notes.push(format!(
            "the generator was {:.0} % busy: it may be the limit",
            record.generator_busy * 100.0
        ));
    }
    Row {
        server: record.label.clone(),
        kind: record.kind,
        version: record.version.clone(),
        point: record.point.clone(),
        figures: figures.collect(),
        faults: record.faults,
        deliveries: record.deliveries,
        generator_busy: record.generator_busy,
        latency: record.latency.as_ref().map(percentiles).unwrap_or_default(),
        notes,
    }
}

/// Ticks as milliseconds.
pub fn ms(ticks: u64) -> f64 {
    (ticks * TICK_NANOS) as f64 / 1e6
}

fn percentiles(latency: &Histogram<u64>) -> Vec<Percentile> {
    if latency.is_empty() {
        return Vec::new();
    }
    let whole = (0..100).map(f64::from);
    let tail = [99.0, 99.5, 99.9, 99.95, 99.99, 100.0];
    whole
        .chain(tail)
        .map(|percent| Percentile { percent, ms: ms(latency.value_at_percentile(percent)) })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(values: &[f64]) -> Record {
        let mut record = Record::new("server", Kind::Roadcast, "1");
        record.rounds =
            values.iter().map(|&value| Round::from([(Metric::CpuPerDelivery, value)])).collect();
        record
    }

    #[test]
    fn a_ratio_is_the_median_of_the_rounds_ratios() {
        // Noise that hits a round hits both: the ratio does not see it.
        let row = row(&record(&[1.0, 20.0, 3.0]), Some(&record(&[2.0, 40.0, 6.0])));
        let figure = row.figure(Metric::CpuPerDelivery).unwrap();
        assert_eq!(figure.ratio.unwrap().median, 0.5);
        assert_eq!(figure.value.median, 3.0);
    }

    #[test]
    fn a_busy_generator_is_told() {
        let mut record = record(&[1.0]);
        record.generator_busy = 0.95;
        assert_eq!(row(&record, None).notes.len(), 1);
    }
}
