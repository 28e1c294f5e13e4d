//! What a server's metrics say: one scrape of its Prometheus endpoint.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How long a scrape may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// All samples of one scrape by their series, without the prefix `roadcast_`.
#[derive(Clone, Debug, Default)]
pub struct Scrape(BTreeMap<String, u64>);

impl Scrape {
    /// Scrapes an endpoint.
    pub fn of(address: SocketAddr) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).context("scraping")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {address}\r\nAccept: application/openmetrics-text\r\n\
             Connection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).context("scraping")?;
        let Some((head, text)) = answer.split_once("\r\n\r\n") else {
            bail!("a scrape was cut short")
        };
        if !head.starts_with("HTTP/1.1 200") || !text.ends_with("# EOF\n") {
            bail!("a scrape was answered: {}", head.lines().next().unwrap_or_default());
        }
        Ok(Self::read(text))
    }

    /// Reads the text of an endpoint. What is no sample is left out.
    fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.strip_prefix("roadcast_")?.to_owned(), value.parse().ok()?))
        };
        Self(lines.filter_map(sample).collect())
    }

    /// The sum over all series of a name whose labels include `label`, which is empty or
    /// `name="value"`.
    pub fn sum(&self, name: &str, label: &str) -> u64 {
        let of = |series: &str| {
            let (known, labels) = series.split_once('{').unwrap_or((series, ""));
            let mut labels = labels.trim_end_matches('}').split(',');
            known == name && (label.is_empty() || labels.any(|known| known == label))
        };
        self.0.iter().filter(|(series, _)| of(series)).map(|(_, value)| value).sum()
    }

    /// What became of all deliveries.
    pub fn balance(&self) -> Balance {
        Balance {
            owed: self.sum("deliveries_owed_total", ""),
            delivered: self.sum("deliveries_total", ""),
            dropped: self.sum("deliveries_dropped_total", ""),
            queued: self.sum("deliveries_queued", ""),
        }
    }
}

/// What became of all deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Publications × subscribers.
    pub owed: u64,
    /// Taken by the kernel.
    pub delivered: u64,
    /// Dropped, for whichever reason.
    pub dropped: u64,
    /// Still waiting.
    pub queued: u64,
}

impl Balance {
    /// Whether every delivery is accounted for.
    pub fn holds(self) -> bool {
        self.owed == self.delivered + self.dropped + self.queued
    }
}

impl std::fmt::Display for Balance {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { owed, delivered, dropped, queued } = self;
        let sign = if self.holds() { "=" } else { "≠" };
        write!(
            out,
            "{owed} owed {sign} {delivered} delivered + {dropped} dropped + {queued} queued"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# HELP x\nroadcast_deliveries_owed_total{shard=\"0\"} 10\n\
        roadcast_deliveries_owed_total{shard=\"1\"} 5\nroadcast_deliveries_total{shard=\"0\"} 9\n\
        roadcast_deliveries_total{shard=\"1\"} 2\nroadcast_deliveries_dropped_total{shard=\"0\",reason=\"left\"} 1\n\
        roadcast_deliveries_dropped_total{shard=\"1\",reason=\"gone\"} 1\n\
        roadcast_deliveries_queued{shard=\"1\",place=\"log\"} 2\nroadcast_ready 1\n# EOF\n";

    #[test]
    fn series_are_summed_by_name_and_label() {
        let scrape = Scrape::read(TEXT);
        assert_eq!(scrape.sum("deliveries_owed_total", ""), 15);
        assert_eq!(scrape.sum("deliveries_dropped_total", "reason=\"gone\""), 1);
        assert_eq!((scrape.sum("ready", ""), scrape.sum("deliveries", "")), (1, 0));
    }

    #[test]
    fn a_balance_with_a_hole_does_not_hold() {
        assert!(Scrape::read(TEXT).balance().holds());
        let broken = Scrape::read(&TEXT.replace("\"log\"} 2", "\"log\"} 1")).balance();
        assert!(!broken.holds());
        assert_eq!(broken.to_string(), "15 owed ≠ 11 delivered + 2 dropped + 1 queued");
    }
}
