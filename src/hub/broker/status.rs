//! How a broker stands, for those who ask from other threads: operators, scrapes, readiness.

mod changes;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::changes::{Changes, Line};
use crate::metrics::Counter;

/// Whether a broker passes publications on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BrokerState {
    /// All of them.
    #[default]
    Up,
    /// It has not been reached yet.
    Connecting,
    /// It is reached again, and not every topic is subscribed yet.
    Resubscribing,
    /// It cannot be reached.
    Down,
}

impl BrokerState {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Up, Self::Connecting, Self::Resubscribing, Self::Down];

    /// As operators read it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Connecting => "connecting",
            Self::Resubscribing => "resubscribing",
            Self::Down => "down",
        }
    }
}

/// What changes seldom and belongs together.
#[derive(Clone, Debug)]
pub struct Standing {
    /// Its state by now.
    pub state: BrokerState,
    /// Since when.
    pub since: Instant,
    /// Why, where it is not up.
    pub why: Option<String>,
    /// What went wrong last, also when it is up again.
    pub last_error: Option<String>,
    /// Where it was reached last.
    pub address: Option<String>,
    /// Which server that is, and its version: `redis 7.0.15`.
    pub server: Option<String>,
}

/// How a broker stands. Its tasks on the hub's thread write it, anybody reads it.
#[derive(Debug)]
pub struct BrokerStatus {
    name: String,
    /// Never held over anything but reading and writing it.
    standing: Mutex<(Standing, Changes)>,
    /// Publications asked for over RPC.
    pub publications: Counter,
    /// Of these, those that it has taken.
    pub published: Counter,
    /// Publications that the broker did not take, or not for sure.
    pub publish_errors: Counter,
    /// Bytes of payloads that it was given.
    pub published_bytes: Counter,
    /// Publications that came from it.
    pub received: Counter,
    /// Bytes of their payloads.
    pub received_bytes: Counter,
    /// Connections to it that were made anew.
    pub reconnects: Counter,
    /// Topics of which something may have been missed, each time.
    pub gaps: Counter,
    /// Topics that are subscribed, or about to be.
    pub channels: Counter,
    /// From publishing to receiving, as the last probe had it, in microseconds; 0: none has come
    /// back since it was up. Read by [`BrokerStatus::lag`].
    pub lag_us: Counter,
}

impl Default for BrokerStatus {
    fn default() -> Self {
        Self::new("")
    }
}

impl BrokerStatus {
    /// Of the broker of that name: up, as one is that cannot be down.
    pub fn new(name: &str) -> Self {
        let standing = Standing {
            state: BrokerState::Up,
            since: Instant::now(),
            why: None,
            last_error: None,
            address: None,
            server: None,
        };
        Self {
            name: name.to_owned(),
            standing: Mutex::new((standing, Changes::default())),
            publications: Counter::default(),
            published: Counter::default(),
            publish_errors: Counter::default(),
            published_bytes: Counter::default(),
            received: Counter::default(),
            received_bytes: Counter::default(),
            reconnects: Counter::default(),
            gaps: Counter::default(),
            channels: Counter::default(),
            lag_us: Counter::default(),
        }
    }

    /// The broker's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it stands now.
    pub fn standing(&self) -> Standing {
        self.with(|standing, _| standing.clone())
    }

    /// Its state now.
    pub fn state(&self) -> BrokerState {
        self.with(|standing, _| standing.state)
    }

    /// From publishing to receiving, as the last probe had it. `None`: none has come back since it
    /// was up, or it is not up.
    pub fn lag(&self) -> Option<Duration> {
        let lag_us = self.lag_us.value();
        (lag_us > 0 && self.state() == BrokerState::Up).then(|| Duration::from_micros(lag_us))
    }

    /// Its state from now on, and why: a line in the log, where that is another one. Said again and
    /// again while it is down.
    pub fn becomes(&self, state: BrokerState, why: Option<&str>) {
        let (now, gaps) = (Instant::now(), self.gaps.value());
        if state != BrokerState::Up {
            self.lag_us.set(0);
        }
        let (line, address, server) = self.with(|standing, changes| {
            if standing.state != state {
                (standing.state, standing.since) = (state, now);
            }
            standing.why = why.map(str::to_owned);
            if let Some(why) = why {
                standing.last_error = Some(why.to_owned());
            }
            let line = changes.stands(state, why, gaps, now);
            (line, standing.address.clone(), standing.server.clone())
        });
        let (broker, name) = (&self.name, state.name());
        match (line, why) {
            (None, _) => {}
            (Some(Line::Is), None) if state == BrokerState::Up => {
                tracing::info!(broker, address, server, "broker is up");
            }
            (Some(Line::Is), None) => tracing::info!(broker, "broker is {name}"),
            (Some(Line::Is), Some(why)) => tracing::warn!(broker, why, "broker is {name}"),
            (Some(Line::StillDown), why) => tracing::warn!(broker, why, "broker is still down"),
            (Some(Line::UpAgain { away, gaps }), _) => {
                let away = format!("{:.1} s", away.as_secs_f64());
                tracing::info!(broker, address, server, away, gaps, "broker is up again");
            }
        }
    }

    /// Something has gone wrong that leaves its state as it is.
    pub fn goes_wrong(&self, what: &str) {
        self.with(|standing, _| standing.last_error = Some(what.to_owned()));
    }

    /// Where it is reached, and which server that is.
    pub fn reached(&self, address: &str, server: &str) {
        self.with(|standing, _| {
            standing.address = Some(address.to_owned());
            standing.server = Some(server.to_owned());
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Standing, &mut Changes) -> T) -> T {
        let (standing, changes) =
            &mut *self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        f(standing, changes)
    }
}
