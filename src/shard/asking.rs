//! What a shard asks the desk about its clients: may it connect, may it join, is its new token
//! good. The desk answers always; meanwhile the connection waits, alone.
//!
//! ```text
//! Head ─ request whole ─▶ Asking ─ Granted ─▶ Open ─ join ─▶ awaits a verdict ─ Allowed ─▶ joins
//!                               └─ Denied ──▶ Closing                       └─ Refused ─▶ #join
//! ```
//!
//! A verdict comes before interest: a topic that may not be joined is asked of nobody, and no
//! broker hears of it.
//!
//! Invariants:
//! - a connection has one question under way at most;
//! - `bytes` is what all questions cost that have not been answered, those of connections that have
//!   gone among them, and what waiting clients have sent behind their requests; it is within
//!   `roadcast.limits.asks_bytes`. The desk's own bounds are about what it makes of a question: the
//!   JSON for workers waits in a bounded queue, that for the callback is made in its turn.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::Arc;

use super::balance::Dropped;
use super::connection::{ConnId, Phase};
use super::held::{Awaited, PendingConnect, PendingToken, PendingVerdict};
use super::{JoinRefusal, Refusal, Shard, Task, TokenRefusal};
use crate::access::{AccessRequest, Grant, Judgement};
use crate::command::{self, Command};
use crate::http::Head;
use crate::mesh::desk::{About, Answer, Ask, Denial, Ticket, Why, Word};
use crate::reply;
use crate::ws::upgrade::{self, Endpoint};

/// What a question holds beyond what it names: itself in the lane, its task at the desk, what
/// workers are asked, and its answer. Of 10,000 clients that waited for workers each took 2.8 KiB,
/// its connection and the head of its request included.
const ASK_BYTES: usize = 2048;

/// What each topic of a join costs beyond its name: its places in the lists of shard and desk, and
/// the least that an allocation takes.
const NAME_BYTES: usize = 64;

/// What a client sends behind its request is kept up to here; then it is not read from.
const BEHIND_BYTES: usize = 16 * 1024;

/// Questions that the lane has no room for, and what all under way cost.
#[derive(Debug, Default)]
pub(super) struct Asks {
    queue: VecDeque<Ask>,
    bytes: usize,
}

impl Asks {
    /// What is under way costs.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Shard {
    /// The next question to the desk.
    pub fn next_ask(&mut self) -> Option<Ask> {
        self.asks.queue.pop_front()
    }

    /// Puts a question back that the lane had no room for.
    pub fn return_ask(&mut self, ask: Ask) {
        self.asks.queue.push_front(ask);
    }

    /// Whether questions to the desk wait.
    pub fn has_asks(&self) -> bool {
        !self.asks.queue.is_empty()
    }

    /// Takes what the desk has to say.
    pub fn hear(&mut self, word: Word) {
        match word {
            Word::Answer(ticket, answer) => {
                self.asks.bytes -= ticket.cost;
                self.answered(ticket.connection, answer);
            }
            Word::Close { connection, code, reason } => {
                let live = self.roster.connections.live(connection);
                if live.is_some_and(|connection| connection.is_open()) {
                    self.close(connection, code, reason, Dropped::Closed);
                }
            }
        }
    }

    fn answered(&mut self, id: ConnId, answer: Answer) {
        let Some(connection) = self.roster.connections.live(id) else { return };
        if let Phase::Asking = connection.phase {
            return self.connect_answered(id, answer);
        }
        let Some(held) = connection.held.as_mut() else { return };
        match held.awaits.take() {
            Some(Awaited::Verdict(join)) => self.join_judged(id, &join, &answer),
            Some(Awaited::Token(token)) => self.token_answered(id, &token, answer),
            // It waits for the hub, or for nothing: its question was another connection's.
            other => {
                held.awaits = other;
                return;
            }
        }
        self.resume(id);
    }

    /// Asks whether a client may connect; its request is whole and in order.
    pub(super) fn ask_to_connect(
        &mut self,
        id: ConnId,
        endpoint: Endpoint,
        head: &Head<'_>,
        response: Vec<u8>,
        behind: &[u8],
    ) {
        let cost = ASK_BYTES + head.bytes().len() + response.len() + behind.len();
        let request = AccessRequest { head: head.bytes().into(), client: self.client_of(id, head) };
        let Some(waits) = self.ask(id, cost, About::Connect(request)) else {
            return self.refuse_busy(id, Refusal::Asks);
        };
        let connection = self.roster.connections.at(id.index);
        let behind = behind.to_vec();
        connection.phase = Phase::Asking;
        let waiting = PendingConnect { _waits: waits, endpoint, response, behind, kept: 0 };
        connection.held.get_or_insert_default().awaits = Some(Awaited::Connect(waiting));
        // The desk answers in a time of its own.
        connection.deadline = None;
        self.roster.reschedule(id);
    }

    /// Keeps what comes from a client that is not let in yet.
    pub(super) fn keep_behind(&mut self, id: ConnId, bytes: &[u8]) {
        let connection = self.roster.connections.at(id.index);
        let awaits = connection.held.as_mut().and_then(|held| held.awaits.as_mut());
        let Some(Awaited::Connect(waiting)) = awaits else { return };
        if self.asks.bytes + bytes.len() > self.config.limits.asks_bytes {
            return self.refuse_busy(id, Refusal::Asks);
        }
        self.asks.bytes += bytes.len();
        waiting.kept += bytes.len();
        waiting.behind.reserve_exact(bytes.len());
        waiting.behind.extend_from_slice(bytes);
        if waiting.behind.len() > BEHIND_BYTES
            && !std::mem::replace(&mut connection.read_paused, true)
        {
            self.outward.push(Task::PauseReceive(id));
        }
    }

    /// A client waits no longer to be let in: what it has sent behind its request is used, or of no
    /// use any more.
    pub(super) fn end_asking(&mut self, id: ConnId) -> Option<PendingConnect> {
        let connection = self.roster.connections.at(id.index);
        let Phase::Asking = connection.phase else { return None };
        let Some(Awaited::Connect(waiting)) = connection.held.take()?.awaits else { return None };
        self.asks.bytes -= waiting.kept;
        Some(waiting)
    }

    /// Whether the desk is asked about whoever connects.
    pub(super) fn asks_to_connect(&self) -> bool {
        self.config.access.as_ref().is_some_and(|access| access.asks_to_connect)
    }

    /// Whether clients may send tokens.
    pub(super) fn takes_tokens(&self) -> bool {
        self.config.access.as_ref().is_some_and(|access| access.takes_tokens)
    }

    /// The server shuts down before the desk has answered.
    pub(super) fn refuse_for_shutdown(&mut self, id: ConnId) {
        self.counters.refused_shutdown.add(1);
        let retry_after_s = self.retry_after_s().unwrap_or(1);
        self.refuse(id, &upgrade::shutting_down(retry_after_s));
    }

    fn connect_answered(&mut self, id: ConnId, answer: Answer) {
        if self.retry_after_s().is_some() {
            return self.refuse_for_shutdown(id);
        }
        match answer {
            Answer::Granted(grant) if self.has_room_for_session(grant.cost()) => {
                self.let_in_with(id, grant)
            }
            Answer::Granted(_) => self.refuse_busy(id, Refusal::Sessions),
            Answer::Denied(Denial { why, user, response }) => {
                self.counters.denied.add(1);
                let user = || user.map_or_else(String::new, String::from);
                self.report_refused(id, Refusal::Denied(why), user);
                // It waits in an outbox, and may be long: past the bound of all it is said in
                // short.
                let sum = self.roster.outbox_bytes + response.len();
                match sum > self.config.limits.outboxes_bytes {
                    true => self.refuse(id, &upgrade::status_alone(&response)),
                    false => self.refuse(id, &response),
                }
            }
            Answer::Allowed | Answer::Refused(_) => self.refuse(id, &upgrade::no_verdict()),
        }
    }

    fn let_in_with(&mut self, id: ConnId, grant: Arc<Grant>) {
        let Some(waiting) = self.end_asking(id) else { return };
        let PendingConnect { endpoint, response, mut behind, .. } = waiting;
        let connection = self.roster.connections.at(id.index);
        let paused = std::mem::take(&mut connection.read_paused);
        self.begin_session(id, grant);
        self.upgraded(id, endpoint, &response);
        if paused {
            self.outward.push(Task::Receive(id));
        }
        self.input(id, &mut behind);
    }

    fn refuse_busy(&mut self, id: ConnId, why: Refusal) {
        self.counters.refused_asks.add(1);
        self.report_refused(id, why, String::new);
        self.refuse(id, &upgrade::busy(1));
    }

    /// Whether a join may be carried out at once; if not, it has been refused, or waits for the
    /// desk.
    pub(super) fn may_join(
        &mut self,
        id: ConnId,
        message: &[u8],
        broker: &str,
        asked: Option<&[Cow<'_, str>]>,
        recovers: bool,
    ) -> bool {
        let config = self.config.clone();
        let Some(access) = &config.access else { return true };
        // Nothing is subscribed by a join without topics, and nobody is asked about it.
        let names = asked.unwrap_or_default();
        let session = self.roster.connections.peek(id.index).session.as_ref();
        let identity = session.map(|session| &session.grant.identity);
        match access.rules.judge(identity, names) {
            Judgement::Allow => return true,
            Judgement::Deny => self.join_refused(id, JoinRefusal::Rules, asked),
            Judgement::Ask(topics) => {
                let grant = session.map(|session| session.grant.clone()).unwrap_or_default();
                // Nobody is asked about what limits do not allow. Behind the verdict they are
                // looked at again: others may have joined meanwhile.
                let broker = self.broker(id, broker);
                if let Err(refusal) = self.wanted_topics(id, broker, names, recovers) {
                    self.join_refused(id, refusal, asked);
                    return false;
                }
                let topics: Box<[Box<str>]> = topics.into_iter().map(Into::into).collect();
                let cost = ASK_BYTES + 2 * message.len() + NAME_BYTES * topics.len();
                match self.ask(id, cost, About::Join { grant, topics }) {
                    Some(waits) => {
                        let join = PendingVerdict { _waits: waits, message: message.into() };
                        self.await_desk(id, Awaited::Verdict(join));
                    }
                    None => self.join_refused(id, JoinRefusal::Asks, asked),
                }
            }
        }
        false
    }

    /// Asks the desk; `None`: there is no room for one more question.
    fn ask(&mut self, id: ConnId, cost: usize, about: About) -> Option<Arc<()>> {
        if self.asks.bytes + cost > self.config.limits.asks_bytes {
            return None;
        }
        let waits = Arc::new(());
        let ticket = Ticket { connection: id, cost };
        self.asks.bytes += cost;
        self.asks.queue.push_back(Ask { ticket, waits: Arc::downgrade(&waits), about });
        Some(waits)
    }

    fn await_desk(&mut self, id: ConnId, awaited: Awaited) {
        self.roster.connections.at(id.index).held.get_or_insert_default().awaits = Some(awaited);
    }

    fn join_judged(&mut self, id: ConnId, join: &PendingVerdict, answer: &Answer) {
        // It is the same message that has been understood before.
        let mut scratch = Vec::new();
        let Ok(Command::Join { broker, topics, gaps, recovery }) =
            command::parse(&join.message, &mut scratch)
        else {
            return;
        };
        match answer {
            Answer::Allowed => self.join(id, &broker, topics.as_deref(), gaps, recovery),
            Answer::Refused(why) => {
                self.join_refused(id, JoinRefusal::Desk(*why), topics.as_deref());
            }
            Answer::Granted(_) | Answer::Denied(_) => {
                self.join_refused(id, JoinRefusal::Desk(Why::NoAnswer), topics.as_deref());
            }
        }
    }

    /// A client has sent another token.
    pub(super) fn renew(&mut self, id: ConnId, token: &str) {
        self.counters.commands.add(1);
        let Some(session) = self.roster.connections.at(id.index).session.as_mut() else { return };
        if !session.renewals.admit(self.now_ms) {
            return self.token_refused(id, TokenRefusal::Rate);
        }
        let grant = session.grant.clone();
        let cost = ASK_BYTES + token.len();
        match self.ask(id, cost, About::Token { grant, token: token.into() }) {
            Some(waits) => {
                let token = PendingToken { _waits: waits, expired: false };
                self.await_desk(id, Awaited::Token(token));
            }
            None => self.token_refused(id, TokenRefusal::Asks),
        }
    }

    fn token_answered(&mut self, id: ConnId, token: &PendingToken, answer: Answer) {
        let why = match answer {
            Answer::Granted(grant) if self.has_room_for_session(grant.cost()) => {
                self.begin_session(id, grant);
                self.roster.send_private(id, |out| reply::encode_token(out, true));
                return;
            }
            Answer::Granted(_) => TokenRefusal::Sessions,
            Answer::Refused(why) => TokenRefusal::Desk(why),
            Answer::Denied(_) | Answer::Allowed => TokenRefusal::Desk(Why::NoAnswer),
        };
        self.token_refused(id, why);
        if token.expired {
            self.expire_session(id);
        }
    }

    fn token_refused(&mut self, id: ConnId, why: TokenRefusal) {
        self.counters.tokens_refused.add(1);
        self.report_refused(id, Refusal::Token(why), String::new);
        self.roster.send_private(id, |out| reply::encode_token(out, false));
    }
}
