//! The task that gives the core its turns: whenever shards have asked something, or may have made
//! room.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use tokio::net::unix::pipe;

use super::core::Core;
use super::runtime::Runtime;
use crate::lane::Wake;

/// See the module.
pub(super) struct Watch {
    core: Rc<Core>,
    /// The eventfd, under the one safe type of tokio that takes any readable descriptor.
    eventfd: pipe::Receiver,
    runtime: Runtime,
}

impl Watch {
    /// Fails when the wake-up cannot be watched.
    pub(super) fn new(core: Rc<Core>, wake: &Wake, runtime: Runtime) -> io::Result<Self> {
        let eventfd = pipe::Receiver::from_owned_fd_unchecked(wake.as_fd().try_clone_to_owned()?)?;
        Ok(Self { core, eventfd, runtime })
    }

    /// Runs for ever. `woken` is called after each wake-up, and once more after the hub has said
    /// that it sleeps.
    pub(super) async fn run(self, woken: impl Fn()) {
        loop {
            woken();
            if self.core.turn() {
                // A call that was booked late is answered by this turn.
                self.core.stay_awake();
                self.runtime.give_way().await;
                continue;
            }

            self.core.fall_asleep();
            woken();
            if !self.core.may_sleep() {
                continue;
            }
            // An error here is an error of the runtime; the lanes are looked at all the same.
            let _ = self.eventfd.readable().await;
            // Until it would block: only then does the runtime watch for the next one.
            while self.eventfd.try_read(&mut [0; 8]).is_ok() {}
            self.core.stay_awake();
        }
    }
}
