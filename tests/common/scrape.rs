//! What a scrape of the metrics says, read by hand.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::raw::http;

/// All samples of one scrape: the name, then each label's value in the order written.
#[derive(Clone, Debug, Default)]
pub struct Scrape(BTreeMap<(String, Vec<String>), u64>);

impl Scrape {
    /// Scrapes an endpoint.
    pub fn of(address: SocketAddr) -> Self {
        let answer = http(
            address,
            b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: application/openmetrics-text\r\n\r\n",
        );
        assert_eq!(answer.status, 200, "{}", answer.head);
        let text = String::from_utf8(answer.body).expect("metrics are text");
        assert!(text.ends_with("# EOF\n"), "whole: {text}");
        // Fractions of seconds are no whole numbers.
        let fractions = ["_seconds_sum", "_lag_seconds"];
        let counts = |line: &&str| {
            !line.starts_with('#') && !fractions.iter().any(|part| line.contains(part))
        };
        let samples = text.lines().filter(counts).map(|line| {
            let (series, value) =
                line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
            let values =
                labels.map(|label| label.split('"').nth(1).expect("a quoted value").to_owned());
            ((name.to_owned(), values.collect()), value.parse().expect("a whole number"))
        });
        Self(samples.collect())
    }

    /// The sample of these labels; the first is mostly the shard.
    pub fn sample(&self, name: &str, labels: &[&str]) -> u64 {
        let key =
            (format!("roadcast_{name}"), labels.iter().map(|label| (*label).to_owned()).collect());
        *self.0.get(&key).unwrap_or_else(|| panic!("no {name} {labels:?}"))
    }

    /// The sum of all samples of a name whose labels are `labels` from the end on.
    pub fn sum(&self, name: &str, labels: &[&str]) -> u64 {
        let name = format!("roadcast_{name}");
        let fits = |of: &[String]| of.iter().rev().zip(labels.iter().rev()).all(|(a, b)| a == b);
        self.0
            .iter()
            .filter(|((known, of), _)| *known == name && fits(of))
            .map(|(_, value)| value)
            .sum()
    }

    /// As [`Scrape::sum`], of one shard.
    pub fn sum_of_shard(&self, name: &str, shard: &str) -> u64 {
        let name = format!("roadcast_{name}");
        self.0
            .iter()
            .filter(|((known, of), _)| *known == name && of[0] == shard)
            .map(|(_, value)| value)
            .sum()
    }

    /// Asserts that every delivery is accounted for in each shard, and that no counter is below
    /// what it was `before`.
    pub fn check(&self, before: &Scrape) {
        for (_, labels) in
            self.0.keys().filter(|(name, _)| name == "roadcast_deliveries_owed_total")
        {
            let shard = labels[0].as_str();
            let of = |name| self.sum_of_shard(name, shard);
            let accounted =
                of("deliveries_total") + of("deliveries_dropped_total") + of("deliveries_queued");
            assert_eq!(of("deliveries_owed_total"), accounted, "shard {shard}");
        }
        for ((name, labels), value) in
            before.0.iter().filter(|((name, _), _)| name.ends_with("_total"))
        {
            assert!(
                self.0[&(name.clone(), labels.clone())] >= *value,
                "{name} {labels:?} went down"
            );
        }
    }
}
