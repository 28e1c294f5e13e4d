//! When shutting down began: said once, and seen by every thread on its next turn. And how many
//! shards have drained since, and of how many clients.
//!
//! What has to end must not hang on a message that may never arrive: a queue may be full, and its
//! other end gone.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const NOT_YET: u64 = u64::MAX;

/// See the module.
#[derive(Debug)]
pub struct Ending {
    origin: Instant,
    /// Milliseconds from `origin`, or [`NOT_YET`].
    begun_ms: AtomicU64,
    drained: AtomicUsize,
    clients: AtomicUsize,
}

impl Default for Ending {
    fn default() -> Self {
        Self::since(Instant::now())
    }
}

impl Ending {
    /// One that counts its milliseconds from `origin`.
    pub fn since(origin: Instant) -> Self {
        Self {
            origin,
            begun_ms: AtomicU64::new(NOT_YET),
            drained: AtomicUsize::new(0),
            clients: AtomicUsize::new(0),
        }
    }

    /// Shutting down begins. Later calls change nothing. Wake those who sleep afterwards.
    pub fn begin(&self, now: Instant) {
        let now_ms = now.saturating_duration_since(self.origin).as_millis() as u64;
        let _ = self.begun_ms.compare_exchange(NOT_YET, now_ms, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// When it began, to the millisecond, if it has.
    #[inline]
    pub fn begun(&self) -> Option<Instant> {
        match self.begun_ms.load(Ordering::Relaxed) {
            NOT_YET => None,
            begun_ms => Some(self.origin + Duration::from_millis(begun_ms)),
        }
    }

    /// Another shard has told everyone goodbye, or has nobody left to tell: it had so many clients
    /// when it began. Each says so once.
    pub fn drained(&self, clients: usize) {
        self.clients.fetch_add(clients, Ordering::Relaxed);
        self.drained.fetch_add(1, Ordering::Release);
    }

    /// Shards that have said so.
    pub fn shards_drained(&self) -> usize {
        self.drained.load(Ordering::Acquire)
    }

    /// The clients that those shards had.
    pub fn clients_drained(&self) -> usize {
        self.clients.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_beginning_counts() {
        let ending = Ending::default();
        assert_eq!(ending.begun(), None);
        let at = |seconds| ending.origin + Duration::from_secs(seconds);
        ending.begin(at(3));
        ending.begin(at(5));
        assert_eq!(ending.begun(), Some(at(3)));
    }
}
