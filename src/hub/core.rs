//! The hub without a runtime, sockets or a clock: brokers, order, interest, room and calls.

use std::rc::Rc;

use super::broker::{Broker, Inlet, Memory};
use super::calls::{Caller, Calls};
use super::publish::Hub;
use super::room::Room;
use super::sequencer::Sequencer;
use super::stream::Peer;
use super::up::Questions;
use super::{Driver, HubConfig};
use crate::mesh::{BrokerId, HubEnd};

/// See the module. Whoever holds it gives it turns, and polls the futures of its [`Calls`].
pub struct Core {
    pub(super) hub: Rc<Hub>,
    pub(super) questions: Questions,
}

impl Core {
    /// A hub with its brokers opened, at the hub's ends of the lanes. `config.rpc` is not looked
    /// at.
    pub fn new(config: &HubConfig, end: HubEnd) -> Self {
        let HubEnd { down, up, wake, ending: _ } = end;
        let room = Room::new(down, config.limits.lane_bytes, config.counters.clone());
        let sequencer =
            Rc::new(Sequencer::new(room, config.limits.clone(), config.counters.clone()));
        let open = |(place, (name, driver)): (usize, &(String, Driver))| {
            let inlet = Inlet::new(sequencer.clone(), BrokerId(place as u16));
            let broker: Box<dyn Broker> = match driver {
                Driver::Memory => Box::new(Memory { inlet }),
            };
            tracing::debug!(broker = name, state = ?broker.state(), "broker opened");
            (name.clone(), broker)
        };
        let brokers = config.brokers.iter().enumerate().map(open).collect();
        let hub = Rc::new(Hub { sequencer, brokers, default_broker: config.default_broker });
        Self { hub, questions: Questions::new(up, wake) }
    }

    /// The calls of another RPC connection.
    pub fn calls<C: Caller>(&self, caller: C) -> Calls<C> {
        Calls::new(self.hub.clone(), caller, Peer::Unix)
    }

    /// Answers some questions of shards, and moves on what waits for room. Says whether there was
    /// anything to do.
    pub fn turn(&mut self) -> bool {
        self.questions.turn(&self.hub)
    }

    /// Says that the hub sleeps until its wake-up; `false`: there is something to do, it stays
    /// awake.
    pub fn fall_asleep(&mut self) -> bool {
        self.questions.fall_asleep(&self.hub);
        self.questions.may_sleep(&self.hub)
    }

    /// Says that the hub is awake again.
    pub fn stay_awake(&mut self) {
        self.questions.stay_awake();
    }

    /// Shutting down begins: what has been read is worked through, later calls get errors, shards
    /// accept nobody.
    pub fn stop_accepting(&mut self) {
        self.hub.sequencer.stop_accepting();
    }

    /// Whether calls are being worked on.
    pub fn is_busy(&self) -> bool {
        self.hub.sequencer.is_busy()
    }

    /// The lanes get their last entry; what still waits for room, and every later call, gets an
    /// error.
    pub fn drain(&mut self) {
        self.hub.sequencer.drain();
    }

    /// Topics that some shard wants.
    pub fn topics(&self) -> usize {
        self.hub.sequencer.room.borrow().topics()
    }
}
