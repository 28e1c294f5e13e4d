//! Guests of an episode: one fault each, its size drawn at random.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rand::prelude::*;
use rustix::process::{Pid, Signal, kill_process};

use super::report::Report;
use crate::faults::bed::Bed;
use crate::faults::crowd::{Crowd, Habit};
use crate::faults::habits;
use crate::fleet::beside::Beside;
use crate::fleet::churn::Churn;
use crate::fleet::readers::{Readers, Reading};

/// A kind of guest.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// They stop reading.
    Stopped,
    /// They read slowly.
    Slow,
    /// They pause.
    Pausing,
    /// They join, leave and reset.
    Churn,
    /// They connect and send nothing.
    HalfOpen,
    /// They send a head byte by byte.
    SlowHeads,
    /// They send heads that are too large.
    GiantHeads,
    /// They send frames that are too large.
    GiantFrames,
    /// They never end a frame.
    SlowFrames,
    /// They send commands as fast as they can.
    CommandFlood,
    /// They join and leave as fast as they can.
    JoinFlood,
    /// One joins more topics than it may.
    ManyTopics,
    /// The server is stopped for a while.
    Stall,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 13] = [
        Self::Stopped,
        Self::Slow,
        Self::Pausing,
        Self::Churn,
        Self::HalfOpen,
        Self::SlowHeads,
        Self::GiantHeads,
        Self::GiantFrames,
        Self::SlowFrames,
        Self::CommandFlood,
        Self::JoinFlood,
        Self::ManyTopics,
        Self::Stall,
    ];
}

/// See the module.
pub struct Guest {
    /// What it does, and how much of it.
    pub name: String,
    who: Who,
}

enum Who {
    Readers(Rc<RefCell<Readers>>),
    Crowd(Rc<RefCell<Crowd>>),
    Churn(Rc<RefCell<Churn>>),
    Stall(Rc<RefCell<Stall>>),
}

impl Guest {
    /// A guest of this kind, of a size drawn at random, at the server of `bed`.
    pub fn new(kind: Kind, random: &mut StdRng, bed: &Bed) -> Result<Self> {
        let mut draw = |from: usize, to: usize| random.random_range(from..=to);
        match kind {
            Kind::Stopped => Self::readers(bed, "stop reading", draw(1, 60), Reading::Never),
            Kind::Slow => {
                let bytes = draw(1, 40) as f64 * 1000.0;
                Self::readers(
                    bed,
                    &format!("read {bytes} B/s"),
                    draw(1, 40),
                    Reading::Slowly(bytes),
                )
            }
            Kind::Pausing => {
                let pauses = Reading::WithPauses {
                    period: Duration::from_secs(5),
                    pause: Duration::from_secs(1),
                };
                Self::readers(bed, "pause 1 s of 5", draw(1, 40), pauses)
            }
            Kind::Churn => {
                let rate = draw(50, 1000);
                let churn = Churn::new(bed.beside(draw(8, 64))?, rate as f64);
                let name = format!("{rate} joins, leaves and resets/s");
                Ok(Self { name, who: Who::Churn(Rc::new(RefCell::new(churn))) })
            }
            Kind::HalfOpen => Self::crowd(bed, habits::half_open(draw(500, 3000), 1000.0)),
            Kind::SlowHeads => Self::crowd(bed, habits::slow_heads(draw(50, 400))),
            Kind::GiantHeads => Self::crowd(bed, habits::giant_heads(draw(20, 200) as f64)),
            Kind::GiantFrames => Self::crowd(bed, habits::giant_frames(draw(20, 200) as f64)),
            Kind::SlowFrames => Self::crowd(bed, habits::slow_frames(draw(20, 200))),
            Kind::CommandFlood => Self::crowd(bed, habits::command_flood(draw(1, 5))),
            Kind::JoinFlood => Self::crowd(bed, habits::join_flood(draw(1, 5))),
            Kind::ManyTopics => Self::crowd(bed, habits::many_topics()),
            Kind::Stall => {
                let pid = bed.server.pid().and_then(|pid| Pid::from_raw(pid as i32));
                let pid = pid.context("the server under test is ours")?;
                let length = Duration::from_millis(draw(200, 2000) as u64);
                let stall = Stall { pid, length, ends: None, next: None };
                let name = format!("the server stopped for {} ms in each 4 s", length.as_millis());
                Ok(Self { name, who: Who::Stall(Rc::new(RefCell::new(stall))) })
            }
        }
    }

    fn readers(bed: &Bed, what: &str, count: usize, reading: Reading) -> Result<Self> {
        let readers = Readers::new(bed.beside(count)?, reading, &bed.fleet)?;
        Ok(Self {
            name: format!("{count} {what}"),
            who: Who::Readers(Rc::new(RefCell::new(readers))),
        })
    }

    fn crowd(bed: &Bed, habit: Habit) -> Result<Self> {
        let name = format!("{} {}", habit.clients, habit.name);
        let crowd = Crowd::new(habit, bed.server.clients)?;
        Ok(Self { name, who: Who::Crowd(Rc::new(RefCell::new(crowd))) })
    }

    /// What takes part in a slice.
    pub fn beside(&self) -> Box<dyn Beside> {
        match &self.who {
            Who::Readers(readers) => Box::new(readers.clone()),
            Who::Crowd(crowd) => Box::new(crowd.clone()),
            Who::Churn(churn) => Box::new(churn.clone()),
            Who::Stall(stall) => Box::new(stall.clone()),
        }
    }

    /// Ends it, and reports what became of it.
    pub fn end(self, bed: &Bed, report: &mut Report) -> Result<()> {
        match self.who {
            Who::Readers(readers) => {
                let outcome = readers.borrow_mut().catch_up(&bed.fleet, Duration::from_secs(2))?;
                report.readers(&outcome);
            }
            Who::Crowd(crowd) => {
                report.crowd(&crowd.borrow().seen);
                crowd.borrow_mut().leave();
            }
            Who::Churn(churn) => {
                let (tally, actions) = churn.borrow_mut().take();
                report.churn(tally.faults, actions);
            }
            Who::Stall(stall) => stall.borrow_mut().go_on()?,
        }
        Ok(())
    }
}

/// Stops the process of the server for a while, in each four seconds, and at most to the end of the
/// slice.
struct Stall {
    pid: Pid,
    length: Duration,
    ends: Option<Instant>,
    next: Option<Instant>,
}

impl Stall {
    fn go_on(&mut self) -> Result<()> {
        if self.ends.take().is_some() {
            kill_process(self.pid, Signal::CONT)?;
        }
        Ok(())
    }
}

impl Drop for Stall {
    fn drop(&mut self) {
        let _ = self.go_on();
    }
}

impl Beside for Stall {
    fn turn(&mut self, now: Instant) -> Result<()> {
        match (self.ends, self.next) {
            (Some(ends), _) if now >= ends => self.go_on(),
            (None, Some(next)) if now >= next => {
                kill_process(self.pid, Signal::STOP)?;
                self.ends = Some(now + self.length);
                self.next = Some(now + Duration::from_secs(4));
                Ok(())
            }
            (None, None) => {
                self.next = Some(now + Duration::from_millis(500));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Nobody waits for a server that is stopped.
    fn settle(&mut self) -> Result<()> {
        self.go_on()
    }
}
