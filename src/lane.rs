//! Lanes: bounded lock-free single-producer single-consumer queues between two threads, and the
//! waking of a thread that sleeps.
//!
//! A lane is bounded twice, in entries and in the sum of what the entries cost (bytes). The
//! producer sees how much room is left and never pushes past it; what to do about a full lane is
//! the producer's business.
//!
//! Invariants worth naming:
//! - **A sleeper is woken.** The consumer stores *asleep*, fences, then looks at its lanes once
//!   more; the producer pushes, fences, then loads *asleep*. Whichever fence comes first, one of
//!   the two sees the other.
//! - **A producer that met a full lane is woken**, by the same protocol with *wants room*.
//! - Entries come out in the order they went in.
//! - **A consumer learns that its producer has gone**, by the first protocol; what was pushed
//!   before is still there.
//!
//! Deliberately absent: blocking, growing, many producers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::pulse::Pulse;
// What `tests/loom` puts models in the place of: this file is compiled there as it stands.
use crate::sync::{
    Arc, AtomicBool, AtomicU64, Consumer, EventFd, Ordering, Producer, PushError, fence, queue,
};

/// How a thread that sleeps in its own event loop is woken by others: an eventfd that its loop
/// watches, written only while the thread has said that it sleeps.
///
/// Measured: the eventfd under a multishot poll of the sleeping ring costs the receiver 11–16 µs of
/// CPU, about 5 µs on the same core; as cheap as MSG_RING.
#[derive(Debug)]
pub struct Wake {
    asleep: AtomicBool,
    event: EventFd,
    /// Beats when the sleeper is called, rests once it has answered.
    call: Pulse,
}

impl Wake {
    /// A wake-up for one thread. Fails when no descriptor can be had.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            asleep: AtomicBool::new(false),
            event: EventFd::new()?,
            call: Pulse::default(),
        }))
    }

    /// Says that the thread is about to sleep. It must look at all its lanes once more before it
    /// does.
    pub fn fall_asleep(&self) {
        self.call.rest();
        // A swap, which costs what a sequentially consistent store does: it reads what wakers of
        // the sleep before have written, so that loom, too, orders their writes before this one
        // (tests/loom).
        self.asleep.swap(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Says that the thread is awake and polls its lanes by itself.
    pub fn stay_awake(&self) {
        self.asleep.store(false, Ordering::Relaxed);
        self.call.rest();
    }

    /// How long the sleeping thread has been called and has not come; zero while nobody calls.
    pub fn unanswered_for(&self, now: Instant) -> Duration {
        self.call.busy_for(now)
    }

    /// Empties the eventfd after a wake-up, so that the next one is seen.
    pub fn acknowledge(&self) {
        self.event.clear();
    }

    /// What the sleeping thread waits for.
    pub(crate) fn event(&self) -> &EventFd {
        &self.event
    }

    /// Wakes the thread if it sleeps. Call after what it shall see has been stored.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            // Before the signal, which the thread answers: a beat that comes late is taken back all
            // the same.
            self.call.beat(Instant::now());
            self.event.signal();
        }
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event().as_fd()
    }
}

/// What both ends of a lane see.
#[derive(Debug, Default)]
struct Shared {
    /// Sum of the costs of all entries taken out so far.
    taken: AtomicU64,
    /// Entries taken out so far.
    taken_entries: AtomicU64,
    wants_room: AtomicBool,
    producer_gone: AtomicBool,
    pushed: Pushed,
}

/// What the producer has put in so far, for those who look on. Apart from what the consumer writes.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Pushed {
    cost: AtomicU64,
    entries: AtomicU64,
}

/// How full a lane is, for any thread to see.
#[derive(Clone, Debug)]
pub struct Depth(Arc<Shared>);

impl Depth {
    /// Sum of the costs of what is queued, by now.
    pub fn cost(&self) -> u64 {
        let taken = self.0.taken.load(Ordering::Acquire);
        self.0.pushed.cost.load(Ordering::Relaxed).saturating_sub(taken)
    }

    /// Entries queued, by now.
    pub fn entries(&self) -> u64 {
        let taken = self.0.taken_entries.load(Ordering::Acquire);
        self.0.pushed.entries.load(Ordering::Relaxed).saturating_sub(taken)
    }
}

/// The producer's end of a lane.
#[derive(Debug)]
pub struct Sender<T> {
    queue: Producer<(u64, T)>,
    shared: Arc<Shared>,
    consumer: Arc<Wake>,
    cost_max: u64,
    pushed: u64,
}

/// The consumer's end of a lane.
#[derive(Debug)]
pub struct Receiver<T> {
    queue: Consumer<(u64, T)>,
    shared: Arc<Shared>,
    producer: Arc<Wake>,
}

/// A lane of at most `entries` entries whose costs sum up to at most `cost_max`; an entry that
/// costs more enters an empty lane. `consumer` and `producer` wake the threads at its ends.
pub fn lane<T>(
    entries: usize,
    cost_max: u64,
    consumer: Arc<Wake>,
    producer: Arc<Wake>,
) -> (Sender<T>, Receiver<T>) {
    let (send, receive) = queue(entries);
    let shared = Arc::new(Shared::default());
    let sender = Sender { queue: send, shared: shared.clone(), consumer, cost_max, pushed: 0 };
    let receiver = Receiver { queue: receive, shared, producer };
    (sender, receiver)
}

impl<T> Sender<T> {
    /// Sum of the costs of what was pushed and not yet taken.
    pub fn queued_cost(&self) -> u64 {
        self.pushed - self.shared.taken.load(Ordering::Acquire)
    }

    /// How full the lane is, for other threads.
    pub fn depth(&self) -> Depth {
        Depth(self.shared.clone())
    }

    /// Wakes the consumer.
    pub fn consumer(&self) -> Arc<Wake> {
        self.consumer.clone()
    }

    /// Entries that still fit.
    pub fn free_entries(&self) -> usize {
        self.queue.slots()
    }

    /// Whether an entry of this cost fits now. Room once seen stays until this end pushes.
    pub fn has_room(&self, cost: u64) -> bool {
        if self.queue.slots() == 0 {
            return false;
        }
        let queued = self.queued_cost();
        queued == 0 || queued + cost <= self.cost_max
    }

    /// Appends an entry, or hands it back when there is no room. Does not wake: several pushes
    /// share one [`Sender::wake`].
    pub fn push(&mut self, cost: u64, entry: T) -> Result<(), T> {
        if !self.has_room(cost) {
            return Err(entry);
        }
        match self.queue.push((cost, entry)) {
            Ok(()) => {
                self.pushed += cost;
                let Pushed { cost, entries } = &self.shared.pushed;
                cost.store(self.pushed, Ordering::Relaxed);
                entries.store(entries.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
                Ok(())
            }
            Err(PushError::Full((_, entry))) => Err(entry),
        }
    }

    /// Asks to be woken when the consumer next takes something. The caller must look for room once
    /// more afterwards, before it sleeps.
    pub fn want_room(&self) {
        self.shared.wants_room.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
    }

    /// Wakes the consumer if it sleeps.
    pub fn wake(&self) {
        self.consumer.wake();
    }

    /// Whether the other end is gone.
    pub fn is_abandoned(&self) -> bool {
        self.queue.is_abandoned()
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.shared.producer_gone.store(true, Ordering::Release);
        self.consumer.wake();
    }
}

impl<T> Receiver<T> {
    /// Takes the oldest entry. Its room is free again at once.
    pub fn pop(&mut self) -> Option<T> {
        let (cost, entry) = self.queue.pop().ok()?;
        // Only this end writes `taken`.
        let taken = self.shared.taken.load(Ordering::Relaxed) + cost;
        self.shared.taken.store(taken, Ordering::Release);
        let entries = &self.shared.taken_entries;
        entries.store(entries.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.shared.wants_room.load(Ordering::Relaxed)
            && self.shared.wants_room.swap(false, Ordering::SeqCst)
        {
            self.producer.wake();
        }
        Some(entry)
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether the other end is gone. Ask before looking for entries: those of before may still be
    /// there.
    pub fn is_abandoned(&self) -> bool {
        self.shared.producer_gone.load(Ordering::Acquire)
    }
}

#[cfg(test)]
// Named, as `tests/loom` has this file in another place of its tree.
#[path = "lane/tests.rs"]
mod tests;
