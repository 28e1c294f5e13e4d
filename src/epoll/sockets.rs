//! The descriptors of a shard's connections, and what is known of each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::shard::ConnId;
use crate::table::Beside;

/// One connection's socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
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
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Whether it may be put in line to be read.
    pub fn is_due(&self) -> bool {
        self.wanted && self.readable && !self.ended && !self.in_line
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
            wanted: false,
            readable: false,
            ending: false,
            ended: false,
            in_line: false,
            watched: false,
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
}
