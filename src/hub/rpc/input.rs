//! What has been read from an RPC connection and is not worked through yet. Little is kept for a
//! connection that pauses: large buffers belong to whoever is busy, and a few of them wait for the
//! next one.

use std::cell::RefCell;
use std::rc::Rc;

/// Bytes asked for in one read of a connection that is busy, at least.
const READ_BYTES: usize = 64 * 1024;
/// The same of one that is waited for: some calls, and all that is kept for it.
const IDLE_BYTES: usize = 8 * 1024;
/// Large buffers that nobody uses, at most: 1 MiB, or 2 where each has grown to twice its size.
const SPARE_MAX: usize = 16;

/// Large buffers that nobody uses by now, for all connections.
#[derive(Debug, Default)]
pub(super) struct Spare(RefCell<Vec<Vec<u8>>>);

impl Spare {
    fn take(&self) -> Vec<u8> {
        self.0.borrow_mut().pop().unwrap_or_else(|| Vec::with_capacity(READ_BYTES))
    }

    fn give(&self, mut buffer: Vec<u8>) {
        let mut spare = self.0.borrow_mut();
        // One that has grown for a large frame goes back to the system.
        if spare.len() < SPARE_MAX && (READ_BYTES..=2 * READ_BYTES).contains(&buffer.capacity()) {
            buffer.clear();
            spare.push(buffer);
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) bytes: Vec<u8>,
    /// The small buffer, while a large one is in its place.
    small: Vec<u8>,
    spare: Rc<Spare>,
}

impl Input {
    pub(super) fn new(spare: Rc<Spare>) -> Self {
        Self { bytes: Vec::new(), small: Vec::new(), spare }
    }

    /// Makes room for what is likely to be there at once. `frame_bytes`: of the frame under way, if
    /// its beginning is here.
    pub(super) fn make_room(&mut self, frame_bytes: usize) {
        if self.bytes.is_empty() && self.bytes.capacity() < READ_BYTES {
            self.small = std::mem::replace(&mut self.bytes, self.spare.take());
        }
        self.reserve(frame_bytes, READ_BYTES);
    }

    /// Makes room for what is waited for, and gives up what is not needed meanwhile.
    pub(super) fn make_room_to_wait(&mut self, frame_bytes: usize) {
        if self.bytes.is_empty() && self.bytes.capacity() > IDLE_BYTES {
            self.spare.give(std::mem::replace(&mut self.bytes, std::mem::take(&mut self.small)));
        }
        self.reserve(frame_bytes, IDLE_BYTES);
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
                input.make_room_to_wait(0);
                input.make_room(0);
                input.bytes.resize(sent, b'x');
                input.make_room(20 << 20);
                input.bytes.clear();
            }
            inputs.iter_mut().for_each(|input| input.make_room_to_wait(0));
            assert!(inputs.iter().all(|input| held(input) <= IDLE_BYTES), "after {sent} bytes");
            let spare: usize = spare.0.borrow().iter().map(Vec::capacity).sum();
            assert!(spare <= 2 * SPARE_MAX * READ_BYTES, "{spare} bytes are spare");
        }
    }

    #[test]
    fn the_beginning_of_a_frame_stays_and_memory_follows_what_has_come() {
        let mut input = Input::new(Rc::default());
        input.make_room_to_wait(0);
        input.bytes.extend_from_slice(b"begin");
        input.make_room(16 << 20);
        input.make_room_to_wait(16 << 20);
        assert_eq!(input.bytes, b"begin");
        assert!(held(&input) <= 2 * READ_BYTES);
    }

    #[test]
    fn a_small_buffer_that_is_filled_makes_way_for_a_large_one() {
        let mut input = Input::new(Rc::default());
        input.make_room_to_wait(0);
        assert!(!input.is_filled());
        input.bytes.resize(input.bytes.capacity(), b'x');
        assert!(input.is_filled());
        input.enlarge();
        assert_eq!(input.bytes, [b'x'; IDLE_BYTES]);
        assert!(!input.is_filled() && input.bytes.capacity() >= READ_BYTES);
        input.bytes.clear();
        input.make_room_to_wait(0);
        assert!(held(&input) <= IDLE_BYTES);
    }

    #[test]
    fn a_large_buffer_is_used_again() {
        let spare = Rc::new(Spare::default());
        let (mut one, mut other) = (Input::new(spare.clone()), Input::new(spare));
        one.make_room(0);
        let buffer = one.bytes.as_ptr();
        one.make_room_to_wait(0);
        other.make_room(0);
        assert_eq!(other.bytes.as_ptr(), buffer);
    }
}
