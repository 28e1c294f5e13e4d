//! Messages that wait until their connection may be served again.
//!
//! What is held are whole messages, unmasked and checked, not bytes of the stream: the reader goes
//! on, so a Ping, a Pong or a Close behind them is seen when it comes.

use std::sync::Arc;

use smallvec::SmallVec;

use super::lengths::Lengths;
use super::queue::Queue;
use crate::mesh::{Positioned, TopicId, Unavailable};
use crate::position::Since;
use crate::ws::close::CloseCode;
use crate::ws::frame::Opcode;
use crate::ws::reader::Violation;
use crate::ws::upgrade::Endpoint;

/// What waits for one connection to be served. Exists only while there is something.
#[derive(Debug, Default)]
pub struct Held {
    /// The answer that must come first.
    pub awaits: Option<Awaited>,
    /// What the client has sent behind it, or behind replies that it does not read.
    pub messages: Messages,
    /// What ends the connection once those have been served.
    pub last: Option<Last>,
}

impl Held {
    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.awaits.is_none() && self.messages.is_empty() && self.last.is_none()
    }
}

/// What a command waits for: the commands behind it wait too.
#[derive(Debug)]
pub enum Awaited {
    /// The upgrade, for the desk to say that it may connect.
    Connect(PendingConnect),
    /// A join, for the hub to say that its topics are subscribed.
    Interest(PendingJoin),
    /// A join, for the hub to say where its topics stand.
    Positions(PendingJoin),
    /// A join, for the desk to say that it may go on.
    Verdict(PendingVerdict),
    /// Another token, for the desk to say that it is good.
    Token(PendingToken),
}

/// An upgrade that waits for the desk.
#[derive(Debug)]
pub struct PendingConnect {
    /// Lives while anybody waits for the answer.
    pub _waits: Arc<()>,
    /// What it wants to connect to.
    pub endpoint: Endpoint,
    /// The 101, if it is let in.
    pub response: Vec<u8>,
    /// What the client has sent behind its request.
    pub behind: Vec<u8>,
    /// Bytes of it that came later than the request, and count by themselves.
    pub kept: usize,
}

/// A join that may not go on yet.
#[derive(Debug)]
pub struct PendingVerdict {
    /// Lives while anybody waits for the answer.
    pub _waits: Arc<()>,
    /// The command, to be carried out then.
    pub message: Box<[u8]>,
}

/// A token that is being looked at.
#[derive(Debug)]
pub struct PendingToken {
    /// Lives while anybody waits for the answer.
    pub _waits: Arc<()>,
    /// The one before has run out meanwhile.
    pub expired: bool,
}

/// Topics of a join that are kept, by their slots, each with what the client has read of it.
pub type Missed = Vec<(u32, Since)>;

/// What each costs: here, in the question, and in its answer.
pub const MISSED_BYTES: usize =
    size_of::<(u32, Since)>() + 2 * size_of::<(TopicId, Since)>() + size_of::<Positioned>();

/// A join that waits for the hub.
#[derive(Debug)]
pub struct PendingJoin {
    /// What to subscribe to, pinned meanwhile.
    pub topics: SmallVec<[u32; 4]>,
    /// Topics among them whose answer is not there yet.
    pub waiting: u32,
    /// The reply that completes it.
    pub reply: Vec<u8>,
    /// The client asks to be told of gaps of all its topics.
    pub gaps: bool,
    /// Where it does, those among them that it has joined before.
    pub joined: SmallVec<[u32; 4]>,
    /// The client counts what it reads.
    pub recovery: Option<Missed>,
    /// A topic of it that could not be subscribed, and why: it is refused as a whole, once all have
    /// been answered.
    pub refused: Option<(Arc<str>, Unavailable)>,
}

impl PendingJoin {
    /// What it is charged with beside its pins.
    pub fn cost(&self) -> usize {
        let asked = self.recovery.as_ref().map_or(0, |missed| missed.len());
        self.reply.len() + self.joined.len() * size_of::<u32>() + asked * MISSED_BYTES
    }
}

/// The last that a client has sent: nothing is read behind it.
#[derive(Clone, Copy, Debug)]
pub enum Last {
    /// Its Close, with the code if it gave one.
    Close(Option<CloseCode>),
    /// What broke the protocol.
    Violation(Violation),
}

/// Messages, first in first out. Each is copied once, and served from where it lies.
#[derive(Debug, Default)]
pub struct Messages {
    bytes: Queue<u8, 4096>,
    /// Binary ones are marked.
    lengths: Lengths,
}

impl Messages {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// What they hold of memory, as their bound counts it.
    pub fn cost(&self) -> usize {
        self.bytes.len() + self.lengths.cost()
    }

    /// Adds one at the back.
    pub fn push(&mut self, opcode: Opcode, message: &[u8]) {
        self.bytes.push(message);
        self.lengths.push(message.len(), opcode == Opcode::Binary);
    }

    /// The first, which may be changed in place.
    pub fn front(&mut self) -> Option<(Opcode, &mut [u8])> {
        let (length, binary) = self.lengths.front()?;
        let opcode = if binary { Opcode::Binary } else { Opcode::Text };
        Some((opcode, &mut self.bytes.as_mut_slice()[..length]))
    }

    /// Lets go of the first.
    pub fn pop(&mut self) {
        if let Some((length, _)) = self.lengths.pop() {
            self.bytes.release(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_went_in_the_empty_ones_too() {
        let sent: [(Opcode, &[u8]); 4] = [
            (Opcode::Text, b"one"),
            (Opcode::Binary, b""),
            (Opcode::Text, b""),
            (Opcode::Binary, b"four"),
        ];
        let mut messages = Messages::default();
        sent.iter().for_each(|(opcode, message)| messages.push(*opcode, message));
        assert_eq!(messages.cost(), 7 + 4 * 8);
        for (opcode, message) in sent {
            assert_eq!(messages.front(), Some((opcode, message.to_vec().as_mut_slice())));
            messages.pop();
        }
        assert!(messages.is_empty() && messages.front().is_none() && messages.cost() == 0);
    }
}
