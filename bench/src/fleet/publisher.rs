//! The one connection that publishes to a server.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, epoll, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::subscriber::{begin_connect, upgrade_answer, upgrade_request};
use crate::dialect::{Dialect, Link};

/// The publishing connection.
#[derive(Debug)]
pub struct Publisher {
    socket: OwnedFd,
    out: Vec<u8>,
    sent: usize,
    input: Vec<u8>,
    /// When each call was due that is not answered yet, in ticks.
    due: VecDeque<u32>,
    scratch: Vec<u8>,
}

impl Publisher {
    /// Connects, shakes hands and greets, waiting for each; then has `epoll` watch the socket under
    /// `token`.
    pub fn connect(
        server: SocketAddr,
        dialect: &dyn Dialect,
        epoll: &OwnedFd,
        token: u64,
    ) -> Result<Self> {
        let socket = begin_connect(server)?;
        let mut publisher = Self {
            socket,
            out: Vec::new(),
            sent: 0,
            input: Vec::new(),
            due: VecDeque::new(),
            scratch: vec![0; 64 * 1024],
        };
        publisher.wait(PollFlags::OUT)?;
        if dialect.link() == Link::WebSocket {
            publisher.out = upgrade_request(dialect.path(), server, "");
            publisher.flush()?;
            let head = loop {
                publisher.wait(PollFlags::IN)?;
                publisher.receive()?;
                if let Some(bytes) = upgrade_answer(&publisher.input)? {
                    break bytes;
                }
            };
            publisher.input.drain(..head);
            dialect.greet(&mut publisher.out);
            if !publisher.out.is_empty() {
                publisher.flush()?;
                publisher.wait(PollFlags::IN)?;
            }
        }
        let interest = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(epoll, &publisher.socket, epoll::EventData::new_u64(token), interest)?;
        Ok(publisher)
    }

    fn wait(&self, flags: PollFlags) -> Result<()> {
        let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
        let mut fds = [PollFd::new(&self.socket, flags)];
        if poll(&mut fds, Some(&timeout))? == 0 {
            bail!("the publishing connection got no answer in 10 s");
        }
        Ok(())
    }

    /// Where publishes are appended, to leave with the next [`Publisher::flush`].
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Notes that a call leaves that will be answered, and was due at this tick.
    pub fn departs(&mut self, due: u32) {
        self.due.push_back(due);
    }

    /// When the oldest call was due that has not been answered. Answers come in the order of the
    /// calls.
    pub fn answered(&mut self) -> Option<u32> {
        self.due.pop_front()
    }

    /// Sends what the socket takes.
    pub fn flush(&mut self) -> Result<()> {
        while self.sent < self.out.len() {
            match send(&self.socket, &self.out[self.sent..], SendFlags::NOSIGNAL) {
                Ok(sent) => self.sent += sent,
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).context("publishing"),
            }
        }
        self.out.clear();
        self.sent = 0;
        Ok(())
    }

    fn receive(&mut self) -> Result<()> {
        loop {
            match recv(&self.socket, self.scratch.as_mut_slice(), RecvFlags::empty()) {
                Ok((0, _)) => bail!("the server closed the publishing connection"),
                Ok((received, _)) => self.input.extend_from_slice(&self.scratch[..received]),
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(error).context("reading answers"),
            }
        }
    }

    /// Reads what has come, and counts the answers.
    pub fn read_answers(&mut self, dialect: &mut dyn Dialect) -> Result<u64> {
        self.receive()?;
        let (read, answers) = dialect.read_answers(&self.input)?;
        self.input.drain(..read);
        Ok(answers)
    }
}
