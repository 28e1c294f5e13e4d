//! The descriptors of a shard's connections, and which operations are under way on each.
//!
//! A descriptor is closed only when its last operation has come back and nothing is queued: the
//! descriptor table is shared by all threads, so a queued operation could otherwise reach another
//! shard's new client.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::shard::ConnId;
use crate::table::Beside;

/// One connection's socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    /// A receive is under way.
    pub receiving: bool,
    /// It should be.
    pub wants_receive: bool,
    /// A look-out for room is under way.
    pub watching: bool,
    /// It has been shut down; closed once nothing is under way.
    pub ending: bool,
    /// It is in line to be closed.
    pub closing: bool,
}

impl Socket {
    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        !self.receiving && !self.watching
    }
}

/// All sockets, by the slots of their connections.
#[derive(Debug, Default)]
pub struct Sockets {
    beside: Beside<Socket>,
}

/// What an idle connection costs here.
const _: () = assert!(Beside::<Socket>::PLACE_BYTES == 16);

impl Sockets {
    /// Puts a connection's socket in its slot.
    pub fn insert(&mut self, id: ConnId, fd: OwnedFd) {
        let socket = Socket {
            fd,
            receiving: false,
            wants_receive: false,
            watching: false,
            ending: false,
            closing: false,
        };
        self.beside.insert(id.index, id.generation, socket);
    }

    /// Takes the socket out of its slot.
    pub fn remove(&mut self, id: ConnId) -> Option<OwnedFd> {
        self.beside.remove(id.index, id.generation).map(|socket| socket.fd)
    }

    /// The connection's socket, if the slot still is its own.
    pub fn live(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.beside.live_mut(id.index, id.generation)
    }

    /// The connection's descriptor.
    #[inline]
    pub fn fd(&self, id: ConnId) -> Option<BorrowedFd<'_>> {
        self.beside.live(id.index, id.generation).map(|socket| socket.fd.as_fd())
    }

    /// The connection in a slot whose generation ends in these 24 bits.
    pub fn id(&self, index: u32, generation_low: u32) -> Option<ConnId> {
        let generation = self.beside.generation(index)?;
        (generation & 0x00FF_FFFF == generation_low).then_some(ConnId { index, generation })
    }
}
