//! The event loop around one shard, with fake sockets: one turn at a time, everything that may vary
//! drawn from the seed.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::mesh::ShardEnd;
use roadcast::shard::{BATCH_SENDS, ConnId, Reason, Report, Shard, ShardCounters, Task};

use super::book::Book;
use super::client::{Client, Goodbye};
use super::wire;

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
    end_told: bool,
    /// Turns until its last completion has come.
    closing: Option<u32>,
}

/// How far a loop that has nothing to do has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleep {
    Awake,
    /// It has said that it sleeps, and has not looked again.
    Said,
    Asleep,
}

pub struct Host {
    place: usize,
    pub shard: Shard,
    pub counters: Arc<ShardCounters>,
    pub accepting: bool,
    lanes: ShardEnd,
    sockets: Vec<Socket>,
    /// Connections that are gone, whose completions may still come.
    former: Vec<ConnId>,
    tasks: Vec<Task>,
    /// When whoever is left may be terminated.
    abort_at: Option<Duration>,
    grace: Duration,
    sleep: Sleep,
    /// Its wake-up has been signalled.
    woken: bool,
    /// Something may have happened on its sockets.
    stirred: bool,
    /// How often it takes anything from its lane in a turn.
    pub pace: f64,
    /// It takes much.
    pub hurries: bool,
}

impl Host {
    pub fn new(
        place: usize,
        shard: Shard,
        counters: Arc<ShardCounters>,
        lanes: ShardEnd,
        grace: Duration,
        pace: f64,
    ) -> Self {
        Self {
            place,
            shard,
            counters,
            accepting: true,
            lanes,
            sockets: Vec::new(),
            former: Vec::new(),
            tasks: Vec::new(),
            abort_at: None,
            grace,
            sleep: Sleep::Awake,
            woken: false,
            stirred: false,
            pace,
            hurries: false,
        }
    }

    /// The signal has come.
    pub fn shutdown_began(&mut self, now: Duration, drain: Duration) {
        self.abort_at = Some(now + drain + self.grace);
        self.shard.shutdown_began(now);
        self.stirred = true;
    }

    pub fn accept(&mut self, client: usize) -> Option<ConnId> {
        self.stirred = true;
        let id = self.shard.accepted()?;
        assert!(
            self.sockets.iter().all(|socket| socket.id.index != id.index),
            "a slot holds one connection"
        );
        self.sockets.push(Socket {
            id,
            client,
            receiving: false,
            on_their_way: 0,
            watching: false,
            refused: false,
            end_told: false,
            closing: None,
        });
        Some(id)
    }

    /// Whether nothing is under way but what waits for clients that never read.
    pub fn is_quiet(&self, clients: &[Client]) -> bool {
        // Refused and not watched: it rests.
        let lags = |socket: &Socket| socket.watching || socket.refused;
        let waits = |socket: &Socket| lags(socket) && clients[socket.client].reads > 0;
        self.lanes.down.is_empty()
            && self.tasks.is_empty()
            && !self.shard.has_work()
            && !self.shard.has_questions()
            && self.sockets.iter().all(|socket| socket.closing.is_none() && !waits(socket))
    }

    /// One turn of the loop, if it is awake or there is a reason to wake up.
    pub fn turn(
        &mut self,
        now: Duration,
        clients: &mut [Client],
        book: &mut Book,
        rng: &mut SmallRng,
    ) {
        if !self.is_awake(now, clients) {
            return;
        }
        self.shard.set_now(now);
        let most = match self.hurries {
            true => 64,
            false if rng.random_bool(self.pace) => 8,
            false => 1,
        };
        for _ in 0..rng.random_range(0..most) {
            if !self.shard.wants_entries() {
                break;
            }
            let Some(entry) = self.lanes.down.pop() else { break };
            book.taken(self.place, &entry);
            self.shard.take(entry);
        }
        self.carry_out_tasks(now, clients);
        self.ask(book, rng);
        self.send_batch(clients, rng);
        assert!(
            self.shard.wants_entries() || self.shard.has_work(),
            "a full log that nobody will sweep"
        );
        // What a laggard brings on itself shows in the tasks before its socket has room again.
        self.collect_tasks();
        self.complete(clients, rng);
        self.shard.expire();
        self.shard.check_invariants();
        self.rest();
    }

    fn ask(&mut self, book: &mut Book, rng: &mut SmallRng) {
        let mut asked = false;
        while let Some(question) = self.shard.next_question() {
            if rng.random_bool(0.2) {
                // As if the lane were full; the next turn comes by itself.
                self.shard.return_question(question);
                break;
            }
            book.asked(self.place, &question);
            self.lanes.up.push(0, question).expect("few questions");
            asked = true;
        }
        if asked {
            self.lanes.up.wake();
        }
    }

    /// With nothing to do the loop says that it sleeps, and looks once more before it does.
    fn rest(&mut self) {
        if !self.tasks.is_empty() || self.shard.has_work() || self.shard.is_done() {
            return;
        }
        self.lanes.wake.fall_asleep();
        self.sleep = Sleep::Said;
    }

    fn is_awake(&mut self, now: Duration, clients: &[Client]) -> bool {
        if self.sleep == Sleep::Said {
            let entries = self.shard.wants_entries() && !self.lanes.down.is_empty();
            let questions = self.shard.has_questions() && self.lanes.up.has_room(0);
            self.sleep = if entries || questions { Sleep::Awake } else { Sleep::Asleep };
        }
        if self.sleep == Sleep::Asleep {
            self.look_at_wake();
            let due = self.shard.next_deadline().is_some_and(|at| at <= now);
            if !(self.woken || due || std::mem::take(&mut self.stirred) || self.is_stirred(clients))
            {
                return false;
            }
            self.sleep = Sleep::Awake;
        }
        self.woken = false;
        self.lanes.wake.stay_awake();
        true
    }

    fn look_at_wake(&mut self) {
        self.woken = self.woken || wire::is_signalled(&self.lanes.wake);
    }

    /// Whether completions may come from its sockets.
    fn is_stirred(&self, clients: &[Client]) -> bool {
        self.sockets.iter().any(|socket| {
            let client = &clients[socket.client];
            let input = !client.outgoing.is_empty() || client.goodbye.is_some();
            let hears = socket.receiving || socket.on_their_way > 0;
            socket.watching || socket.closing.is_some() || (hears && input && !socket.end_told)
        })
    }

    /// A loop that sleeps has been woken for what is in its lane.
    pub fn check_woken(&mut self) {
        if self.sleep == Sleep::Asleep && !self.lanes.down.is_empty() && self.shard.wants_entries()
        {
            self.look_at_wake();
            assert!(self.woken, "shard {} sleeps, and its lane is not empty", self.place);
        }
    }

    /// At the end nothing is queued, and others read what the shard knows.
    pub fn check_end(&self) {
        self.shard.publish_standing();
        let standing = self.counters.standing();
        assert_eq!(standing, self.shard.standing());
        let balance = standing.balance;
        assert_eq!((balance.queued_logs, balance.queued_outboxes), (0, 0), "{balance:?}");
        assert!(balance.holds(), "{balance:?}");
    }

    fn send_batch(&mut self, clients: &mut [Client], rng: &mut SmallRng) {
        let sends = self.shard.plan();
        let batch: Vec<(usize, ConnId, Vec<u8>)> =
            self.shard.batch().map(|(place, id, bytes)| (place, id, bytes.to_vec())).collect();
        assert!(sends == batch.len() && sends <= BATCH_SENDS);
        for (at, (place, id, bytes)) in batch.iter().enumerate() {
            assert!(
                batch[..at].iter().all(|(_, other, _)| other != id),
                "{id:?} is in one batch twice"
            );
            let socket =
                self.sockets.iter_mut().find(|socket| socket.id == *id).expect("it has a socket");
            let client = &mut clients[socket.client];
            assert!(
                !bytes.is_empty()
                    && !socket.refused
                    && socket.closing.is_none()
                    && !client.finished
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
            if result != bytes.len() as i32 {
                socket.refused = true;
                self.shard.book(*place, result);
            }
        }
        let still = self.shard.batch().map(|(_, id, bytes)| (id, bytes));
        assert!(
            still.eq(batch.iter().map(|(_, id, bytes)| (*id, &bytes[..]))),
            "the batch keeps still"
        );
        if sends > 0 {
            self.shard.settle();
        }
    }

    fn collect_tasks(&mut self) {
        while let Some(task) = self.shard.next_task() {
            if let Task::Report(id, Report { reason: Reason::Overflow { .. }, .. }) = task {
                let socket =
                    self.sockets.iter().find(|socket| socket.id == id).expect("it has a socket");
                assert!(socket.refused, "{id:?} has been closed though its socket took everything");
            }
            self.tasks.push(task);
        }
    }

    fn carry_out_tasks(&mut self, now: Duration, clients: &mut [Client]) {
        self.collect_tasks();
        let mut overflown = None;
        for task in std::mem::take(&mut self.tasks) {
            let (Task::Receive(id)
            | Task::PauseReceive(id)
            | Task::WatchWritable(id)
            | Task::Measure(id)
            | Task::FinishSending(id)
            | Task::Terminate { id, .. }
            | Task::Report(id, _)) = task
            else {
                self.accepting = false;
                let at = now + self.grace;
                self.abort_at = Some(self.abort_at.map_or(at, |known| known.min(at)));
                continue;
            };
            let Some(socket) = self.sockets.iter_mut().find(|socket| socket.id == id) else {
                panic!("{task:?} for a connection that has been released")
            };
            let client = &mut clients[socket.client];
            match task {
                Task::Receive(_) => {
                    assert!(
                        !std::mem::replace(&mut socket.receiving, true),
                        "{id:?} receives already"
                    );
                }
                Task::PauseReceive(_) => {
                    assert!(
                        std::mem::replace(&mut socket.receiving, false),
                        "{id:?} is paused already"
                    );
                    socket.on_their_way = 2;
                }
                Task::WatchWritable(_) => {
                    assert!(
                        !std::mem::replace(&mut socket.watching, true),
                        "{id:?} is watched already"
                    );
                }
                Task::Measure(_) => {
                    let outstanding = client.kernel.len();
                    self.shard.measured(id, client.read_in_all as u64, outstanding);
                }
                Task::FinishSending(_) => client.finished = true,
                Task::Terminate { abort, .. } => {
                    // In the middle of a frame no Close can be said.
                    client.given_up |= abort && overflown == Some(id) && !client.is_steady();
                    let aborted = self.abort_at.is_some_and(|at| at <= now);
                    let awaited =
                        client.finished || client.goodbye.is_some() || client.given_up || aborted;
                    assert!(
                        awaited || !client.is_upgraded(),
                        "{client:?} is terminated for nothing"
                    );
                    socket.closing = Some(2);
                }
                Task::Report(
                    _,
                    Report { reason: Reason::TooSlow(_) | Reason::PongMissing, .. },
                ) => {
                    let steady = client.is_steady() && !client.finished;
                    assert!(!steady, "{client:?} is given up for nothing: {task:?} at {now:?}");
                    client.given_up = true;
                }
                Task::Report(_, Report { reason: Reason::Overflow { .. }, .. }) => {
                    overflown = Some(id)
                }
                Task::Report(..) | Task::StopAccepting => {}
            }
        }
    }

    /// Hands in what has happened on the sockets by now.
    fn complete(&mut self, clients: &mut [Client], rng: &mut SmallRng) {
        for place in 0..self.sockets.len() {
            let socket = &mut self.sockets[place];
            let (id, client) = (socket.id, &mut clients[socket.client]);
            let ended = matches!(client.goodbye, Some(Goodbye::End | Goodbye::Reset))
                && (client.outgoing.is_empty() || client.goodbye == Some(Goodbye::Reset));
            let hears = socket.receiving || socket.on_their_way > 0 || socket.closing.is_some();
            if hears && !client.outgoing.is_empty() && rng.random_bool(0.8) {
                socket.on_their_way = socket.on_their_way.saturating_sub(1);
                let most = [1, 3, 17, 200, 4096, 65_536][rng.random_range(0..6)];
                let piece = most.min(client.outgoing.len());
                let mut bytes = client.outgoing[..piece].to_vec();
                client.outgoing.drain(..piece);
                self.shard.received(id, &mut bytes);
            } else if socket.receiving && ended && !socket.end_told && rng.random_bool(0.5) {
                socket.end_told = true;
                self.shard.ended(id);
            }
            let dead = client.goodbye == Some(Goodbye::Reset) || socket.closing.is_some();
            let room = dead || client.kernel.len() < client.capacity;
            if socket.watching && room && (dead || rng.random_bool(0.5)) {
                socket.watching = false;
                socket.refused = false;
                self.shard.writable(id);
            }
        }
        self.release(clients, rng);
        if let Some(&id) = self.former.get(rng.random_range(0..self.former.len().max(8))) {
            match rng.random_range(0..3) {
                0 => self.shard.received(id, &mut [0; 100]),
                1 => self.shard.writable(id),
                _ => self.shard.ended(id),
            }
        }
    }

    fn release(&mut self, clients: &mut [Client], rng: &mut SmallRng) {
        for place in (0..self.sockets.len()).rev() {
            let socket = &mut self.sockets[place];
            match &mut socket.closing {
                Some(0) if !socket.watching => {}
                Some(turns) => {
                    *turns = turns.saturating_sub(rng.random_range(0..2));
                    continue;
                }
                None => continue,
            }
            let socket = self.sockets.swap_remove(place);
            self.shard.released(socket.id);
            clients[socket.client].gone = true;
            self.former.push(socket.id);
        }
    }
}
