//! How a broker stands, for those who ask from other threads: operators, scrapes, readiness.

use std::sync::{Mutex, PoisonError};
use std::time::Instant;

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
    standing: Mutex<Standing>,
    /// Publications asked for over RPC.
    pub publications: Counter,
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
    /// back yet.
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
            standing: Mutex::new(standing),
            publications: Counter::default(),
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
        self.with(|standing| standing.clone())
    }

    /// Its state now.
    pub fn state(&self) -> BrokerState {
        self.with(|standing| standing.state)
    }

    /// Its state from now on, and why. Said in the log, where it is another one.
    pub fn becomes(&self, state: BrokerState, why: Option<&str>) {
        let changed = self.with(|standing| {
            let changed = standing.state != state;
            if changed {
                (standing.state, standing.since) = (state, Instant::now());
            }
            standing.why = why.map(str::to_owned);
            if let Some(why) = why {
                standing.last_error = Some(why.to_owned());
            }
            changed
        });
        if !changed {
            return;
        }
        let (broker, state) = (&self.name, state.name());
        match why {
            None => tracing::info!(broker, "broker is {state}"),
            Some(why) => tracing::warn!(broker, why, "broker is {state}"),
        }
    }

    /// Where it is reached, and which server that is.
    pub fn reached(&self, address: &str, server: &str) {
        self.with(|standing| {
            standing.address = Some(address.to_owned());
            standing.server = Some(server.to_owned());
        });
    }

    fn with<T>(&self, f: impl FnOnce(&mut Standing) -> T) -> T {
        f(&mut self.standing.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
