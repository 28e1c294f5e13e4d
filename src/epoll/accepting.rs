//! Connections that come in.
//!
//! An edge tells that some have; then they are accepted until none is left, a bounded number a
//! turn. What the edge told is kept while accepting rests.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::poller::{EventFlags, Poller};

/// Connections accepted in one turn at most: the others wait for their handshakes no longer than
/// that.
const ACCEPTS_TURN: usize = 64;

pub struct Accepting {
    /// `None` once it has been stopped.
    listener: Option<TcpListener>,
    watched: bool,
    /// It has not failed since it was last asked for.
    on: bool,
    /// Somebody may be there.
    due: bool,
    /// How many this turn may still accept.
    share: usize,
}

impl Accepting {
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { listener: Some(listener), watched: false, on: false, due: false, share: 0 })
    }

    /// Accepts from now on, or again.
    pub fn begin(&mut self, poller: &Poller) -> io::Result<()> {
        let Some(listener) = &self.listener else { return Ok(()) };
        if !std::mem::replace(&mut self.watched, true) {
            poller.watch(listener, super::LISTENER, EventFlags::IN)?;
        }
        self.on = true;
        Ok(())
    }

    /// An edge has told of somebody.
    pub fn edge(&mut self) {
        self.due = true;
    }

    /// Closes the listener.
    pub fn stop(&mut self) {
        self.listener = None;
    }

    /// What the next turn may accept.
    pub fn begin_share(&mut self) {
        self.share = ACCEPTS_TURN;
    }

    /// Whether nobody is there as far as is known.
    pub fn is_idle(&self) -> bool {
        !(self.on && self.due && self.listener.is_some())
    }

    /// The next connection of this turn, or why there is none for now.
    pub fn next(&mut self) -> Option<io::Result<OwnedFd>> {
        let listener = self.listener.as_ref()?;
        while self.on && self.due && self.share > 0 {
            self.share -= 1;
            match accept_with(listener, SocketFlags::CLOEXEC) {
                Ok(socket) => return Some(Ok(socket)),
                Err(Errno::AGAIN) => self.due = false,
                // Whoever gave up before it was accepted is no reason to stop.
                Err(Errno::CONNABORTED | Errno::PROTO | Errno::INTR) => {}
                Err(errno) => {
                    self.on = false;
                    return Some(Err(errno.into()));
                }
            }
        }
        None
    }
}
