//! A case: one workload put to several servers, in turn, round by round.

mod connect;
mod fanout;
mod idle;
mod rpc;

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::clock::Clock;
use crate::figures::{Record, Results, row};
use crate::fleet::drive::{Pace, Slice};
use crate::fleet::{Fleet, Plan};
use crate::progress::Progress;
use crate::server::{Place, Server, Spec};
use crate::veth::Veth;

/// What is put to the servers.
#[derive(Clone, Debug, PartialEq)]
pub enum Work {
    /// Publications to the subscribers of one topic or of many.
    FanOut(FanOut),
    /// Connections that shake hands, join and go.
    Connect {
        /// Connections a slice.
        connections: usize,
        /// Handshakes under way at a time.
        window: usize,
    },
    /// Connections that have joined and wait.
    Idle {
        /// Connections.
        connections: usize,
        /// Topics that they are spread over.
        topics: u32,
    },
    /// Publishes by RPC, driven by their answers.
    Rpc {
        /// Calls under way.
        window: u32,
        /// Bytes of a payload.
        payload: usize,
        /// Subscribers of the one topic.
        subscribers: usize,
    },
}

/// Publications to subscribers.
#[derive(Clone, Debug, PartialEq)]
pub struct FanOut {
    /// Subscribers, spread over the topics; a spec may have its own number.
    pub subscribers: usize,
    /// Topics, published to in turn.
    pub topics: u32,
    /// Connections that publish, each to its share of the topics.
    pub publishers: u32,
    /// Bytes of a payload.
    pub payload: usize,
    /// What makes a publication due.
    pub pace: Pace,
    /// Share of the subscribers who never read, %.
    pub slow_percent: f64,
    /// Joins, leaves and resets a second of other clients meanwhile; 0: there are none.
    pub churn: u32,
}

/// One case.
#[derive(Clone, Debug)]
pub struct Case {
    /// Its name, fit for a file.
    pub name: String,
    /// What it asks.
    pub question: String,
    /// What is put to the servers.
    pub work: Work,
    /// The servers.
    pub servers: Vec<Spec>,
    /// Label of the server that ratios refer to.
    pub base: Option<String>,
    /// Rounds after the warm-up.
    pub rounds: usize,
    /// Length of a slice.
    pub slice: Duration,
    /// Whether the generator polls without sleeping.
    pub spin: bool,
    /// Whether a veth pair lies between the servers and the generator, instead of loopback.
    pub veth: bool,
}

/// A server with its fleet and what it did so far.
struct Contender {
    server: Server,
    record: Record,
    /// Its own number of subscribers, in place of the workload's.
    subscribers: Option<usize>,
}

impl Case {
    /// Runs the case against servers that it starts, or against `running` ones.
    pub fn run(&self, place: &Place, running: Vec<Server>, progress: &Progress) -> Result<Results> {
        progress.case(&self.name);
        let mut missing = Vec::new();
        let mut contenders: Vec<Contender> =
            running.into_iter().map(|server| Contender::new(server, None)).collect();
        let veth = self
            .veth
            .then(Veth::new)
            .transpose()
            .with_context(|| format!("{}: no veth pair", self.name))?;
        let mut place = place.clone();
        if let Some(veth) = &veth {
            place.address = veth.address();
        }
        for spec in &self.servers {
            if !spec.kind.has_subscribers() && !matches!(self.work, Work::Rpc { .. }) {
                missing.push(format!("{}: it has no subscribers", spec.label));
                continue;
            }
            progress.say(&format!("starting {}", spec.label));
            match spec.start(&place) {
                Ok(server) => contenders.push(Contender::new(server, Some(spec))),
                Err(error) => missing.push(format!("{}: {error:#}", spec.label)),
            }
        }
        if contenders.is_empty() {
            bail!("{}: no server to measure: {}", self.name, missing.join("; "));
        }
        // From here on every socket is a client's.
        veth.as_ref().map_or(Ok(()), Veth::enter)?;
        match &self.work {
            Work::FanOut(work) => fanout::run(self, work, &mut contenders, &mut missing, progress)?,
            Work::Connect { connections, window } => {
                connect::run(self, *connections, *window, &mut contenders, &mut missing, progress)?;
            }
            Work::Idle { connections, topics } => {
                idle::run(self, *connections, *topics, &mut contenders, &mut missing, progress)?;
            }
            Work::Rpc { window, payload, subscribers } => {
                rpc::run(
                    self,
                    (*window, *payload, *subscribers),
                    &mut contenders,
                    &mut missing,
                    progress,
                )?;
            }
        }
        veth.as_ref().map_or(Ok(()), Veth::leave)?;
        let base = self.base.as_ref();
        let base = contenders.iter().find(|contender| Some(&contender.record.label) == base);
        let base = base.filter(|base| !base.record.rounds.is_empty());
        let measured = contenders.iter().filter(|contender| !contender.record.rounds.is_empty());
        let rows = measured.map(|contender| row(&contender.record, base.map(|base| &base.record)));
        Ok(Results {
            case: self.name.clone(),
            question: self.question.clone(),
            rounds: self.rounds,
            slice_seconds: self.slice.as_secs_f64(),
            base: base.map(|base| base.record.label.clone()),
            rows: rows.collect(),
            missing,
        })
    }

    /// Runs the warm-up and all rounds: `slice` for each entry in turn, another first in each
    /// round. An entry whose slice fails is left out from then on, and `missing` says why.
    fn rounds<T>(
        &self,
        entries: Vec<(&mut Contender, T)>,
        missing: &mut Vec<String>,
        progress: &Progress,
        mut slice: impl FnMut(&Server, &mut T, &mut Record, Duration) -> Result<()>,
    ) -> Result<()> {
        let mut entries: Vec<_> =
            entries.into_iter().map(|(contender, entry)| (contender, Some(entry))).collect();
        let count = entries.len();
        for round in 0..=self.rounds {
            let warm_up = round == 0;
            for turn in 0..count {
                let place = (turn + round) % count;
                let (contender, slot) = &mut entries[place];
                let Some(entry) = slot else { continue };
                progress.step(round, self.rounds, &contender.record.label);
                let length = if warm_up { self.slice / 2 } else { self.slice };
                let done = slice(&contender.server, entry, &mut contender.record, length);
                if let Err(error) = done {
                    missing.push(format!("{}: {error:#}", contender.record.label));
                    // Its connections end with it, so that it is idle from now on.
                    *slot = None;
                }
                if warm_up {
                    contender.record.rounds.clear();
                    contender.record.latency = None;
                }
            }
        }
        Ok(())
    }
}

impl Contender {
    fn new(server: Server, spec: Option<&Spec>) -> Self {
        let mut record = Record::new(&server.label, server.kind, &server.version);
        let subscribers = spec.and_then(Spec::subscribers);
        record.point =
            spec.and_then(|spec| Some((spec.kind.name().to_owned(), spec.subscribers()?)));
        Self { server, record, subscribers }
    }
}

/// A fleet for a server.
fn fleet(server: &Server, plan: Plan, clock: Clock) -> Result<Fleet> {
    Fleet::new(server.kind.dialect(), server.clients, Some(server.publishes), plan, clock)
        .map(|fleet| fleet.with_headers(&server.headers))
}

/// Books what every slice has.
fn book(record: &mut Record, slice: &Slice) {
    record.faults.add(slice.faults);
    record.deliveries += slice.deliveries;
    record.generator_busy = record.generator_busy.max(slice.generator_busy);
    match &mut record.latency {
        // The bounds are the same, so it cannot fail.
        Some(latency) => drop(latency.add(&slice.latency)),
        None => record.latency = Some(slice.latency.clone()),
    }
    if slice.held_back > 0 && !record.notes.iter().any(|note| note.starts_with("held back")) {
        record
            .notes
            .push("held back: more publications were under way than the generator follows".into());
    }
}

impl std::fmt::Display for Work {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::FanOut(work) => {
                let FanOut { subscribers, topics, publishers, payload, pace, slow_percent, churn } =
                    work;
                match subscribers {
                    0 => write!(out, "each server's own number of subscribers")?,
                    _ => write!(out, "{subscribers} subscribers")?,
                }
                write!(out, ", {payload} B")?;
                if *topics > 1 {
                    write!(out, ", {topics} topics")?;
                }
                if *publishers > 1 {
                    write!(out, ", {publishers} publishers")?;
                }
                match pace {
                    Pace::InFlight(window) => write!(out, ", {window} in flight")?,
                    Pace::Unanswered(window) => write!(out, ", {window} calls in flight")?,
                    Pace::Rate(rate) => write!(out, ", {rate} publish/s")?,
                }
                if *slow_percent > 0.0 {
                    write!(out, ", {slow_percent} % never read")?;
                }
                if *churn > 0 {
                    write!(out, ", {churn} joins, leaves and resets/s")?;
                }
                Ok(())
            }
            Self::Connect { connections, window } => {
                write!(out, "{connections} handshakes and joins, {window} at a time")
            }
            Self::Idle { connections, topics } => {
                write!(out, "{connections} connections idle in {topics} topics")
            }
            Self::Rpc { window, payload, subscribers } => {
                write!(
                    out,
                    "publishes by RPC, {payload} B, {window} in flight, {subscribers} subscribers"
                )
            }
        }
    }
}
