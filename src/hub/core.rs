//! The hub without a runtime, sockets or a clock: lanes, brokers and the order between them, the
//! questions of shards, and what is under way when shutting down begins.
//!
//! One thread; no borrow is held across an `.await`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::brokers::{self, Brokers, Open};
use super::config::HubConfig;
use super::counters::HubCounters;
use super::interest::Interests;
use super::lanes::Lanes;
use super::sequencer::Sequencer;
use super::up::Questions;
use crate::limits::Limits;
use crate::mesh::operators::Orders;
use crate::mesh::{BrokerId, Down, HubEnd};
use crate::position::Position;

/// See the module. Whoever holds it gives it turns, and polls the futures of
/// [`Calls`](super::Calls) on it.
pub struct Core {
    pub(super) sequencer: Rc<Sequencer>,
    pub(super) brokers: Brokers,
    pub(super) limits: Arc<Limits>,
    pub(super) counters: Arc<HubCounters>,
    pub(super) orders: Option<Orders>,
    questions: RefCell<Questions>,
    interests: Rc<Interests>,
    /// Shutting down has begun: calls that are read from now on get errors.
    refuses: Cell<bool>,
    /// Says so to calls that wait for the desk.
    refusing: Notify,
    /// Says that the lanes have their last entry, to calls that wait for brokers.
    ended: Notify,
    /// Reads whose calls are being worked through.
    in_flight: Cell<usize>,
    /// Says that nothing is under way any more.
    idle: Notify,
}

/// Calls that have been read are being worked through while this lives.
pub(super) struct InFlight<'a>(&'a Core);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if self.0.in_flight.get() == 0 {
            self.0.idle.notify_one();
        }
    }
}

impl Core {
    /// A hub with its brokers opened, at the hub's ends of the lanes. `config.rpc` is not looked
    /// at.
    pub fn new(config: &HubConfig, end: HubEnd) -> Self {
        Self::with_brokers(config, end, &mut |name, driver, inlet, status| {
            brokers::open(config, name, driver, inlet, status)
        })
    }

    /// As [`Core::new`], with brokers made by `open`.
    pub fn with_brokers(config: &HubConfig, end: HubEnd, open: Open<'_>) -> Self {
        let HubEnd { down, up, wake, ending: _, orders } = end;
        let (limits, counters) = (config.limits.clone(), config.counters.clone());
        let lanes = Lanes::new(down, &limits, &config.policies, counters.clone());
        let sequencer = Rc::new(Sequencer::new(lanes, limits.publication_bytes));
        let interests = Rc::new(Interests::new(sequencer.clone()));
        Self {
            brokers: Brokers::new(config, &interests, open),
            sequencer,
            interests,
            limits,
            counters,
            orders,
            questions: RefCell::new(Questions::new(up, wake)),
            refuses: Cell::new(false),
            refusing: Notify::new(),
            ended: Notify::new(),
            in_flight: Cell::new(0),
            idle: Notify::new(),
        }
    }

    /// Ends when every broker has tried to reach its server, or one has found that it never will.
    pub(super) async fn brokers_started(&self) -> Result<(), String> {
        self.interests.starting.ended().await
    }

    /// Where the order of a topic stands of which something is kept.
    pub fn position(&self, broker: BrokerId, topic: &str) -> Option<Position> {
        self.sequencer.lanes.borrow().position(broker, topic)
    }

    /// Time has passed, since the start: what is kept for too long goes. Due every
    /// [`TICK`](super::TICK) where anything is kept.
    pub fn set_now(&self, now: Duration) {
        self.sequencer.lanes.borrow_mut().set_now(now);
    }

    /// Answers some questions of shards, and moves on what waits for room. Says whether there was
    /// anything to do.
    pub fn turn(&self) -> bool {
        let taken = self.questions.borrow_mut().take(&self.interests, &self.brokers);
        let moved = self.sequencer.lanes.borrow_mut().advance();
        self.advanced();
        self.sequencer.wake_shards();
        taken || moved
    }

    /// Says that the hub sleeps from now on. [`Core::may_sleep`] must be asked before it does.
    pub fn fall_asleep(&self) {
        self.questions.borrow().fall_asleep();
        self.sequencer.lanes.borrow().want_room();
    }

    /// Looks again after saying so: what came before it wakes nobody. `false`: there is something
    /// to do, the hub stays awake.
    pub fn may_sleep(&self) -> bool {
        let moved = self.sequencer.lanes.borrow_mut().advance();
        if moved || self.questions.borrow().are_there() {
            self.advanced();
            self.stay_awake();
            return false;
        }
        true
    }

    /// Says that the hub is awake again.
    pub fn stay_awake(&self) {
        self.questions.borrow().stay_awake();
    }

    /// Something that waited for room may have gone.
    fn advanced(&self) {
        if self.refuses() && !self.is_busy() {
            self.idle.notify_one();
        }
    }

    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self)
    }

    /// Whether calls are worked on, or what was answered ok waits for room.
    pub fn is_busy(&self) -> bool {
        self.in_flight.get() > 0 || self.sequencer.lanes.borrow().is_waiting()
    }

    /// Ends when no call is worked on and nothing waits for room.
    pub(super) async fn idle(&self) {
        while self.is_busy() {
            self.idle.notified().await;
        }
    }

    /// Whether calls that are read from now on get errors.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.get()
    }

    /// Ends when shutting down has begun.
    pub(super) async fn refusing(&self) {
        let refusing = self.refusing.notified();
        if !self.refuses() {
            refusing.await;
        }
    }

    /// What a broker says, unless the lanes have their last entry before it does.
    pub(super) async fn unless_ended<T>(&self, said: impl Future<Output = T>) -> Option<T> {
        let ended = self.ended.notified();
        if self.sequencer.lanes.borrow().have_ended() {
            return None;
        }
        tokio::select! {
            biased;
            said = said => Some(said),
            () = ended => None,
        }
    }

    /// Shutting down begins: what has been read is worked through, later calls get errors, shards
    /// accept nobody.
    pub fn stop_accepting(&self) {
        self.refuses.set(true);
        self.refusing.notify_waiters();
        self.sequencer.lanes.borrow_mut().announce(|| Down::StopAccepting);
        self.sequencer.wake_shards();
    }

    /// The lanes get their last entry; what still waits for room, and every later call, gets an
    /// error.
    pub fn drain(&self) {
        let lost = self.sequencer.lanes.borrow_mut().end();
        self.ended.notify_waiters();
        if lost > 0 {
            self.counters.failures_after_ok.add(lost);
            tracing::warn!(
                lost,
                "publications lost after PublishAsync was answered: there was no room for them until the end"
            );
        }
        self.sequencer.wake_shards();
    }

    /// Whether every shard has let go of its lane.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sequencer.lanes.borrow().is_abandoned()
    }

    /// Topics that some shard wants.
    pub fn topics(&self) -> usize {
        self.sequencer.lanes.borrow().topics()
    }
}
