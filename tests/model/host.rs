//! A shard's thread: the loop as the server runs it, stepped, and sleeping as long as nothing wakes
//! it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::engine::{Loop, LoopCounters, Next};
use roadcast::lane::{Depth, Wake};
use roadcast::mesh::ShardEnd;
use roadcast::shard::{Shard, ShardCounters};

use super::book::Book;
use super::client::Client;
use super::fake::FakeBackend;
use super::wire;

pub struct Host {
    place: usize,
    event_loop: Loop<FakeBackend>,
    pub counters: Arc<ShardCounters>,
    pub loop_counters: Arc<LoopCounters>,
    /// Of its lane.
    depth: Depth,
    /// Of the lane from the desk, where there is one.
    pub words: Option<Depth>,
    wake: Arc<Wake>,
    grace: Duration,
    /// How often it takes anything from its lane in a turn.
    pace: f64,
    /// It takes much.
    pub hurries: bool,
}

impl Host {
    pub fn new(
        place: usize,
        shard: Shard,
        counters: Arc<ShardCounters>,
        (lanes, depth): (ShardEnd, Depth),
        epoch: Instant,
        (grace, pace): (Duration, f64),
    ) -> Self {
        let (wake, loop_counters) = (lanes.wake.clone(), Arc::new(LoopCounters::default()));
        let backend = FakeBackend::new(place, epoch, grace);
        let event_loop = Loop::new(shard, loop_counters.clone(), lanes, backend);
        Self {
            place,
            event_loop: event_loop.expect("the fake never fails"),
            counters,
            loop_counters,
            depth,
            words: None,
            wake,
            grace,
            pace,
            hurries: false,
        }
    }

    pub fn shard(&self) -> &Shard {
        self.event_loop.shard()
    }

    /// Whether the loop has come to its end.
    pub fn has_ended(&self) -> bool {
        self.event_loop.next() == Next::End
    }

    pub fn is_listening(&mut self) -> bool {
        self.event_loop.backend().listening
    }

    /// A client knocks.
    pub fn connect(&mut self, client: usize) {
        self.event_loop.backend().backlog.push_back(client);
    }

    /// The signal has come.
    pub fn shutdown_began(&mut self, now: Duration, drain: Duration) {
        self.event_loop.backend().abort_at = Some(now + drain + self.grace);
    }

    /// Whether nothing is under way but what waits for clients that never read.
    pub fn is_quiet(&mut self, clients: &[Client]) -> bool {
        let shard = self.event_loop.shard();
        let quiet = !shard.has_work() && !shard.has_questions() && !shard.has_asks();
        let quiet = quiet && self.depth.entries() == 0 && self.words_waiting() == 0;
        self.has_ended() || (quiet && self.event_loop.backend().is_quiet(clients))
    }

    /// One turn of the loop, if it is awake or there is a reason to wake up.
    pub fn turn(
        &mut self,
        now: Duration,
        clients: &mut Vec<Client>,
        book: &mut Book,
        rng: &mut SmallRng,
    ) {
        if self.event_loop.next() == Next::Look {
            self.step(now, clients, book, rng);
        }
        if let Next::Sleep(until) = self.event_loop.next() {
            let due = until.is_some_and(|at| at <= now);
            if !(self.is_woken() || due || self.event_loop.backend().is_stirred(clients)) {
                return;
            }
            self.step(now, clients, book, rng);
            // Now and then time passes between a wake-up and its turn, and others go on.
            if rng.random() {
                return;
            }
        }
        if self.has_ended() {
            return self.event_loop.backend().forget_backlog(clients);
        }
        self.step(now, clients, book, rng);
        let shard = self.event_loop.shard();
        assert!(shard.wants_entries() || shard.has_work(), "a full log that nobody will sweep");
        shard.check_invariants();
    }

    fn step(
        &mut self,
        now: Duration,
        clients: &mut Vec<Client>,
        book: &mut Book,
        rng: &mut SmallRng,
    ) {
        let most = match self.hurries {
            true => 64,
            false if rng.random_bool(self.pace) => 8,
            false => 1,
        };
        self.event_loop.set_lane_turn(rng.random_range(0..most));
        self.event_loop.backend().begin_step(now, clients, book, rng);
        self.event_loop.step().expect("the fake never fails");
        self.event_loop.backend().end_step(clients, book, rng);
    }

    fn words_waiting(&self) -> u64 {
        self.words.as_ref().map_or(0, Depth::entries)
    }

    /// Whether its wake-up has been signalled.
    fn is_woken(&mut self) -> bool {
        let backend = self.event_loop.backend();
        backend.woken = backend.woken || wire::is_signalled(&self.wake);
        backend.woken
    }

    /// A loop that sleeps has been woken for what is in its lane.
    pub fn check_woken(&mut self) {
        let asleep = matches!(self.event_loop.next(), Next::Sleep(_));
        let entries = self.depth.entries() > 0 && self.shard().wants_entries();
        if asleep && (entries || self.words_waiting() > 0) {
            assert!(self.is_woken(), "shard {} sleeps, and its lane is not empty", self.place);
        }
    }

    /// At the end nothing is queued, and others read what the shard knows.
    pub fn check_end(&self) {
        let standing = self.counters.standing();
        assert_eq!(standing, self.shard().standing());
        let balance = standing.balance;
        assert_eq!((balance.queued_logs, balance.queued_outboxes), (0, 0), "{balance:?}");
        assert!(balance.holds(), "{balance:?}");
    }
}
