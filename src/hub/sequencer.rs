//! The sequencer: encodes a publication once and puts it into its topic's order, for whichever
//! broker delivers it. It also holds what the hub's tasks share: limits, counters, open streams,
//! the stage of shutting down.
//!
//! One thread; no borrow is held across an `.await`.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use slab::Slab;
use tokio::sync::Notify;

use super::HubCounters;
use super::broker::Publishing;
use super::input::Spare;
use super::room::{Offer, Patience, Room};
use super::stream::{Peer, Stream};
use crate::limits::Limits;
use crate::log_rate::{LogRate, Unsaid};
use crate::mesh::{BrokerId, Down};
use crate::publication::{Payload, TooLarge};

/// How far shutting down has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Not begun.
    Serving,
    /// Calls that have been read are worked through, later ones get errors.
    Finishing,
    /// The lanes have their last entry; every call gets an error.
    Draining,
}

/// Why a publication was not taken. Its text is the error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum PublishError {
    #[error(
        "publication of {bytes} bytes as encoded for clients is over roadcast.limits.publication_bytes ({bytes_max})"
    )]
    TooLarge { bytes: usize, bytes_max: usize },
    #[error("topic name of {bytes} bytes is over roadcast.limits.topic_bytes ({bytes_max})")]
    TopicTooLong { bytes: usize, bytes_max: usize },
    #[error("unknown broker {name:?}, configured are: {known}")]
    UnknownBroker { name: String, known: String },
    #[error(
        "{bytes} bytes already wait for room, and more of this address would be over its share of roadcast.limits.rpc_async_bytes ({bytes_max}): publish less, or use Publish, which waits"
    )]
    NoRoom { bytes: usize, bytes_max: usize },
    #[error("roadcast is shutting down")]
    ShuttingDown,
}

/// See the module.
pub(super) struct Sequencer {
    pub(super) room: RefCell<Room>,
    pub(super) limits: Arc<Limits>,
    pub(super) counters: Arc<HubCounters>,
    pub(super) stage: Cell<Stage>,
    /// The open RPC connections, to end them all.
    pub(super) streams: RefCell<Slab<Rc<Stream>>>,
    /// Large buffers for whoever is busy.
    pub(super) spare: Rc<Spare>,
    /// Says that an RPC connection has ended.
    pub(super) ended: Notify,
    /// What has been said in the log lately: the line, and what kind of it.
    said: RefCell<LogRate<(&'static str, &'static str)>>,
    started: Instant,
    /// Bytes encoded since somebody last took note of them.
    pub(super) encoded: Cell<usize>,
    in_flight: Cell<usize>,
    idle: Notify,
}

/// Calls that have been read are being worked through while this lives.
pub(super) struct InFlight<'a>(&'a Sequencer);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.set(self.0.in_flight.get() - 1);
        if self.0.in_flight.get() == 0 {
            self.0.idle.notify_one();
        }
    }
}

impl Sequencer {
    pub(super) fn new(room: Room, limits: Arc<Limits>, counters: Arc<HubCounters>) -> Self {
        Self {
            room: RefCell::new(room),
            limits,
            counters,
            stage: Cell::new(Stage::Serving),
            streams: RefCell::default(),
            spare: Rc::default(),
            ended: Notify::new(),
            said: RefCell::default(),
            started: Instant::now(),
            encoded: Cell::new(0),
            in_flight: Cell::new(0),
            idle: Notify::new(),
        }
    }

    /// Whether a line that publishers can cause is due, and how many of its `kind` were left out
    /// before it.
    pub(super) fn due(&self, line: &'static str, kind: &'static str) -> Option<Unsaid> {
        self.said.borrow_mut().admit((line, kind), self.started.elapsed())
    }

    /// Says that a call is answered with an error, if this kind has not been said lately.
    pub(super) fn say_error(&self, kind: &'static str, peer: Peer, error: &str) {
        const LINE: &str = "RPC call answered with an error";
        if let Some(unsaid) = self.due(LINE, kind) {
            tracing::warn!(%peer, kind, error, "{LINE}{unsaid}");
        }
    }

    /// Says at the end what happened since it was last said.
    pub(super) fn say_left_out(&self) {
        for ((line, kind), left_out) in self.said.borrow_mut().left_out() {
            // As loud as the line itself.
            match kind {
                "broken" => tracing::debug!(kind, unsaid = left_out.0, "{line}: {left_out}"),
                _ => tracing::warn!(kind, unsaid = left_out.0, "{line}: {left_out}"),
            }
        }
    }

    pub(super) fn in_flight(&self) -> InFlight<'_> {
        self.in_flight.set(self.in_flight.get() + 1);
        InFlight(self)
    }

    /// Whether calls are worked on, or what was answered ok waits for room.
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.get() > 0 || self.room.borrow().is_waiting()
    }

    /// Something that waited for room may have gone.
    pub(super) fn advanced(&self) {
        if self.stage.get() > Stage::Serving && !self.is_busy() {
            self.idle.notify_one();
        }
    }

    /// Ends when no call is worked on and nothing waits for room.
    pub(super) async fn idle(&self) {
        while self.is_busy() {
            self.idle.notified().await;
        }
    }

    /// Shutting down begins: what has been read is worked through, later calls get errors, shards
    /// accept nobody.
    pub(super) fn stop_accepting(&self) {
        self.stage.set(Stage::Finishing);
        self.room.borrow_mut().announce(|| Down::StopAccepting);
        self.wake_shards();
    }

    /// The lanes get their last entry; what still waits for room, and every later call, gets an
    /// error.
    pub(super) fn drain(&self) {
        self.stage.set(Stage::Draining);
        let lost = self.room.borrow_mut().end();
        if lost > 0 {
            self.counters.failures_after_ok.add(lost);
            tracing::warn!(
                lost,
                "publications lost after PublishAsync was answered: there was no room for them until the end"
            );
        }
        self.wake_shards();
    }

    /// Encodes a publication once and hands it to every interested shard, in one order per topic.
    pub(super) fn deliver(
        &self,
        broker: BrokerId,
        topic: &str,
        payload: &Payload<'_>,
        patience: Patience,
    ) -> Publishing {
        if self.stage.get() >= Stage::Draining {
            return Publishing::Now(Err(PublishError::ShuttingDown));
        }
        let bytes_max = self.limits.publication_bytes;
        let mut room = self.room.borrow_mut();
        let Some(wanted) = room.wanted(broker, topic) else { return Publishing::Now(Ok(())) };
        let frame = match payload.encode(topic, bytes_max) {
            Ok(frame) => frame,
            Err(TooLarge { bytes, .. }) => {
                return Publishing::Now(Err(PublishError::TooLarge { bytes, bytes_max }));
            }
        };
        self.encoded.set(self.encoded.get() + frame.len());
        match room.publish(wanted, frame, patience) {
            Offer::Pushed => Publishing::Now(Ok(())),
            Offer::Left(bytes) => Publishing::Left(bytes),
            Offer::Waits(done) => Publishing::Later(Box::pin(async {
                done.await.map_err(|_| PublishError::ShuttingDown)
            })),
        }
    }

    /// Wakes the shards that were given something. Due before anything is awaited.
    pub(super) fn wake_shards(&self) {
        self.room.borrow_mut().wake();
    }
}
