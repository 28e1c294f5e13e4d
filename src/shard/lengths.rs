//! The lengths of frames or messages that lie one behind the other in a queue of bytes, each with
//! one mark: what tells them apart without a look at the bytes.

use smallvec::SmallVec;

/// What each costs in memory beside its bytes.
pub const LENGTH_BYTES: usize = size_of::<u64>();

/// Lengths, first in first out. The first two need no memory of their own: most outboxes carry one
/// reply.
#[derive(Debug, Default)]
pub struct Lengths {
    /// Twice the length, and one more where it is marked.
    lengths: SmallVec<[u64; 2]>,
    /// What lies before has been taken.
    start: usize,
}

impl Lengths {
    /// How many there are.
    #[inline]
    pub fn len(&self) -> usize {
        self.lengths.len() - self.start
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that they take, as bounds count them.
    #[inline]
    pub fn cost(&self) -> usize {
        self.len() * LENGTH_BYTES
    }

    /// Adds one at the back.
    pub fn push(&mut self, length: usize, marked: bool) {
        self.extend(std::iter::once(length), marked);
    }

    /// Adds some at the back, all marked alike.
    pub fn extend(&mut self, lengths: impl Iterator<Item = usize>, marked: bool) {
        // Taken ones are at most half of it: a constant cost for each.
        if self.start > self.lengths.len() / 2 {
            self.lengths.drain(..self.start);
            self.start = 0;
        }
        self.lengths.extend(lengths.map(|length| (length as u64) << 1 | u64::from(marked)));
    }

    /// The first, and whether it is marked.
    pub fn front(&self) -> Option<(usize, bool)> {
        self.lengths.get(self.start).map(|length| ((length >> 1) as usize, length & 1 == 1))
    }

    /// Takes the first, and whether it is marked.
    pub fn pop(&mut self) -> Option<(usize, bool)> {
        let front = self.front()?;
        self.start += 1;
        if self.is_empty() {
            *self = Self::default();
        }
        Some(front)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_come_out_as_they_went_in_and_memory_follows_how_many_there_are() {
        let mut lengths = Lengths::default();
        let (mut pushed, mut popped) = (0, 0);
        for round in 0..5_000 {
            lengths.extend(pushed..pushed + round % 7, round % 3 == 0);
            lengths.push(1 << 40, true);
            pushed += round % 7;
            while lengths.len() > 100 {
                let (length, marked) = lengths.pop().expect("there are many");
                if length == 1 << 40 {
                    assert!(marked);
                } else {
                    assert_eq!(length, popped);
                    popped += 1;
                }
            }
            assert_eq!(lengths.cost(), lengths.len() * 8);
        }
        assert!(lengths.lengths.capacity() <= 512, "{}", lengths.lengths.capacity());
        while lengths.pop().is_some() {}
        assert!(!lengths.lengths.spilled() && lengths.front().is_none());
    }
}
