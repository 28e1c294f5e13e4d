//! Clients that come and go beside a fleet: one leaves, joins again, is reset, and another takes
//! its place.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Fleet;
use super::beside::Beside;
use super::subscriber::Stage;
use super::tally::Tally;

/// Such clients.
pub struct Churn {
    fleet: Fleet,
    interval: Duration,
    next: Instant,
    place: usize,
    /// What was done in this slice.
    actions: u64,
}

impl Churn {
    /// Lets the subscribers of `fleet` come and go: `rate` joins, leaves and resets a second in
    /// all.
    pub fn new(fleet: Fleet, rate: f64) -> Self {
        let interval = Duration::from_secs_f64(1.0 / rate.max(1.0));
        Self { fleet, interval, next: Instant::now(), place: 0, actions: 0 }
    }

    fn act(&mut self, place: usize) -> Result<()> {
        let stage = self.fleet.subscribers[place].stage;
        // Every third time around a ready one is reset instead of leaving.
        match stage {
            Stage::Ready if self.actions.is_multiple_of(3) => self.fleet.replace(place)?,
            Stage::Ready => self.fleet.leave(place)?,
            Stage::Left => self.fleet.join_again(place)?,
            Stage::Closed => self.fleet.replace(place)?,
            // Its answer is still to come.
            Stage::Connecting | Stage::Upgrading | Stage::Joining | Stage::Leaving => return Ok(()),
        }
        self.actions += 1;
        Ok(())
    }
}

impl Beside for Churn {
    fn begin(&mut self, now: Instant) {
        self.next = now;
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        while self.next <= now {
            self.next += self.interval;
            let count = self.fleet.subscribers.len();
            if count == 0 {
                break;
            }
            self.place = (self.place + 1) % count;
            self.act(self.place)?;
        }
        self.settle()
    }

    fn settle(&mut self) -> Result<()> {
        self.fleet.turn(Duration::ZERO)
    }

    /// The actions are joins, leaves and resets.
    fn take(&mut self) -> (Tally, u64) {
        (std::mem::take(&mut self.fleet.tally), std::mem::take(&mut self.actions))
    }
}
