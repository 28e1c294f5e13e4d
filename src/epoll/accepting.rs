//! Connections that come in.
//!
//! An edge tells that some have; then they are accepted until none is left, a bounded number a
//! turn. What the edge told is kept while accepting rests.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::vec;

use rustix::io::Errno;
use rustix::net::{SocketFlags, accept_with};

use super::poller::{EventFlags, Poller};
use crate::engine::accept_last;

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
    /// Why it has come to a rest, to be told.
    failed: Option<io::Error>,
    /// Those who waited when it was stopped.
    last: vec::IntoIter<OwnedFd>,
}

impl Accepting {
    pub fn new(listener: TcpListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener: Some(listener),
            watched: false,
            on: false,
            due: false,
            share: 0,
            failed: None,
            last: Vec::new().into_iter(),
        })
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

    /// Accepts nobody for now, for this reason.
    pub fn fail(&mut self, error: io::Error) {
        self.on = false;
        self.failed = Some(error);
    }

    /// Accepts whoever waits, and closes the listener.
    pub fn stop(&mut self) {
        self.failed = None;
        self.last = self.listener.take().map(accept_last).unwrap_or_default().into_iter();
    }

    /// What the next turn may accept.
    pub fn begin_share(&mut self) {
        self.share = ACCEPTS_TURN;
    }

    /// Whether nobody is there as far as is known.
    pub fn is_idle(&self) -> bool {
        let due = self.on && self.due && self.listener.is_some();
        !due && self.failed.is_none() && self.last.len() == 0
    }

    /// The next connection of this turn, or why there is none for now.
    pub fn next(&mut self) -> Option<io::Result<OwnedFd>> {
        if let Some(error) = self.failed.take() {
            return Some(Err(error));
        }
        let Some(listener) = &self.listener else { return self.last.next().map(Ok) };
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
