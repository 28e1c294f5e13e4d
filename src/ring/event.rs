//! What the 64 bits mean that an operation carries to its completion: 8 bits kind, 24 bits
//! generation, 32 bits slot.

use super::sockets::Sockets;
use crate::shard::ConnId;

/// What completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection came in.
    Accepted,
    /// A send of the batch at this place did not end whole.
    Sent(usize),
    /// Bytes, or the end, from a connection.
    Received(ConnId),
    /// A lagging connection has room.
    Writable(ConnId),
    /// Another thread woke this one.
    Woken,
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
pub fn of(user_data: u64, sockets: &Sockets) -> Event {
    let connection = || sockets.id(user_data as u32, (user_data >> 32) as u32 & 0x00FF_FFFF);
    match user_data >> 56 {
        ACCEPT => Event::Accepted,
        SEND => Event::Sent(user_data as u32 as usize),
        RECEIVE => connection().map_or(Event::Ignored, Event::Received),
        WRITABLE => connection().map_or(Event::Ignored, Event::Writable),
        WAKE => Event::Woken,
        _ => Event::Ignored,
    }
}
