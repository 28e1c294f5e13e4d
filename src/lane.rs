//! Lanes: bounded lock-free single-producer single-consumer queues between two threads, and the waking of
//! a thread that sleeps.
//!
//! A lane is bounded twice, in entries and in the sum of what the entries cost (bytes). The producer sees how
//! much room is left and never pushes past it; what to do about a full lane is the producer's business.
//!
//! Invariants worth naming:
//! - **A sleeper is woken.** The consumer stores *asleep*, fences, then looks at its lanes once more; the
//!   producer pushes, fences, then loads *asleep*. Whichever fence comes first, one of the two sees the other.
//! - **A producer that met a full lane is woken**, by the same protocol with *wants room*.
//! - Entries come out in the order they went in.
//! - **A consumer learns that its producer has gone**, by the first protocol; what was pushed before is still there.
//!
//! Deliberately absent: blocking, growing, many producers.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use crate::pulse::Pulse;
// What `tests/loom` puts models in the place of: this file is compiled there as it stands.
use crate::sync::{Arc, AtomicBool, AtomicU64, Consumer, Event, Ordering, Producer, PushError, fence, queue};

/// How a thread that sleeps in its own event loop is woken by others: an eventfd that its loop watches,
/// written only while the thread has said that it sleeps.
///
/// Measured: the eventfd under a multishot poll of the sleeping ring costs the receiver 11–16 µs of CPU, about
/// 5 µs on the same core; as cheap as MSG_RING.
#[derive(Debug)]
pub struct Wake {
    asleep: AtomicBool,
    event: Event,
    /// Beats when the sleeper is called, rests once it has answered.
    call: Pulse,
}

impl Wake {
    /// A wake-up for one thread. Fails when no descriptor can be had.
    pub fn new() -> io::Result<Arc<Self>> {
        Ok(Arc::new(Self { asleep: AtomicBool::new(false), event: Event::new()?, call: Pulse::default() }))
    }

    /// Says that the thread is about to sleep. It must look at all its lanes once more before it does.
    pub fn fall_asleep(&self) {
        self.call.rest();
        // A swap, which costs what a sequentially consistent store does: it reads what wakers of the sleep before have
        // written, so that loom, too, orders their writes before this one (tests/loom).
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
    pub(crate) fn event(&self) -> &Event {
        &self.event
    }

    /// Wakes the thread if it sleeps. Call after what it shall see has been stored.
    pub fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::SeqCst) {
            // Before the signal, which the thread answers: a beat that comes late is taken back all the same.
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

/// A lane of at most `entries` entries whose costs sum up to at most `cost_max`; an entry that costs more
/// enters an empty lane. `consumer` and `producer` wake the threads at its ends.
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

    /// Appends an entry, or hands it back when there is no room. Does not wake: several pushes share one
    /// [`Sender::wake`].
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

    /// Asks to be woken when the consumer next takes something. The caller must look for room once more
    /// afterwards, before it sleeps.
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

    /// Whether the other end is gone. Ask before looking for entries: those of before may still be there.
    pub fn is_abandoned(&self) -> bool {
        self.shared.producer_gone.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(entries: usize, cost_max: u64) -> (Sender<u32>, Receiver<u32>) {
        lane(entries, cost_max, Wake::new().unwrap(), Wake::new().unwrap())
    }

    #[test]
    fn entries_come_out_in_order_and_free_their_room() {
        let (mut sender, mut receiver) = pair(4, 10);
        assert_eq!(sender.push(4, 1), Ok(()));
        assert_eq!(sender.push(6, 2), Ok(()));
        assert_eq!(sender.push(1, 3), Err(3), "the cost bound holds");
        assert_eq!(receiver.pop(), Some(1));
        assert_eq!(sender.push(4, 3), Ok(()));
        assert_eq!(receiver.pop(), Some(2));
        assert_eq!(receiver.pop(), Some(3));
        assert_eq!(receiver.pop(), None);
        assert_eq!(sender.queued_cost(), 0);
    }

    #[test]
    fn an_onlooker_sees_how_full_a_lane_is() {
        let (mut sender, mut receiver) = pair(4, 10);
        let depth = sender.depth();
        sender.push(4, 1).unwrap();
        sender.push(6, 2).unwrap();
        sender.push(1, 3).unwrap_err();
        assert_eq!((depth.entries(), depth.cost()), (2, 10));
        receiver.pop();
        assert_eq!((depth.entries(), depth.cost()), (1, 6));
    }

    #[test]
    fn the_entry_bound_holds_for_free_entries() {
        let (mut sender, mut receiver) = pair(2, 10);
        assert!(sender.push(0, 1).is_ok() && sender.push(0, 2).is_ok());
        assert_eq!(sender.push(0, 3), Err(3));
        receiver.pop();
        assert_eq!(sender.push(0, 3), Ok(()));
    }

    #[test]
    fn an_entry_larger_than_the_bound_enters_an_empty_lane_only() {
        let (mut sender, mut receiver) = pair(4, 10);
        assert_eq!(sender.push(1, 1), Ok(()));
        assert_eq!(sender.push(100, 2), Err(2));
        receiver.pop();
        assert_eq!(sender.push(100, 2), Ok(()));
        assert_eq!(sender.push(1, 3), Err(3));
    }

    #[test]
    fn a_sleeper_that_does_not_come_when_called_is_seen() {
        let (wake, now) = (Wake::new().unwrap(), Instant::now());
        let later = now + Duration::from_secs(3_600);
        wake.wake();
        assert_eq!(wake.unanswered_for(later), Duration::ZERO, "awake: not called");
        wake.fall_asleep();
        assert_eq!(wake.unanswered_for(later), Duration::ZERO, "asleep, and nobody calls");
        wake.wake();
        assert!(wake.unanswered_for(later) > Duration::from_secs(3_000));
        wake.stay_awake();
        assert_eq!(wake.unanswered_for(later), Duration::ZERO);
    }

    fn wakes(wake: &Wake) -> bool {
        let mut count = [0u8; 8];
        rustix::io::read(wake, &mut count).is_ok()
    }

    #[test]
    fn only_a_sleeper_is_woken_and_only_once() {
        let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
        let (mut sender, _receiver) = lane(4, 10, consumer.clone(), producer);
        sender.push(1, 1).unwrap();
        sender.wake();
        assert!(!wakes(&consumer), "awake: nothing written");
        consumer.fall_asleep();
        sender.wake();
        sender.wake();
        assert!(wakes(&consumer));
        assert!(!wakes(&consumer), "one wake a sleep");
    }

    #[test]
    fn a_consumer_is_woken_when_its_producer_goes_and_takes_what_it_left() {
        let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
        let (mut sender, mut receiver) = lane(4, 10, consumer.clone(), producer);
        sender.push(1, 7).unwrap();
        consumer.fall_asleep();
        assert!(!receiver.is_abandoned());
        drop(sender);
        assert!(wakes(&consumer));
        assert!(receiver.is_abandoned());
        assert_eq!((receiver.pop(), receiver.pop()), (Some(7), None));
    }

    #[test]
    fn taking_wakes_a_producer_that_wanted_room() {
        let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
        let (mut sender, mut receiver) = lane(4, 2, consumer, producer.clone());
        sender.push(1, 1).unwrap();
        sender.push(1, 2).unwrap();
        receiver.pop();
        producer.fall_asleep();
        receiver.pop();
        assert!(!wakes(&producer), "nobody asked");
        sender.push(2, 3).unwrap();
        sender.want_room();
        assert!(!sender.has_room(1));
        receiver.pop();
        assert!(wakes(&producer));
    }

    /// Two threads, a tiny lane, both sleeping whenever they can: a lost wake-up hangs the test.
    #[test]
    fn no_wake_up_is_lost_between_two_sleepers() {
        // Miri has no poll(2): there, both ends spin, and the memory accesses are checked all the same.
        const ENTRIES: u32 = if cfg!(miri) { 200 } else { 20_000 };
        let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
        let (mut sender, mut receiver) = lane(2, 1 << 20, consumer.clone(), producer.clone());
        let sleep = |wake: &Wake| {
            if cfg!(miri) {
                while !wakes(wake) {
                    std::thread::yield_now();
                }
                return;
            }
            let mut fds = [rustix::event::PollFd::new(wake, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
            wake.acknowledge();
        };
        let pushing = std::thread::spawn(move || {
            for entry in 0..ENTRIES {
                while !sender.has_room(1) {
                    sender.want_room();
                    producer.fall_asleep();
                    if !sender.has_room(1) {
                        sleep(&producer);
                    }
                    producer.stay_awake();
                }
                sender.push(1, entry).unwrap();
                sender.wake();
            }
        });
        for expected in 0..ENTRIES {
            let entry = loop {
                if let Some(entry) = receiver.pop() {
                    break entry;
                }
                consumer.fall_asleep();
                if receiver.is_empty() {
                    sleep(&consumer);
                }
                consumer.stay_awake();
            };
            assert_eq!(entry, expected);
        }
        pushing.join().unwrap();
    }
}
