//! A batch: sends planned together, handed to the backend in one call.
//!
//! A send that is not booked has been taken whole: only what was not is told.

use super::Shard;
use super::connection::{ConnId, NO_SEND};

/// Sends in one batch. Measured: 16 to 64 a system call are as cheap as 1,024, and later
/// subscribers find newer frames.
pub const BATCH_SENDS: usize = 64;

const _: () = assert!(BATCH_SENDS < NO_SEND as usize);

/// What planning one batch may cost at most, in looks at a record. A copy into an outbox counts as
/// many.
pub(super) const STEPS_MAX: u32 = 2048;
pub(super) const COPY_STEPS: u32 = 32;

/// Not booked: taken whole.
pub(super) const ALL: i32 = i32::MAX;

/// One send of a batch.
#[derive(Debug)]
pub(super) struct PlannedSend {
    pub id: ConnId,
    pub source: Source,
    /// Bytes sent, a negative errno, or [`ALL`].
    pub result: i32,
}

/// Where its bytes lie.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source {
    Outbox,
    /// Frames of a topic's log, between two positions.
    Log {
        topic: u32,
        from: u64,
        to: u64,
    },
}

impl PlannedSend {
    pub fn new(id: ConnId, source: Source) -> Self {
        Self { id, source, result: ALL }
    }
}

impl Shard {
    /// The sends planned: place in the batch, connection, bytes. The bytes keep still until
    /// [`Shard::settle`].
    pub fn batch(&self) -> impl ExactSizeIterator<Item = (usize, ConnId, &[u8])> {
        self.delivery.batch.iter().enumerate().map(|(place, send)| {
            (place, send.id, self.delivery.bytes_of(send, &self.roster.connections))
        })
    }

    /// Notes how the send at `place` ended if it did not end whole: bytes sent, or a negative
    /// errno.
    pub fn book(&mut self, place: usize, result: i32) {
        self.delivery.batch[place].result = result;
    }
}
