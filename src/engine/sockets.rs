//! The descriptors of a shard's connections, for any backend, with what it knows of each.

use std::net::Shutdown;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use socket2::SockRef;

use crate::shard::ConnId;
use crate::table::Beside;

/// One connection's socket, and a backend's state of it.
#[derive(Debug)]
pub struct Socket<S> {
    fd: OwnedFd,
    state: S,
}

impl<S> Socket<S> {
    /// The descriptor.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl<S> Deref for Socket<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

impl<S> DerefMut for Socket<S> {
    fn deref_mut(&mut self) -> &mut S {
        &mut self.state
    }
}

/// All sockets, by the slots of their connections.
#[derive(Debug)]
pub struct Sockets<S> {
    beside: Beside<Socket<S>>,
}

impl<S> Default for Sockets<S> {
    fn default() -> Self {
        Self { beside: Beside::default() }
    }
}

impl<S: Default> Sockets<S> {
    /// Bytes of a place: what an idle connection costs here.
    pub const PLACE_BYTES: usize = Beside::<Socket<S>>::PLACE_BYTES;

    /// Puts a connection's socket in its slot.
    pub fn insert(&mut self, id: ConnId, fd: OwnedFd) {
        self.beside.insert(id.index, id.generation, Socket { fd, state: S::default() });
    }

    /// Takes the socket out of its slot.
    pub fn remove(&mut self, id: ConnId) -> Option<OwnedFd> {
        self.beside.remove(id.index, id.generation).map(|socket| socket.fd)
    }

    /// The connection's socket, if the slot still is its own.
    pub fn live(&mut self, id: ConnId) -> Option<&mut Socket<S>> {
        self.beside.live_mut(id.index, id.generation)
    }

    /// The connection's descriptor.
    #[inline]
    pub fn fd(&self, id: ConnId) -> Option<BorrowedFd<'_>> {
        self.beside.live(id.index, id.generation).map(Socket::fd)
    }

    /// The generation of the connection in a slot.
    pub fn generation(&self, index: u32) -> Option<u32> {
        self.beside.generation(index)
    }

    /// Ends directions of the connection.
    pub fn shut_down(&self, id: ConnId, how: Shutdown) {
        if let Some(fd) = self.fd(id) {
            // The peer may have reset the connection already.
            let _ = SockRef::from(&fd).shutdown(how);
        }
    }

    /// Has the connection reset when it is closed: what the kernel still holds for it would
    /// otherwise live for minutes.
    pub fn reset_at_close(&self, id: ConnId) {
        if let Some(fd) = self.fd(id) {
            let _ = SockRef::from(&fd).set_linger(Some(Duration::ZERO));
        }
    }
}
