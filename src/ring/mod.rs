//! The event loop around a shard, on io_uring. The only module with `unsafe`, and the only one that
//! knows the ring.
//!
//! One turn: entries from the lane, operations on sockets, questions to the hub, one batch of
//! sends, completions. A loop with nothing to do says so, looks at its lane once more and sleeps in
//! `enter` until a completion, a wake-up or the next deadline.
//!
//! Another kind of loop (epoll) would stand beside this module and leave `shard` as it is.

#![allow(unsafe_code)]

mod accepting;
mod buffers;
mod counters;
mod event;
mod memory;
mod report;
mod sockets;
mod tcp;
mod uring;

use std::io;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use accepting::ACCEPTING_RESTS;
pub use counters::LoopCounters;
pub use memory::{give_back_free_pages, give_back_what_is_freed};

use event::Event;
use sockets::Sockets;
use uring::{Completion, Uring};

use crate::log_rate::LogRate;
use crate::mesh::ShardEnd;
use crate::shard::{ConnId, Report, Shard, Task};

/// Entries taken from the lane in one turn at most: the others wait no longer than their sweep
/// takes.
const LANE_TURN: usize = 256;

/// One shard's thread: its ring, listener, lanes and sockets.
pub struct EventLoop {
    uring: Uring,
    shard: Shard,
    counters: Arc<LoopCounters>,
    lanes: ShardEnd,
    listener: Option<TcpListener>,
    accepting: bool,
    /// When to accept again after descriptors ran out.
    accept_again: Option<Duration>,
    sockets: Sockets,
    completions: Vec<Completion>,
    /// Connections whose receive found no buffer.
    starved: Vec<ConnId>,
    /// Connections that have been shut down and have nothing under way.
    closing: Vec<ConnId>,
    started: Instant,
    /// That accepting rests.
    rest_said: LogRate<()>,
}

impl EventLoop {
    /// A loop for the calling thread, which must be the one that runs it.
    pub fn new(
        shard: Shard,
        counters: Arc<LoopCounters>,
        lanes: ShardEnd,
        listener: TcpListener,
    ) -> io::Result<Self> {
        let mut uring = Uring::new()?;
        uring.watch_readable(lanes.wake.as_fd(), event::wake())?;
        uring.accept(listener.as_fd(), event::accept())?;
        Ok(Self {
            uring,
            shard,
            counters,
            lanes,
            listener: Some(listener),
            accepting: true,
            accept_again: None,
            sockets: Sockets::default(),
            completions: Vec::with_capacity(256),
            starved: Vec::new(),
            closing: Vec::new(),
            started: Instant::now(),
            rest_said: LogRate::default(),
        })
    }

    /// Serves until the hub says that all is over and everyone has gone.
    pub fn run(&mut self) -> io::Result<()> {
        loop {
            let now = Instant::now();
            self.counters.turns.add(1);
            self.counters.pulse.beat(now);
            self.shard.set_now(now - self.started);
            if let Some(begun) = self.lanes.ending.begun() {
                self.shard.shutdown_began(begun.saturating_duration_since(self.started));
                if self.shard.has_drained() {
                    self.lanes.ending.drained(self.shard.clients_to_drain());
                }
            }
            self.take_entries();
            self.carry_out_tasks()?;
            self.ask_hub();
            if self.shard.is_done() {
                self.shard
                    .left_out()
                    .for_each(|(reason, times)| report::say_left_out(&reason, times));
                self.rest_said
                    .left_out()
                    .for_each(|((), times)| report::say_left_out(&ACCEPTING_RESTS, times));
                self.shard.publish_standing();
                self.counters.pulse.rest();
                return Ok(());
            }
            if self.shard.plan() > 0 {
                self.send_batch()?;
            } else {
                self.rest()?;
                let overflows = self.uring.reap(&mut self.completions)?;
                self.counters.cq_overflows.add(overflows);
            }
            self.deal_with_completions()?;
            self.shard.expire();
            self.accept_after_rest()?;
        }
    }

    fn take_entries(&mut self) {
        let abandoned = self.lanes.down.is_abandoned();
        for _ in 0..LANE_TURN {
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
            self.shard.take(entry);
        }
    }

    fn ask_hub(&mut self) {
        let mut asked = false;
        while let Some(question) = self.shard.next_question() {
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

    /// Sends the planned batch and settles it. Nothing else touches the shard between the two.
    fn send_batch(&mut self) -> io::Result<()> {
        let Self { uring, shard, sockets, completions, counters, .. } = self;
        let sends = shard.batch().map(|(place, id, bytes)| {
            let Some(fd) = sockets.fd(id) else {
                unreachable!("a planned connection has a socket")
            };
            (event::send(place), fd, bytes)
        });
        uring.send_batch(sends)?;
        counters.cq_overflows.add(uring.reap(completions)?);
        completions.retain(|completion| match event::of(completion.user_data, sockets) {
            Event::Sent(place) => {
                shard.book(place, completion.result);
                false
            }
            _ => true,
        });
        shard.settle();
        Ok(())
    }

    /// Nothing to send: submits what is queued, and sleeps if there is nothing else to do either.
    fn rest(&mut self) -> io::Result<()> {
        if self.shard.has_work() || self.shard.is_done() || !self.closing.is_empty() {
            return self.uring.enter_until_empty();
        }
        self.lanes.wake.fall_asleep();
        let entries = self.shard.wants_entries() && !self.lanes.down.is_empty();
        let questions = self.shard.has_questions() && self.lanes.up.has_room(0);
        let end = self
            .shard
            .misses_end(self.lanes.ending.begun().is_some(), self.lanes.down.is_abandoned());
        let slept = if entries || questions || end {
            self.uring.enter_until_empty()
        } else {
            let next = [self.shard.next_deadline(), self.accept_again].into_iter().flatten().min();
            let timeout = next.map(|at| at.saturating_sub(self.started.elapsed()));
            self.counters.sleeps.add(1);
            match next {
                Some(at) => self.counters.pulse.rest_until(self.started + at),
                None => self.counters.pulse.rest(),
            }
            self.uring.wait(timeout)
        };
        self.lanes.wake.stay_awake();
        slept?;
        let now = Instant::now();
        self.counters.pulse.beat(now);
        self.shard.set_now(now - self.started);
        Ok(())
    }

    fn deal_with_completions(&mut self) -> io::Result<()> {
        let mut completions = std::mem::take(&mut self.completions);
        for completion in completions.drain(..) {
            match event::of(completion.user_data, &self.sockets) {
                Event::Accepted => self.accepted(completion)?,
                Event::Received(id) => self.received(id, completion)?,
                Event::Writable(id) => {
                    if let Some(socket) = self.sockets.live(id) {
                        socket.watching = false;
                        self.shard.writable(id);
                        self.close_if_quiet(id);
                    }
                }
                // Another wake-up adds to the eventfd's count, which nobody reads: the look-out
                // sees each addition.
                Event::Woken => {
                    // The call that came with it is answered, however late it was booked.
                    self.lanes.wake.stay_awake();
                    if !completion.more() {
                        self.lanes.wake.acknowledge();
                        self.uring.watch_readable(self.lanes.wake.as_fd(), event::wake())?;
                    }
                }
                Event::Ignored => {}
                Event::Sent(_) => unreachable!("sends end within their batch"),
            }
        }
        self.completions = completions;
        // All buffers are back by now.
        for id in std::mem::take(&mut self.starved) {
            self.receive(id)?;
        }
        self.close_quiet()
    }

    fn received(&mut self, id: ConnId, mut completion: Completion) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        socket.receiving = completion.more();
        // A completion that ends a multishot may still carry data.
        if let Some(mut filled) = completion.filled.take() {
            self.shard.received(id, &mut filled);
        }
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        let stopped = !socket.receiving;
        match -completion.result {
            libc::ENOBUFS => {
                self.counters.buffer_shortages.add(1);
                self.starved.push(id);
            }
            // A pause that has been taken back meanwhile; or data behind which the multishot ended.
            libc::ECANCELED | libc::EINTR | ..0 => {
                if stopped {
                    self.receive(id)?;
                }
            }
            // The end of the stream, or a dead socket.
            _ => self.shard.ended(id),
        }
        self.close_if_quiet(id);
        Ok(())
    }

    /// Receives from a connection, if that is wanted and not under way.
    fn receive(&mut self, id: ConnId) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        if !socket.wants_receive || socket.receiving || socket.ending {
            return Ok(());
        }
        socket.receiving = true;
        let Some(fd) = self.sockets.fd(id) else { return Ok(()) };
        self.uring.receive(fd, event::receive(id))
    }

    fn carry_out_tasks(&mut self) -> io::Result<()> {
        while let Some(task) = self.shard.next_task() {
            match task {
                Task::Receive(id) => {
                    if let Some(socket) = self.sockets.live(id) {
                        socket.wants_receive = true;
                    }
                    self.receive(id)?;
                }
                Task::PauseReceive(id) => {
                    let Some(socket) = self.sockets.live(id) else { continue };
                    socket.wants_receive = false;
                    if socket.receiving {
                        self.uring.cancel(event::receive(id), event::ignored())?;
                    }
                }
                Task::WatchWritable(id) => {
                    let Some(socket) = self.sockets.live(id) else { continue };
                    socket.watching = true;
                    let Some(fd) = self.sockets.fd(id) else { continue };
                    self.uring.watch_writable(fd, event::writable(id))?;
                }
                Task::Measure(id) => {
                    let Some((acknowledged, outstanding)) =
                        self.sockets.fd(id).and_then(tcp::measure)
                    else {
                        continue;
                    };
                    self.shard.measured(id, acknowledged, outstanding);
                }
                Task::FinishSending(id) => self.shut_down(id, Shutdown::Write),
                Task::Terminate { id, abort } => self.terminate(id, abort),
                Task::StopAccepting => self.stop_accepting()?,
                Task::Report(id, report) => self.report(id, &report),
            }
        }
        Ok(())
    }

    fn shut_down(&self, id: ConnId, how: Shutdown) {
        if let Some(fd) = self.sockets.fd(id) {
            // The peer may have reset the connection already.
            let _ = socket2::SockRef::from(&fd).shutdown(how);
        }
    }

    /// Ends a socket. Closing alone would end nothing while an operation is under way on it.
    fn terminate(&mut self, id: ConnId, abort: bool) {
        if let Some(fd) = self.sockets.fd(id)
            && abort
        {
            // What the kernel still holds for it would otherwise live for minutes.
            let _ = socket2::SockRef::from(&fd).set_linger(Some(Duration::ZERO));
        }
        let Some(socket) = self.sockets.live(id) else { return };
        socket.ending = true;
        if !socket.is_quiet() {
            self.shut_down(id, Shutdown::Both);
        }
        self.close_if_quiet(id);
    }

    fn close_if_quiet(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.live(id) else { return };
        if socket.ending && socket.is_quiet() && !std::mem::replace(&mut socket.closing, true) {
            self.closing.push(id);
        }
    }

    /// Closes sockets that have ended, right after a submission has left nothing queued.
    fn close_quiet(&mut self) -> io::Result<()> {
        if self.closing.is_empty() {
            return Ok(());
        }
        self.uring.enter_until_empty()?;
        for id in self.closing.drain(..) {
            drop(self.sockets.remove(id));
            self.shard.released(id);
        }
        if self.accept_again.is_some() {
            // A descriptor is free again.
            self.accept()?;
        }
        Ok(())
    }

    fn report(&self, id: ConnId, report: &Report) {
        let peer = self.sockets.fd(id).and_then(|fd| tcp::peer(&fd));
        report::say(peer, report);
    }
}
