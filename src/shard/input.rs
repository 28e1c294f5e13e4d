//! What arrives from a connection: the upgrade request, then WebSocket messages.
//!
//! The reader always goes on. Messages that may not be served yet are held: see the module
//! `holding`.

use super::balance::Dropped;
use super::connection::{Admission, ConnId, Phase};
use super::held::Last;
use super::{Refusal, Shard};
use crate::http::arrival::Arrival;
use crate::http::head::Room;
use crate::http::{Fault, Head};
use crate::ws::frame::{self, Opcode};
use crate::ws::reader::{Incoming, ReaderLimits};
use crate::ws::upgrade::{self, Answer, Endpoint};

impl Shard {
    /// Bytes have arrived. They may be changed in place.
    pub fn received(&mut self, id: ConnId, bytes: &mut [u8]) {
        let Some(connection) = self.roster.connections.live(id) else { return };
        self.counters.bytes_received.add(bytes.len() as u64);
        connection.heard = true;
        match &mut connection.phase {
            Phase::Preface => self.preface(id, bytes),
            Phase::Head => self.head(id, bytes),
            Phase::Asking => self.keep_behind(id, bytes),
            Phase::Open(_) => self.input(id, bytes),
            Phase::Closing { answered: false, .. } => self.await_close(id, bytes),
            Phase::Closing { .. } | Phase::Ended => {}
        }
    }

    /// The peer sends nothing any more, or its socket is dead.
    pub fn ended(&mut self, id: ConnId) {
        let Some(connection) = self.roster.connections.live(id) else { return };
        match &mut connection.phase {
            // It has said goodbye and waits for ours.
            Phase::Closing { finished: false, peer_ended, .. } if !connection.lagging => {
                *peer_ended = true
            }
            _ => {
                self.counters.gone.add(u64::from(connection.is_open()));
                self.terminate(id, Dropped::Gone, false);
            }
        }
    }

    /// Bytes of a connection that is no WebSocket yet.
    // Its 32 KB of stack are not for the way of every message.
    #[inline(never)]
    pub(super) fn head(&mut self, id: ConnId, bytes: &mut [u8]) {
        let bytes_max = self.config.rules.bounds.bytes;
        let arrival = match self.heads.extend(id, bytes) {
            Some((head, seen)) => Arrival::of(head, seen, bytes_max),
            None => Arrival::of(bytes, 0, bytes_max),
        };
        let head_len = match arrival {
            Arrival::Incomplete => return self.keep_head(id, bytes),
            Arrival::Complete(len) => Ok(len),
            Arrival::Hopeless(fault) => Err(fault),
        };
        let mut whole = self.heads.take(id);
        let bytes = whole.as_deref_mut().unwrap_or(bytes);
        let (head, behind) = bytes.split_at_mut(head_len.unwrap_or_default());
        let mut room = Room::new();
        let head = head_len.and_then(|_| Head::parse(head, &mut room));
        let head = head.as_ref().map_err(|fault| *fault);
        let answer = upgrade::answer(head, &self.config.rules);
        let probe = matches!(answer, Answer::Healthy { .. });
        if let Err(response) = self.let_in(id, head.ok(), probe) {
            return self.refuse(id, &response);
        }
        match answer {
            Answer::Upgrade { endpoint, response } if self.asks_to_connect() => {
                if let Ok(head) = head {
                    self.ask_to_connect(id, endpoint, head, response, behind);
                }
            }
            Answer::Upgrade { endpoint, response } => {
                self.upgraded(id, endpoint, &response);
                self.input(id, behind);
            }
            Answer::DemoPage { head_only } => {
                let config = self.config.clone();
                let page = config.demo_page.as_ref();
                self.refuse(id, page.map_or(&[], |page| page.answer(head_only)));
            }
            Answer::Healthy { response } => self.refuse(id, &response),
            Answer::Refuse { fault, response } => {
                let about = || head.map_or(String::new(), |head| upgrade::at_fault(head, fault));
                self.refuse_request(id, fault, &response, about);
            }
        }
    }

    /// Keeps what has arrived of an unfinished request, if `bytes` are its first, and gives up the
    /// oldest of all while they hold more than they may.
    pub(super) fn keep_head(&mut self, id: ConnId, bytes: &[u8]) {
        if !self.heads.has(id) {
            self.heads.begin(id, bytes);
        }
        while let Some(oldest) = self.heads.oldest_past(self.config.limits.heads_bytes) {
            self.refuse_request(oldest, Fault::GivenUp, &upgrade::head_given_up(), String::new);
        }
    }

    /// Whether a connection whose request is there may be served; if not, the answer. A trusted
    /// proxy's `probe` counts for nobody's address.
    fn let_in(&mut self, id: ConnId, head: Option<&Head<'_>>, probe: bool) -> Result<(), Vec<u8>> {
        match self.roster.connections.at(id.index).admission {
            Admission::OverLimit => {
                self.report_refused(id, Refusal::Connection, String::new);
                Err(upgrade::service_unavailable())
            }
            Admission::OverSource(exceeded) => {
                Err(upgrade::too_many_requests(exceeded.retry_after_s()))
            }
            Admission::Admitted => {
                if let Some(retry_after_s) = self.retry_after_s() {
                    self.counters.refused_shutdown.add(u64::from(!probe));
                    return Err(upgrade::shutting_down(retry_after_s));
                }
                if probe {
                    return Ok(());
                }
                let admitted = self.admit_forwarded(id, head);
                admitted.map_err(|exceeded| upgrade::too_many_requests(exceeded.retry_after_s()))
            }
        }
    }

    pub(super) fn upgraded(&mut self, id: ConnId, endpoint: Endpoint, response: &[u8]) {
        self.counters.upgraded.add(1);
        let connection = self.roster.connections.at(id.index);
        connection.phase = Phase::Open(endpoint);
        connection.deadline = None;
        self.begin_keepalive(id);
        self.send_http(id, response);
    }

    /// Refuses a request for what it is.
    pub(super) fn refuse_request(
        &mut self,
        id: ConnId,
        fault: Fault,
        response: &[u8],
        about: impl FnOnce() -> String,
    ) {
        self.counters.refusals.count(fault.status());
        self.report_refused(id, Refusal::Request(fault), about);
        self.refuse(id, response);
    }

    /// Answers a request that does not become a WebSocket, and waits for the connection's end.
    pub(super) fn refuse(&mut self, id: ConnId, answer: &[u8]) {
        self.send_http(id, answer);
        self.await_end(id, true);
    }

    /// Reads WebSocket input until it is used up.
    pub(super) fn input(&mut self, id: ConnId, mut bytes: &mut [u8]) {
        let limits = self.reader_limits();
        let connection = self.roster.connections.at(id.index);
        // Behind a Close that waits for its turn nothing is read.
        if connection.held.as_ref().is_some_and(|held| held.last.is_some()) {
            return;
        }
        let mut reader = std::mem::take(&mut connection.reader);
        loop {
            let (consumed, outcome) = reader.read(bytes, limits);
            match outcome {
                // Asked for also when all is used up: it lets go of a message's memory.
                Ok(None) => break,
                Ok(Some(Incoming::Text(message))) => self.message(id, Opcode::Text, message),
                Ok(Some(Incoming::Binary(message))) => self.message(id, Opcode::Binary, message),
                Ok(Some(Incoming::Ping(payload))) => {
                    self.roster.send_private(id, |out| frame::encode(out, Opcode::Pong, payload))
                }
                Ok(Some(Incoming::Pong)) => {}
                Ok(Some(Incoming::Close(code))) => return self.last(id, Last::Close(code)),
                Err(violation) => return self.last(id, Last::Violation(violation)),
            }
            bytes = &mut bytes[consumed..];
        }
        let connection = self.roster.connections.at(id.index);
        if connection.is_open() {
            connection.reader = reader;
            self.pause_past_bounds(id);
        }
    }

    fn reader_limits(&self) -> ReaderLimits {
        ReaderLimits { message_bytes_max: self.config.limits.message_bytes }
    }

    /// Looks for the Close of a connection that has been told goodbye. All else that it sends is
    /// thrown away.
    pub(super) fn await_close(&mut self, id: ConnId, mut bytes: &mut [u8]) {
        let limits = self.reader_limits();
        let connection = self.roster.connections.at(id.index);
        let mut reader = std::mem::take(&mut connection.reader);
        loop {
            let (consumed, outcome) = reader.read(bytes, limits);
            match outcome {
                Ok(None) => break,
                // Behind what cannot be understood no Close is found.
                Ok(Some(Incoming::Close(_))) | Err(_) => {
                    if let Phase::Closing { answered, .. } = &mut connection.phase {
                        *answered = true;
                    }
                    return;
                }
                Ok(Some(_)) => {}
            }
            bytes = &mut bytes[consumed..];
        }
        connection.reader = reader;
    }
}
