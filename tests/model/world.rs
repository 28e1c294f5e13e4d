//! The whole server less the kernel, under one seed on one thread: a few shards, the hub, the lanes
//! between them, publishers and clients. Everyone's turns, time, and what each socket takes are
//! drawn from the seed. Module `ending`: how it ends.

mod ending;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::access::Pattern;
use roadcast::ending::Ending;
use roadcast::hub::ShutdownHandle;
use roadcast::limits::Limits;
use roadcast::policy::{History, OnGap, Policies, TopicRule};
use roadcast::shard::{BATCH_SENDS, ConnectionBudget, Dropped, Shard, ShardConfig, ShardCounters};

use super::book::Book;
use super::client::{Client, Ended, Goodbye};
use super::desk::{self, Desk};
use super::host::Host;
use super::hub::Hub;
use super::{lanes, limits, rig};

pub struct World {
    pub rng: SmallRng,
    pub limits: Limits,
    pub hub: Hub,
    /// Where somebody is asked who may connect and join.
    pub desk: Option<Desk>,
    pub hosts: Vec<Host>,
    pub clients: Vec<Client>,
    budget: Arc<ConnectionBudget>,
    shutdown: ShutdownHandle,
    ending: Arc<Ending>,
    epoch: Instant,
    now: Duration,
    grace: Duration,
    drain: Duration,
    /// Clients at a time, at most.
    crowd: usize,
    /// How often somebody connects.
    rush: f64,
    topics: u16,
    /// Publishers at a time, at most.
    pub publishers: usize,
    /// How often a publisher that may makes a call.
    pub talk: f64,
    /// Polls of the hub in one step, at most.
    polls: u32,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let limits = limits::random(&mut rng);
        assert_eq!(limits.check(), [], "limits that fit together");
        let mut config: ShardConfig = rig::config(limits.clone());
        let patterns = |texts: &[&str]| -> Vec<Pattern> {
            texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
        };
        config.policies = match rng.random_range(0..3) {
            0 => Policies::default(),
            1 => Policies { skip: patterns(&["t0", "t5"]), ..Policies::default() },
            _ => {
                let (skip, disconnect) = (patterns(&["t*"]), patterns(&["t3"]));
                Policies { skip, disconnect, ..Policies::default() }
            }
        };
        // Topics that the memory broker alone has. Many lives are over before the longer times are.
        let keeps = rng.random_bool(0.7);
        let long = rng.random_bool(0.6);
        if keeps {
            let seconds = if long { 3_600 } else { rng.random_range(1..4) };
            let (size, ttl) = ([1, 3, 20][rng.random_range(0..3)], Duration::from_secs(seconds));
            let history = Some(History { size, ttl, idle: ttl });
            let rule = |pattern: Pattern| TopicRule { pattern, overflow: None, history };
            config.policies.topics = patterns(&["b0", "b2", "b4"]).into_iter().map(rule).collect();
        }
        config.shutdown_grace = Duration::from_millis([500, 4_000][rng.random_range(0..2)]);
        config.on_gap = [OnGap::Silent, OnGap::Silent, OnGap::Close][rng.random_range(0..3)];
        config.drain = Duration::from_millis([0, 0, 0, 200, 600][seed as usize % 5]);
        let asks = rng.random_bool(0.4);
        config.access = asks.then(desk::config);
        let config = Arc::new(config);
        let budget = Arc::new(ConnectionBudget::new(limits.connections));
        // More subscribers than a batch has sends, or some on each of a few shards.
        let crowded = rng.random_bool(0.15);
        let (shards, crowd, rush, topics) = match crowded {
            true => (1, 3 * BATCH_SENDS, 0.98, 2),
            false => (rng.random_range(1..=4), rng.random_range(2..30), 0.2, 8),
        };
        let (questions, epoch) = ([1, 2, 1024][rng.random_range(0..3)], Instant::now());
        let (hub, mut ends) = lanes::mesh(shards, &limits, questions, epoch);
        let desk = asks.then(|| Desk::new(lanes::desk(&mut ends, questions), &mut rng));
        let (shutdown, ending) = (ShutdownHandle::new(&hub), hub.ending.clone());
        let depths: Vec<_> = hub.down.iter().map(|lane| lane.depth()).collect();
        let mut pick = |values: &[f64]| values[rng.random_range(0..values.len())];
        let host = |(place, lanes): (usize, _)| {
            let counters = Arc::new(ShardCounters::default());
            let shard =
                Shard::new(config.clone(), counters.clone(), budget.clone()).reporting_all();
            let pace = if place == 0 { pick(&[0.1, 0.5, 1.0, 1.0]) } else { 1.0 };
            Host::new(place, shard, counters, lanes, epoch, (config.shutdown_grace, pace))
        };
        let mut hosts: Vec<Host> = ends.into_iter().zip(depths).enumerate().map(host).collect();
        for (host, depth) in hosts.iter_mut().zip(desk.iter().flat_map(Desk::depths)) {
            host.words = Some(depth);
        }
        let mut book = Book::new(shards, config.policies.clone());
        book.asks = asks;
        book.kept.all = long && limits.history_bytes > 1 << 20;
        book.kept.publication_bytes = limits.publication_bytes;
        book.kept.outbox_bytes = limits.outbox_bytes;
        book.losses.closes = config.on_gap == OnGap::Close;
        let tight = limits.asks_bytes < 1 << 30 || limits.sessions_bytes < 1 << 30;
        book.desk_fails = tight || desk.as_ref().is_some_and(|desk| desk.fails);
        Self {
            hub: Hub::new(hub, &limits, book, &mut rng),
            desk,
            hosts,
            publishers: rng.random_range(1..5),
            talk: [0.05, 0.2, 0.7][rng.random_range(0..3)],
            polls: [2, 10, 30][rng.random_range(0..3)],
            clients: Vec::new(),
            crowd,
            rush,
            topics,
            shutdown,
            ending,
            epoch,
            now: Duration::ZERO,
            grace: config.shutdown_grace,
            drain: config.drain,
            budget,
            limits,
            rng,
        }
    }

    /// One life of a server, from its start to its end. Returns what has been counted, and a number
    /// that two lives share only if everything in them was the same.
    pub fn live(seed: u64) -> (BTreeMap<String, u64>, u64) {
        let mut world = Self::new(seed);
        for _ in 0..world.rng.random_range(50..300) * 80 / world.crowd.max(80) {
            world.act();
            world.step();
        }
        // Some are shut down in the midst of it all.
        if world.rng.random() {
            world.come_to_rest();
            world.check_complete();
            if world.rng.random() {
                world.leave_all_topics();
            }
        }
        world.shut_down();
        (world.counts(), world.rng.random())
    }

    fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts: BTreeMap<String, u64> = BTreeMap::new();
        let hub = self.hub.counters.each().map(|(name, count)| (format!("hub: {name}"), count));
        counts.extend(hub);
        for host in &self.hosts {
            let balance = host.shard().standing().balance;
            let dropped =
                Dropped::ALL.into_iter().map(|reason| (reason.name(), balance.dropped(reason)));
            for (name, count) in host.counters.each().chain(dropped) {
                *counts.entry(name.to_owned()).or_default() += count;
            }
            for (name, count) in host.loop_counters.each() {
                *counts.entry(format!("loop: {name}")).or_default() += count;
            }
        }
        let bus = ["losses", "topics given up", "publications refused"];
        for (name, count) in bus.into_iter().zip(self.hub.book.losses.counts) {
            counts.insert(format!("bus: {name}"), count);
        }
        counts.insert("bus: deaths".to_owned(), self.hub.bus.borrow().deaths);
        let answers = self.hub.publishers.iter().map(|publisher| publisher.answers).sum();
        counts.insert("publishers: answers".to_owned(), answers);
        counts.insert(
            "clients: read in all".to_owned(),
            self.clients.iter().map(|client| client.read_in_all as u64).sum(),
        );
        counts
    }

    /// Everyone but the hub and the shards does something.
    fn act(&mut self) {
        let mut here = self.clients.iter().filter(|client| !client.gone).count();
        while here < self.crowd && self.rng.random_bool(self.rush) {
            self.connect();
            here += 1;
        }
        self.publish();
        for place in 0..self.clients.len() {
            // A crowd is there for its topics.
            let idle = self.rush > 0.5 && self.clients[place].topics().next().is_none();
            if self.clients[place].is_talking()
                && self.rng.random_bool(if idle { 0.5 } else { 0.05 })
            {
                self.say_something(place);
            }
        }
    }

    /// A topic for a broker. The first ones are the hottest.
    pub fn random_topic(&mut self, broker: u16) -> String {
        if self.rng.random_bool(0.3) {
            return self.topic_of_one_broker(broker);
        }
        format!("t{}", self.random_number())
    }

    /// A topic that nobody joins in any other broker, so that who reads a publication to all
    /// brokers knows its topic.
    pub fn topic_of_one_broker(&mut self, broker: u16) -> String {
        format!("b{}", self.random_number() / 2 * 2 + broker)
    }

    fn random_number(&mut self) -> u16 {
        self.rng.random_range(0..self.topics).min(self.rng.random_range(0..self.topics))
    }

    /// Hub and shards each have a turn, and time passes.
    fn step(&mut self) {
        self.now += Duration::from_millis(self.rng.random_range(0..15));
        self.hub.set_now(self.now);
        for _ in 0..self.rng.random_range(0..=self.polls) {
            if !self.hub.poll(&mut self.rng) {
                break;
            }
            self.hosts.iter_mut().for_each(Host::check_woken);
        }
        if let Some(desk) = &mut self.desk {
            desk.step(&mut self.rng);
            self.hosts.iter_mut().for_each(Host::check_woken);
        }
        for host in &mut self.hosts {
            self.hub.book.tick();
            host.turn(self.now, &mut self.clients, &mut self.hub.book, &mut self.rng);
        }
        for publisher in &mut self.hub.publishers {
            publisher.read(&self.hub.book, self.hub.stopping, &mut self.rng);
        }
        self.hub.book.tick();
        for client in &mut self.clients {
            client.read(self.rng.random_range(0..=client.reads), &self.hub.book, &self.limits);
            if (client.finished || client.ended == Some(Ended::Refused)) && client.kernel.is_empty()
            {
                client.check_finished();
                // Some wait for the server's deadline.
                if client.goodbye.is_none_or(|goodbye| goodbye != Goodbye::Reset)
                    && client.capacity != 9_999
                {
                    client.goodbye = Some(Goodbye::End);
                }
            }
        }
    }

    fn is_quiet(&mut self) -> bool {
        let done = |client: &Client| {
            let idle =
                client.reads == 0 || (client.kernel.is_empty() && client.outgoing.is_empty());
            client.gone || (client.goodbye.is_none() && idle)
        };
        self.hub.is_quiet()
            // Shards that have come to their end hear nothing any more.
            && (self.hosts.iter().all(Host::has_ended)
                || self.desk.as_ref().is_none_or(Desk::is_quiet))
            && self.hosts.iter_mut().all(|host| host.is_quiet(&self.clients))
            && self.clients.iter().all(done)
    }

    /// Lets everything under way come to its end.
    fn come_to_rest(&mut self) {
        for client in &mut self.clients {
            if client.reads > 0 {
                client.reads = usize::MAX;
            }
        }
        self.hub.bus.borrow_mut().calm = true;
        for _ in 0..5_000 {
            self.step();
            if self.is_quiet() {
                return;
            }
        }
        let clients: Vec<_> = self.clients.iter().filter(|client| !client.gone).collect();
        let loops: Vec<_> =
            self.hosts.iter_mut().map(|host| host.is_quiet(&self.clients)).collect();
        panic!("no rest: {:?}, loops {loops:?}, {clients:?}", self.hub);
    }

    fn check_complete(&mut self) {
        self.hub.check_complete();
        for client in self.clients.iter().filter(|client| client.is_talking() && client.reads > 0) {
            client.check_complete(&self.hub.book, self.newest_dropped(client));
        }
    }

    /// Whether a topic that skips may have dropped the newest publication for a client.
    fn newest_dropped(&self, client: &Client) -> bool {
        self.hosts[client.host].counters.newest_dropped.value() > 0
    }

    /// What clients missed in topics that skip has been counted, and what was delivered is what
    /// they were sent.
    fn check_gaps(&self) {
        for (place, host) in self.hosts.iter().enumerate() {
            let here = || self.clients.iter().filter(|client| client.host == place);
            let balance = host.shard().standing().balance;
            let missed: u64 = here().map(|client| client.missed).sum();
            assert!(missed <= balance.dropped(Dropped::Skipped), "{missed} missed, {balance:?}");
            let read: u64 = here().map(|client| client.publications).sum();
            assert!(read <= balance.delivered, "{read} read, {balance:?}");
        }
    }

    /// Nobody wants any topic any more, and nothing of one is left.
    fn leave_all_topics(&mut self) {
        for place in 0..self.clients.len() {
            let client = &mut self.clients[place];
            if client.is_talking() && !client.echo && client.reads > 0 && self.rng.random_bool(0.5)
            {
                self.leave_everything(place);
            } else if client.goodbye.is_none() {
                client.goodbye = Some([Goodbye::End, Goodbye::Reset][self.rng.random_range(0..2)]);
            }
        }
        self.come_to_rest();
        self.check_complete();
        assert!(self.hub.book.wants_nothing(), "interest that nobody has");
        for host in &self.hosts {
            assert_eq!(host.counters.topics.value(), 0, "topics that nobody has joined");
            assert_eq!(
                host.shard().standing().subscriptions_bytes,
                0,
                "all that they cost is given back"
            );
        }
    }
}
