//! Subscribers that do not keep up: they never read, read slowly, or pause. What they do get must
//! be in order and without a gap, unless their topic skips.
//!
//! They are a fleet of their own beside the one that is measured, off its epoll, and read only when
//! it is their time.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::event::epoll;

use super::Fleet;
use super::beside::Beside;
use super::tally::Faults;
use crate::order::Order;

/// When they read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reading {
    /// Never.
    Never,
    /// So many bytes a second each.
    Slowly(f64),
    /// All there is, but for a `pause` in each `period`; who begins when is spread over it.
    WithPauses {
        /// From one pause to the next.
        period: Duration,
        /// Its length.
        pause: Duration,
    },
}

/// Between two reads of one reader.
const READ_EVERY: Duration = Duration::from_millis(50);

/// Such subscribers.
pub struct Readers {
    fleet: Fleet,
    reading: Reading,
    started: Instant,
    /// The next in turn, and when.
    place: usize,
    next: Instant,
}

/// What became of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// How many were closed with which code; 0 counts ends without a Close.
    pub closed: BTreeMap<u16, usize>,
    /// Those that are still connected.
    pub open: usize,
    /// Those that have everything that was published.
    pub complete: usize,
    /// Messages that they received.
    pub messages: u64,
    /// What was wrong with them; a gap counts as so many lost.
    pub faults: Faults,
}

impl Readers {
    /// Has the subscribers of `fleet` read like this, which expect everything that `main` publishes
    /// from now on.
    pub fn new(mut fleet: Fleet, reading: Reading, main: &Fleet) -> Result<Self> {
        for subscriber in &mut fleet.subscribers {
            if let Some(socket) = &subscriber.socket {
                epoll::delete(&fleet.epoll, socket)?;
            }
            subscriber.order = Order::starting_at(main.published(subscriber.topic as usize));
        }
        let now = Instant::now();
        Ok(Self { fleet, reading, started: now, place: 0, next: now })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.fleet.subscribers.len()
    }

    fn read(&mut self, place: usize, now: Instant) -> Result<()> {
        match self.reading {
            Reading::Never => {}
            Reading::Slowly(bytes) => {
                let budget = (bytes * READ_EVERY.as_secs_f64()) as usize;
                self.fleet.receive(place, budget)?;
            }
            Reading::WithPauses { period, pause } => {
                let own = period.mul_f64(place as f64 / self.len().max(1) as f64);
                let phase = ((now - self.started) + own).as_secs_f64() % period.as_secs_f64();
                if phase >= pause.as_secs_f64() {
                    self.read_all(place)?;
                }
            }
        }
        Ok(())
    }

    fn read_all(&mut self, place: usize) -> Result<bool> {
        let mut any = false;
        while self.fleet.receive(place, usize::MAX)?.0 > 0 {
            any = true;
        }
        Ok(any)
    }

    /// Reads everything that is still to come: until all have ended or have all that `main` has
    /// published, or nothing has come for `patience`.
    pub fn catch_up(&mut self, main: &Fleet, patience: Duration) -> Result<Outcome> {
        let mut progress = Instant::now();
        loop {
            for place in 0..self.len() {
                if self.read_all(place)? {
                    progress = Instant::now();
                }
            }
            let outcome = self.outcome(main);
            let waits = self.fleet.subscribers.iter().any(|subscriber| {
                let all = main.published(subscriber.topic as usize);
                subscriber.socket.is_some() && subscriber.order.next() != Some(all)
            });
            if !waits || progress.elapsed() > patience {
                return Ok(outcome);
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// What has become of them so far.
    pub fn outcome(&self, main: &Fleet) -> Outcome {
        let mut outcome = Outcome {
            messages: self.fleet.tally.deliveries,
            faults: Faults { closed: 0, ..self.fleet.tally.faults },
            ..Outcome::default()
        };
        for subscriber in &self.fleet.subscribers {
            match subscriber.socket {
                Some(_) => outcome.open += 1,
                None => *outcome.closed.entry(subscriber.close.unwrap_or(0)).or_default() += 1,
            }
            let all = main.published(subscriber.topic as usize);
            outcome.complete += usize::from(subscriber.order.next() == Some(all));
        }
        outcome
    }
}

impl Beside for Readers {
    fn begin(&mut self, now: Instant) {
        self.next = now;
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        if self.reading == Reading::Never || self.len() == 0 {
            return Ok(());
        }
        let interval = READ_EVERY / self.len() as u32;
        while self.next <= now {
            self.next += interval;
            self.place = (self.place + 1) % self.len();
            self.read(self.place, now)?;
        }
        Ok(())
    }

    fn settle(&mut self) -> Result<()> {
        self.turn(Instant::now())
    }
}

impl Outcome {
    /// Those that were closed with 1013, or ended without a Close.
    pub fn ended(&self) -> usize {
        self.closed.values().sum()
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = vec![format!("{} have everything", self.complete)];
        for (code, count) in &self.closed {
            parts.push(match code {
                0 => format!("{count} ended"),
                code => format!("{count} closed with {code}"),
            });
        }
        write!(out, "{}", parts.join(", "))
    }
}
