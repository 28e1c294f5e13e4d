//! When a client's messages may not be served yet: behind a join that waits for the hub or the
//! desk, so that replies keep the order of commands, and behind replies that the client does not
//! read. They are held then, in their order, and past a bound the client is not read from. What a
//! client causes itself pauses that client alone.
//!
//! Ping and Pong wait for nothing. A Close, or what breaks the protocol, waits for messages behind
//! unread replies, but not for a join: such a client waits for no answer any more.

use super::connection::{ConnId, Phase};
use super::held::Last;
use super::{Shard, Task};
use crate::ws::frame::{self, Opcode};
use crate::ws::upgrade::Endpoint;

/// Replies in an outbox beyond which their causes are not served any more. Two of the largest
/// ordinary messages.
const REPLIES_BYTES: usize = 128 * 1024;

/// What is held behind a join that waits before receiving is paused: more than a client sends
/// without waiting for `@join`. One message more may be held, and what was on its way.
const HELD_BYTES: usize = 16 * 1024;

impl Shard {
    /// A whole message has arrived: serves it, or holds it behind what is held already.
    pub(super) fn message(&mut self, id: ConnId, opcode: Opcode, message: &mut [u8]) {
        let connection = self.roster.connections.peek(id.index);
        let Phase::Open(endpoint) = connection.phase else { return };
        if connection.holds_messages() || self.must_hold(id) {
            self.counters.input_held.add(message.len() as u64);
            let held = self.roster.connections.at(id.index).held.get_or_insert_default();
            held.messages.push(opcode, message);
        } else {
            self.serve(id, endpoint, opcode, message);
        }
    }

    fn serve(&mut self, id: ConnId, endpoint: Endpoint, opcode: Opcode, message: &mut [u8]) {
        match endpoint {
            Endpoint::Client => self.command(id, message),
            Endpoint::Echo => {
                self.roster.send_private(id, |out| frame::encode(out, opcode, message))
            }
        }
    }

    /// The client has sent its last.
    pub(super) fn last(&mut self, id: ConnId, last: Last) {
        match &mut self.roster.connections.at(id.index).held {
            Some(held) if held.awaits.is_none() => {
                held.last = Some(last);
                self.pause_past_bounds(id);
            }
            _ => self.carry_out(id, last),
        }
    }

    fn carry_out(&mut self, id: ConnId, last: Last) {
        match last {
            Last::Close(code) => self.answer_close(id, code),
            Last::Violation(violation) => self.violation(id, violation.code, violation.reason),
        }
    }

    /// Whether messages must wait.
    fn must_hold(&self, id: ConnId) -> bool {
        self.leaves_unread(id) || self.roster.connections.peek(id.index).awaits_answer()
    }

    /// Whether replies must be read before there are more.
    fn leaves_unread(&self, id: ConnId) -> bool {
        let outbox = self.roster.connections.peek(id.index).outbox_cost();
        outbox > REPLIES_BYTES
            || (outbox > 0 && self.roster.outbox_bytes > self.config.limits.outboxes_bytes)
    }

    fn is_past_bounds(&self, id: ConnId) -> bool {
        let connection = self.roster.connections.peek(id.index);
        let bytes_max = if connection.awaits_answer() { HELD_BYTES } else { 0 };
        let held = connection.held.as_ref().map_or(0, |held| held.messages.cost());
        held > bytes_max || self.leaves_unread(id)
    }

    /// Something has come from a client: is it still read from?
    pub(super) fn pause_past_bounds(&mut self, id: ConnId) {
        if !self.is_past_bounds(id) {
            return;
        }
        let connection = self.roster.connections.at(id.index);
        if connection.is_open() && !std::mem::replace(&mut connection.read_paused, true) {
            self.outward.push(Task::PauseReceive(id));
        }
    }

    /// Serves what was held, as far as it may be served now, and has the client read from again
    /// once that is within its bounds.
    pub(super) fn resume(&mut self, id: ConnId) {
        if self.roster.connections.peek(id.index).held.is_some() {
            self.serve_held(id);
        }
        let connection = self.roster.connections.peek(id.index);
        if !connection.is_open() {
            return;
        }
        if connection.read_paused && !self.is_past_bounds(id) {
            self.roster.connections.at(id.index).read_paused = false;
            self.outward.push(Task::Receive(id));
        }
    }

    fn serve_held(&mut self, id: ConnId) {
        let Some(held) = &mut self.roster.connections.at(id.index).held else { return };
        let mut messages = std::mem::take(&mut held.messages);
        while !self.must_hold(id)
            && let Some((opcode, message)) = messages.front()
        {
            let Phase::Open(endpoint) = self.roster.connections.peek(id.index).phase else {
                return;
            };
            self.serve(id, endpoint, opcode, message);
            messages.pop();
        }
        let connection = self.roster.connections.at(id.index);
        let Some(held) = &mut connection.held else { return };
        held.messages = messages;
        let served = held.awaits.is_some() || held.messages.is_empty();
        let last = held.last.take_if(|_| served);
        if held.is_empty() {
            connection.held = None;
        }
        match last {
            Some(last) => self.carry_out(id, last),
            None if self.roster.connections.peek(id.index).holds_messages() => {
                self.pause_past_bounds(id)
            }
            None => {}
        }
    }
}
