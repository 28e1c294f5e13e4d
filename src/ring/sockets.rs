//! The descriptors of a shard's connections, and which operations are under way on each.
//!
//! A descriptor is closed only when its last operation has come back and nothing is queued: the
//! descriptor table is shared by all threads, so a queued operation could otherwise reach another
//! shard's new client.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::shard::ConnId;

/// One connection's socket.
#[derive(Debug, Default)]
pub struct Socket {
    fd: Option<OwnedFd>,
    generation: u32,
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
    slots: Vec<Socket>,
}

impl Sockets {
    /// Puts a connection's socket in its slot.
    pub fn insert(&mut self, id: ConnId, fd: OwnedFd) {
        let index = id.index as usize;
        if index >= self.slots.len() {
            self.slots.resize_with(index + 1, Socket::default);
        }
        debug_assert!(self.slots[index].fd.is_none(), "a slot holds one socket");
        self.slots[index] = Socket { fd: Some(fd), generation: id.generation, ..Socket::default() };
    }

    /// Takes the socket out of its slot.
    pub fn remove(&mut self, id: ConnId) -> Option<OwnedFd> {
        std::mem::take(&mut self.slots[id.index as usize]).fd
    }

    /// The connection's socket, if the slot still is its own.
    pub fn live(&mut self, id: ConnId) -> Option<&mut Socket> {
        self.slots
            .get_mut(id.index as usize)
            .filter(|socket| socket.fd.is_some() && socket.generation == id.generation)
    }

    /// The connection's descriptor.
    #[inline]
    pub fn fd(&self, id: ConnId) -> Option<BorrowedFd<'_>> {
        let socket = self.slots.get(id.index as usize)?;
        if socket.generation != id.generation {
            return None;
        }
        socket.fd.as_ref().map(AsFd::as_fd)
    }

    /// The connection in a slot whose generation ends in these 24 bits.
    pub fn id(&self, index: u32, generation_low: u32) -> Option<ConnId> {
        let socket = self.slots.get(index as usize).filter(|socket| socket.fd.is_some())?;
        let generation = socket.generation;
        (generation & 0x00FF_FFFF == generation_low).then_some(ConnId { index, generation })
    }
}
