//! Driving a fleet for one slice of time: by what has arrived (closed loop) or by the clock (open
//! loop).

use std::time::{Duration, Instant};

use anyhow::Result;
use hdrhistogram::Histogram;

use super::Fleet;
use super::beside::Beside;
use super::tally::{Faults, Tally};
use crate::clock::{CpuMeter, CpuTime, thread_cpu};

/// What makes the next publication due.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// That another has reached all its subscribers: so many are under way.
    InFlight(u32),
    /// That another call was answered: so many are under way, whoever subscribes.
    Unanswered(u32),
    /// The clock: so many a second.
    Rate(f64),
}

/// How long the last publications of a slice may take to arrive.
const DRAIN: Duration = Duration::from_secs(20);

/// How long nothing at all may arrive in a closed loop.
const STALL: Duration = Duration::from_secs(3);

/// What a slice brought.
#[derive(Debug)]
pub struct Slice {
    /// From its begin to its last delivery.
    pub wall: Duration,
    /// Messages that arrived.
    pub deliveries: u64,
    /// Calls that were answered.
    pub answered: u64,
    /// Joins, leaves and resets beside them.
    pub actions: u64,
    /// CPU time of the server, where it can be seen.
    pub cpu: Option<CpuTime>,
    /// What went wrong.
    pub faults: Faults,
    /// From due to arrival, in ticks.
    pub latency: Histogram<u64>,
    /// From due to the answer of the call, in ticks.
    pub answer_latency: Histogram<u64>,
    /// Calls that were refused for want of room.
    pub refused: u64,
    /// Share of the time that the generator was busy, 0 to 1.
    pub generator_busy: f64,
    /// Publications that could not leave when due, since too many were under way.
    pub held_back: u64,
    /// Whether messages still arrived when the slice was given up.
    pub saturated: bool,
}

impl Fleet {
    /// Drives the server for `length`, then waits for what is still to come.
    ///
    /// Meanwhile there are the clients `beside`.
    pub fn slice(
        &mut self,
        pace: Pace,
        length: Duration,
        meter: Option<&CpuMeter>,
        beside: Option<&mut dyn Beside>,
    ) -> Result<Slice> {
        self.turn(Duration::ZERO)?;
        let carried = std::mem::take(&mut self.tally).faults;
        self.tally.faults = carried;
        self.idle = Duration::ZERO;
        let cpu = meter.map(CpuMeter::read).transpose()?;
        let busy = thread_cpu();
        let start = Instant::now();

        let mut run = Run { published: 0, held_back: 0, saturated: false, beside };
        if let Some(beside) = &mut run.beside {
            beside.begin(start);
        }
        match pace {
            Pace::InFlight(window) => {
                self.closed_loop(window, start + length, &mut run, |tally| tally.completed)?;
            }
            Pace::Unanswered(window) => {
                self.closed_loop(window, start + length, &mut run, |tally| tally.answered)?;
            }
            Pace::Rate(rate) => self.open_loop(rate, start, length, &mut run)?,
        }
        self.drain(&mut run)?;

        let wall = start.elapsed();
        let busy =
            if self.plan.spin { wall.saturating_sub(self.idle) } else { thread_cpu() - busy };
        let cpu = match (meter, cpu) {
            (Some(meter), Some(before)) => Some(meter.read()?.since(before)),
            _ => None,
        };
        let mut tally = std::mem::take(&mut self.tally);
        let mut actions = 0;
        if let Some(beside) = run.beside {
            let (beside, done) = beside.take();
            tally.deliveries += beside.deliveries;
            tally.faults.add(beside.faults);
            actions = done;
        }
        Ok(Slice {
            actions,
            wall,
            deliveries: tally.deliveries,
            answered: tally.answered,
            cpu,
            faults: tally.faults,
            latency: tally.latency,
            answer_latency: tally.answer_latency,
            refused: tally.refused,
            generator_busy: busy.as_secs_f64() / wall.as_secs_f64(),
            held_back: run.held_back,
            saturated: run.saturated,
        })
    }

    fn closed_loop(
        &mut self,
        window: u32,
        end: Instant,
        run: &mut Run,
        done: fn(&Tally) -> u64,
    ) -> Result<()> {
        let mut due = u64::from(window);
        let mut progress = (0, Instant::now());
        loop {
            let now = Instant::now();
            if now >= end {
                return Ok(());
            }
            while run.published < due {
                if !self.publish(now)? {
                    run.held_back += 1;
                    break;
                }
                run.published += 1;
            }
            self.flush()?;
            self.turn(run.patience().min(end - now))?;
            run.beside_turn(now)?;
            due = done(&self.tally) + u64::from(window);
            if self.tally.deliveries + self.tally.answered != progress.0 {
                progress = (self.tally.deliveries + self.tally.answered, now);
            } else if progress.1.elapsed() > STALL {
                // What is under way will be booked as lost.
                return Ok(());
            }
        }
    }

    fn open_loop(
        &mut self,
        rate: f64,
        start: Instant,
        length: Duration,
        run: &mut Run<'_>,
    ) -> Result<()> {
        let total = (rate * length.as_secs_f64()) as u64;
        let due = |number: u64| start + Duration::from_secs_f64(number as f64 / rate);
        let deadline = start + length * 2 + DRAIN;
        while run.published < total && Instant::now() < deadline {
            let now = Instant::now();
            while run.published < total && due(run.published) <= now {
                // Its due time stays what it was, however late it leaves.
                if !self.publish(due(run.published))? {
                    run.held_back += 1;
                    break;
                }
                run.published += 1;
            }
            self.flush()?;
            let next = due(run.published).saturating_duration_since(Instant::now());
            self.turn(if run.published < total {
                next.min(run.patience())
            } else {
                Duration::ZERO
            })?;
            run.beside_turn(Instant::now())?;
        }
        Ok(())
    }

    /// Waits until everything has arrived and been answered; what does not come in time is lost.
    fn drain(&mut self, run: &mut Run<'_>) -> Result<()> {
        let deadline = Instant::now() + DRAIN;
        let mut progress = (0, Instant::now());
        loop {
            let answered = !self.dialect.answers() || self.tally.answered >= run.published;
            if self.flight.lacking() == 0 && answered {
                return Ok(());
            }
            let now = Instant::now();
            let arrived = self.tally.deliveries + self.tally.answered;
            if arrived != progress.0 {
                progress = (arrived, now);
            }
            if progress.1.elapsed() > STALL {
                self.tally.faults.lost += self.flight.give_up();
                return Ok(());
            }
            if now > deadline {
                // Late, not lost.
                self.flight.give_up();
                run.saturated = true;
                return Ok(());
            }
            self.flush()?;
            self.turn(run.patience())?;
            if let Some(beside) = &mut run.beside {
                beside.settle()?;
            }
        }
    }
}

/// A slice under way.
struct Run<'a> {
    published: u64,
    held_back: u64,
    saturated: bool,
    beside: Option<&'a mut dyn Beside>,
}

impl Run<'_> {
    /// How long a turn may wait: those beside have an epoll of their own.
    fn patience(&self) -> Duration {
        Duration::from_millis(if self.beside.is_some() { 1 } else { 20 })
    }

    fn beside_turn(&mut self, now: Instant) -> Result<()> {
        self.beside.as_mut().map_or(Ok(()), |beside| beside.turn(now))
    }
}
