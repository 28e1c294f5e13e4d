//! What has been read from an RPC connection and is not worked through yet. Little is kept for a
//! connection that pauses: large buffers belong to whoever is busy, and a few of them wait for the
//! next one. A few callers that are busy all the time keep theirs while they wait.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// Bytes asked for in one read of a connection that is busy, at least.
const READ_BYTES: usize = 64 * 1024;
/// The same of one that is waited for: some calls, and all that is kept for it.
const IDLE_BYTES: usize = 8 * 1024;
/// Large buffers that nobody uses, at most: 512 KiB, or 1 MiB where each has grown to twice its
/// size.
const SPARE_MAX: usize = 8;
/// Connections that may keep a large buffer while they wait: as much again. A read into a small one
/// costs a call of 256 small ones another read and a copy, 0.04 of the CPU.
const KEPT_MAX: usize = 8;

/// Large buffers beside those that are worked through, for all connections.
#[derive(Debug, Default)]
pub(super) struct Spare {
    /// Nobody uses them by now.
    buffers: RefCell<Vec<Vec<u8>>>,
    /// Connections that keep one.
    kept: Cell<usize>,
}

impl Spare {
    fn take(&self) -> Vec<u8> {
        self.buffers.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(READ_BYTES))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        let mut spare = self.buffers.borrow_mut();
        if spare.len() < SPARE_MAX && is_worth_keeping(&buffer) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// One that has grown for a large frame goes back to the system.
fn is_worth_keeping(buffer: &Vec<u8>) -> bool {
    (READ_BYTES..=2 * READ_BYTES).contains(&buffer.capacity())
}

/// See the module.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    /// The small buffer, while a large one is in its place.
    small: Vec<u8>,
    /// The large one is kept while the connection waits.
    keeps: bool,
    spare: Rc<Spare>,
}

impl Input {
    pub(super) fn new(spare: Rc<Spare>) -> Self {
        Self { bytes: Vec::new(), small: Vec::new(), keeps: false, spare }
    }

    /// Makes room for what is likely to be there at once. `frame_bytes`: of the frame under way, if
    /// its beginning is here.
    pub(super) fn make_room(&mut self, frame_bytes: usize) {
        if self.bytes.is_empty() && self.bytes.capacity() < READ_BYTES {
            self.small = std::mem::replace(&mut self.bytes, self.spare.take());
        }
        self.reserve(frame_bytes, READ_BYTES);
    }

    /// Makes room for what is waited for, and gives up what is not needed meanwhile. `busy`: the
    /// caller has kept us busy until now.
    pub(super) fn make_room_to_wait(&mut self, frame_bytes: usize, busy: bool) {
        if self.bytes.is_empty() && self.bytes.capacity() > IDLE_BYTES && !(busy && self.keep()) {
            self.keep_no_more();
            self.spare.give(std::mem::replace(&mut self.bytes, std::mem::take(&mut self.small)));
        }
        self.reserve(frame_bytes, IDLE_BYTES);
    }

    /// Keeps the large buffer, if it may.
    fn keep(&mut self) -> bool {
        let kept = &self.spare.kept;
        if !self.keeps && kept.get() < KEPT_MAX {
            kept.set(kept.get() + 1);
            self.keeps = true;
        }
        self.keeps && is_worth_keeping(&self.bytes)
    }

    fn keep_no_more(&mut self) {
        if std::mem::take(&mut self.keeps) {
            self.spare.kept.set(self.spare.kept.get() - 1);
        }
    }

    /// Whether a small buffer has been filled, so that there may be more.
    pub(super) fn is_filled(&self) -> bool {
        self.bytes.len() == self.bytes.capacity() && self.bytes.capacity() < READ_BYTES
    }

    /// Moves what has come into a large buffer.
    pub(super) fn enlarge(&mut self) {
        let mut large = self.spare.take();
        large.extend_from_slice(&self.bytes);
        self.small = std::mem::replace(&mut self.bytes, large);
        self.small.clear();
    }

    fn reserve(&mut self, frame_bytes: usize, least: usize) {
        let length = self.bytes.len();
        if length == 0 {
            return self.bytes.reserve_exact(least);
        }
        // Twice what has come, never what a header claims.
        let spare = frame_bytes.min(2 * length).saturating_sub(length);
        self.bytes.reserve_exact(spare.max(READ_BYTES));
    }
}

impl Drop for Input {
    fn drop(&mut self) {
        self.keep_no_more();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(input: &Input) -> usize {
        input.bytes.capacity() + input.small.capacity()
    }

    #[test]
    fn who_pauses_keeps_little_whatever_it_once_sent() {
        let spare = Rc::new(Spare::default());
        let mut inputs: Vec<Input> = (0..100).map(|_| Input::new(spare.clone())).collect();
        for sent in [100, 10_000, 300_000] {
            for input in &mut inputs {
                input.make_room_to_wait(0, false);
                input.make_room(0);
                input.bytes.resize(sent, b'x');
                input.make_room(20 << 20);
                input.bytes.clear();
            }
            inputs.iter_mut().for_each(|input| input.make_room_to_wait(0, false));
            assert!(inputs.iter().all(|input| held(input) <= IDLE_BYTES), "after {sent} bytes");
            let spare: usize = spare.buffers.borrow().iter().map(Vec::capacity).sum();
            assert!(spare <= 2 * SPARE_MAX * READ_BYTES, "{spare} bytes are spare");
        }
    }

    #[test]
    fn the_beginning_of_a_frame_stays_and_memory_follows_what_has_come() {
        let mut input = Input::new(Rc::default());
        input.make_room_to_wait(0, false);
        input.bytes.extend_from_slice(b"begin");
        input.make_room(16 << 20);
        input.make_room_to_wait(16 << 20, false);
        assert_eq!(input.bytes, b"begin");
        assert!(held(&input) <= 2 * READ_BYTES);
    }

    #[test]
    fn a_small_buffer_that_is_filled_makes_way_for_a_large_one() {
        let mut input = Input::new(Rc::default());
        input.make_room_to_wait(0, false);
        assert!(!input.is_filled());
        input.bytes.resize(input.bytes.capacity(), b'x');
        assert!(input.is_filled());
        input.enlarge();
        assert_eq!(input.bytes, [b'x'; IDLE_BYTES]);
        assert!(!input.is_filled() && input.bytes.capacity() >= READ_BYTES);
        input.bytes.clear();
        input.make_room_to_wait(0, false);
        assert!(held(&input) <= IDLE_BYTES);
    }

    #[test]
    fn a_large_buffer_is_used_again() {
        let spare = Rc::new(Spare::default());
        let (mut one, mut other) = (Input::new(spare.clone()), Input::new(spare));
        one.make_room(0);
        let buffer = one.bytes.as_ptr();
        one.make_room_to_wait(0, false);
        other.make_room(0);
        assert_eq!(other.bytes.as_ptr(), buffer);
    }

    #[test]
    fn a_few_who_are_busy_keep_their_buffers_while_they_wait_and_others_keep_little() {
        let spare = Rc::new(Spare::default());
        let mut inputs: Vec<Input> =
            (0..KEPT_MAX + 10).map(|_| Input::new(spare.clone())).collect();
        let wait = |input: &mut Input, busy| {
            input.make_room(0);
            input.make_room_to_wait(0, busy);
            held(input) > IDLE_BYTES
        };
        let keep = |inputs: &mut [Input]| {
            inputs.iter_mut().filter_map(|i| wait(i, true).then_some(())).count()
        };
        assert_eq!(keep(&mut inputs), KEPT_MAX);
        assert!(!wait(&mut inputs[0], false), "it is busy no more");
        drop(inputs.remove(1));
        assert!(wait(&mut inputs[KEPT_MAX], true) && wait(&mut inputs[KEPT_MAX + 1], true));
        assert!(!wait(&mut inputs[KEPT_MAX + 2], true));
        inputs[2].bytes.reserve_exact(8 * READ_BYTES);
        assert!(!wait(&mut inputs[2], true), "it has grown for a large frame");
        drop(inputs);
        assert_eq!(spare.kept.get(), 0);
    }
}
