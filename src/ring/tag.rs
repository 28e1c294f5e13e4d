//! What the 64 bits mean that an operation carries to its completion: 8 bits kind, 24 bits
//! generation, 32 bits slot.

use super::sockets::Sockets;
use crate::shard::ConnId;

/// What completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// The accept.
    Accept,
    /// The send at this place of the batch, not whole.
    Send(usize),
    /// Receiving from a connection.
    Receive(ConnId),
    /// The look-out for room in a connection's socket.
    Writable(ConnId),
    /// The look-out for calls of other threads.
    Wake,
    /// Nothing that anyone waits for.
    Ignored,
}

const ACCEPT: u64 = 1;
const SEND: u64 = 2;
const RECEIVE: u64 = 3;
const WRITABLE: u64 = 4;
const WAKE: u64 = 5;
const IGNORED: u64 = 6;

const fn tagged(kind: u64, rest: u64) -> u64 {
    kind << 56 | rest
}

fn of_connection(kind: u64, id: ConnId) -> u64 {
    tagged(kind, u64::from(id.generation & 0x00FF_FFFF) << 32 | u64::from(id.index))
}

/// For accepting.
pub const fn accept() -> u64 {
    tagged(ACCEPT, 0)
}

/// For the wake-up.
pub const fn wake() -> u64 {
    tagged(WAKE, 0)
}

/// For operations whose end tells nothing.
pub const fn ignored() -> u64 {
    tagged(IGNORED, 0)
}

/// For the send at a place of the batch.
pub fn send(place: usize) -> u64 {
    tagged(SEND, place as u64)
}

/// For receiving from a connection.
pub fn receive(id: ConnId) -> u64 {
    of_connection(RECEIVE, id)
}

/// For a look-out for room.
pub fn writable(id: ConnId) -> u64 {
    of_connection(WRITABLE, id)
}

/// What a completion's 64 bits mean.
pub fn of(user_data: u64, sockets: &Sockets) -> Tag {
    // The connection in that slot, if its generation ends in these 24 bits.
    let connection = || {
        let (index, low) = (user_data as u32, (user_data >> 32) as u32 & 0x00FF_FFFF);
        let generation = sockets.generation(index)?;
        (generation & 0x00FF_FFFF == low).then_some(ConnId { index, generation })
    };
    match user_data >> 56 {
        ACCEPT => Tag::Accept,
        SEND => Tag::Send(user_data as u32 as usize),
        RECEIVE => connection().map_or(Tag::Ignored, Tag::Receive),
        WRITABLE => connection().map_or(Tag::Ignored, Tag::Writable),
        WAKE => Tag::Wake,
        _ => Tag::Ignored,
    }
}
