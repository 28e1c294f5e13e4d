//! io_uring: the backend of the loop, and the only module with `unsafe`: so what others need of the
//! kernel that cannot be had without is here, too (`tcp`, `memory`).
//!
//! ```text
//! uring      one ring: the safe face of the kernel's interface
//! buffers    where the kernel puts what it receives
//! tag        what an operation carries to its completion
//! sockets    descriptors, and which operations are under way on each
//! tcp        what the kernel says of a TCP connection, for the backend on epoll too
//! memory     what the allocator keeps
//! locked     what rings take of the memory that may be locked
//! ```
//!
//! Each connection has one multishot receive under way, or is paused; each laggard a one-shot poll.
//! The listener has one multishot accept, and the wake-up one multishot poll.

#![allow(unsafe_code)]

mod buffers;
mod locked;
mod memory;
mod sockets;
mod tag;
pub(crate) mod tcp;
mod uring;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::vec;

pub use locked::{RING_KIB, make_patiently};
pub use memory::{give_back_free_pages, give_back_what_is_freed};

use buffers::Filled;
use sockets::Sockets;
use tag::Tag;
pub use uring::probe;
use uring::{Completion, Uring};

use crate::engine::{Backend, Happened, LoopCounters, Short, accept_last};
use crate::lane::Wake;
use crate::shard::ConnId;

/// The ring of one shard's thread, its listener and its sockets.
pub struct RingBackend {
    uring: Uring,
    counters: Arc<LoopCounters>,
    wake: Arc<Wake>,
    listener: Option<TcpListener>,
    /// An accept is under way.
    accepting: bool,
    sockets: Sockets,
    completions: VecDeque<Completion>,
    /// What is being handed in.
    filled: Option<Filled>,
    /// Connections whose receive found no buffer.
    starved: Vec<ConnId>,
    /// Connections that have been shut down and have nothing under way.
    closing: Vec<ConnId>,
    /// Connections that have been closed, to be handed in.
    closed: Vec<ConnId>,
    /// Those who waited when accepting stopped.
    last: vec::IntoIter<OwnedFd>,
}

/// What a completion says to the loop; what is received is kept apart.
enum Meaning {
    Accepted(OwnedFd),
    AcceptingFailed(io::Error),
    Received(ConnId),
    Ended(ConnId),
    Writable(ConnId),
    Woken,
}

impl RingBackend {
    /// A ring for the calling thread, which must be the one that uses it. Fails where the kernel is
    /// too old or forbids io_uring. `wake` is that of the thread.
    pub fn new(
        listener: TcpListener,
        wake: Arc<Wake>,
        counters: Arc<LoopCounters>,
    ) -> io::Result<Self> {
        let mut uring = Uring::new()?;
        uring.watch_readable(wake.as_fd(), tag::wake())?;
        Ok(Self {
            uring,
            counters,
            wake,
            listener: Some(listener),
            accepting: false,
            sockets: Sockets::default(),
            completions: VecDeque::with_capacity(256),
            filled: None,
            starved: Vec::new(),
            closing: Vec::new(),
            closed: Vec::new(),
            last: Vec::new().into_iter(),
        })
    }

    fn reap(&mut self) -> io::Result<()> {
        let overflows = self.uring.reap(&mut self.completions)?;
        self.counters.cq_overflows.add(overflows);
        Ok(())
    }

    /// What a completion says, unless that is nothing.
    fn said(&mut self, mut completion: Completion) -> io::Result<Option<Meaning>> {
        Ok(match tag::of(completion.user_data, &self.sockets) {
            Tag::Accept => self.accepted(&completion)?,
            Tag::Receive(id) => {
                self.filled = completion.filled.take();
                self.received(id, &completion)?
            }
            Tag::Writable(id) => {
                if let Some(socket) = self.sockets.live(id) {
                    socket.watching = false;
                }
                self.close_if_quiet(id);
                Some(Meaning::Writable(id))
            }
            // Another wake-up adds to the eventfd's count, which nobody reads: the look-out sees
            // each addition.
            Tag::Wake => {
                if !completion.more() {
                    self.wake.acknowledge();
                    self.uring.watch_readable(self.wake.as_fd(), tag::wake())?;
                }
                Some(Meaning::Woken)
            }
            Tag::Ignored => None,
            Tag::Send(_) => unreachable!("sends end within their batch"),
        })
    }

    fn accepted(&mut self, completion: &Completion) -> io::Result<Option<Meaning>> {
        self.accepting = completion.more();
        let said = match completion.result {
            fd if fd >= 0 => {
                // SAFETY: the kernel has just handed this descriptor to us, and nobody else knows
                // it.
                Some(Meaning::Accepted(unsafe { OwnedFd::from_raw_fd(fd) }))
            }
            // Whoever gave up before it was accepted is no reason to stop; nor is a cancellation,
            // which has no listener.
            errno
                if [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::ECANCELED]
                    .contains(&-errno) =>
            {
                None
            }
            _ if self.listener.is_none() => None,
            errno => {
                return Ok(Some(Meaning::AcceptingFailed(io::Error::from_raw_os_error(-errno))));
            }
        };
        self.accept()?;
        Ok(said)
    }

    fn received(&mut self, id: ConnId, completion: &Completion) -> io::Result<Option<Meaning>> {
        let Some(socket) = self.sockets.live(id) else { return Ok(None) };
        socket.receiving = completion.more();
        let stopped = !socket.receiving;
        let said = match completion.result {
            bytes if bytes > 0 => Some(Meaning::Received(id)),
            // A pause, which may have been taken back meanwhile.
            errno if [libc::ECANCELED, libc::EINTR].contains(&-errno) => None,
            errno if -errno == libc::ENOBUFS => {
                self.counters.buffer_shortages.add(1);
                self.starved.push(id);
                self.close_if_quiet(id);
                return Ok(None);
            }
            // The end of the stream, or a dead socket.
            _ => {
                self.close_if_quiet(id);
                return Ok(Some(Meaning::Ended(id)));
            }
        };
        // What ends a multishot may still carry data.
        if stopped {
            self.resume(id)?;
        }
        self.close_if_quiet(id);
        Ok(said)
    }

    /// Receives from a connection, if that is wanted and not under way.
    fn resume(&mut self, id: ConnId) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        if !socket.wants_receive || socket.receiving || socket.ending {
            return Ok(());
        }
        socket.receiving = true;
        let Some(fd) = self.sockets.fd(id) else { return Ok(()) };
        self.uring.receive(fd, tag::receive(id))
    }

    fn close_if_quiet(&mut self, id: ConnId) {
        let Some(socket) = self.sockets.live(id) else { return };
        if socket.ending && socket.is_quiet() && !std::mem::replace(&mut socket.closing, true) {
            self.closing.push(id);
        }
    }

    /// Closes sockets that have ended, right after a submission has left nothing queued.
    fn close_quiet(&mut self) -> io::Result<()> {
        if self.closing.is_empty() {
            return Ok(());
        }
        self.uring.enter_until_empty()?;
        for id in self.closing.drain(..) {
            drop(self.sockets.remove(id));
            self.closed.push(id);
        }
        Ok(())
    }
}

impl Backend for RingBackend {
    type Incoming = OwnedFd;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&mut self) -> io::Result<()> {
        if let Some(listener) = &self.listener
            && !self.accepting
        {
            self.uring.accept(listener.as_fd(), tag::accept())?;
            self.accepting = true;
        }
        Ok(())
    }

    /// What was accepted already comes as completions still.
    fn stop_accepting(&mut self) -> io::Result<()> {
        if self.accepting {
            self.uring.cancel(tag::accept(), tag::ignored())?;
        }
        if let Some(listener) = self.listener.take() {
            self.uring.enter_until_empty()?;
            self.last = accept_last(listener).into_iter();
        }
        Ok(())
    }

    fn address(&self, incoming: &OwnedFd) -> Option<SocketAddr> {
        tcp::peer(incoming)
    }

    fn adopt(&mut self, id: ConnId, incoming: OwnedFd) {
        self.sockets.insert(id, incoming);
    }

    fn peer(&self, id: ConnId) -> Option<SocketAddr> {
        self.sockets.fd(id).and_then(|fd| tcp::peer(&fd))
    }

    fn receive(&mut self, id: ConnId) -> io::Result<()> {
        if let Some(socket) = self.sockets.live(id) {
            socket.wants_receive = true;
        }
        self.resume(id)
    }

    fn pause_receive(&mut self, id: ConnId) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        socket.wants_receive = false;
        if socket.receiving {
            self.uring.cancel(tag::receive(id), tag::ignored())?;
        }
        Ok(())
    }

    fn watch_writable(&mut self, id: ConnId) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        socket.watching = true;
        let Some(fd) = self.sockets.fd(id) else { return Ok(()) };
        self.uring.watch_writable(fd, tag::writable(id))
    }

    fn measure(&self, id: ConnId) -> Option<(u64, usize)> {
        self.sockets.fd(id).and_then(tcp::measure)
    }

    fn finish_sending(&mut self, id: ConnId) {
        self.sockets.shut_down(id, Shutdown::Write);
    }

    /// Closing alone would end nothing while an operation is under way on it.
    fn end(&mut self, id: ConnId, abort: bool) {
        if abort {
            self.sockets.reset_at_close(id);
        }
        let Some(socket) = self.sockets.live(id) else { return };
        socket.ending = true;
        if !socket.is_quiet() {
            self.sockets.shut_down(id, Shutdown::Both);
        }
        self.close_if_quiet(id);
    }

    fn send<'a>(
        &mut self,
        sends: impl ExactSizeIterator<Item = (usize, ConnId, &'a [u8])>,
        short: &mut Vec<Short>,
    ) -> io::Result<()> {
        let sockets = &self.sockets;
        let sends = sends.map(|(place, id, bytes)| {
            let Some(fd) = sockets.fd(id) else {
                unreachable!("a planned connection has a socket")
            };
            (tag::send(place), fd, bytes)
        });
        self.uring.send_batch(sends)?;
        self.reap()?;
        self.completions.retain(|completion| match tag::of(completion.user_data, &self.sockets) {
            Tag::Send(place) => {
                short.push(Short { place, result: completion.result });
                false
            }
            _ => true,
        });
        Ok(())
    }

    fn poll(&mut self) -> io::Result<()> {
        self.uring.enter_until_empty()?;
        self.reap()
    }

    fn is_idle(&self) -> bool {
        self.closing.is_empty()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.uring.wait(timeout)?;
        self.reap()
    }

    fn next(&mut self) -> io::Result<Option<Happened<'_, OwnedFd>>> {
        // Its buffer goes back.
        self.filled = None;
        if let Some(fd) = self.last.next() {
            return Ok(Some(Happened::Accepted(fd)));
        }
        while let Some(completion) = self.completions.pop_front() {
            let Some(said) = self.said(completion)? else { continue };
            return Ok(Some(match said {
                Meaning::Accepted(fd) => Happened::Accepted(fd),
                Meaning::AcceptingFailed(error) => Happened::AcceptingFailed(error),
                Meaning::Received(id) => {
                    Happened::Received(id, self.filled.as_deref_mut().unwrap_or_default())
                }
                Meaning::Ended(id) => Happened::Ended(id),
                Meaning::Writable(id) => Happened::Writable(id),
                Meaning::Woken => Happened::Woken,
            }));
        }
        // All buffers are back by now.
        for id in std::mem::take(&mut self.starved) {
            self.resume(id)?;
        }
        self.close_quiet()?;
        Ok(self.closed.pop().map(Happened::Released))
    }
}
