//! A broker whose server is elsewhere: it confirms topics late, delivers in order and late, loses
//! publications and says so, repeats nothing, dies and comes back, and gives up on topics that it
//! has not confirmed in time.
//!
//! What it has been asked and has said, in order, is its [`Told`]: the book compares it with what
//! travels on the lanes.

mod broker;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::hub::{Inlet, Patience, PublishError, Publishing, Wanting};
use roadcast::mesh::Unavailable;
use roadcast::publication::Payload;
use tokio::sync::oneshot::Sender;

use super::book::Message;

/// The error answer while its server is away.
pub const AWAY: &str = "the server of broker bus is away";

/// That a topic may take.
const WAIT: Duration = Duration::from_millis(400);

/// What the broker has been asked and has said, in order.
#[derive(Debug)]
pub enum Told {
    Wanted(String, Wanting),
    Confirmed(String),
    Unavailable(String),
    Lost(String),
    Delivered(String, Message),
    /// Not taken for sure.
    Refused {
        topic: String,
        message: Message,
        /// The rest of its call is not published.
        ends_call: bool,
    },
}

/// Where its caller hears what became of a publication.
struct Caller {
    hears: Sender<Result<(), PublishError>>,
    /// It goes on with its call only then.
    waits: bool,
}

/// On its way to the server.
enum Order {
    Subscribe(String, u32),
    Unsubscribe(String),
    Publish(String, Vec<u8>, Caller),
}

/// On its way from the server.
enum Event {
    Subscribed(String, u32),
    Message(String, Vec<u8>),
    Published(String, Message, Caller),
}

/// A topic that the process wants.
struct Want {
    /// Tells its subscription from earlier ones.
    number: u32,
    /// Subscribed over the connection that there is.
    live: bool,
    /// It has been confirmed, so what it misses is a loss.
    had: bool,
    /// Since when somebody waits for it.
    waits: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Up,
    DownUntil(Duration),
    Resubscribing,
}

pub struct Bus {
    rng: SmallRng,
    now: Duration,
    state: State,
    /// How often its connection dies, and how often it loses a publication.
    dies: f64,
    loses: f64,
    /// Steps at a time, at most.
    pace: u32,
    /// Nothing more goes wrong.
    pub calm: bool,
    wanted: BTreeMap<String, Want>,
    subscribed: BTreeSet<String>,
    orders: VecDeque<Order>,
    events: VecDeque<Event>,
    /// It waits for room for what it delivers.
    delivering: bool,
    numbers: u32,
    pub told: Vec<Told>,
    inlet: Option<Inlet>,
    waker: Option<Waker>,
    pub deaths: u64,
}

/// The hub's side of it: module `broker`.
#[derive(Clone)]
pub struct BusBroker(Rc<RefCell<Bus>>);

/// What the task does next.
enum Act {
    Deliver(String, Vec<u8>),
    Lose(String),
    Subscribed { topic: String, lost: bool, awaited: bool },
    GiveUp(String),
}

impl Bus {
    pub fn new(rng: &mut SmallRng) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            rng: SmallRng::seed_from_u64(rng.random()),
            now: Duration::ZERO,
            state: State::Up,
            dies: [0.0, 0.002, 0.02][rng.random_range(0..3)],
            loses: [0.0, 0.02, 0.2][rng.random_range(0..3)],
            pace: [4, 40][rng.random_range(0..2)],
            calm: false,
            wanted: BTreeMap::new(),
            subscribed: BTreeSet::new(),
            orders: VecDeque::new(),
            events: VecDeque::new(),
            delivering: false,
            numbers: 0,
            told: Vec::new(),
            inlet: None,
            waker: None,
            deaths: 0,
        }))
    }

    /// Time passes: its connection may die, or be there again.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
        match self.state {
            State::DownUntil(until) if self.calm || until <= now => {
                self.state = State::Resubscribing;
                for topic in self.wanted.keys().cloned().collect::<Vec<_>>() {
                    self.subscribe(topic);
                }
                self.check_up();
            }
            State::Up | State::Resubscribing if !self.calm && self.rng.random_bool(self.dies) => {
                self.die();
            }
            _ => {}
        }
        if !self.is_quiet() {
            self.waker.take().into_iter().for_each(Waker::wake);
        }
    }

    fn die(&mut self) {
        self.deaths += 1;
        let away = [5, 100, 900][self.rng.random_range(0..3)];
        self.state = State::DownUntil(self.now + Duration::from_millis(away));
        self.subscribed.clear();
        self.wanted.values_mut().for_each(|want| want.live = false);
        for order in std::mem::take(&mut self.orders) {
            if let Order::Publish(topic, payload, caller) = order {
                self.refuse(topic, Message::of_payload(&payload), caller);
            }
        }
        // Those may have been published, and nobody knows any more.
        for event in std::mem::take(&mut self.events) {
            if let Event::Published(topic, message, caller) = event {
                self.refuse(topic, message, caller);
            }
        }
    }

    fn refuse(&mut self, topic: String, message: Message, caller: Caller) {
        self.told.push(Told::Refused { topic, message, ends_call: caller.waits });
        drop(caller.hears.send(Err(PublishError::Broker(AWAY.into()))));
    }

    fn is_connected(&self) -> bool {
        !matches!(self.state, State::DownUntil(_))
    }

    fn subscribe(&mut self, topic: String) {
        self.numbers += 1;
        if let Some(want) = self.wanted.get_mut(&topic) {
            want.number = self.numbers;
            self.orders.push_back(Order::Subscribe(topic, self.numbers));
        }
    }

    fn give_up(&mut self, topic: &str) {
        self.wanted.remove(topic);
        if self.is_connected() {
            self.orders.push_back(Order::Unsubscribe(topic.to_owned()));
        }
        self.check_up();
    }

    fn check_up(&mut self) {
        if self.state == State::Resubscribing && self.wanted.values().all(|want| want.live) {
            self.state = State::Up;
        }
    }

    /// The server carries out one order.
    fn serve(&mut self) {
        match self.orders.pop_front() {
            None => {}
            Some(Order::Subscribe(topic, number)) => {
                self.subscribed.insert(topic.clone());
                self.events.push_back(Event::Subscribed(topic, number));
            }
            Some(Order::Unsubscribe(topic)) => drop(self.subscribed.remove(&topic)),
            Some(Order::Publish(topic, payload, caller)) => {
                let message = Message::of_payload(&payload);
                if self.subscribed.contains(&topic) {
                    self.events.push_back(Event::Message(topic.clone(), payload));
                }
                self.events.push_back(Event::Published(topic, message, caller));
            }
        }
    }

    /// What comes from the server next, if anything is to be done about it.
    fn hear(&mut self) -> Option<Act> {
        match self.events.pop_front()? {
            Event::Subscribed(topic, number) => {
                let want = self.wanted.get_mut(&topic).filter(|want| want.number == number)?;
                let lost = std::mem::replace(&mut want.had, true);
                want.live = true;
                let awaited = want.waits.take().is_some();
                self.check_up();
                Some(Act::Subscribed { topic, lost, awaited })
            }
            Event::Message(topic, payload) => {
                let lost = !self.calm && self.rng.random_bool(self.loses);
                Some(if lost { Act::Lose(topic) } else { Act::Deliver(topic, payload) })
            }
            Event::Published(_, _, caller) => {
                drop(caller.hears.send(Ok(())));
                None
            }
        }
    }

    fn overdue(&self) -> Option<String> {
        let is_overdue = |want: &Want| want.waits.is_some_and(|since| self.now > since + WAIT);
        self.wanted.iter().find(|(_, want)| is_overdue(want)).map(|(topic, _)| topic.clone())
    }

    /// Goes on for a while; ends with what is to be done, or waits for more.
    fn next(&mut self, context: &Context<'_>) -> Poll<Act> {
        if let Some(topic) = self.overdue() {
            return Poll::Ready(Act::GiveUp(topic));
        }
        for _ in 0..self.rng.random_range(0..self.pace) {
            if self.rng.random() {
                self.serve();
            } else if let Some(act) = self.hear() {
                return Poll::Ready(act);
            }
        }
        self.waker = Some(context.waker().clone());
        Poll::Pending
    }

    pub fn is_quiet(&self) -> bool {
        self.state == State::Up
            && self.orders.is_empty()
            && self.events.is_empty()
            && !self.delivering
            && self.wanted.values().all(|want| want.waits.is_none())
    }

    pub fn wants_nothing(&self) -> bool {
        self.wanted.is_empty()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.wanted.iter().filter(|(_, want)| want.waits.is_some());
        f.debug_struct("Bus")
            .field("state", &self.state)
            .field("orders", &self.orders.len())
            .field("events", &self.events.len())
            .field("delivering", &self.delivering)
            .field("waiting", &waiting.map(|(topic, _)| topic).collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

/// The task of the connection: one thing after the other, and no other while one waits for room.
pub async fn run(bus: Rc<RefCell<Bus>>) {
    let inlet = bus.borrow().inlet.clone().expect("it is opened before it runs");
    loop {
        match poll_fn(|context| bus.borrow_mut().next(context)).await {
            Act::Deliver(topic, payload) => {
                let message = Message::of_payload(&payload);
                bus.borrow_mut().told.push(Told::Delivered(topic.clone(), message));
                let payload = Payload::new(&payload);
                let delivery = inlet.deliver(&topic, &payload, Patience::Caller);
                inlet.wake_shards();
                if let Publishing::Later(room) = delivery {
                    bus.borrow_mut().delivering = true;
                    drop(room.await);
                    bus.borrow_mut().delivering = false;
                }
            }
            Act::Lose(topic) => lose(&bus, &inlet, topic),
            Act::Subscribed { topic, lost, awaited } => {
                if lost {
                    lose(&bus, &inlet, topic.clone());
                }
                if awaited {
                    bus.borrow_mut().told.push(Told::Confirmed(topic.clone()));
                    inlet.confirmed(&topic);
                }
            }
            Act::GiveUp(topic) => {
                bus.borrow_mut().told.push(Told::Unavailable(topic.clone()));
                let had = inlet.unavailable(&topic, Unavailable::Late);
                let mut bus = bus.borrow_mut();
                if let Some(want) = bus.wanted.get_mut(&topic) {
                    want.waits = None;
                }
                if !had {
                    bus.give_up(&topic);
                }
            }
        }
        inlet.wake_shards();
    }
}

fn lose(bus: &Rc<RefCell<Bus>>, inlet: &Inlet, topic: String) {
    bus.borrow_mut().told.push(Told::Lost(topic.clone()));
    inlet.lost(&topic);
}
