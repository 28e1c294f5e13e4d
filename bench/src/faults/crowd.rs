//! A crowd of clients that mean harm: what each sends is a habit, and how each ended is counted.
//!
//! They live in the generator's thread, so what they do is bought wholesale: many commands in one
//! write, no client looked at that has nothing to say.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::Result;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send, sockopt};

use crate::fleet::beside::Beside;
use crate::fleet::{begin_connect_from, upgrade_request};
use crate::frame;

/// What clients of a crowd do.
pub struct Habit {
    /// What they are called.
    pub name: &'static str,
    /// How many there are at a time.
    pub clients: usize,
    /// How many connect a second.
    pub connects: f64,
    /// Whether they become WebSockets before anything else.
    pub upgrade: bool,
    /// What each sends then, at once.
    pub opening: Vec<u8>,
    /// What each sends again and again.
    pub drip: Option<Drip>,
    /// Whether another one comes where one has ended.
    pub again: bool,
}

/// Bytes that a client sends again and again.
pub struct Drip {
    /// Between two of them.
    pub every: Duration,
    /// Writes them, given the client's place and how many went before.
    pub bytes: fn(usize, u64, &mut Vec<u8>),
}

/// How a client ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// By this HTTP status instead of an upgrade.
    Status(u16),
    /// By a Close frame with this code.
    Close(u16),
    /// By nothing but the end of the stream.
    Eof,
    /// By a reset.
    Reset,
}

impl std::fmt::Display for End {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Status(status) => write!(out, "HTTP {status}"),
            Self::Close(code) => write!(out, "Close {code}"),
            Self::Eof => write!(out, "end"),
            Self::Reset => write!(out, "reset"),
        }
    }
}

#[derive(Debug)]
struct Client {
    socket: Option<OwnedFd>,
    connected: bool,
    open: bool,
    /// What has come and is not read yet; bounded by [`INPUT_BYTES`].
    input: Vec<u8>,
    /// What the socket did not take.
    out: Vec<u8>,
    drips: u64,
    end: Option<End>,
}

/// More input than that is thrown away: nothing that is counted is as long.
const INPUT_BYTES: usize = 64 * 1024;
/// Connections begun in one turn, for the same reason as with events.
const CONNECTS: usize = 8;
/// Events dealt with in one turn: the fleet whose latency is measured waits meanwhile.
const EVENTS: usize = 32;

/// What a crowd has done and seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// Connections begun.
    pub connects: u64,
    /// Drips sent.
    pub drips: u64,
    /// Drips that were due while the socket still had not taken an earlier one.
    pub held_back: u64,
    /// Text frames received that begin so: `@join`, `#join`, `@leave`, and others.
    pub joined: u64,
    /// Joins that were refused.
    pub refused: u64,
    /// How clients ended.
    pub ends: BTreeMap<End, u64>,
}

/// See the module.
pub struct Crowd {
    /// What they do.
    pub habit: Habit,
    server: SocketAddr,
    upgrade: Vec<u8>,
    epoll: OwnedFd,
    events: Vec<epoll::Event>,
    scratch: Vec<u8>,
    clients: Vec<Client>,
    /// Places whose client has ended and where another may come.
    vacant: Vec<usize>,
    next_connect: Instant,
    next_drip: Instant,
    turn_of: usize,
    /// What they have done and seen.
    pub seen: Seen,
}

impl Crowd {
    /// A crowd of which nobody has come yet.
    pub fn new(habit: Habit, server: SocketAddr) -> Result<Self> {
        let now = Instant::now();
        Ok(Self {
            habit,
            server,
            upgrade: upgrade_request("/ws", server, ""),
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            events: Vec::with_capacity(EVENTS),
            scratch: vec![0; INPUT_BYTES],
            clients: Vec::new(),
            vacant: Vec::new(),
            next_connect: now,
            next_drip: now,
            turn_of: 0,
            seen: Seen::default(),
        })
    }

    /// With lines of their own in each upgrade request.
    pub fn with_headers(mut self, headers: &str) -> Self {
        self.upgrade = upgrade_request("/ws", self.server, headers);
        self
    }

    /// Clients that are WebSockets.
    pub fn upgraded(&self) -> usize {
        self.clients.iter().filter(|client| client.open && client.socket.is_some()).count()
    }

    /// Clients that are connected, or about to be.
    pub fn open(&self) -> usize {
        self.clients.iter().filter(|client| client.socket.is_some()).count()
    }

    /// Ends all that are left, with a reset, and lets nobody come any more.
    pub fn leave(&mut self) {
        for client in &mut self.clients {
            if let Some(socket) = client.socket.take() {
                let _ = sockopt::set_socket_linger(&socket, Some(Duration::ZERO));
            }
        }
        self.habit.clients = 0;
        self.clients.clear();
        self.vacant.clear();
    }

    fn connect_due(&mut self, now: Instant) -> Result<()> {
        let interval = Duration::from_secs_f64(1.0 / self.habit.connects);
        for _ in 0..CONNECTS {
            if self.next_connect > now {
                break;
            }
            let place = match self.vacant.pop() {
                Some(place) => place,
                None if self.clients.len() < self.habit.clients => self.clients.len(),
                // Nobody is due as long as all are there.
                None => {
                    self.next_connect = now + interval;
                    break;
                }
            };
            self.next_connect += interval;
            let source = self.server.ip().is_loopback().then(|| source(place));
            let socket = begin_connect_from(source.filter(|_| self.server.is_ipv4()), self.server)?;
            let interest = epoll::EventFlags::IN
                | epoll::EventFlags::OUT
                | epoll::EventFlags::RDHUP
                | epoll::EventFlags::ET;
            epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(place as u64), interest)?;
            let client = Client {
                socket: Some(socket),
                connected: false,
                open: false,
                input: Vec::new(),
                out: Vec::new(),
                drips: 0,
                end: None,
            };
            if place == self.clients.len() {
                self.clients.push(client);
            } else {
                self.clients[place] = client;
            }
            self.seen.connects += 1;
        }
        Ok(())
    }

    fn drip_due(&mut self, now: Instant) {
        let (Some(drip), count) = (&self.habit.drip, self.clients.len()) else { return };
        if count == 0 {
            return;
        }
        let (interval, bytes) = (drip.every / count as u32, drip.bytes);
        // Whoever was away for long does not make up for all of it.
        self.next_drip = self.next_drip.max(now - drip.every.min(Duration::from_secs(1)));
        while self.next_drip <= now {
            self.next_drip += interval;
            self.turn_of = (self.turn_of + 1) % count;
            let client = &mut self.clients[self.turn_of];
            if client.socket.is_none() || client.open != self.habit.upgrade || !client.connected {
                continue;
            }
            if !client.out.is_empty() {
                self.seen.held_back += 1;
                continue;
            }
            bytes(self.turn_of, client.drips, &mut client.out);
            client.drips += 1;
            self.seen.drips += 1;
            client.flush();
        }
    }

    /// Deals with some events. Says whether there may be more.
    fn deal_with_events(&mut self) -> Result<bool> {
        let mut events = std::mem::take(&mut self.events);
        events.clear();
        let nothing = Timespec { tv_sec: 0, tv_nsec: 0 };
        match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&nothing)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in &events {
            self.event(event.data.u64() as usize, event.flags);
        }
        let full = events.len() == EVENTS;
        self.events = events;
        Ok(full)
    }

    fn event(&mut self, place: usize, flags: epoll::EventFlags) {
        let Some(client) = self.clients.get_mut(place).filter(|client| client.socket.is_some())
        else {
            return;
        };
        if flags.contains(epoll::EventFlags::OUT) {
            if !client.connected {
                client.connected = true;
                if self.habit.upgrade {
                    client.out.extend_from_slice(&self.upgrade);
                } else {
                    client.out.extend_from_slice(&self.habit.opening);
                }
            }
            client.flush();
        }
        loop {
            let client = &mut self.clients[place];
            let Some(socket) = &client.socket else { return };
            match recv(socket, self.scratch.as_mut_slice(), RecvFlags::empty()) {
                Ok((0, _)) => return self.ended(place, End::Eof),
                Ok((received, _)) => {
                    client.input.extend_from_slice(&self.scratch[..received]);
                    client.read(&self.habit, &mut self.seen);
                }
                Err(Errno::AGAIN) => return,
                Err(_) => return self.ended(place, End::Reset),
            }
        }
    }

    fn ended(&mut self, place: usize, how: End) {
        let client = &mut self.clients[place];
        client.socket = None;
        // Whatever was said before tells more than how the stream ended.
        *self.seen.ends.entry(client.end.unwrap_or(how)).or_default() += 1;
        if self.habit.again {
            self.vacant.push(place);
        }
    }
}

/// The address that the client at a place comes from, where all addresses of the loopback device
/// are ours.
fn source(place: usize) -> IpAddr {
    IpAddr::from([127, 0, 1, 1 + (place % 16) as u8])
}

impl Client {
    fn flush(&mut self) {
        let Some(socket) = &self.socket else { return };
        while !self.out.is_empty() {
            match send(socket, &self.out, SendFlags::NOSIGNAL) {
                Ok(sent) => drop(self.out.drain(..sent)),
                Err(Errno::AGAIN) => return,
                // What is wrong shows when it is read.
                Err(_) => return self.out.clear(),
            }
        }
    }

    fn read(&mut self, habit: &Habit, seen: &mut Seen) {
        let mut at = 0;
        if !self.open {
            let Some(head) = memchr::memmem::find(&self.input, b"\r\n\r\n") else { return };
            let status =
                self.input.get(9..12).and_then(|code| std::str::from_utf8(code).ok()?.parse().ok());
            if status != Some(101) {
                self.end = status.map(End::Status);
                return;
            }
            at = head + 4;
            self.open = true;
            self.out.extend_from_slice(&habit.opening);
            self.flush();
        }
        while let frame::Head::Frame(frame) = frame::head(&self.input[at..]) {
            at += frame.bytes;
            match frame.opcode {
                frame::CLOSE => self.end = Some(End::Close(frame::close_code(frame.payload))),
                _ if frame.payload.starts_with(br#"{"topic":"@join""#) => seen.joined += 1,
                _ if frame.payload.starts_with(br##"{"topic":"#join""##) => seen.refused += 1,
                _ => {}
            }
        }
        self.input.drain(..at);
        if self.input.len() > INPUT_BYTES {
            self.input = Vec::new();
        }
    }
}

impl Beside for Crowd {
    fn begin(&mut self, now: Instant) {
        // What was not done between two slices is not made up for.
        self.next_connect = now;
        self.next_drip = now;
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        self.connect_due(now)?;
        self.drip_due(now);
        self.deal_with_events().map(drop)
    }

    fn settle(&mut self) -> Result<()> {
        while self.deal_with_events()? {}
        Ok(())
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ends: Vec<_> =
            self.ends.iter().map(|(end, count)| format!("{count} × {end}")).collect();
        write!(out, "{} connected", self.connects)?;
        if !ends.is_empty() {
            write!(out, ", ended: {}", ends.join(", "))?;
        }
        Ok(())
    }
}
