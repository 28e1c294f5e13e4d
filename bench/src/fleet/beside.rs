//! Clients beside a fleet, in the same thread: whoever comes and goes, does not keep up, or means
//! harm.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;

use super::tally::Tally;

/// Such clients. They have an epoll of their own, which is looked at after each turn of the fleet.
pub trait Beside {
    /// A slice begins now.
    fn begin(&mut self, _now: Instant) {}

    /// Does what is due by `now`, and deals with what has arrived.
    fn turn(&mut self, now: Instant) -> Result<()>;

    /// Deals with what has arrived while the last publications of a slice do, and does nothing new.
    fn settle(&mut self) -> Result<()>;

    /// What arrived in the slice and counts as the fleet's does, and how much was done in it.
    fn take(&mut self) -> (Tally, u64) {
        (Tally::default(), 0)
    }
}

/// Those whom somebody else asks afterwards what became of them.
impl<T: Beside> Beside for Rc<RefCell<T>> {
    fn begin(&mut self, now: Instant) {
        self.borrow_mut().begin(now);
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        self.borrow_mut().turn(now)
    }

    fn settle(&mut self) -> Result<()> {
        self.borrow_mut().settle()
    }

    fn take(&mut self) -> (Tally, u64) {
        self.borrow_mut().take()
    }
}

/// Several, each in its turn.
impl Beside for Vec<Box<dyn Beside>> {
    fn begin(&mut self, now: Instant) {
        self.iter_mut().for_each(|beside| beside.begin(now));
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        self.iter_mut().try_for_each(|beside| beside.turn(now))
    }

    fn settle(&mut self) -> Result<()> {
        self.iter_mut().try_for_each(|beside| beside.settle())
    }
}
