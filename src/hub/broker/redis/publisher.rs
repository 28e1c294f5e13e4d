//! Publications on their way to a server, in order, as many at once as there are.
//!
//! Invariants worth naming:
//! - **Nothing is sent twice.** A publication whose answer does not come may have been published:
//!   its publisher is told so.
//! - **What is under way is bounded** by [`FLIGHT_BYTES_MAX`]; behind it each publisher waits with
//!   one publication, in its place of the order.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::hub::broker::BrokerStatus;
use crate::hub::broker::flight::{ENTRY_BYTES, FLIGHT_BYTES_MAX};
use crate::hub::broker::link::Outbound;
use crate::hub::sequencer::{PublishError, Publishing};
use crate::resp;
use crate::rpc::IN_DOUBT;

pub(super) type Answer = oneshot::Sender<Result<(), PublishError>>;

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
    what: What,
}

enum What {
    /// Its answer says nothing.
    Probe,
    Publication(Answer),
    /// One that may be sent elsewhere.
    Kept(Kept),
}

/// A publication of a Cluster that is sharded.
pub(super) struct Kept {
    pub(super) slot: u16,
    pub(super) command: Vec<u8>,
    pub(super) answer: Answer,
    /// How often it was sent elsewhere.
    pub(super) tries: u32,
}

/// A publication that waits for room, or for a server.
struct Waiting {
    command: Vec<u8>,
    /// In a Cluster that is sharded.
    slot: Option<u16>,
    tries: u32,
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
    status: Arc<BrokerStatus>,
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
    /// At home elsewhere, by the server's word.
    returned: Vec<Kept>,
    /// Why nothing can be sent, and since when.
    down: Option<(String, Instant)>,
}

impl Publisher {
    /// `verb`: PUBLISH or SPUBLISH. Nothing can be sent yet.
    pub(super) fn new(
        name: String,
        verb: &'static str,
        prefix: String,
        shelter: Shelter,
        status: Arc<BrokerStatus>,
    ) -> Self {
        Self { name, verb, prefix, shelter, status, state: RefCell::default() }
    }

    /// Takes a publication; `slot`: of a Cluster that is sharded.
    pub(super) fn publish(
        &self,
        topic: &str,
        payload: &[u8],
        slot: Option<u16>,
        now: Instant,
    ) -> Publishing {
        let mut state = self.state.borrow_mut();
        let (answer, said) = oneshot::channel();
        if slot.is_none()
            && let Some(out) = state.way()
        {
            let before = out.queued();
            let end = out.queue(|out| self.encode(out, topic, payload));
            let cost = out.queued() - before + ENTRY_BYTES;
            state.sent(cost, end, now, What::Publication(answer));
            return Publishing::Sent(said);
        }
        let is_down = state.out.is_none();
        let bytes = ENTRY_BYTES + topic.len() + payload.len();
        if is_down && state.waiting_bytes + bytes > self.shelter.bytes_max {
            self.status.publish_errors.add(1);
            return Publishing::Now(Err(PublishError::Broker(self.is_down(&state, now))));
        }
        let mut command = Vec::new();
        self.encode(&mut command, topic, payload);
        let deadline = now + self.shelter.wait;
        let waiting = Waiting { command, slot, tries: 0, deadline, answer };
        let waits = !state.take(waiting, now);
        if !waits || is_down {
            return Publishing::Sent(said);
        }
        Publishing::Later(Box::pin(async { said.await.unwrap_or(Err(PublishError::ShuttingDown)) }))
    }

    /// Takes a publication that was sent elsewhere, by which it was at most `tries_max` times.
    pub(super) fn put_again(&self, kept: Kept, tries_max: u32) {
        let (mut state, now) = (self.state.borrow_mut(), Instant::now());
        let Kept { slot, command, answer, tries } = kept;
        if tries > tries_max {
            let why = "the nodes of the Cluster send it from one to the other";
            let text = format!("{}: {why}: not published", self.name);
            return self.tell(answer, Err(PublishError::Broker(text)));
        }
        let deadline = now + self.shelter.wait;
        state.take(Waiting { command, slot: Some(slot), tries, deadline, answer }, now);
    }

    /// Publications that the server has sent back, in order.
    pub(super) fn take_returned(&self) -> Vec<Kept> {
        std::mem::take(&mut self.state.borrow_mut().returned)
    }

    /// Takes those back that have not been sent and whose slot is not ours, in order.
    pub(super) fn withdraw(&self, is_ours: impl Fn(u16) -> bool) -> Vec<Kept> {
        let (mut state, mut withdrawn) = (self.state.borrow_mut(), Vec::new());
        for waiting in std::mem::take(&mut state.waiting) {
            match waiting.slot {
                Some(slot) if !is_ours(slot) => {
                    let Waiting { command, tries, answer, .. } = waiting;
                    state.waiting_bytes -= command.len() + ENTRY_BYTES;
                    withdrawn.push(Kept { slot, command, answer, tries });
                }
                _ => state.waiting.push_back(waiting),
            }
        }
        withdrawn
    }

    /// Publications of a slot that the server has yet to answer.
    pub(super) fn pending_of(&self, slot: u16) -> usize {
        let is_of =
            |pending: &&Pending| matches!(&pending.what, What::Kept(kept) if kept.slot == slot);
        self.state.borrow().pending.iter().filter(is_of).count()
    }

    fn tell(&self, answer: Answer, result: Result<(), PublishError>) {
        match &result {
            Ok(()) => self.status.published.add(1),
            Err(_) => self.status.publish_errors.add(1),
        }
        // Whoever asked may have gone.
        let _ = answer.send(result);
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
        state.send_waiting(now);
    }

    /// Nothing can be sent any more. Who has no answer is told what is known of its publication.
    pub(super) fn disconnected(&self, why: &str, now: Instant) {
        let mut state = self.state.borrow_mut();
        let sent = state.out.take().map_or(u64::MAX, |out| out.sent());
        for Pending { end, what, .. } in std::mem::take(&mut state.pending) {
            // Of what was not sent to the last byte, the server can have read no command.
            let doubt = if sent >= end { IN_DOUBT } else { "not published" };
            let error = PublishError::Broker(format!("{}: {why}: {doubt}", self.name));
            match what {
                What::Publication(answer) | What::Kept(Kept { answer, .. }) => {
                    self.tell(answer, Err(error));
                }
                What::Probe => {}
            }
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
            bytes += waiting.command.len() + ENTRY_BYTES;
            bytes <= self.shelter.bytes_max
        };
        let kept = state.waiting.iter().take_while(|waiting| keep(waiting)).count();
        let lost: Vec<Waiting> = state.waiting.drain(kept..).collect();
        let error = PublishError::Broker(self.is_down(&state, now));
        for Waiting { command, answer, .. } in lost {
            state.waiting_bytes -= command.len() + ENTRY_BYTES;
            self.tell(answer, Err(error.clone()));
        }
    }

    /// The server has answered the oldest publication: `refusal` says why not. Says what that was.
    pub(super) fn answered(&self, refusal: Option<&str>, now: Instant) -> Answered {
        let mut state = self.state.borrow_mut();
        let Some(pending) = state.pending.pop_front() else { return Answered::Unasked };
        state.in_flight -= pending.cost;
        let answered = match (pending.what, refusal) {
            (What::Probe, _) => Answered::Probe,
            (What::Kept(mut kept), Some(why)) if is_sent_back(why) => {
                kept.tries += 1;
                state.returned.push(kept);
                Answered::Elsewhere
            }
            (What::Publication(answer) | What::Kept(Kept { answer, .. }), refusal) => {
                let error =
                    |why| PublishError::Broker(format!("{}: {why}: not published", self.name));
                self.tell(answer, refusal.map_or(Ok(()), |why| Err(error(why))));
                Answered::Publication
            }
        };
        if !state.waiting.is_empty() {
            state.send_waiting(now);
        }
        answered
    }

    /// Publishes for the lag, if it can.
    pub(super) fn probe(&self, channel: &str, payload: &[u8], now: Instant) {
        let mut state = self.state.borrow_mut();
        let Some(out) = &state.out else { return };
        let end = out.queue(|out| resp::publish(out, "PUBLISH", "", channel, payload));
        state.sent(ENTRY_BYTES, end, now, What::Probe);
    }

    /// Tells those that nobody will serve in time.
    pub(super) fn expire(&self, now: Instant) {
        let mut state = self.state.borrow_mut();
        if state.out.is_some() {
            return;
        }
        while state.waiting.front().is_some_and(|waiting| waiting.deadline <= now) {
            let Some(Waiting { command, answer, .. }) = state.waiting.pop_front() else { break };
            state.waiting_bytes -= command.len() + ENTRY_BYTES;
            self.tell(answer, Err(PublishError::Broker(self.is_down(&state, now))));
        }
    }

    /// When the oldest publication was queued that has no answer.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.state.borrow().pending.front().map(|pending| pending.at)
    }
}

impl State {
    /// Where to queue, if there is room and nobody waits for it.
    fn way(&self) -> Option<&Outbound> {
        let is_free = self.waiting.is_empty() && self.in_flight < FLIGHT_BYTES_MAX;
        self.out.as_ref().filter(|_| is_free)
    }

    fn sent(&mut self, cost: usize, end: u64, at: Instant, what: What) {
        self.in_flight += cost;
        self.pending.push_back(Pending { cost, end, at, what });
    }

    /// Sends a publication, or has it wait behind the others. Says whether it was sent.
    fn take(&mut self, waiting: Waiting, now: Instant) -> bool {
        self.waiting_bytes += waiting.command.len() + ENTRY_BYTES;
        self.waiting.push_back(waiting);
        self.send_waiting(now);
        self.waiting.is_empty()
    }

    fn send_waiting(&mut self, now: Instant) {
        let Some(out) = self.out.clone() else { return };
        while self.in_flight < FLIGHT_BYTES_MAX {
            let Some(waiting) = self.waiting.pop_front() else { break };
            let Waiting { command, slot, tries, answer, .. } = waiting;
            let cost = command.len() + ENTRY_BYTES;
            self.waiting_bytes -= cost;
            let end = out.queue(|out| out.extend_from_slice(&command));
            let what = match slot {
                None => What::Publication(answer),
                Some(slot) => What::Kept(Kept { slot, command, answer, tries }),
            };
            self.sent(cost, end, now, what);
        }
    }
}

/// What was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answered {
    Publication,
    /// The server sent it back: its slot is at home elsewhere.
    Elsewhere,
    Probe,
    Unasked,
}

/// Whether an error answer sends a publication to another node. What a node cannot take for now,
/// it may take a moment later: put again, it would come behind what was published after it.
fn is_sent_back(why: &str) -> bool {
    matches!(why.split(' ').next(), Some("MOVED" | "ASK"))
}

/// Whether an error answer is about where a slot is at home.
pub(super) fn is_elsewhere(why: &str) -> bool {
    let kind = why.split(' ').next();
    ["MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"].iter().any(|elsewhere| kind == Some(elsewhere))
}

#[cfg(test)]
mod tests;
