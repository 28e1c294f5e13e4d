//! The sequencer: encodes a publication once and puts it into its topic's order, for whichever
//! broker delivers it.
//!
//! One thread; no borrow is held across an `.await`.

use std::cell::{Cell, RefCell};
use std::pin::Pin;

use super::lanes::{Lanes, Offer, Patience};
use crate::mesh::BrokerId;
use crate::publication::{Payload, TooLarge};

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

/// A publication on its way.
pub(super) enum Publishing {
    /// Done or failed at once: what the memory broker does unless a lane is full.
    Now(Result<(), PublishError>),
    /// To be waited for; what is due to others should go first.
    Later(Later),
    /// It waits by itself, and has put so many bytes on the account.
    Left(usize),
}

/// What becomes of a publication that waits. It goes its way even if nobody asks.
pub(super) type Later = Pin<Box<dyn Future<Output = Result<(), PublishError>>>>;

/// See the module.
pub(super) struct Sequencer {
    pub(super) lanes: RefCell<Lanes>,
    publication_bytes: usize,
    /// Bytes encoded since somebody last took note of them.
    encoded: Cell<usize>,
}

impl Sequencer {
    pub(super) fn new(lanes: Lanes, publication_bytes: usize) -> Self {
        Self { lanes: RefCell::new(lanes), publication_bytes, encoded: Cell::new(0) }
    }

    /// Encodes a publication once and hands it to every interested shard, in one order per topic.
    pub(super) fn deliver(
        &self,
        broker: BrokerId,
        topic: &str,
        payload: &Payload<'_>,
        patience: Patience,
    ) -> Publishing {
        let mut lanes = self.lanes.borrow_mut();
        if lanes.have_ended() {
            return Publishing::Now(Err(PublishError::ShuttingDown));
        }
        let bytes_max = self.publication_bytes;
        let Some(wanted) = lanes.wanted(broker, topic) else { return Publishing::Now(Ok(())) };
        let frame = match payload.encode(topic, bytes_max) {
            Ok(frame) => frame,
            Err(TooLarge { bytes, .. }) => {
                return Publishing::Now(Err(PublishError::TooLarge { bytes, bytes_max }));
            }
        };
        self.encoded.set(self.encoded.get() + frame.len());
        match lanes.publish(wanted, frame, patience) {
            Offer::Pushed => Publishing::Now(Ok(())),
            Offer::Left(bytes) => Publishing::Left(bytes),
            Offer::Waits(done) => Publishing::Later(Box::pin(async {
                done.await.map_err(|_| PublishError::ShuttingDown)
            })),
        }
    }

    /// How many bytes have been encoded since this was last asked.
    pub(super) fn take_encoded(&self) -> usize {
        self.encoded.take()
    }

    /// Wakes the shards that were given something. Due before anything is awaited.
    pub(super) fn wake_shards(&self) {
        self.lanes.borrow_mut().wake();
    }
}
