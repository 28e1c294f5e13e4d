//! A queue in one contiguous piece of memory: appended at the back, released at the front.

/// First in first out, and readable as one slice. Unbounded by itself: its owners check their bound
/// before they push. Empty, it keeps room for `KEPT` items for its next use; more is given back.
#[derive(Debug)]
pub struct Queue<T, const KEPT: usize> {
    items: Vec<T>,
    /// What lies before is released.
    start: usize,
}

impl<T, const KEPT: usize> Default for Queue<T, KEPT> {
    fn default() -> Self {
        Self { items: Vec::new(), start: 0 }
    }
}

impl<T: Copy, const KEPT: usize> Queue<T, KEPT> {
    /// Items queued.
    #[inline]
    pub fn len(&self) -> usize {
        self.items.len() - self.start
    }

    /// Whether nothing is queued.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All that is queued.
    #[inline]
    pub fn as_slice(&self) -> &[T] {
        &self.items[self.start..]
    }

    /// All that is queued, to be changed in place.
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        &mut self.items[self.start..]
    }

    /// Appends at the back. Moves what is queued to the front of its memory first when more than
    /// half of it is released, so a queue that never runs empty stays within twice its longest
    /// length, at a constant cost per item.
    #[inline]
    pub fn push(&mut self, items: &[T]) {
        if self.items.len() + items.len() > self.items.capacity() {
            self.compact();
        }
        self.items.extend_from_slice(items);
    }

    /// The back of the queue, for encoders that append. They must only append.
    pub fn tail(&mut self) -> &mut Vec<T> {
        self.compact();
        &mut self.items
    }

    fn compact(&mut self) {
        if self.start > self.items.len() / 2 {
            self.items.copy_within(self.start.., 0);
            self.items.truncate(self.items.len() - self.start);
            self.start = 0;
        }
    }

    /// Releases `n` items at the front.
    #[inline]
    pub fn release(&mut self, n: usize) {
        self.start += n;
        debug_assert!(self.start <= self.items.len());
        if self.start == self.items.len() {
            self.start = 0;
            if self.items.capacity() > KEPT {
                self.items = Vec::new();
            } else {
                self.items.clear();
            }
        }
    }

    /// Whether it has no memory.
    #[inline]
    pub fn is_bare(&self) -> bool {
        self.items.capacity() == 0
    }

    /// Gives memory to a queue that has none.
    pub fn furnish(&mut self, memory: Vec<T>) {
        debug_assert!(self.is_bare() && memory.is_empty());
        self.items = memory;
    }

    /// Takes the memory of a queue that is empty.
    pub fn strip(&mut self) -> Vec<T> {
        debug_assert!(self.is_empty());
        std::mem::take(&mut self.items)
    }

    /// Drops all but the first `n` items.
    pub fn truncate(&mut self, n: usize) {
        self.items.truncate(self.start + n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Bytes = Queue<u8, 4096>;

    #[test]
    fn bytes_come_out_as_they_went_in_and_memory_stays_within_twice_the_content() {
        let mut queue = Bytes::default();
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
        assert!(queue.items.capacity() <= 4 * 5_100, "{}", queue.items.capacity());
    }

    #[test]
    fn encoders_that_append_leave_memory_within_a_few_times_the_content_too() {
        let mut queue = Bytes::default();
        queue.tail().extend_from_slice(&[0; 1_000]);
        for round in 0..10_000u32 {
            queue.tail().extend_from_slice(&[round as u8; 100]);
            queue.release(100);
        }
        assert_eq!(queue.as_slice()[900..], [(9_999u32 as u8); 100]);
        assert!(queue.items.capacity() <= 8 * 1_100, "{}", queue.items.capacity());
    }

    #[test]
    fn an_empty_queue_keeps_little_memory() {
        let mut queue = Bytes::default();
        queue.push(&[0; 100_000]);
        queue.release(100_000);
        assert_eq!(queue.items.capacity(), 0);
        queue.push(&[0; 1000]);
        queue.release(1000);
        assert!(queue.items.capacity() >= 1000);
    }
}
