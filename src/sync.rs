//! What lanes are made of. `tests/loom` has models of the same names, under which every
//! interleaving is tried.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{EventfdFlags, eventfd};

pub(crate) use rtrb::{Consumer, Producer, PushError};
pub(crate) use std::sync::Arc;
pub(crate) use std::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// A queue of at most `entries` entries.
pub(crate) fn queue<T>(entries: usize) -> (Producer<T>, Consumer<T>) {
    rtrb::RingBuffer::new(entries)
}

/// A signal that the event loop of a thread watches: readable from [`EventFd::signal`] to
/// [`EventFd::clear`].
#[derive(Debug)]
pub(crate) struct EventFd(OwnedFd);

impl EventFd {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    pub(crate) fn signal(&self) {
        // The counter cannot overflow: it is written only once per sleep.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    pub(crate) fn clear(&self) {
        let mut count = [0u8; 8];
        // Empty already (EAGAIN) is as good as emptied now.
        let _ = rustix::io::read(&self.0, &mut count);
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
