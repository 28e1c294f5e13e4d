//! What the kernel says of descriptors, edge-triggered: each thing once, when it begins.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

pub use epoll::EventFlags;

/// Events of one look at most; the others come with the next.
const EVENTS: usize = 256;

/// The longest sleep that the system call takes, in round numbers. Whoever sleeps longer wakes once
/// in between.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// An epoll instance, and what its last look has found.
pub struct Poller {
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
}

impl Poller {
    pub fn new() -> io::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Self { epoll, events: Vec::with_capacity(EVENTS) })
    }

    /// Watches a descriptor until it is closed. `token` comes with each of its events.
    pub fn watch(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        epoll::add(&self.epoll, fd, data, flags | EventFlags::ET)?;
        Ok(())
    }

    /// Watches it for these from now on. What holds already counts as beginning now.
    pub fn watch_anew(&self, fd: impl AsFd, token: u64, flags: EventFlags) -> io::Result<()> {
        let data = epoll::EventData::new_u64(token);
        epoll::modify(&self.epoll, fd, data, flags | EventFlags::ET)?;
        Ok(())
    }

    /// Looks, and waits at most for `timeout` if there is nothing; `None`: for as long as it takes.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let timeout = timeout.map(|timeout| {
            let timeout = timeout.min(SLEEP_MAX);
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: timeout.subsec_nanos().into() }
        });
        self.events.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.events), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// What the last look has found, each once.
    pub fn take(&mut self) -> impl Iterator<Item = (u64, EventFlags)> {
        self.events.drain(..).map(|event| (event.data.u64(), event.flags))
    }
}
