//! Models of what lanes are made of, under the names of the crate's own `sync`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use loom::sync::atomic::AtomicUsize;
use loom::sync::{Condvar, Mutex};

pub use loom::sync::Arc;
pub use loom::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

/// An eventfd: a counter that a thread can wait for. As with the real one, a write that is read
/// synchronises.
#[derive(Debug)]
pub struct EventFd {
    count: Mutex<u64>,
    written: Condvar,
}

impl EventFd {
    pub fn new() -> io::Result<Self> {
        Ok(Self { count: Mutex::new(0), written: Condvar::new() })
    }

    pub fn signal(&self) {
        *self.count.lock().unwrap() += 1;
        self.written.notify_one();
    }

    pub fn clear(&self) {
        *self.count.lock().unwrap() = 0;
    }

    /// Waits as an event loop does. loom reports it if nothing will ever be written.
    pub fn wait(&self) {
        let mut count = self.count.lock().unwrap();
        while *count == 0 {
            count = self.written.wait(count).unwrap();
        }
    }
}

impl AsFd for EventFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        unreachable!("the models wait by `EventFd::wait`")
    }
}

/// The queue with the loads and stores of rtrb, in rtrb's orderings: head and tail count on without
/// end. The slots are locks, which are taken only for entries that are there, so that they order
/// nothing that the counters do not.
#[derive(Debug)]
struct Queue<T> {
    head: AtomicUsize,
    tail: AtomicUsize,
    slots: Vec<Mutex<Option<T>>>,
}

#[derive(Debug)]
pub struct Producer<T> {
    queue: Arc<Queue<T>>,
    tail: usize,
}

#[derive(Debug)]
pub struct Consumer<T> {
    queue: Arc<Queue<T>>,
    head: usize,
}

pub enum PushError<T> {
    Full(T),
}

pub fn queue<T>(entries: usize) -> (Producer<T>, Consumer<T>) {
    let slots = (0..entries).map(|_| Mutex::new(None)).collect();
    let queue = Arc::new(Queue { head: AtomicUsize::new(0), tail: AtomicUsize::new(0), slots });
    (Producer { queue: queue.clone(), tail: 0 }, Consumer { queue, head: 0 })
}

impl<T> Producer<T> {
    pub fn slots(&self) -> usize {
        self.queue.slots.len() - (self.tail - self.queue.head.load(Ordering::Acquire))
    }

    pub fn push(&mut self, entry: T) -> Result<(), PushError<T>> {
        if self.slots() == 0 {
            return Err(PushError::Full(entry));
        }
        *self.queue.slots[self.tail % self.queue.slots.len()].lock().unwrap() = Some(entry);
        self.tail += 1;
        self.queue.tail.store(self.tail, Ordering::Release);
        Ok(())
    }

    pub fn is_abandoned(&self) -> bool {
        false
    }
}

impl<T> Consumer<T> {
    pub fn is_empty(&self) -> bool {
        self.queue.tail.load(Ordering::Acquire) == self.head
    }

    pub fn pop(&mut self) -> Result<T, ()> {
        if self.is_empty() {
            return Err(());
        }
        let entry = self.queue.slots[self.head % self.queue.slots.len()].lock().unwrap().take();
        self.head += 1;
        self.queue.head.store(self.head, Ordering::Release);
        entry.ok_or(())
    }

    pub fn peek(&self) -> Result<&T, ()> {
        unreachable!("not part of the models")
    }

    pub fn is_abandoned(&self) -> bool {
        false
    }
}
