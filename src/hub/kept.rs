//! What is kept of one channel: its newest publications, without a hole.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::mesh::FRAME_BYTES;
use crate::position::Epoch;

/// What a kept publication costs beside its frame: its entry in a queue that may be half empty, and
/// what counts its holders.
pub(super) const PUBLICATION_BYTES: usize = 2 * size_of::<Publication>() + 16;
/// Room for publications that a channel keeps although it has far fewer by now.
const PUBLICATIONS_KEPT: usize = 16;

/// What is kept of one channel.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) epoch: Epoch,
    /// Place of its rule.
    pub(super) rule: usize,
    pub(super) size: usize,
    pub(super) publications: VecDeque<Publication>,
    /// Since when nobody has wanted it, and nothing was published.
    pub(super) idle: Option<u32>,
}

/// A publication, and the tick of its coming.
#[derive(Debug)]
pub(super) struct Publication {
    pub(super) at: u32,
    pub(super) frame: Arc<[u8]>,
}

impl Kept {
    /// Of a rule's place, with nothing kept so far.
    pub(super) fn new(rule: usize, size: usize) -> Self {
        let (epoch, publications) = (Epoch::random(), VecDeque::new());
        Self { epoch, rule, size, publications, idle: None }
    }

    /// The newest ones.
    pub(super) fn newest(&self, count: usize) -> Vec<Arc<[u8]>> {
        let from = self.publications.len() - count;
        self.publications.range(from..).map(|kept| kept.frame.clone()).collect()
    }

    /// How many of the newest ones take no more than that in an outbox.
    pub(super) fn fitting(&self, most: usize, bytes_max: usize) -> usize {
        let mut bytes = 0;
        let newest = self.publications.iter().rev().take(most);
        let fits = |kept: &&Publication| {
            bytes += kept.frame.len() + FRAME_BYTES;
            bytes <= bytes_max
        };
        newest.take_while(fits).count()
    }

    /// Publications have gone.
    pub(super) fn give_memory_back(&mut self) {
        let (len, capacity) = (self.publications.len(), self.publications.capacity());
        if len == 0 || (capacity > PUBLICATIONS_KEPT && len < capacity / 4) {
            self.publications.shrink_to(2 * len);
        }
    }
}
