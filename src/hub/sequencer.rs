//! The sequencer: encodes a publication once and puts it into its topic's order, for whichever
//! broker delivers it.
//!
//! One thread; no borrow is held across an `.await`.

use std::cell::{Cell, RefCell};
use std::pin::Pin;

use smallvec::SmallVec;
use tokio::sync::oneshot;

use super::lanes::{Lanes, Offer, Patience};
use crate::mesh::BrokerId;
use crate::publication::{Payload, TooLarge};

/// Why a publication was not taken. Its text is the error answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It would be too long for clients.
    #[error(
        "publication of {bytes} bytes as encoded for clients is over roadcast.limits.publication_bytes ({bytes_max})"
    )]
    TooLarge {
        /// Of its frame.
        bytes: usize,
        /// That may be.
        bytes_max: usize,
    },
    /// Its topic's name is too long.
    #[error("topic name of {bytes} bytes is over roadcast.limits.topic_bytes ({bytes_max})")]
    TopicTooLong {
        /// Of the name.
        bytes: usize,
        /// That may be.
        bytes_max: usize,
    },
    /// It names a broker that is not configured.
    #[error("unknown broker {name:?}, configured are: {known}")]
    UnknownBroker {
        /// As it was named.
        name: String,
        /// All that are.
        known: String,
    },
    /// What waits for its address is at its bound.
    #[error(
        "{bytes} bytes already wait for room, and more of this address would be over its share of roadcast.limits.rpc_async_bytes ({bytes_max}): publish less, or use Publish, which waits"
    )]
    NoRoom {
        /// That wait.
        bytes: usize,
        /// That may wait, in all.
        bytes_max: usize,
    },
    /// It is over what a broker's server takes, in words that name it.
    #[error("{0}")]
    OverBroker(String),
    /// What a broker said, or why it cannot be asked, in words that name it.
    #[error("{0}")]
    Broker(String),
    /// Nothing is published any more.
    #[error("roadcast is shutting down")]
    ShuttingDown,
}

/// A publication on its way.
pub enum Publishing {
    /// Done or failed at once: what the memory broker does unless a lane is full.
    Now(Result<(), PublishError>),
    /// To be waited for; what is due to others should go first.
    Later(Later),
    /// The broker has it in its place of the order, and has yet to say what became of it. What is
    /// published next may go meanwhile. Dropped unsaid: shutting down.
    Sent(Sent),
    /// It waits by itself, and has put so many bytes on the account.
    Left(usize),
}

/// What becomes of a publication that waits. It goes its way even if nobody asks.
pub type Later = Pin<Box<dyn Future<Output = Result<(), PublishError>>>>;

/// What a broker says of a publication that it has been given.
pub type Sent = oneshot::Receiver<Result<(), PublishError>>;

/// See the module.
pub(super) struct Sequencer {
    pub(super) lanes: RefCell<Lanes>,
    publication_bytes: usize,
    /// Bytes encoded since somebody last took note of them.
    encoded: Cell<usize>,
}

/// What became of a publication in the forms that it was published in.
#[inline]
fn publishing<const N: usize>(offers: [Offer; N]) -> Publishing {
    let (mut left, mut waits) = (0, SmallVec::<[oneshot::Receiver<()>; 2]>::new());
    for offer in offers {
        match offer {
            Offer::Pushed => {}
            Offer::Left(bytes) => left += bytes,
            Offer::Waits(done) => waits.push(done),
        }
    }
    if waits.is_empty() {
        return if left > 0 { Publishing::Left(left) } else { Publishing::Now(Ok(())) };
    }
    Publishing::Later(Box::pin(async {
        for done in waits {
            done.await.map_err(|_| PublishError::ShuttingDown)?;
        }
        Ok(())
    }))
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
        let too_large =
            |TooLarge { bytes }| Publishing::Now(Err(PublishError::TooLarge { bytes, bytes_max }));
        // Nothing is kept of a topic for the sake of what nobody can have.
        if lanes.keep_some()
            && let Err(error) = payload.frame_len(topic, bytes_max)
        {
            return too_large(error);
        }
        let channels = (lanes.wanted(broker, topic), lanes.keeping(broker, topic));
        if channels == (None, None) {
            return Publishing::Now(Ok(()));
        }
        let frame = match payload.encode(topic, bytes_max) {
            Ok(frame) => frame,
            Err(error) => return too_large(error),
        };
        self.encoded.set(self.encoded.get() + frame.len());
        match channels {
            (Some(plain), Some(kept)) => {
                // What is kept goes first: to publish may forget a channel that nobody wants.
                let offer = lanes.publish(kept, frame.clone(), patience);
                publishing([offer, lanes.publish(plain, frame, patience)])
            }
            (Some(channel), None) | (None, Some(channel)) => {
                publishing([lanes.publish(channel, frame, patience)])
            }
            (None, None) => Publishing::Now(Ok(())),
        }
    }

    /// Something of a topic may be missing from here on. Says whether anybody has the topic.
    pub(super) fn lost(&self, broker: BrokerId, topic: &str) -> bool {
        let mut lanes = self.lanes.borrow_mut();
        let wanted = lanes.wanted(broker, topic);
        if let Some(id) = wanted {
            lanes.lost(id);
        }
        wanted.is_some()
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
