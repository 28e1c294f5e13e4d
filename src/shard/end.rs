//! The end of a shard: nobody is accepted any more, what is there is delivered, everyone is told
//! goodbye, and whoever is left when the grace is over is terminated.
//!
//! The hub leads through it with the last entries of the lane. The grace depends on none of them:
//! it counts from the signal, or from the end of the drain, which may come before it all (see the
//! module `drain`).

use std::time::Duration;

use super::balance::Dropped;
use super::connection::{ConnId, Phase};
use super::{Shard, Task};
use crate::mesh::Down;
use crate::ws::close::CloseCode;
use crate::ws::upgrade;

/// The reason in the Close of a server that shuts down.
pub(super) const GOODBYE: &str = "the server is shutting down";

/// How far a shard has come, from serving to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Lifecycle {
    Serving,
    /// Nobody is accepted; publications still come.
    NotAccepting,
    /// The lane is at its end; logs are swept out.
    Draining,
    /// Every connection has been told.
    Closing,
}

/// The time that whoever is connected has to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grace {
    NotBegun,
    /// Then, in milliseconds, whoever is still there is terminated.
    UntilMs(u64),
    Over,
}

impl Shard {
    /// Shutting down began at this moment since the shard's start: the drain and the grace behind
    /// it count from there, whatever comes through the lane, and whenever. Further calls change
    /// nothing.
    pub fn shutdown_began(&mut self, at: Duration) {
        if self.grace == Grace::NotBegun {
            self.begin_grace(at + self.config.drain);
            self.begin_drain(at);
        }
    }

    /// The grace counts from here, unless it ends earlier already.
    pub(super) fn begin_grace(&mut self, at: Duration) {
        let until_ms = (at + self.config.shutdown_grace).as_millis() as u64;
        self.grace = match self.grace {
            Grace::NotBegun => Grace::UntilMs(until_ms),
            Grace::UntilMs(known_ms) => Grace::UntilMs(known_ms.min(until_ms)),
            Grace::Over => Grace::Over,
        };
    }

    /// Once shutting down has begun nobody is let in: in how many seconds to try again, when
    /// another may be at this address.
    pub(super) fn retry_after_s(&self) -> Option<u64> {
        // When the others of the server still have somebody to tell, the hub has not gone on yet.
        let drain = self.drain.as_ref().filter(|_| self.lifecycle == Lifecycle::Serving);
        let left_s = drain.map_or(0, |drain| drain.left_s(self.now_ms));
        (self.grace != Grace::NotBegun).then_some(left_s.max(1))
    }

    /// The hub has gone, and its lane is empty: the last entry will not come.
    pub fn hub_is_gone(&mut self) {
        if self.lifecycle < Lifecycle::Draining {
            self.take(Down::StopAccepting);
            self.take(Down::Drain);
        }
    }

    /// Whether it has not been told yet that shutting down has begun, or that the hub has gone.
    pub fn misses_end(&self, begun: bool, hub_gone: bool) -> bool {
        (begun && self.grace == Grace::NotBegun)
            || (hub_gone && self.lifecycle < Lifecycle::Draining)
    }

    pub(super) fn stop_accepting(&mut self) {
        if self.lifecycle == Lifecycle::Serving {
            self.lifecycle = Lifecycle::NotAccepting;
            self.stop_listening();
        }
    }

    pub(super) fn stop_listening(&mut self) {
        if std::mem::replace(&mut self.listening, false) {
            self.outward.push(Task::StopAccepting);
        }
    }

    /// Whoever is left is terminated, whether or not the lane's last entry has come.
    pub(super) fn end_grace(&mut self) {
        self.grace = Grace::Over;
        self.stop_accepting();
        self.lifecycle = Lifecycle::Closing;
        for id in self.roster.connections.ids() {
            self.terminate(id, Dropped::Shutdown, true);
        }
    }

    /// Answers a request that has not come yet, or not whole: closed without a word, the connection
    /// would be reset by what is still on its way.
    pub(super) fn refuse_at_the_end(&mut self, id: ConnId) {
        self.counters.refused_shutdown.add(1);
        self.refuse(id, &upgrade::shutting_down(self.retry_after_s().unwrap_or(1)));
    }

    /// Whether the end has come: drained, every connection told and gone.
    pub fn is_done(&self) -> bool {
        self.lifecycle == Lifecycle::Closing && self.roster.connections.is_empty()
    }

    /// Says goodbye to everyone once every log has been swept out.
    pub(super) fn drain_step(&mut self) {
        let delivers = !self.delivery.active.is_empty() || self.delivery.telling.is_some();
        if self.lifecycle != Lifecycle::Draining || delivers {
            return;
        }
        self.lifecycle = Lifecycle::Closing;
        for id in self.roster.connections.ids() {
            match self.roster.connections.at(id.index).phase {
                Phase::Preface | Phase::Head => self.refuse_at_the_end(id),
                // Its request is whole: it is answered, whatever the desk will say.
                Phase::Asking => self.refuse_for_shutdown(id),
                Phase::Open(_) => self.close(id, CloseCode::GOING_AWAY, GOODBYE, Dropped::Shutdown),
                Phase::Closing { .. } | Phase::Ended => {}
            }
        }
    }
}
