//! One subscriber: its socket, how far its handshake is, what it has seen.

use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SendFlags, SocketFlags, SocketType, bind, connect, ipproto, send, socket_with,
    sockopt,
};

use crate::order::Order;

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The TCP handshake is under way.
    Connecting,
    /// The upgrade request is sent.
    Upgrading,
    /// The join is sent.
    Joining,
    /// Joined.
    Ready,
    /// The leave is sent.
    Leaving,
    /// Left: nothing may come.
    Left,
    /// Ended.
    Closed,
}

/// One subscriber.
#[derive(Debug)]
pub struct Subscriber {
    /// Its socket; closed with it.
    pub socket: Option<OwnedFd>,
    /// How far it is.
    pub stage: Stage,
    /// Place of its topic.
    pub topic: u32,
    /// What it has seen of its topic.
    pub order: Order,
    /// When the request was sent whose answer it waits for, in ticks.
    pub asked: u32,
    /// The head of a frame whose rest is still to come.
    pub partial: Vec<u8>,
    /// The code with which the server closed it.
    pub close: Option<u16>,
}

impl Subscriber {
    /// Begins to connect, and has `epoll` watch the socket for everything, once an edge, under
    /// `token`.
    pub fn connect(
        server: SocketAddr,
        epoll: &OwnedFd,
        token: u64,
        topic: u32,
        order: Order,
    ) -> Result<Self> {
        let socket = begin_connect(server)?;
        let interest = epoll::EventFlags::IN
            | epoll::EventFlags::OUT
            | epoll::EventFlags::RDHUP
            | epoll::EventFlags::ET;
        epoll::add(epoll, &socket, epoll::EventData::new_u64(token), interest)?;
        let (partial, close) = (Vec::new(), None);
        Ok(Self {
            socket: Some(socket),
            stage: Stage::Connecting,
            topic,
            order,
            asked: 0,
            partial,
            close,
        })
    }

    /// Sends a handful of bytes, which a socket that has sent next to nothing always takes.
    pub fn send(&self, bytes: &[u8]) -> Result<()> {
        let Some(socket) = &self.socket else { return Ok(()) };
        let sent = send(socket, bytes, SendFlags::NOSIGNAL).context("sending a command")?;
        if sent != bytes.len() {
            bail!("a socket took {sent} of {} bytes", bytes.len());
        }
        Ok(())
    }

    /// Ends the connection: with a reset, which leaves no port behind in TIME_WAIT, or in good
    /// order.
    pub fn close(&mut self, reset: bool) {
        if let Some(socket) = self.socket.take()
            && reset
        {
            let _ = sockopt::set_socket_linger(&socket, Some(std::time::Duration::ZERO));
        }
        self.stage = Stage::Closed;
        self.partial = Vec::new();
    }
}

/// A socket on its way to `server`, which neither blocks nor delays.
pub fn begin_connect(server: SocketAddr) -> Result<OwnedFd> {
    begin_connect_from(None, server)
}

/// The same from an address of one's own: of many connections from one address to another the
/// kernel looks long for a port that is free.
pub fn begin_connect_from(source: Option<IpAddr>, server: SocketAddr) -> Result<OwnedFd> {
    let family = if server.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket =
        socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP)).context("a socket")?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    if let Some(source) = source {
        bind(&socket, &SocketAddr::new(source, 0))
            .with_context(|| format!("a port of {source}"))?;
    }
    match connect(&socket, &server) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error).with_context(|| format!("connecting to {server}")),
    }
}

/// The upgrade request of every connection (RFC 6455 §4.1, with the key of its §1.3), and lines of
/// one's own.
pub fn upgrade_request(path: &str, server: SocketAddr, headers: &str) -> Vec<u8> {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {server}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
    )
    .into_bytes()
}

/// Bytes of the answer to an upgrade at the head of `bytes`; `None` while it is not whole. Any but
/// 101 is an error.
pub fn upgrade_answer(bytes: &[u8]) -> Result<Option<usize>> {
    let Some(end) = memchr::memmem::find(bytes, b"\r\n\r\n") else { return Ok(None) };
    if !bytes.starts_with(b"HTTP/1.1 101") {
        let line = bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
        bail!("an upgrade was answered: {}", String::from_utf8_lossy(line));
    }
    Ok(Some(end + 4))
}
