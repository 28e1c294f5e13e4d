//! Publications on their way to a server, in order, as many at once as there are.
//!
//! Invariants worth naming:
//! - **Nothing is sent twice.** A publication whose answer does not come may have been published:
//!   its publisher is told so.
//! - **What is under way is bounded** by [`IN_FLIGHT_MAX`]; behind it each publisher waits with one
//!   publication, in its place of the order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::hub::broker::link::Outbound;
use crate::hub::sequencer::{PublishError, Publishing};
use crate::resp;

/// Bytes of publications that the server has not answered, of one connection.
pub(super) const IN_FLIGHT_MAX: usize = 8 << 20;
/// What each costs beside its command: an answer that is waited for.
const COST: usize = 128;

type Answer = oneshot::Sender<Result<(), PublishError>>;

/// What became of publications that no server has: until when they may wait for one, and in how
/// many bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelter {
    pub(super) bytes_max: usize,
    pub(super) wait: Duration,
}

/// A publication that the server has yet to answer.
struct Pending {
    cost: usize,
    /// Where it ends in all that was queued on its connection.
    end: u64,
    /// When it was queued.
    at: Instant,
    /// `None`: a probe, whose answer says nothing.
    answer: Option<Answer>,
}

/// A publication that waits for room, or for a server.
struct Waiting {
    command: Vec<u8>,
    deadline: Instant,
    answer: Answer,
}

/// See the module.
pub(super) struct Publisher {
    /// What an error begins with: `broker "main" (redis at 127.0.0.1:6379)`.
    name: String,
    verb: &'static str,
    prefix: String,
    shelter: Shelter,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// There while publications may be sent.
    out: Option<Outbound>,
    pending: VecDeque<Pending>,
    in_flight: usize,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Why nothing can be sent, and since when.
    down: Option<(String, Instant)>,
}

impl Publisher {
    /// `verb`: PUBLISH or SPUBLISH. Nothing can be sent yet.
    pub(super) fn new(name: String, verb: &'static str, prefix: String, shelter: Shelter) -> Self {
        Self { name, verb, prefix, shelter, state: RefCell::default() }
    }

    /// Takes a publication.
    pub(super) fn publish(&self, topic: &str, payload: &[u8], now: Instant) -> Publishing {
        let mut state = self.state.borrow_mut();
        if let Some(out) = &state.out
            && state.waiting.is_empty()
            && state.in_flight < IN_FLIGHT_MAX
        {
            let (answer, sent) = oneshot::channel();
            let before = out.queued();
            let end = out.queue(|out| self.encode(out, topic, payload));
            let cost = out.queued() - before + COST;
            state.in_flight += cost;
            state.pending.push_back(Pending { cost, end, at: now, answer: Some(answer) });
            return Publishing::Sent(sent);
        }
        let is_down = state.out.is_none();
        let bytes = COST + topic.len() + payload.len();
        if is_down && state.waiting_bytes + bytes > self.shelter.bytes_max {
            return Publishing::Now(Err(PublishError::Broker(self.is_down(&state, now))));
        }
        let mut command = Vec::new();
        self.encode(&mut command, topic, payload);
        let (answer, said) = oneshot::channel();
        state.waiting_bytes += command.len() + COST;
        let deadline = now + self.shelter.wait;
        state.waiting.push_back(Waiting { command, deadline, answer });
        if is_down {
            return Publishing::Sent(said);
        }
        Publishing::Later(Box::pin(async { said.await.unwrap_or(Err(PublishError::ShuttingDown)) }))
    }

    fn encode(&self, out: &mut Vec<u8>, topic: &str, payload: &[u8]) {
        resp::publish(out, self.verb, &self.prefix, topic, payload);
    }

    fn is_down(&self, state: &State, now: Instant) -> String {
        match &state.down {
            None => format!("{} has not been reached yet: not published", self.name),
            Some((why, since)) => {
                let since = now.saturating_duration_since(*since).as_secs_f64();
                format!("{} is down since {since:.1} s: {why}: not published", self.name)
            }
        }
    }

    /// Publications may be sent from now on.
    pub(super) fn connected(&self, out: &Outbound, now: Instant) {
        let mut state = self.state.borrow_mut();
        state.out = Some(out.clone());
        state.down = None;
        self.send_waiting(&mut state, now);
    }

    /// Nothing can be sent any more. Who has no answer is told what is known of its publication.
    pub(super) fn disconnected(&self, why: &str, now: Instant) {
        let mut state = self.state.borrow_mut();
        let sent = state.out.take().map_or(u64::MAX, |out| out.sent());
        for Pending { end, answer, .. } in std::mem::take(&mut state.pending) {
            // Of what was not sent to the last byte, the server can have read no command.
            let doubt =
                if sent >= end { "may or may not have been published" } else { "not published" };
            tell(answer, Err(PublishError::Broker(format!("{}: {why}: {doubt}", self.name))));
        }
        state.in_flight = 0;
        if state.down.is_none() {
            state.down = Some((String::new(), now));
        }
        if let Some((known, _)) = &mut state.down {
            known.clear();
            known.push_str(why);
        }
        // What there was no room for is as lost as what comes from now on, but for what may wait.
        let mut bytes = 0;
        let mut keep = |waiting: &Waiting| {
            bytes += waiting.command.len() + COST;
            bytes <= self.shelter.bytes_max
        };
        let kept = state.waiting.iter().take_while(|waiting| keep(waiting)).count();
        let lost: Vec<Waiting> = state.waiting.drain(kept..).collect();
        let error = PublishError::Broker(self.is_down(&state, now));
        for Waiting { command, answer, .. } in lost {
            state.waiting_bytes -= command.len() + COST;
            tell(Some(answer), Err(error.clone()));
        }
    }

    /// The server has answered the oldest publication. Says whether it was one.
    pub(super) fn answered(&self, refusal: Option<&str>, now: Instant) -> Answered {
        let mut state = self.state.borrow_mut();
        let Some(pending) = state.pending.pop_front() else { return Answered::Unasked };
        state.in_flight -= pending.cost;
        let is_probe = pending.answer.is_none();
        let result = match refusal {
            None => Ok(()),
            Some(why) => Err(PublishError::Broker(format!("{}: {why}: not published", self.name))),
        };
        tell(pending.answer, result);
        if !state.waiting.is_empty() {
            self.send_waiting(&mut state, now);
        }
        if is_probe { Answered::Probe } else { Answered::Publication }
    }

    fn send_waiting(&self, state: &mut State, now: Instant) {
        let Some(out) = state.out.clone() else { return };
        while state.in_flight < IN_FLIGHT_MAX {
            let Some(Waiting { command, answer, .. }) = state.waiting.pop_front() else { break };
            let cost = command.len() + COST;
            let end = out.queue(|out| out.extend_from_slice(&command));
            state.waiting_bytes -= cost;
            state.in_flight += cost;
            state.pending.push_back(Pending { cost, end, at: now, answer: Some(answer) });
        }
    }

    /// Publishes for the lag, if it can.
    pub(super) fn probe(&self, channel: &str, payload: &[u8], now: Instant) {
        let mut state = self.state.borrow_mut();
        let Some(out) = &state.out else { return };
        let end = out.queue(|out| resp::publish(out, "PUBLISH", "", channel, payload));
        state.in_flight += COST;
        state.pending.push_back(Pending { cost: COST, end, at: now, answer: None });
    }

    /// Tells those that nobody will serve in time.
    pub(super) fn expire(&self, now: Instant) {
        let mut state = self.state.borrow_mut();
        if state.out.is_some() {
            return;
        }
        while state.waiting.front().is_some_and(|waiting| waiting.deadline <= now) {
            let Some(Waiting { command, answer, .. }) = state.waiting.pop_front() else { break };
            state.waiting_bytes -= command.len() + COST;
            tell(Some(answer), Err(PublishError::Broker(self.is_down(&state, now))));
        }
    }

    /// When the oldest publication was queued that has no answer.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.state.borrow().pending.front().map(|pending| pending.at)
    }
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Publication,
    Probe,
    Unasked,
}

/// Whoever asked may have gone.
fn tell(answer: Option<Answer>, result: Result<(), PublishError>) {
    if let Some(answer) = answer {
        let _ = answer.send(result);
    }
}

#[cfg(test)]
mod tests;
