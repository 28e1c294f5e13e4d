//! The backend on epoll, for hosts that deny io_uring: edge-triggered, one receive buffer a loop.
//!
//! ```text
//! poller     what the kernel says of descriptors
//! sockets    what is known of each
//! accepting  connections that come in
//! ```
//!
//! A socket is watched once, when it is adopted. What an edge has told is kept with the socket
//! until it has been used up: the kernel does not say it again.
//!
//! Invariants:
//! - **A socket with input that is wanted is in line to be read**, or the kernel has an edge to
//!   tell.
//! - **Nobody holds a turn.** A turn reads each socket once, and no more than `READS_TURN` of
//!   them; whoever has more goes to the end of the line. The loop does not sleep before the line is
//!   empty.
//! - **Room is told as soon as a batch has gone** since it came: while a connection waits for it,
//!   its outbox fills, and one that fills up closes it. As long as any waits, the loop looks at its
//!   sockets behind each batch, and otherwise now and then.
//! - A send is a system call of its own that does not wait: once a batch has been passed over, the
//!   kernel has copied every byte that it took.
//!
//! Deliberately absent: `unsafe`, and operations under way in the kernel. So a socket is closed by
//! its closing alone, whatever happens on it.

mod accepting;
mod poller;
mod sockets;

use std::collections::VecDeque;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use accepting::Accepting;
use poller::{EventFlags, Poller};
use sockets::Sockets;

use crate::engine::{Backend, Happened, Short};
use crate::lane::Wake;
use crate::ring::tcp;
use crate::shard::ConnId;
use crate::worst_case;

/// Bytes read from a socket at a time: short commands by the dozen, and long messages in a few
/// reads. One buffer a loop, so that an idle connection holds none.
const BUFFER_BYTES: usize = 16 * 1024;

const _: () = assert!(BUFFER_BYTES as u64 <= worst_case::RECEIVE_BYTES);

/// Sockets read in one turn at most.
const READS_TURN: usize = 64;

/// Sends after which a loop that always has something to send looks at its sockets, and how many of
/// them a batch counts for at least: 16 batches may go by. A look costs what a fraction of a send
/// does.
const SENDS_UNTIL_LOOK: usize = 128;
const SENDS_BATCH: usize = 8;

/// What an event tells of, besides the connections, whose numbers stand for themselves.
const WAKE: u64 = u64::MAX;
const LISTENER: u64 = u64::MAX - 1;

/// What is watched of every connection, and what besides once its room has mattered.
const INPUT: EventFlags = EventFlags::IN.union(EventFlags::PRI).union(EventFlags::RDHUP);
const ROOM: EventFlags = INPUT.union(EventFlags::OUT);

/// What tells that a socket is dead, and of whatever a read stops short of: urgent data too, which
/// no WebSocket has.
const DEAD: EventFlags = EventFlags::ERR.union(EventFlags::HUP);
const STOPS: EventFlags = DEAD.union(EventFlags::RDHUP).union(EventFlags::PRI);

fn token(id: ConnId) -> u64 {
    u64::from(id.generation) << 32 | u64::from(id.index)
}

fn connection(token: u64) -> ConnId {
    ConnId { index: token as u32, generation: (token >> 32) as u32 }
}

/// One shard's sockets, and the epoll instance that watches them.
pub struct EpollBackend {
    poller: Poller,
    sockets: Sockets,
    accepting: Accepting,
    /// Kept open as long as it is watched.
    _wake: Arc<Wake>,
    buffer: Box<[u8]>,
    /// Sockets to be read, each once.
    line: VecDeque<ConnId>,
    /// How many of them this turn may still read.
    reads: usize,
    /// Look-outs under way.
    watching: usize,
    /// Look-outs that have ended.
    writable: Vec<ConnId>,
    /// Connections that could not be watched.
    unwatched: Vec<ConnId>,
    /// Connections that have been ended and are to be closed.
    closing: Vec<ConnId>,
    /// Another thread has called.
    woken: bool,
    sends_since_look: usize,
}

impl EpollBackend {
    /// A backend for a loop that accepts from this listener and is called by this wake-up.
    pub fn new(listener: TcpListener, wake: Arc<Wake>) -> io::Result<Self> {
        let poller = Poller::new()?;
        poller.watch(&*wake, WAKE, EventFlags::IN)?;
        let accepting = Accepting::new(listener)?;
        Ok(Self {
            poller,
            sockets: Sockets::default(),
            accepting,
            _wake: wake,
            buffer: vec![0; BUFFER_BYTES].into(),
            line: VecDeque::new(),
            reads: 0,
            watching: 0,
            writable: Vec::new(),
            unwatched: Vec::new(),
            closing: Vec::new(),
            woken: false,
            sends_since_look: 0,
        })
    }

    /// Waits at most for `timeout`, and keeps what has been told.
    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.sends_since_look = 0;
        self.poller.wait(timeout)?;
        for (token, flags) in self.poller.take() {
            match token {
                WAKE => self.woken = true,
                LISTENER => self.accepting.edge(),
                _ => {
                    let id = connection(token);
                    let Some(socket) = self.sockets.live(id) else { continue };
                    socket.readable |= flags.intersects(INPUT.union(DEAD));
                    socket.reads_on |= flags.intersects(STOPS);
                    if socket.is_due() {
                        socket.in_line = true;
                        self.line.push_back(id);
                    }
                    if socket.watched && flags.intersects(DEAD.union(EventFlags::OUT)) {
                        socket.watched = false;
                        self.watching -= 1;
                        self.writable.push(id);
                    }
                }
            }
        }
        self.begin_share();
        Ok(())
    }

    /// What one turn may read and accept at most.
    fn begin_share(&mut self) {
        self.reads = self.line.len().min(READS_TURN);
        self.accepting.begin_share();
    }

    /// Reads once from the next in line. `None`: it had nothing.
    fn read(&mut self) -> Option<(ConnId, Result<usize, ()>)> {
        let id = self.line.pop_front()?;
        let socket = self.sockets.live(id)?;
        socket.in_line = false;
        // Paused meanwhile: what is there is read when it goes on.
        if !socket.wanted {
            return None;
        }
        let read = recv(socket.fd(), &mut *self.buffer, RecvFlags::DONTWAIT);
        let read = match read {
            Ok((bytes @ 1.., _)) => {
                // Less than there was room for: that was all, and more of it will be told, unless
                // the read has stopped short of something that has been told already.
                socket.readable = bytes == BUFFER_BYTES || socket.reads_on;
                Some(Ok(bytes))
            }
            Err(Errno::AGAIN) => {
                socket.readable = false;
                None
            }
            Err(Errno::INTR) => None,
            Ok(_) | Err(_) => {
                socket.ended = true;
                Some(Err(()))
            }
        };
        if socket.is_due() {
            socket.in_line = true;
            self.line.push_back(id);
        }
        read.map(|read| (id, read))
    }
}

impl Backend for EpollBackend {
    type Incoming = OwnedFd;

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn accept(&mut self) -> io::Result<()> {
        self.accepting.begin(&self.poller)
    }

    fn stop_accepting(&mut self) -> io::Result<()> {
        self.accepting.stop();
        Ok(())
    }

    fn address(&self, incoming: &OwnedFd) -> Option<SocketAddr> {
        tcp::peer(incoming)
    }

    fn adopt(&mut self, id: ConnId, incoming: OwnedFd) {
        if let Err(error) = self.poller.watch(&incoming, token(id), INPUT) {
            // The user may watch no more (fs.epoll.max_user_watches), or memory has run out: the
            // next would fare no better.
            self.accepting.fail(error);
            self.unwatched.push(id);
        }
        self.sockets.insert(id, incoming);
    }

    fn peer(&self, id: ConnId) -> Option<SocketAddr> {
        self.sockets.fd(id).and_then(|fd| tcp::peer(&fd))
    }

    fn receive(&mut self, id: ConnId) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        socket.wanted = true;
        if socket.is_due() {
            socket.in_line = true;
            self.line.push_back(id);
        }
        Ok(())
    }

    fn pause_receive(&mut self, id: ConnId) -> io::Result<()> {
        if let Some(socket) = self.sockets.live(id) {
            socket.wanted = false;
        }
        Ok(())
    }

    fn watch_writable(&mut self, id: ConnId) -> io::Result<()> {
        let Some(socket) = self.sockets.live(id) else { return Ok(()) };
        // Anew, since the edge may have been told before: as early as the send was short, and not
        // at all where the kernel had no memory for the send.
        if self.poller.watch_anew(socket.fd(), token(id), ROOM).is_ok() {
            socket.watched = true;
            self.watching += 1;
        } else {
            // Nothing would ever be told of it: it is as good as dead.
            self.sockets.shut_down(id, Shutdown::Both);
            self.writable.push(id);
        }
        Ok(())
    }

    fn measure(&self, id: ConnId) -> Option<(u64, usize)> {
        self.sockets.fd(id).and_then(tcp::measure)
    }

    fn finish_sending(&mut self, id: ConnId) {
        self.sockets.shut_down(id, Shutdown::Write);
    }

    fn end(&mut self, id: ConnId, abort: bool) {
        if abort {
            self.sockets.reset_at_close(id);
        }
        let Some(socket) = self.sockets.live(id) else { return };
        socket.wanted = false;
        if std::mem::take(&mut socket.watched) {
            self.watching -= 1;
            self.writable.push(id);
        }
        // Closed with the turn's end: until then it can be asked for its peer.
        if !std::mem::replace(&mut socket.closing, true) {
            self.closing.push(id);
        }
    }

    fn send<'a>(
        &mut self,
        sends: impl ExactSizeIterator<Item = (usize, ConnId, &'a [u8])>,
        short: &mut Vec<Short>,
    ) -> io::Result<()> {
        self.sends_since_look += sends.len().max(SENDS_BATCH);
        for (place, id, bytes) in sends {
            let Some(fd) = self.sockets.fd(id) else {
                unreachable!("a planned connection has a socket")
            };
            match send(fd, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) if sent == bytes.len() => {}
                Ok(sent) => short.push(Short { place, result: sent as i32 }),
                Err(errno) => short.push(Short { place, result: -errno.raw_os_error() }),
            }
        }
        if self.watching > 0 || self.sends_since_look >= SENDS_UNTIL_LOOK {
            return self.poll();
        }
        self.begin_share();
        Ok(())
    }

    fn poll(&mut self) -> io::Result<()> {
        self.look(Some(Duration::ZERO))
    }

    fn is_idle(&self) -> bool {
        self.line.is_empty()
            && self.writable.is_empty()
            && self.unwatched.is_empty()
            && self.closing.is_empty()
            && !self.woken
            && self.accepting.is_idle()
    }

    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.look(timeout)
    }

    fn next(&mut self) -> io::Result<Option<Happened<'_, OwnedFd>>> {
        if std::mem::take(&mut self.woken) {
            return Ok(Some(Happened::Woken));
        }
        if let Some(id) = self.writable.pop() {
            return Ok(Some(Happened::Writable(id)));
        }
        if let Some(id) = self.unwatched.pop() {
            return Ok(Some(Happened::Ended(id)));
        }
        if let Some(id) = self.closing.pop() {
            drop(self.sockets.remove(id));
            return Ok(Some(Happened::Released(id)));
        }
        if let Some(accepted) = self.accepting.next() {
            return Ok(Some(match accepted {
                Ok(incoming) => Happened::Accepted(incoming),
                Err(error) => Happened::AcceptingFailed(error),
            }));
        }
        while self.reads > 0 {
            self.reads -= 1;
            match self.read() {
                Some((id, Ok(bytes))) => {
                    return Ok(Some(Happened::Received(id, &mut self.buffer[..bytes])));
                }
                Some((id, Err(()))) => return Ok(Some(Happened::Ended(id))),
                None => {}
            }
        }
        Ok(None)
    }
}
