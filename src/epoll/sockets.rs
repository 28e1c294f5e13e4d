//! The descriptors of a shard's connections, and what is known of each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::shard::ConnId;

/// One connection's socket.
#[derive(Debug, Default)]
pub struct Socket {
    fd: Option<OwnedFd>,
    generation: u32,
    /// The shard wants what it receives.
    pub wanted: bool,
    /// An edge has told of input, and not all of it has been read.
    pub readable: bool,
    /// An edge has told of the stream's end, or of an error: it is read on until that comes.
    pub ending: bool,
    /// The end has come: nothing is read any more.
    pub ended: bool,
    /// It is in line to be read.
    pub in_line: bool,
    /// The shard wants to know when it has room.
    pub watched: bool,
    /// It has been ended, and is in line to be closed.
    pub closing: bool,
}

impl Socket {
    /// The descriptor.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.fd.as_ref().map(AsFd::as_fd)
    }

    /// Whether it may be put in line to be read.
    pub fn is_due(&self) -> bool {
        self.wanted && self.readable && !self.ended && !self.in_line
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
        self.live(id).and_then(|socket| std::mem::take(socket).fd)
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
}
