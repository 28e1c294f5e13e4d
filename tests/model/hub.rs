//! The runtime around the hub: one poll at a time, of whichever task the seed says.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::hub::{
    BrokerRules, Calls, Core, Driver, HubConfig, HubCounters, Peer, Runtime, Said,
};
use roadcast::lane::{Depth, Wake};
use roadcast::limits::Limits;
use roadcast::mesh::{BrokerId, HubEnd};

use super::book::{BUS, Book};
use super::bus::{self, Bus, BusBroker, Told};
use super::pipe::{self, Pipe, Socket};
use super::publisher::{Manner, Publisher};
use super::tasks::Tasks;
use super::wire;

pub struct Hub {
    core: Rc<Core>,
    said: Rc<Said>,
    pub counters: Arc<HubCounters>,
    pub book: Book,
    /// The task of each publisher's connection has its place, behind that of the bus.
    pub publishers: Vec<Publisher>,
    tasks: Tasks,
    /// The broker that takes its time, and the place of its task.
    pub bus: Rc<RefCell<Bus>>,
    bus_task: usize,
    wake: Arc<Wake>,
    depths: Vec<Depth>,
    asleep: bool,
    /// The wake-up has been signalled.
    woken: bool,
    pub stopping: bool,
    /// Publications that were answered ok and have gone nowhere, since the end came.
    lost: u64,
}

impl Hub {
    pub fn new(end: HubEnd, limits: &Limits, book: Book, rng: &mut SmallRng) -> Self {
        let brokers = vec![("memory".into(), Driver::Memory), ("bus".into(), Driver::Memory)];
        let counters = Arc::new(HubCounters::new(["memory", "bus"]));
        let config = HubConfig {
            runtime: Runtime::Plain,
            rpc: None,
            brokers,
            default_broker: BrokerId(0),
            broker_rules: BrokerRules::default(),
            policies: book.policies.clone(),
            limits: Arc::new(limits.clone()),
            counters: counters.clone(),
            drain: Duration::ZERO,
            shutdown_grace: Duration::ZERO,
        };
        let (wake, depths) = (end.wake.clone(), end.down.iter().map(|lane| lane.depth()).collect());
        let bus = Bus::new(rng);
        let core = Core::with_brokers(&config, end, &mut |name, driver, inlet, status| {
            if name == "bus" {
                return Box::new(BusBroker::new(&bus, inlet));
            }
            roadcast::hub::open(&config, name, driver, inlet, status)
        });
        let mut tasks = Tasks::default();
        let bus_task = tasks.spawn(bus::run(bus.clone()));
        Self {
            core: Rc::new(core),
            said: Rc::default(),
            counters,
            book,
            publishers: Vec::new(),
            tasks,
            bus,
            bus_task,
            wake,
            depths,
            asleep: false,
            woken: false,
            stopping: false,
            lost: 0,
        }
    }

    pub fn connect(&mut self, manner: Manner, rng: &mut SmallRng) {
        let capacity = [10, 300, 100_000][rng.random_range(0..3)];
        let pipe = Pipe::new(rng, capacity);
        let socket = Socket(pipe.clone());
        let (core, said) = (self.core.clone(), self.said.clone());
        let calls = Calls::new(core, said, socket.clone(), Peer::Unix);
        let task = self.tasks.spawn(pipe::serve(calls, socket));
        let place = self.publisher_at(task);
        self.publishers.push(Publisher::new(place, manner, pipe, rng));
    }

    /// Time passes: who waits for it looks.
    pub fn set_now(&mut self, now: Duration) {
        self.core.set_now(now);
        self.bus.borrow_mut().set_now(now);
        self.hear_bus();
        for publisher in &self.publishers {
            let mut pipe = publisher.pipe.borrow_mut();
            pipe.now = now;
            if pipe.is_full() {
                pipe.wake();
            }
        }
    }

    /// Polls one task that is due; `false`: there is none.
    pub fn poll(&mut self, rng: &mut SmallRng) -> bool {
        self.woken = self.woken || wire::is_signalled(&self.wake);
        let due = self.tasks.woken();
        let watch_due = !self.asleep || self.woken;
        if due.is_empty() && !watch_due {
            return false;
        }
        self.book.tick();
        match due.get(rng.random_range(0..due.len() + usize::from(watch_due))) {
            None => self.watch(),
            Some(&place) if place == self.bus_task => {
                self.tasks.poll(place);
                self.hear_bus();
            }
            Some(&place) => self.poll_publisher(place),
        }
        true
    }

    /// The book hears what the broker that takes its time has said.
    fn hear_bus(&mut self) {
        let told = std::mem::take(&mut self.bus.borrow_mut().told);
        for told in told {
            if let Told::Refused { topic, message, ends_call: true } = &told {
                let key = (BUS, topic.clone());
                let rest = self.publishers[message.publisher].drop_rest(&key, *message);
                self.book.losses.never_published(rest);
            }
            self.book.told(told);
        }
    }

    /// The task that answers shards.
    fn watch(&mut self) {
        if std::mem::take(&mut self.asleep) {
            self.woken = false;
            self.core.stay_awake();
        }
        let turned = self.core.turn();
        let told = std::mem::take(&mut self.bus.borrow_mut().told);
        assert!(told.iter().all(|told| matches!(told, Told::Wanted(..))), "{told:?}");
        self.book.hub_took_questions(told, &self.core);
        if !turned {
            self.core.fall_asleep();
            self.asleep = self.core.may_sleep();
        }
    }

    fn poll_publisher(&mut self, place: usize) {
        let before = self.counters.publications.value();
        self.tasks.poll(place);
        self.hear_bus();
        let place = self.publisher_at(place);
        if self.stopping {
            // Some are refused, and nobody knows yet which.
            return;
        }
        for _ in before..self.counters.publications.value() {
            let offered = self.publishers[place].next_offer();
            let (key, message) = offered.expect("only what was asked for is published");
            if self.book.losses.ended_call(&key, message) {
                let rest = self.publishers[place].drop_rest(&key, message);
                self.book.losses.never_published(rest);
            }
            self.book.offered(key, message);
        }
    }

    /// Which publisher's task has this place: the bus has the first.
    fn publisher_at(&self, place: usize) -> usize {
        place - 1
    }

    pub fn is_quiet(&mut self) -> bool {
        self.woken = self.woken || wire::is_signalled(&self.wake);
        self.asleep
            && !self.woken
            && self.book.has_no_questions()
            && self.tasks.woken().is_empty()
            && !self.core.is_busy()
            && self.depths.iter().all(|depth| depth.entries() == 0)
            && self.publishers.iter().all(Publisher::is_quiet)
            && self.bus.borrow().is_quiet()
    }

    /// Nothing is under way: every publication is accounted for.
    pub fn check_complete(&mut self) {
        assert_eq!(self.core.topics(), self.book.topics(), "topics that somebody wants");
        assert_eq!(
            self.counters.publications_pushed.value(),
            self.book.publications,
            "what was pushed is taken"
        );
        self.book.check_order();
        self.book.losses.check_told();
        let wanted = self.book.drained || !self.book.wants_nothing();
        assert!(wanted || self.bus.borrow().wants_nothing(), "a topic that nobody wants");
        let mut lost = 0;
        for publisher in &mut self.publishers {
            if self.stopping {
                publisher.offers.clear();
            }
            publisher.check_complete();
            lost += publisher.check_promises(&self.book);
        }
        assert!(lost == 0 || self.book.drained, "{lost} lost");
        self.lost = lost;
    }

    /// Shutting down begins.
    pub fn stop_accepting(&mut self) {
        self.stopping = true;
        self.core.stop_accepting();
    }

    pub fn is_busy(&self) -> bool {
        self.core.is_busy()
    }

    /// The lanes get their last entry.
    pub fn drain(&mut self) {
        // What shards have asked by now is answered, if the hub has seen it.
        self.book.drained = true;
        self.book.goodbyes = true;
        self.core.drain();
    }

    /// Connections are ended; nothing of them is left.
    pub fn close(&mut self, rng: &mut SmallRng) {
        for publisher in &mut self.publishers {
            let mut pipe = publisher.pipe.borrow_mut();
            pipe.reset = true;
            pipe.wake();
        }
        for _ in 0..100_000 {
            if !self.poll(rng) {
                break;
            }
        }
        assert!(!self.core.is_busy() && self.asleep, "the hub does not come to rest");
        assert!(
            (1..=self.publishers.len()).all(|place| self.tasks.is_done(place)),
            "a connection does not end"
        );
        let failures = self.counters.failures_after_ok.value();
        assert!(self.lost == 0 || failures > 0, "{} lost, {failures} counted", self.lost);
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let restless: Vec<_> =
            self.publishers.iter().filter(|publisher| !publisher.is_quiet()).collect();
        f.debug_struct("Hub")
            .field("asleep", &(self.asleep, self.woken))
            .field("busy", &self.core.is_busy())
            .field("woken", &self.tasks.woken())
            .field("lanes", &self.depths.iter().map(Depth::entries).collect::<Vec<_>>())
            .field("restless", &restless)
            .field("bus", &self.bus.borrow())
            .finish()
    }
}
