//! Deadlines and pings.
//!
//! A ping goes out each interval; any byte received, or progress of the outbox of a laggard, is a
//! sign of life. While a connection lags its own deadline governs and a missing pong is forgiven:
//! the ping may still stand in the outbox. It may also stand in a kernel's buffer, ours or the
//! peer's, behind what a slow but steady reader has not read: so when a pong is overdue, what the
//! peer has acknowledged meanwhile is a sign of life too. The ping alone is none, since the kernel
//! of a program that hangs acknowledges it for ever; nor is anything older than the last look.

use std::time::Duration;

use super::balance::Dropped;
use super::connection::{ConnId, Phase};
use super::drain::Drain;
use super::end::Grace;
use super::timers::Tick;
use super::{About, Reason, Refusal, Shard, Task};
use crate::http::Fault;
use crate::ws::frame::{self, Opcode};
use crate::ws::upgrade;

/// A ping as it is sent, without a payload.
const PING_BYTES: u32 = 2;

impl Shard {
    /// When, since the start, [`Shard::expire`] should be called next; not at all while nobody has
    /// a deadline.
    pub fn next_deadline(&self) -> Option<Duration> {
        let grace = if let Grace::UntilMs(at) = self.grace { Some(at) } else { None };
        let drain = self.drain.as_ref().and_then(Drain::next_ms);
        let (resting, gaps) = (self.roster.resting.until_ms(), self.gap_closes.next_ms());
        let next =
            [self.roster.timers.next_ms(), grace, drain, resting, gaps].into_iter().flatten().min();
        next.map(Duration::from_millis)
    }

    /// Deals with everyone who is due by now.
    pub fn expire(&mut self) {
        if matches!(self.grace, Grace::UntilMs(at) if at <= self.now_ms) {
            self.end_grace();
        }
        self.drain_due();
        self.end_rest();
        self.close_gapped();
        let mut due = std::mem::take(&mut self.roster.due);
        self.roster.timers.expire(self.now_ms, &mut due);
        for index in due.drain(..) {
            if self.roster.connections.contains(index) {
                self.connection_due(self.roster.connections.id(index));
            }
        }
        self.roster.due = due;
    }

    fn connection_due(&mut self, id: ConnId) {
        let now_ms = self.now_ms;
        let passed = |tick: Option<Tick>| tick.is_some_and(|tick| tick.has_come(now_ms));
        let connection = self.roster.connections.at(id.index);
        let (deadline, keepalive) = (passed(connection.deadline), passed(connection.keepalive));
        if deadline && self.deadline_passed(id) {
            return;
        }
        if keepalive {
            self.keepalive_passed(id);
        }
        if passed(self.roster.connections.peek(id.index).expires()) {
            self.session_expired(id);
        }
        self.roster.reschedule(id);
    }

    /// Returns whether that was the connection's end.
    fn deadline_passed(&mut self, id: ConnId) -> bool {
        let laggard_timeout = self.config.limits.laggard_timeout;
        let connection = self.roster.connections.at(id.index);
        match &mut connection.phase {
            Phase::Preface | Phase::Head => {
                self.counters.head_timeouts.add(1);
                // Whoever has not begun a request is not told that it was too slow.
                if self.heads.has(id) {
                    self.report_refused(id, Refusal::Request(Fault::Late), String::new);
                    self.refuse(id, &upgrade::request_timeout());
                } else {
                    self.terminate(id, Dropped::TooSlow, false);
                }
                true
            }
            Phase::Open(_) => {
                let Some(outbox) = connection.outbox.as_mut() else {
                    connection.deadline = None;
                    return false;
                };
                if outbox.laggard_mark_passed() {
                    outbox.set_laggard_mark();
                    self.set_deadline(id, laggard_timeout);
                    return false;
                }
                self.too_slow(id, "what waited for it did not leave within roadcast.limits.laggard_timeout")
            }
            Phase::Closing { finished: true, answered: true, .. } => {
                // Both have said goodbye, and it holds on to its socket.
                self.terminate(id, Dropped::Gone, true);
                true
            }
            Phase::Closing { finished: true, .. } => {
                self.too_slow(id, "its closing handshake did not end within roadcast.limits.close_timeout")
            }
            Phase::Closing { .. } => self.too_slow(
                id,
                "its goodbye did not leave within roadcast.limits.close_timeout, or what stood before it within \
                 roadcast.limits.laggard_timeout",
            ),
            // The desk takes its time.
            Phase::Asking => false,
            Phase::Ended => true,
        }
    }

    fn too_slow(&mut self, id: ConnId, why: &'static str) -> bool {
        self.counters.too_slow.add(1);
        self.report(id, Reason::TooSlow(why), || About::Nothing);
        self.terminate(id, Dropped::TooSlow, true);
        true
    }

    fn keepalive_passed(&mut self, id: ConnId) {
        let limits = &self.config.limits;
        let (interval, patience) = (limits.ping_interval, limits.pong_timeout);
        let connection = self.roster.connections.at(id.index);
        // Whoever is not listened to may have answered.
        let forgiven = connection.lagging || connection.read_paused;
        if connection.awaits_pong && !connection.heard && !forgiven {
            connection.pong_overdue = true;
            self.outward.push(Task::Measure(id));
            self.set_keepalive(id, patience);
            return;
        }
        let ping = !connection.awaits_pong && !connection.lagging;
        connection.awaits_pong = ping && !patience.is_zero();
        if ping {
            connection.heard = false;
            self.counters.pings.add(1);
            self.roster.send_private(id, |out| frame::encode(out, Opcode::Ping, b""));
            if !patience.is_zero() {
                self.outward.push(Task::Measure(id));
            }
        }
        let next = match (ping, patience.is_zero()) {
            (true, false) => patience,
            (true, true) => interval,
            // The pong's deadline is part of the interval.
            (false, _) => interval.saturating_sub(patience).max(Duration::from_millis(1)),
        };
        self.set_keepalive(id, next);
    }

    /// The socket of a connection has been measured: `acknowledged` bytes in all have reached the
    /// peer, `outstanding` ones stand in the kernel.
    pub fn measured(&mut self, id: ConnId, acknowledged: u64, outstanding: usize) {
        let Some(connection) =
            self.roster.connections.live(id).filter(|connection| connection.is_open())
        else {
            return;
        };
        let before = std::mem::replace(&mut connection.acknowledged, acknowledged as u32);
        if !std::mem::take(&mut connection.pong_overdue) || connection.heard {
            return;
        }
        let progress = (acknowledged as u32).wrapping_sub(before);
        if progress > PING_BYTES || (outstanding > 0 && progress > 0) {
            return;
        }
        self.counters.pongs_missing.add(1);
        self.report(id, Reason::PongMissing, || About::Nothing);
        self.terminate(id, Dropped::Silent, true);
    }

    /// Sets the first ping of a connection, at a place in the interval of its own: pings are
    /// spread.
    pub(super) fn begin_keepalive(&mut self, id: ConnId) {
        let interval = self.config.limits.ping_interval;
        if interval.is_zero() {
            return self.roster.reschedule(id);
        }
        // Multiplication by the golden ratio spreads consecutive slots evenly.
        let share = id.index.wrapping_mul(0x9E37_79B9) >> 16;
        let first = interval / 2 + interval / 2 * share / 0x1_0000;
        self.set_keepalive(id, first);
    }

    fn set_keepalive(&mut self, id: ConnId, after: Duration) {
        let tick = Tick::after(self.now_ms, after.as_millis() as u64);
        self.roster.connections.at(id.index).keepalive = Some(tick);
        self.roster.reschedule(id);
    }

    pub(super) fn set_deadline(&mut self, id: ConnId, after: Duration) {
        let tick = Tick::after(self.now_ms, after.as_millis() as u64);
        self.roster.connections.at(id.index).deadline = Some(tick);
        self.roster.reschedule(id);
    }
}
