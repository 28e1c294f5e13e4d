//! A server under test with its fleet of healthy subscribers, and what it held before.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::checks::Checks;
use crate::clock::Clock;
use crate::dialect::{Dialect, Goridge};
use crate::fleet::drive::Slice;
use crate::fleet::tally::Faults;
use crate::fleet::{Fleet, Plan};
use crate::process::{descriptors, rss_bytes};
use crate::scrape::Scrape;
use crate::server::{Kind, Place, Server, Spec, free_port};

/// Handshakes under way while a fleet is built.
const WINDOW: usize = 128;

/// How long a server may take until it has let go of everything: free memory it gives back every 30
/// seconds at most.
const SETTLE: Duration = Duration::from_secs(40);

/// Memory that an allocator may keep for its next use: no part of it is in use.
const KEPT: u64 = 16 << 20;

/// Topics of a fleet begin with it, so that all of them may be given a policy.
pub const TOPICS: &str = "t*";

/// What a server holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Resident memory.
    pub rss: u64,
    /// Descriptors.
    pub descriptors: usize,
    /// Its metrics.
    pub scrape: Scrape,
}

/// See the module.
pub struct Bed {
    /// What it is called.
    pub label: String,
    /// The server.
    pub server: Server,
    /// Its healthy subscribers and publishers.
    pub fleet: Fleet,
    clock: Clock,
    metrics: SocketAddr,
    plan: Plan,
    before: Option<Holding>,
    /// The most resident memory seen.
    pub rss_peak: u64,
    /// What went wrong with healthy subscribers, in all slices.
    pub faults: Faults,
    /// Messages that they received.
    pub deliveries: u64,
    /// Slices whose messages still arrived when they were given up.
    pub saturated: usize,
    /// Scrapes that did not add up.
    unbalanced: usize,
    scrapes: usize,
}

/// What a bed is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Healthy subscribers.
    pub subscribers: usize,
    /// Topics, publishers, payload, window.
    pub plan: Plan,
    /// Keys and values of the server's configuration, without `roadcast.`.
    pub options: Vec<(&'static str, String)>,
    /// Whether publishers call `PublishAsync`.
    pub asynchronous: bool,
}

impl Setup {
    /// Subscribers of one topic, one publisher, payloads of so many bytes.
    pub fn new(subscribers: usize, payload: usize) -> Self {
        let plan = Plan { topics: 1, payload, window: 1 << 18, spin: false, publishers: 1 };
        Self { subscribers, plan, options: Vec::new(), asynchronous: false }
    }

    /// With a key of the server set.
    pub fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        self.options.push((key, value.into()));
        self
    }
}

impl Bed {
    /// Starts a server, and builds its fleet.
    pub fn new(label: &str, place: &Place, setup: &Setup) -> Result<Self> {
        let metrics = free_port(place.address)?;
        let mut options: Vec<(String, String)> =
            setup.options.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
        options.push(("metrics.address".to_owned(), metrics.to_string()));
        let spec = Spec { label: label.to_owned(), kind: Kind::Roadcast, options };
        let server = spec.start(place)?;
        let clock = Clock::start();
        let dialect = if setup.asynchronous { Goridge::asynchronous() } else { Goridge::default() };
        let plan = setup.plan.clone();
        let mut fleet = Fleet::new(
            Box::new(dialect),
            server.clients,
            Some(server.publishes),
            plan.clone(),
            clock,
        )?
        .with_headers(&server.headers);
        fleet.grow(setup.subscribers, WINDOW)?;
        Ok(Self {
            label: label.to_owned(),
            server,
            fleet,
            clock,
            metrics,
            plan,
            before: None,
            rss_peak: 0,
            faults: Faults::default(),
            deliveries: 0,
            saturated: 0,
            unbalanced: 0,
            scrapes: 0,
        })
    }

    /// Subscribers beside the fleet, of the same topics.
    pub fn beside(&self, count: usize) -> Result<Fleet> {
        let plan = Plan { publishers: 0, window: 1, ..self.plan.clone() };
        let dialect: Box<dyn Dialect> = Box::<Goridge>::default();
        let mut fleet = Fleet::new(dialect, self.server.clients, None, plan, self.clock)?
            .with_headers(&self.server.headers);
        fleet.grow(count, WINDOW)?;
        Ok(fleet)
    }

    /// What the server holds now. Every look checks the balance.
    pub fn look(&mut self) -> Result<Holding> {
        let pid = self.server.pid().context("the server under test is ours")?;
        // First: the endpoint closes the connection of the scrape a moment after it.
        let (rss, descriptors) = (rss_bytes(pid)?, descriptors(pid)?);
        let scrape =
            Scrape::of(self.metrics).with_context(|| format!("metrics of {}", self.label))?;
        self.scrapes += 1;
        self.unbalanced += usize::from(!scrape.balance().holds());
        let holding = Holding { rss, descriptors, scrape };
        self.rss_peak = self.rss_peak.max(holding.rss);
        Ok(holding)
    }

    /// Remembers what the server holds now as what it must hold afterwards.
    pub fn remember(&mut self) -> Result<()> {
        let now = self.look()?;
        self.rss_peak = now.rss;
        self.before = Some(now);
        Ok(())
    }

    /// Books a slice of the fleet.
    pub fn book(&mut self, slice: &Slice) -> Result<Holding> {
        self.faults.add(slice.faults);
        self.deliveries += slice.deliveries;
        self.saturated += usize::from(slice.saturated);
        self.look()
    }

    /// Waits until `holds`, and says after how long; `None` if it never did.
    pub fn wait(
        &mut self,
        patience: Duration,
        mut holds: impl FnMut(&Holding) -> bool,
    ) -> Result<Option<Duration>> {
        let start = Instant::now();
        loop {
            self.fleet.turn(Duration::from_millis(20))?;
            if holds(&self.look()?) {
                return Ok(Some(start.elapsed()));
            }
            if start.elapsed() > patience {
                return Ok(None);
            }
        }
    }

    /// Checks what must hold in every run, once all but the healthy have gone: they got everything,
    /// in order; every delivery is accounted for in each scrape; descriptors, connections and
    /// topics are what they were, and so is memory, but for [`KEPT`].
    pub fn check(&mut self, checks: &mut Checks) -> Result<()> {
        let before = self.before.clone().context("remembered before")?;
        let open = before.scrape.sum("connections_open", "");
        let bound = before.rss + KEPT;
        let held = self.wait(SETTLE, |now| {
            let gone = now.scrape.sum("connections_open", "") <= open && now.rss <= bound;
            gone && ["outbox_bytes", "log_bytes", "lane_bytes", "deliveries_queued"]
                .iter()
                .all(|name| now.scrape.sum(name, "") == 0)
        })?;
        let after = self.look()?;
        let Faults { lost, doubled, reordered, damaged, closed } = self.faults;
        checks.add(
            "healthy: everything, once, in order",
            format!(
                "{} deliveries: {lost} lost, {doubled} doubled, {reordered} reordered, {damaged} damaged, {closed} closed",
                self.deliveries
            ),
            self.faults.none() && self.saturated == 0,
        );
        checks.add(
            format!("the balance, in each of {} scrapes", self.scrapes),
            after.scrape.balance().to_string(),
            self.unbalanced == 0,
        );
        let bytes = |of: &Holding| {
            ["outbox_bytes", "log_bytes", "parked_bytes"]
                .map(|name| of.scrape.sum(name, ""))
                .iter()
                .sum::<u64>()
        };
        checks.add(
            "memory comes back, but for 16 MiB",
            format!(
                "RSS {:.1} → {:.1} MiB (peak {:.1}), outboxes and logs {} → {} B",
                mib(before.rss),
                mib(after.rss),
                mib(self.rss_peak),
                bytes(&before),
                bytes(&after)
            ),
            held.is_some() && after.rss <= bound && bytes(&after) == bytes(&before),
        );
        let count = |of: &Holding| {
            (of.descriptors, of.scrape.sum("connections_open", ""), of.scrape.sum("topics", ""))
        };
        let (then, now) = (count(&before), count(&after));
        checks.add(
            "descriptors, connections, topics as before",
            format!("{} → {}, {} → {}, {} → {}", then.0, now.0, then.1, now.1, then.2, now.2),
            then == now,
        );
        Ok(())
    }

    /// Checks that the server's memory has not grown by more than so much at any time since it was
    /// remembered.
    pub fn check_growth(&self, checks: &mut Checks, bytes_max: u64) {
        let before = self.before.as_ref().map_or(0, |before| before.rss);
        let grown = self.rss_peak.saturating_sub(before);
        checks.add(
            format!("memory within {:.0} MiB", mib(bytes_max)),
            format!("{:.1} MiB more at most", mib(grown)),
            grown <= bytes_max,
        );
    }

    /// What the server held when it was remembered.
    pub fn before(&self) -> Option<&Holding> {
        self.before.as_ref()
    }
}

/// Bytes as MiB.
pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1024.0 / 1024.0
}
