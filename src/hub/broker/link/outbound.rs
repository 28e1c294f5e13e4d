//! What is to be sent, until the link has sent it.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::Waker;

/// Bytes whose buffer is kept while nothing is queued.
const KEPT: usize = 256 * 1024;

/// See the module. Clones queue to the same link; once it has gone, what they queue goes nowhere.
#[derive(Clone, Debug, Default)]
pub struct Outbound(Rc<Queue>);

#[derive(Debug, Default)]
struct Queue {
    bytes: RefCell<Vec<u8>>,
    /// Of them, so many have been sent.
    sent: Cell<usize>,
    /// Of all that was ever queued, so many have been sent.
    sent_ever: Cell<u64>,
    /// Of whoever polls the link.
    waker: RefCell<Option<Waker>>,
}

impl Outbound {
    /// Queues what `write` appends; whoever reads from the link, or drives it, sends it. Says where
    /// its last byte stands in all that was ever queued, as [`Outbound::sent`] counts.
    pub fn queue(&self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut bytes = self.0.bytes.borrow_mut();
        write(&mut bytes);
        if let Some(waker) = self.0.waker.borrow_mut().take() {
            waker.wake();
        }
        self.0.sent_ever.get() + (bytes.len() - self.0.sent.get()) as u64
    }

    /// Bytes that are queued.
    pub fn queued(&self) -> usize {
        self.0.bytes.borrow().len() - self.0.sent.get()
    }

    /// How many bytes have been given to the system, of all that were ever queued.
    pub fn sent(&self) -> u64 {
        self.0.sent_ever.get()
    }

    /// Something may be queued later: that is to be woken then.
    pub(super) fn wake_by(&self, waker: &Waker) {
        let mut known = self.0.waker.borrow_mut();
        match &mut *known {
            Some(known) => known.clone_from(waker),
            None => *known = Some(waker.clone()),
        }
    }

    /// What is queued, from the oldest byte on.
    pub(in crate::hub::broker) fn with<T>(&self, send: impl FnOnce(&[u8]) -> T) -> T {
        send(&self.0.bytes.borrow()[self.0.sent.get()..])
    }

    /// So many bytes have been sent.
    pub(in crate::hub::broker) fn taken(&self, bytes: usize) {
        let mut queue = self.0.bytes.borrow_mut();
        let sent = self.0.sent.get() + bytes;
        self.0.sent_ever.set(self.0.sent_ever.get() + bytes as u64);
        if sent < queue.len() {
            // Moved seldom: each time half of it or more has gone.
            if sent < queue.len() / 2 {
                self.0.sent.set(sent);
                return;
            }
            queue.drain(..sent);
        } else {
            queue.clear();
        }
        self.0.sent.set(0);
        if queue.len() < KEPT / 4 && queue.capacity() > KEPT {
            queue.shrink_to(KEPT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_queued_is_sent_in_order_whatever_is_taken_at_a_time() {
        let out = Outbound::default();
        let (mut queued, mut sent) = (Vec::<u8>::new(), Vec::<u8>::new());
        for step in 0..5_000_u32 {
            let piece = step.to_be_bytes().repeat(step as usize % 7);
            assert_eq!(
                out.queue(|bytes| bytes.extend(&piece)),
                (queued.len() + piece.len()) as u64
            );
            queued.extend(piece);
            let take = (step as usize * 31 % 29).min(out.queued());
            out.with(|bytes| sent.extend(&bytes[..take]));
            out.taken(take);
            assert_eq!((out.sent(), out.queued()), (sent.len() as u64, queued.len() - sent.len()));
        }
        out.with(|bytes| sent.extend(bytes));
        assert_eq!(sent, queued);
    }

    #[test]
    fn memory_goes_back_when_what_it_was_for_has_gone() {
        let out = Outbound::default();
        out.queue(|bytes| bytes.resize(8 << 20, 0));
        out.taken(8 << 20);
        assert!(out.0.bytes.borrow().capacity() <= KEPT);
    }
}
