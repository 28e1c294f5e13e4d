//! The backend under a loop of the simulation: sockets that take, delay, cut short and end as the
//! seed says. It holds the loop, and the shard in it, to the contract of [`Backend`], and may do
//! all that the contract allows: answer late, deliver after a pause, name who has gone.

mod happening;

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::engine::{Backend, Happened, Short};
use roadcast::mesh::{Down, Up};
use roadcast::shard::{BATCH_SENDS, ConnId, Reason, Report};

use happening::Look;

use super::book::Book;
use super::client::{Client, Goodbye};

struct Socket {
    id: ConnId,
    /// Place of its client.
    client: usize,
    receiving: bool,
    /// Pieces of input that were on their way when receiving was paused.
    on_their_way: u32,
    /// A look-out for room is under way.
    watching: bool,
    /// The shard has been told that there is no room, and not that there is some.
    refused: bool,
    /// The step in which it was last told that there is some.
    had_room: u64,
    end_told: bool,
    /// Looks until its last completion has come.
    closing: Option<u32>,
}

pub struct FakeBackend {
    place: usize,
    epoch: Instant,
    grace: Duration,
    now: Duration,
    /// Steps of the loop.
    step: u64,
    /// The world, as long as a step lasts.
    clients: Vec<Client>,
    book: Book,
    rng: SmallRng,

    pub listening: bool,
    accepting: bool,
    /// Clients that nobody has accepted.
    pub backlog: VecDeque<usize>,
    /// The client that was handed in and has not been named.
    nameless: Option<usize>,
    sockets: Vec<Socket>,
    /// Connections that are gone, whose completions may still come.
    former: Vec<ConnId>,
    look: Look,
    /// How much of what it has seen the turn may still hand in; the rest comes in later ones.
    share: usize,
    /// The loop has not asked until nothing came.
    asked_for_more: bool,
    input: Vec<u8>,
    /// The loop's wake-up has been signalled.
    pub woken: bool,
    /// Reported as such in this step.
    overflown: Option<ConnId>,
    /// When whoever is left may be terminated.
    pub abort_at: Option<Duration>,
}

/// A client without a name.
#[derive(Debug)]
pub struct Knock(usize);

impl FakeBackend {
    pub fn new(place: usize, epoch: Instant, grace: Duration) -> Self {
        Self {
            place,
            epoch,
            grace,
            now: Duration::ZERO,
            step: 0,
            clients: Vec::new(),
            book: Book::default(),
            rng: SmallRng::seed_from_u64(0),
            listening: true,
            accepting: false,
            backlog: VecDeque::new(),
            nameless: None,
            sockets: Vec::new(),
            former: Vec::new(),
            look: Look::Over,
            share: 0,
            asked_for_more: true,
            input: Vec::new(),
            woken: false,
            overflown: None,
            abort_at: None,
        }
    }

    /// The world is lent to the backend while the loop makes a step.
    pub fn begin_step(
        &mut self,
        now: Duration,
        clients: &mut Vec<Client>,
        book: &mut Book,
        rng: &mut SmallRng,
    ) {
        self.now = now;
        self.step += 1;
        self.overflown = None;
        self.swap(clients, book, rng);
    }

    pub fn end_step(&mut self, clients: &mut Vec<Client>, book: &mut Book, rng: &mut SmallRng) {
        assert!(self.asked_for_more, "what has happened is handed in by the turn's end");
        self.swap(clients, book, rng);
    }

    fn swap(&mut self, clients: &mut Vec<Client>, book: &mut Book, rng: &mut SmallRng) {
        std::mem::swap(&mut self.clients, clients);
        std::mem::swap(&mut self.book, book);
        std::mem::swap(&mut self.rng, rng);
    }

    /// The loop has ended: who has not been handed in meets nobody.
    pub fn forget_backlog(&mut self, clients: &mut [Client]) {
        self.backlog.drain(..).for_each(|client| clients[client].gone = true);
    }

    /// Sees what has happened, or goes on with what it has seen: a turn's share of it.
    fn look(&mut self) {
        if matches!(self.look, Look::Over) {
            self.look = Look::Calls;
        }
        self.share = [1, 2, 5, usize::MAX][self.rng.random_range(0..4)];
        self.asked_for_more = false;
    }

    /// Whether nothing is under way but what waits for clients that never read.
    pub fn is_quiet(&self, clients: &[Client]) -> bool {
        // Refused and not watched: it rests.
        let lags = |socket: &Socket| socket.watching || socket.refused;
        let waits = |socket: &Socket| lags(socket) && clients[socket.client].reads > 0;
        (self.backlog.is_empty() && matches!(self.look, Look::Over))
            && self.sockets.iter().all(|socket| socket.closing.is_none() && !waits(socket))
    }

    /// Whether something may happen on its sockets.
    pub fn is_stirred(&self, clients: &[Client]) -> bool {
        let knocks = !self.backlog.is_empty() && (self.accepting || !self.listening);
        knocks || self.sockets.iter().any(|socket| socket.is_stirred(&clients[socket.client]))
    }

    fn socket(&mut self, id: ConnId) -> (&mut Socket, &mut Client) {
        let socket = self.sockets.iter_mut().find(|socket| socket.id == id);
        let socket = socket.unwrap_or_else(|| panic!("{id:?} is named, and has been released"));
        let client = &mut self.clients[socket.client];
        (socket, client)
    }

    /// What the socket at a place does with a send: bytes taken, or a negative errno.
    fn take(&mut self, id: ConnId, bytes: &[u8]) -> i32 {
        let rng = &mut self.rng;
        let socket = self.sockets.iter_mut().find(|socket| socket.id == id);
        let socket = socket.expect("it has a socket");
        let client = &mut self.clients[socket.client];
        assert!(
            !bytes.is_empty() && !socket.refused && socket.closing.is_none() && !client.finished
        );
        let room = client.capacity - client.kernel.len();
        let result = match client.goodbye {
            Some(Goodbye::Reset) => [-libc::EPIPE, -libc::ECONNRESET][rng.random_range(0..2)],
            _ if room == 0 => -libc::EAGAIN,
            _ if rng.random_bool(client.short) => {
                // Now and then the kernel has no memory, or only a byte.
                let sent =
                    [0, 1, bytes.len() / 2, bytes.len() - 1][rng.random_range(0..4)].min(room);
                if sent == 0 && rng.random() { -libc::ENOBUFS } else { sent as i32 }
            }
            _ => room.min(bytes.len()) as i32,
        };
        client.kernel.extend_from_slice(&bytes[..result.max(0) as usize]);
        socket.refused = result != bytes.len() as i32;
        result
    }
}

impl Socket {
    /// Whether completions may come from it.
    fn is_stirred(&self, client: &Client) -> bool {
        let input = !client.outgoing.is_empty() || client.goodbye.is_some();
        let hears = self.receiving || self.on_their_way > 0;
        self.watching || self.closing.is_some() || (hears && input && !self.end_told)
    }
}

impl Backend for FakeBackend {
    type Incoming = Knock;

    fn now(&self) -> Instant {
        self.epoch + self.now
    }

    fn accept(&mut self) -> io::Result<()> {
        self.accepting = self.listening;
        Ok(())
    }

    fn stop_accepting(&mut self) -> io::Result<()> {
        assert!(std::mem::replace(&mut self.listening, false), "it does not listen any more");
        self.accepting = false;
        let accepted = self.rng.random_range(0..=self.backlog.len());
        for client in self.backlog.drain(accepted..) {
            self.clients[client].gone = true;
        }
        let at = self.now + self.grace;
        self.abort_at = Some(self.abort_at.map_or(at, |known| known.min(at)));
        Ok(())
    }

    fn address(&self, _: &Knock) -> Option<SocketAddr> {
        None
    }

    fn adopt(&mut self, id: ConnId, Knock(client): Knock) {
        assert_eq!(self.nameless.take(), Some(client));
        assert!(
            self.sockets.iter().all(|socket| socket.id.index != id.index),
            "a slot holds one connection"
        );
        self.clients[client].id = Some(id);
        self.sockets.push(Socket {
            id,
            client,
            receiving: false,
            on_their_way: 0,
            watching: false,
            refused: false,
            had_room: 0,
            end_told: false,
            closing: None,
        });
    }

    fn peer(&self, _: ConnId) -> Option<SocketAddr> {
        None
    }

    fn receive(&mut self, id: ConnId) -> io::Result<()> {
        let (socket, _) = self.socket(id);
        assert!(!std::mem::replace(&mut socket.receiving, true), "{id:?} receives already");
        Ok(())
    }

    fn pause_receive(&mut self, id: ConnId) -> io::Result<()> {
        let (socket, _) = self.socket(id);
        assert!(std::mem::replace(&mut socket.receiving, false), "{id:?} is paused already");
        socket.on_their_way = 2;
        Ok(())
    }

    fn watch_writable(&mut self, id: ConnId) -> io::Result<()> {
        let (socket, _) = self.socket(id);
        assert!(!std::mem::replace(&mut socket.watching, true), "{id:?} is watched already");
        Ok(())
    }

    fn measure(&self, id: ConnId) -> Option<(u64, usize)> {
        let socket = self.sockets.iter().find(|socket| socket.id == id);
        let client = &self.clients[socket.expect("it is measured, and has been released").client];
        Some((client.read_in_all as u64, client.kernel.len()))
    }

    fn finish_sending(&mut self, id: ConnId) {
        self.socket(id).1.finished = true;
    }

    fn end(&mut self, id: ConnId, abort: bool) {
        let (overflown, abort_at, now) = (self.overflown, self.abort_at, self.now);
        let (socket, client) = self.socket(id);
        // In the middle of a frame no Close can be said.
        client.given_up |= abort && overflown == Some(id) && !client.is_steady();
        let aborted = abort_at.is_some_and(|at| at <= now);
        let awaited = client.finished || client.goodbye.is_some() || client.given_up || aborted;
        assert!(awaited || !client.is_upgraded(), "{client:?} is terminated for nothing");
        assert_eq!(socket.closing, None, "{id:?} is ended twice");
        socket.closing = Some(2);
    }

    fn send<'a>(
        &mut self,
        sends: impl ExactSizeIterator<Item = (usize, ConnId, &'a [u8])>,
        short: &mut Vec<Short>,
    ) -> io::Result<()> {
        let promised = sends.len();
        let mut batch: Vec<(ConnId, &[u8], Vec<u8>)> = Vec::with_capacity(promised);
        for (place, id, bytes) in sends {
            assert!(batch.iter().all(|(other, ..)| *other != id), "{id:?} is in one batch twice");
            assert_eq!(place, batch.len());
            let result = self.take(id, bytes);
            batch.push((id, bytes, bytes.to_vec()));
            if result != bytes.len() as i32 {
                short.push(Short { place, result });
            }
        }
        assert!(promised == batch.len() && (1..=BATCH_SENDS).contains(&promised));
        assert!(batch.iter().all(|(_, bytes, copy)| bytes == copy), "the batch keeps still");
        if self.rng.random() {
            short.reverse();
        }
        // It need not look each time.
        if self.rng.random_bool(0.9) {
            self.look();
        }
        Ok(())
    }

    fn poll(&mut self) -> io::Result<()> {
        self.look();
        Ok(())
    }

    fn is_idle(&self) -> bool {
        matches!(self.look, Look::Over)
    }

    fn wait(&mut self, _: Option<Duration>) -> io::Result<()> {
        assert!(self.is_idle(), "it sleeps, and has not been handed in what has been seen");
        self.poll()
    }

    fn next(&mut self) -> io::Result<Option<Happened<'_, Knock>>> {
        // Dropped without a name.
        if let Some(client) = self.nameless.take() {
            self.clients[client].gone = true;
        }
        if self.share == 0 {
            self.asked_for_more = true;
            return Ok(None);
        }
        self.share -= 1;
        Ok(self.next_happened())
    }

    fn report(&mut self, id: ConnId, report: &Report) {
        let (step, now) = (self.step, self.now);
        let (socket, client) = self.socket(id);
        match report.reason {
            Reason::TooSlow(_) | Reason::PongMissing => {
                let steady = client.is_steady() && !client.finished;
                assert!(!steady, "{client:?} is given up for nothing: {report:?} at {now:?}");
                client.given_up = true;
            }
            Reason::Overflow { .. } => {
                // It may have been told of room behind the batch in which this was found.
                let had_none = socket.refused || socket.had_room + 1 == step;
                assert!(had_none, "{id:?} has been closed though its socket took everything");
                self.overflown = Some(id);
            }
            _ => {}
        }
    }

    fn taking(&mut self, entry: &Down) {
        self.book.taken(self.place, entry);
    }

    fn asking(&mut self, question: &Up) {
        self.book.asked(self.place, question);
    }
}
