//! A queue of bytes in one contiguous piece of memory: appended at the back, released at the front.

/// Capacity that an empty queue keeps for its next use; more is given back.
pub(super) const KEPT_BYTES: usize = 4096;

/// Contiguous bytes, first in first out. Unbounded by itself: its owners check their bound before
/// they push.
#[derive(Debug, Default)]
pub struct ByteQueue {
    bytes: Vec<u8>,
    /// What lies before is released.
    start: usize,
}

impl ByteQueue {
    /// Bytes queued.
    #[inline]
    pub fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that is queued.
    #[inline]
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// All that is queued, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }

    /// Appends at the back. Moves what is queued to the front of its memory first when more than
    /// half of it is released, so a queue that never runs empty stays within twice its longest
    /// length, at a constant cost per byte.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > self.bytes.capacity() {
            self.compact();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The back of the queue, for encoders that append. They must only append.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        self.compact();
        &mut self.bytes
    }

    fn compact(&mut self) {
        if self.start > self.bytes.len() / 2 {
            self.bytes.copy_within(self.start.., 0);
            self.bytes.truncate(self.bytes.len() - self.start);
            self.start = 0;
        }
    }

    /// Releases `n` bytes at the front.
    pub fn release(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.bytes.len());
        if self.start == self.bytes.len() {
            self.start = 0;
            if self.bytes.capacity() > KEPT_BYTES {
                self.bytes = Vec::new();
            } else {
                self.bytes.clear();
            }
        }
    }

    /// Whether it has no memory.
    #[inline]
    pub fn is_bare(&self) -> bool {
        self.bytes.capacity() == 0
    }

    /// Gives memory to a queue that has none.
    pub fn furnish(&mut self, memory: Vec<u8>) {
        debug_assert!(self.is_bare() && memory.is_empty());
        self.bytes = memory;
    }

    /// Takes the memory of a queue that is empty and has some.
    pub fn strip(&mut self) -> Option<Vec<u8>> {
        (self.is_empty() && !self.is_bare()).then(|| std::mem::take(&mut self.bytes))
    }

    /// Drops all but the first `n` bytes.
    pub fn truncate(&mut self, n: usize) {
        self.bytes.truncate(self.start + n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_come_out_as_they_went_in_and_memory_stays_within_twice_the_content() {
        let mut queue = ByteQueue::default();
        let (mut pushed, mut released) = (0u32, 0u32);
        for round in 0..10_000u32 {
            let n = round % 97;
            for _ in 0..n {
                queue.push(&[pushed as u8]);
                pushed += 1;
            }
            let keep = 5_000.min(queue.len());
            for _ in 0..queue.len() - keep {
                assert_eq!(queue.as_slice()[0], released as u8);
                queue.release(1);
                released += 1;
            }
            assert_eq!(queue.len() as u32, pushed - released);
        }
        assert!(queue.bytes.capacity() <= 4 * 5_100, "{}", queue.bytes.capacity());
    }

    #[test]
    fn encoders_that_append_leave_memory_within_a_few_times_the_content_too() {
        let mut queue = ByteQueue::default();
        queue.tail().extend_from_slice(&[0; 1_000]);
        for round in 0..10_000u32 {
            queue.tail().extend_from_slice(&[round as u8; 100]);
            queue.release(100);
        }
        assert_eq!(queue.as_slice()[900..], [(9_999u32 as u8); 100]);
        assert!(queue.bytes.capacity() <= 8 * 1_100, "{}", queue.bytes.capacity());
    }

    #[test]
    fn an_empty_queue_keeps_little_memory() {
        let mut queue = ByteQueue::default();
        queue.push(&[0; 100_000]);
        queue.release(100_000);
        assert_eq!(queue.bytes.capacity(), 0);
        queue.push(&[0; 1000]);
        queue.release(1000);
        assert!(queue.bytes.capacity() >= 1000);
    }
}
