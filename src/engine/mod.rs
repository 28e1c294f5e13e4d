//! The loop around a shard: what one thread does, turn by turn.
//!
//! One turn: entries from the lane, operations on sockets, questions to the hub, one batch of
//! sends, what has happened meanwhile. A loop with nothing to do says so, looks at its lane once
//! more and sleeps until something happens, another thread calls, or the next deadline.
//!
//! ```text
//! backend      what the loop runs on, and its contract
//! accepting    connections that come in, and rest when descriptors run out
//! last         those who wait to be accepted when accepting stops
//! sockets      descriptors, for a backend to keep its state beside
//! report       what the log says of connections
//! counters     what the loop counts
//! ```
//!
//! Sockets, system calls and the clock are a [`Backend`]'s: `ring` on io_uring, `epoll`, and the
//! fake of the tests, which steps this loop under a seed.

mod accepting;
mod backend;
mod counters;
mod last;
mod report;
mod sockets;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use backend::{Backend, Happened, Short};
pub use counters::LoopCounters;
pub use last::accept_last;
pub use sockets::Sockets;

use crate::mesh::ShardEnd;
use crate::shard::{BATCH_SENDS, Shard, Task};

/// Entries taken from the lane in one turn at most: the others wait no longer than their sweep
/// takes.
const LANE_TURN: usize = 256;

/// What a loop does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// A turn.
    Turn,
    /// It has said that it is about to sleep, and looks at its lanes once more.
    Look,
    /// It has found nothing there, and sleeps: until then at most, since its start.
    Sleep(Option<Duration>),
    /// Nothing: all is over and everyone has gone.
    End,
}

/// One shard's thread: its lanes, and the backend that has its listener and sockets.
pub struct Loop<B> {
    backend: B,
    shard: Shard,
    counters: Arc<LoopCounters>,
    lanes: ShardEnd,
    /// Entries taken from the lane in one turn at most.
    lane_turn: usize,
    next: Next,
    accept_rest: accepting::Rest,
    /// Of the batch under way.
    short: Vec<Short>,
    started: Instant,
}

impl<B: Backend> Loop<B> {
    /// A loop for the calling thread, which must be the one that runs it.
    pub fn new(
        shard: Shard,
        counters: Arc<LoopCounters>,
        lanes: ShardEnd,
        mut backend: B,
    ) -> io::Result<Self> {
        backend.accept()?;
        Ok(Self {
            started: backend.now(),
            backend,
            shard,
            counters,
            lanes,
            lane_turn: LANE_TURN,
            next: Next::Turn,
            accept_rest: accepting::Rest::default(),
            short: Vec::with_capacity(BATCH_SENDS),
        })
    }

    /// Serves until the hub says that all is over and everyone has gone.
    pub fn run(&mut self) -> io::Result<()> {
        while self.next != Next::End {
            self.step()?;
        }
        Ok(())
    }

    /// Goes as far as it matters not what other threads do meanwhile: through a turn, or from one
    /// [`Next`] of falling asleep to the next.
    pub fn step(&mut self) -> io::Result<()> {
        self.next = match self.next {
            Next::Turn => self.turn()?,
            Next::Look => self.look_again()?,
            Next::Sleep(until) => self.sleep(until)?,
            Next::End => Next::End,
        };
        Ok(())
    }

    /// What it does next.
    pub fn next(&self) -> Next {
        self.next
    }

    /// The shard that it is around.
    pub fn shard(&self) -> &Shard {
        &self.shard
    }

    /// What it runs on.
    pub fn backend(&mut self) -> &mut B {
        &mut self.backend
    }

    /// How many entries a turn takes from the lane at most: for a loop that is to be slow.
    pub fn set_lane_turn(&mut self, entries: usize) {
        self.lane_turn = entries;
    }

    fn turn(&mut self) -> io::Result<Next> {
        self.counters.turns.add(1);
        self.look_at_clock();
        if let Some(begun) = self.lanes.ending.begun() {
            self.shard.shutdown_began(begun.saturating_duration_since(self.started));
            if self.shard.has_drained() {
                self.lanes.ending.drained(self.shard.clients_to_drain());
            }
        }
        self.take_entries();
        self.hear_desk();
        self.carry_out_tasks()?;
        self.ask_hub();
        self.ask_desk();
        if self.shard.is_done() {
            self.say_last();
            return Ok(Next::End);
        }
        if self.shard.plan() > 0 {
            self.send_batch()?;
        } else if self.shard.has_work() || self.shard.is_done() || !self.backend.is_idle() {
            self.backend.poll()?;
        } else {
            self.lanes.wake.fall_asleep();
            return Ok(Next::Look);
        }
        self.end_turn()
    }

    /// What came before it said that it sleeps would wake nobody.
    fn look_again(&mut self) -> io::Result<Next> {
        let entries = self.shard.wants_entries() && !self.lanes.down.is_empty();
        let questions = self.shard.has_questions() && self.lanes.up.has_room(0);
        let end = self
            .shard
            .misses_end(self.lanes.ending.begun().is_some(), self.lanes.down.is_abandoned());
        if entries || questions || end || self.desk_matters() {
            let polled = self.backend.poll();
            return self.wake_up(polled);
        }
        let until =
            [self.shard.next_deadline(), self.accept_rest.until].into_iter().flatten().min();
        self.counters.sleeps.add(1);
        match until {
            Some(at) => self.counters.pulse.rest_until(self.started + at),
            None => self.counters.pulse.rest(),
        }
        Ok(Next::Sleep(until))
    }

    fn sleep(&mut self, until: Option<Duration>) -> io::Result<Next> {
        let timeout = until.map(|at| at.saturating_sub(self.since_start()));
        let waited = self.backend.wait(timeout);
        self.wake_up(waited)
    }

    fn wake_up(&mut self, slept: io::Result<()>) -> io::Result<Next> {
        self.lanes.wake.stay_awake();
        slept?;
        self.look_at_clock();
        self.end_turn()
    }

    fn end_turn(&mut self) -> io::Result<Next> {
        self.take_in()?;
        self.shard.expire();
        self.accept_after_rest(false)?;
        Ok(Next::Turn)
    }

    fn look_at_clock(&mut self) {
        let now = self.backend.now();
        self.counters.pulse.beat(now);
        self.shard.set_now(now - self.started);
    }

    fn since_start(&self) -> Duration {
        self.backend.now() - self.started
    }

    fn take_entries(&mut self) {
        let abandoned = self.lanes.down.is_abandoned();
        for _ in 0..self.lane_turn {
            if !self.shard.wants_entries() {
                self.counters.log_stalls.add(u64::from(!self.lanes.down.is_empty()));
                return;
            }
            let Some(entry) = self.lanes.down.pop() else {
                if abandoned {
                    self.shard.hub_is_gone();
                }
                return;
            };
            self.backend.taking(&entry);
            self.shard.take(entry);
        }
    }

    fn ask_hub(&mut self) {
        let mut asked = false;
        while let Some(question) = self.shard.next_question() {
            if self.lanes.up.has_room(0) {
                self.backend.asking(&question);
            }
            if let Err(question) = self.lanes.up.push(0, question) {
                self.shard.return_question(question);
                self.lanes.up.want_room();
                break;
            }
            asked = true;
        }
        if asked {
            self.lanes.up.wake();
        }
    }

    fn hear_desk(&mut self) {
        let Some(desk) = &mut self.lanes.desk else { return };
        for _ in 0..self.lane_turn {
            let Some(word) = desk.words.pop() else { return };
            self.shard.hear(word);
        }
    }

    fn ask_desk(&mut self) {
        let Some(desk) = &mut self.lanes.desk else { return };
        let mut asked = false;
        while let Some(ask) = self.shard.next_ask() {
            if let Err(ask) = desk.asks.push(0, ask) {
                self.shard.return_ask(ask);
                desk.asks.want_room();
                break;
            }
            asked = true;
        }
        if asked {
            desk.asks.wake();
        }
    }

    /// Whether there is an answer of the desk, or room for a question to it.
    fn desk_matters(&self) -> bool {
        self.lanes.desk.as_ref().is_some_and(|desk| {
            !desk.words.is_empty() || (self.shard.has_asks() && desk.asks.has_room(0))
        })
    }

    /// Sends the planned batch and settles it. Nothing else touches the shard between the two.
    fn send_batch(&mut self) -> io::Result<()> {
        self.backend.send(self.shard.batch(), &mut self.short)?;
        for Short { place, result } in self.short.drain(..) {
            self.shard.book(place, result);
        }
        self.shard.settle();
        Ok(())
    }

    /// Hands in what has happened.
    fn take_in(&mut self) -> io::Result<()> {
        let mut freed = false;
        while let Some(happened) = self.backend.next()? {
            match happened {
                Happened::Accepted(incoming) => self.accepted(incoming),
                Happened::AcceptingFailed(error) => self.rest_accepting(&error),
                Happened::Received(id, bytes) => self.shard.received(id, bytes),
                Happened::Ended(id) => self.shard.ended(id),
                Happened::Writable(id) => self.shard.writable(id),
                Happened::Released(id) => {
                    self.shard.released(id);
                    freed = true;
                }
                // The call that came with it is answered, however late it was booked.
                Happened::Woken => self.lanes.wake.stay_awake(),
            }
        }
        if freed { self.accept_after_rest(true) } else { Ok(()) }
    }

    fn carry_out_tasks(&mut self) -> io::Result<()> {
        while let Some(task) = self.shard.next_task() {
            match task {
                Task::Receive(id) => self.backend.receive(id)?,
                Task::PauseReceive(id) => self.backend.pause_receive(id)?,
                Task::WatchWritable(id) => self.backend.watch_writable(id)?,
                Task::Measure(id) => {
                    if let Some((acknowledged, outstanding)) = self.backend.measure(id) {
                        self.shard.measured(id, acknowledged, outstanding);
                    }
                }
                Task::FinishSending(id) => self.backend.finish_sending(id),
                Task::Terminate { id, abort } => self.backend.end(id, abort),
                Task::StopAccepting => self.stop_accepting()?,
                Task::Report(id, report) => self.backend.report(id, &report),
            }
        }
        Ok(())
    }

    /// What has been left unsaid, and how the shard stood.
    fn say_last(&mut self) {
        self.shard.left_out().for_each(|(reason, times)| report::say_left_out(&reason, times));
        self.accept_rest.say_left_out();
        self.shard.publish_standing();
        self.counters.pulse.rest();
    }
}
