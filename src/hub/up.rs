//! The task that answers shards: it drains the up lanes, always, and moves on what waits for room
//! in the down lanes.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::unix::pipe;

use super::publish::Hub;
use super::runtime::Runtime;
use crate::lane::{Receiver, Wake};
use crate::mesh::Up;

/// Entries taken from one lane before others, and RPC, get their turn.
const TURN_ENTRIES: usize = 256;

/// The hub's receiving ends.
pub(super) struct Questions {
    up: Vec<Receiver<Up>>,
    wake: Arc<Wake>,
}

impl Questions {
    pub(super) fn new(up: Vec<Receiver<Up>>, wake: Arc<Wake>) -> Self {
        Self { up, wake }
    }

    /// Answers some questions, and moves on what waits for room. Says whether there was anything to
    /// do.
    pub(super) fn turn(&mut self, hub: &Hub) -> bool {
        let taken = self.take(hub);
        let moved = hub.sequencer.room.borrow_mut().advance();
        hub.sequencer.advanced();
        hub.sequencer.wake_shards();
        taken || moved
    }

    /// Says that the hub sleeps from now on. [`Questions::may_sleep`] must be asked before it does.
    pub(super) fn fall_asleep(&self, hub: &Hub) {
        self.wake.fall_asleep();
        hub.sequencer.room.borrow().want_room();
    }

    /// Looks again after saying so: what came before it wakes nobody.
    pub(super) fn may_sleep(&self, hub: &Hub) -> bool {
        if hub.sequencer.room.borrow_mut().advance() || self.up.iter().any(|lane| !lane.is_empty())
        {
            hub.sequencer.advanced();
            self.stay_awake();
            return false;
        }
        true
    }

    pub(super) fn stay_awake(&self) {
        self.wake.stay_awake();
    }

    fn take(&mut self, hub: &Hub) -> bool {
        let mut taken = false;
        for (shard, lane) in self.up.iter_mut().enumerate() {
            for _ in 0..TURN_ENTRIES {
                let Some(question) = lane.pop() else { break };
                // Not across the broker, which may deliver at once.
                let mut room = hub.sequencer.room.borrow_mut();
                match question {
                    Up::Interest { topic, broker, name } => {
                        let first = room.interested(shard, topic, broker, name.clone());
                        drop(room);
                        if first {
                            hub.tell_broker(broker, &name, true);
                        }
                    }
                    Up::Uninterest { topic } => {
                        let last = room.uninterested(shard, topic);
                        drop(room);
                        if let Some((broker, name)) = last {
                            hub.tell_broker(broker, &name, false);
                        }
                    }
                }
                taken = true;
            }
        }
        taken
    }
}

/// The task around them.
pub(super) struct Watch {
    questions: Questions,
    /// The eventfd, under the one safe type of tokio that takes any readable descriptor.
    eventfd: pipe::Receiver,
    runtime: Runtime,
}

impl Watch {
    /// Fails when the wake-up cannot be watched.
    pub(super) fn new(questions: Questions, runtime: Runtime) -> io::Result<Self> {
        let eventfd =
            pipe::Receiver::from_owned_fd_unchecked(questions.wake.as_fd().try_clone_to_owned()?)?;
        Ok(Self { questions, eventfd, runtime })
    }

    /// Runs for ever. `woken` is called after each wake-up, and once more after the hub has said
    /// that it sleeps.
    pub(super) async fn run(mut self, hub: Rc<Hub>, woken: impl Fn()) {
        loop {
            woken();
            if self.questions.turn(&hub) {
                // A call that was booked late is answered by this turn.
                self.questions.stay_awake();
                self.runtime.give_way().await;
                continue;
            }

            self.questions.fall_asleep(&hub);
            woken();
            if !self.questions.may_sleep(&hub) {
                continue;
            }
            // An error here is an error of the runtime; the lanes are looked at all the same.
            let _ = self.eventfd.readable().await;
            // Until it would block: only then does the runtime watch for the next one.
            while self.eventfd.try_read(&mut [0; 8]).is_ok() {}
            self.questions.stay_awake();
        }
    }
}
