//! What leaves to one connection alone, and how connections end.

use super::balance::Dropped;
use super::connection::{ConnId, Phase};
use super::held::Awaited;
use super::{About, Reason, Shard, Task};
use crate::ws::close::{self, CloseCode};
use crate::ws::reader::Reader;

impl Shard {
    /// Sends bytes that are no frames: an HTTP answer, before anything else.
    pub(super) fn send_http(&mut self, id: ConnId, answer: &[u8]) {
        debug_assert!(self.roster.connections.peek(id.index).outbox.is_none());
        self.roster.send_private(id, |out| out.extend_from_slice(answer));
    }

    /// The outbox has been sent whole.
    pub(super) fn outbox_drained(&mut self, id: ConnId) {
        let connection = self.roster.connections.at(id.index);
        connection.outbox = None;
        match &mut connection.phase {
            Phase::Closing { finished, peer_ended, .. } => {
                if *peer_ended {
                    self.terminate(id, Dropped::Gone, false);
                } else if !*finished {
                    *finished = true;
                    self.outward.push(Task::FinishSending(id));
                    // What stood before its last bytes has had a time of its own.
                    self.set_deadline(id, self.config.limits.close_timeout);
                }
            }
            Phase::Open(_) => {
                connection.deadline = None;
                self.roster.reschedule(id);
            }
            Phase::Preface | Phase::Head | Phase::Asking | Phase::Ended => {}
        }
    }

    /// Says goodbye with a Close frame behind what waits already; nothing is read any more but the
    /// end. What its topics' logs hold for it is dropped for the reason `dropped`.
    pub(super) fn close(&mut self, id: ConnId, code: CloseCode, reason: &str, dropped: Dropped) {
        self.say_goodbye(id, code, reason, dropped);
        self.await_end(id, false);
    }

    fn say_goodbye(&mut self, id: ConnId, code: CloseCode, reason: &str, dropped: Dropped) {
        self.counters.closes.count(code.0);
        self.leave_all(id, dropped);
        self.roster.send_private(id, |out| close::encode(out, code, reason));
    }

    /// Answers a client's Close.
    pub(super) fn answer_close(&mut self, id: ConnId, code: Option<CloseCode>) {
        // RFC 6455 §7.1.5: 1005 stands for a Close without a code.
        self.counters.closes_by_client.count(code.map_or(1005, |code| code.0));
        self.leave_all(id, Dropped::Closed);
        self.roster.send_private(id, |out| close::encode_answer(out, code));
        self.await_end(id, true);
    }

    /// Our last bytes are in the outbox: from here on only the peer's end, or the deadline, is
    /// waited for; and its Close, unless it has `answered`, or no Close of it could be understood.
    pub(super) fn await_end(&mut self, id: ConnId, answered: bool) {
        self.forget_head(id);
        self.end_session(id);
        let connection = self.roster.connections.at(id.index);
        // A laggard gets the time that laggards get: what it has been promised stands before the
        // Close.
        let lags = connection.lagging || (connection.is_open() && connection.deadline.is_some());
        let answered = answered || connection.held.take().is_some_and(|held| held.last.is_some());
        connection.phase = Phase::Closing { finished: false, peer_ended: false, answered };
        if answered {
            connection.reader = Reader::default();
        }
        connection.awaits_pong = false;
        connection.keepalive = None;
        if std::mem::take(&mut connection.read_paused) {
            self.outward.push(Task::Receive(id));
        }
        let limits = &self.config.limits;
        let timeout = if lags {
            limits.close_timeout.max(limits.laggard_timeout)
        } else {
            limits.close_timeout
        };
        self.set_deadline(id, timeout);
    }

    /// What has arrived of it before it was let in is of no use any more.
    fn forget_head(&mut self, id: ConnId) {
        match self.roster.connections.peek(id.index).phase {
            Phase::Preface | Phase::Head => drop(self.heads.take(id)),
            Phase::Asking => drop(self.end_asking(id)),
            Phase::Open(_) | Phase::Closing { .. } | Phase::Ended => {}
        }
    }

    /// Closes a connection that broke the protocol.
    pub(super) fn violation(&mut self, id: ConnId, code: CloseCode, reason: &'static str) {
        self.counters.violations.add(1);
        self.report(id, Reason::Violation(code, reason), || About::Nothing);
        self.say_goodbye(id, code, reason, Dropped::Closed);
        // RFC 6455 §7.1.7: nothing that follows is processed, a Close neither.
        self.await_end(id, true);
    }

    /// Ends a connection now; what waits for it is dropped for the reason `dropped`. `abort` throws
    /// away what the kernel still holds for it.
    pub(super) fn terminate(&mut self, id: ConnId, dropped: Dropped, abort: bool) {
        if matches!(self.roster.connections.at(id.index).phase, Phase::Ended) {
            return;
        }
        self.forget_head(id);
        self.leave_all(id, dropped);
        self.end_session(id);
        let connection = self.roster.connections.at(id.index);
        connection.phase = Phase::Ended;
        connection.reader = Reader::default();
        connection.held = None;
        connection.lagging = false;
        if let Some(outbox) = connection.outbox.take() {
            self.roster.outbox_bytes -= outbox.cost();
            self.delivery.balance.drop_from_outboxes(outbox.publications(), dropped);
        }
        connection.keepalive = None;
        connection.deadline = None;
        self.roster.reschedule(id);
        self.outward.push(Task::Terminate { id, abort });
    }

    /// Takes a connection out of every topic, and gives up what it waits for.
    fn leave_all(&mut self, id: ConnId, dropped: Dropped) {
        let connection = self.roster.connections.at(id.index);
        let awaited = connection.held.as_mut().and_then(|held| held.awaits.take());
        if let Some(Awaited::Interest(pending) | Awaited::Positions(pending)) = awaited {
            self.delivery.topics.discharge(pending.cost());
            for topic in pending.topics {
                self.unpin(topic);
            }
        }
        self.roster.connections.at(id.index).topics.forget_index();
        while let Some(last) = self.roster.connections.at(id.index).topics.len().checked_sub(1) {
            self.unsubscribe(id.index, last as u32, dropped);
        }
    }
}
