//! The report of a soak, on one page.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::faults::bed::{Holding, mib};
use crate::faults::checks::Checks;
use crate::faults::crowd::{End, Seen};
use crate::fleet::readers::Outcome;
use crate::fleet::tally::Faults;

/// One episode.
#[derive(Clone, Debug)]
pub struct Episode {
    /// What was done.
    pub faults: String,
    /// Slices of a second.
    pub slices: usize,
    /// Messages that healthy subscribers received.
    pub deliveries: u64,
    /// The worst slice's p99 of healthy subscribers, ms.
    pub p99: f64,
    /// How long the server took to hold nothing of it any more; `None` if it did not.
    pub quiet: Option<Duration>,
    /// Resident memory then.
    pub rss: u64,
    /// What had gone wrong with healthy subscribers by then.
    pub wrong: Faults,
}

/// See the module.
#[derive(Debug)]
pub struct Report {
    seed: u64,
    /// What was done.
    pub episodes: Vec<Episode>,
    readers: Outcome,
    gaps: u64,
    actions: u64,
    churn: Faults,
    connects: u64,
    ends: BTreeMap<End, u64>,
    joins: (u64, u64),
}

/// How a client of a crowd may end: as its habit deserves.
const ENDS: [End; 4] = [End::Status(408), End::Status(431), End::Close(1009), End::Eof];

impl Report {
    /// An empty one.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            episodes: Vec::new(),
            readers: Outcome::default(),
            gaps: 0,
            actions: 0,
            churn: Faults::default(),
            connects: 0,
            ends: BTreeMap::new(),
            joins: (0, 0),
        }
    }

    /// Books what became of readers. Gaps are what a topic that skips may have.
    pub fn readers(&mut self, outcome: &Outcome) {
        self.gaps += outcome.faults.lost;
        self.readers.faults.add(Faults { lost: 0, ..outcome.faults });
        self.readers.messages += outcome.messages;
        self.readers.open += outcome.open;
        self.readers.complete += outcome.complete;
        for (code, count) in &outcome.closed {
            *self.readers.closed.entry(*code).or_default() += count;
        }
    }

    /// Books what a crowd has seen.
    pub fn crowd(&mut self, seen: &Seen) {
        self.connects += seen.connects;
        self.joins.0 += seen.joined;
        self.joins.1 += seen.refused;
        for (end, count) in &seen.ends {
            *self.ends.entry(*end).or_default() += count;
        }
    }

    /// Books what became of those who come and go.
    pub fn churn(&mut self, faults: Faults, actions: u64) {
        self.churn.add(faults);
        self.actions += actions;
    }

    /// Checks what the episodes brought.
    pub fn check(&self, checks: &mut Checks, last: &Holding) {
        let skipped = last.scrape.sum("deliveries_dropped_total", "reason=\"skipped\"");
        checks.add(
            "slow readers: in order; gaps in the topic that skips only, all of them counted",
            format!("{}; gaps of {}, {skipped} skipped", self.readers, self.gaps),
            self.readers.faults.none() && self.gaps <= skipped,
        );
        checks.add(
            "readers that are still connected have everything",
            format!("{} of {}", self.readers.complete, self.readers.open),
            self.readers.complete >= self.readers.open,
        );
        checks.add(
            "who comes and goes: nothing missed, doubled, or out of order",
            format!("{} joins, leaves and resets: {:?}", self.actions, self.churn),
            self.churn.none(),
        );
        let ends: Vec<_> =
            self.ends.iter().map(|(end, count)| format!("{count} × {end}")).collect();
        checks.add(
            "offenders end as they deserve",
            format!("{} connected; {}", self.connects, ends.join(", ")),
            self.ends.keys().all(|end| ENDS.contains(end)),
        );
        let noisy = self.episodes.iter().filter(|episode| episode.quiet.is_none()).count();
        checks.add(
            "after each episode the server holds nothing of it",
            format!("{noisy} not"),
            noisy == 0,
        );
        let lost = last.scrape.sum("publications_lost_after_ok_total", "");
        checks.add("nothing answered ok is lost", format!("{lost}"), lost == 0);
    }

    /// All of it, on one page.
    pub fn text(&self, checks: &Checks, last: &Holding, deliveries: u64) -> String {
        let mut text = String::new();
        let seconds: usize = self.episodes.iter().map(|episode| episode.slices).sum();
        let _ = writeln!(
            text,
            "# Soak, seed {}\n\n{} episodes, {seconds} s of load, {deliveries} deliveries to healthy subscribers. {}",
            self.seed,
            self.episodes.len(),
            if checks.held() { "Everything held." } else { "NOT everything held." }
        );
        let _ = writeln!(text, "{}", checks.table(0));
        let list = |name: &str, label: &str, values: &[&str]| {
            let counts = values.iter().map(|value| {
                let count = last.scrape.sum(name, &format!("{label}=\"{value}\""));
                format!("{value} {count}")
            });
            counts.collect::<Vec<_>>().join(", ")
        };
        let reasons =
            ["overflow", "skipped", "left", "closed", "gone", "too_slow", "silent", "shutdown"];
        let _ = writeln!(
            text,
            "\nDropped: {}\nCloses: {}\nRefused: {}\nLane stalls {}, log stalls {}, laggards {}, accept rests {}, CQ overflows {}\n",
            list("deliveries_dropped_total", "reason", &reasons),
            list("closes_total", "code", &["1001", "1002", "1007", "1009", "1013"]),
            list("connections_refused_total", "reason", &["limit", "timeout", "431"]),
            last.scrape.sum("lane_stalls_total", ""),
            last.scrape.sum("log_stalls_total", ""),
            last.scrape.sum("laggards_total", ""),
            last.scrape.sum("accept_rests_total", ""),
            last.scrape.sum("cq_overflows_total", ""),
        );
        let _ = writeln!(
            text,
            "| s | deliveries | p99 ms | quiet after s | RSS MiB | faults |\n|---:|---:|---:|---:|---:|---|"
        );
        for episode in &self.episodes {
            let quiet = episode
                .quiet
                .map_or("never".to_owned(), |quiet| format!("{:.1}", quiet.as_secs_f64()));
            let wrong = if episode.wrong.none() {
                String::new()
            } else {
                format!(" **{:?}**", episode.wrong)
            };
            let _ = writeln!(
                text,
                "| {} | {} | {:.1} | {quiet} | {:.1} | {}{wrong} |",
                episode.slices,
                episode.deliveries,
                episode.p99,
                mib(episode.rss),
                episode.faults
            );
        }
        text
    }
}
