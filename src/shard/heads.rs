//! Heads that have arrived in part, of connections that are no WebSockets yet. A head that comes in
//! one piece, as most do, is never here.
//!
//! Their bytes have a bound in sum. Past it the oldest is given up: who is slowest pays, and
//! whoever comes next is served.

use std::collections::{HashMap, VecDeque};

use super::connection::ConnId;

/// What an unfinished head costs beyond its bytes: its place in the table and in the line, with
/// room to grow.
const PIECE_COST: usize = 128;

/// Places in the line that may be left by heads that are complete, beyond as many as there are
/// heads.
const LEFT_MAX: usize = 64;

/// Unfinished heads.
#[derive(Debug, Default)]
pub struct Heads {
    pieces: HashMap<ConnId, Vec<u8>>,
    /// By the arrival of the first piece. May name heads that are no longer here.
    line: VecDeque<ConnId>,
    bytes: usize,
}

impl Heads {
    /// Whether a piece of this connection's head is here.
    pub fn has(&self, id: ConnId) -> bool {
        self.pieces.contains_key(&id)
    }

    /// What is there of a head with a piece more, and the length before; `None` if that was its
    /// first piece.
    pub fn extend(&mut self, id: ConnId, piece: &[u8]) -> Option<(&mut [u8], usize)> {
        let head = self.pieces.get_mut(&id)?;
        let seen = head.len();
        head.extend_from_slice(piece);
        self.bytes += piece.len();
        Some((head, seen))
    }

    /// Keeps a head's first piece.
    pub fn begin(&mut self, id: ConnId, piece: &[u8]) {
        self.bytes += piece.len() + PIECE_COST;
        self.pieces.insert(id, piece.to_vec());
        self.line.push_back(id);
    }

    /// Takes a head out: it is complete, or its connection ends.
    pub fn take(&mut self, id: ConnId) -> Option<Vec<u8>> {
        let head = self.pieces.remove(&id)?;
        self.bytes -= head.len() + PIECE_COST;
        if self.pieces.is_empty() {
            // After a crowd has gone its room goes too.
            *self = Self::default();
        } else if self.line.len() > 2 * self.pieces.len() + LEFT_MAX {
            self.line.retain(|id| self.pieces.contains_key(id));
        }
        Some(head)
    }

    /// The oldest of several heads if they hold more than `bytes_max`. A single one may always be
    /// finished.
    pub fn oldest_past(&mut self, bytes_max: usize) -> Option<ConnId> {
        if self.bytes <= bytes_max || self.pieces.len() == 1 {
            return None;
        }
        while !self.has(*self.line.front()?) {
            self.line.pop_front();
        }
        self.line.front().copied()
    }

    /// Checks what the parts say of each other. For tests.
    pub fn check_invariants(&self, waits: impl Fn(ConnId) -> bool) {
        let bytes: usize = self.pieces.values().map(|head| head.len() + PIECE_COST).sum();
        assert_eq!(self.bytes, bytes);
        for id in self.pieces.keys() {
            assert!(waits(*id), "{id:?}: a head that nobody will finish");
        }
        assert_eq!(
            self.line.iter().filter(|id| self.has(**id)).count(),
            self.pieces.len(),
            "each once in line"
        );
        assert!(self.line.len() <= 2 * self.pieces.len() + LEFT_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(index: u32) -> ConnId {
        ConnId { index, generation: 0 }
    }

    #[test]
    fn the_oldest_is_named_while_several_hold_more_than_they_may() {
        let mut heads = Heads::default();
        (0..3).for_each(|index| heads.begin(id(index), &[b'x'; 100]));
        assert_eq!(heads.bytes, 3 * (100 + PIECE_COST));
        let (head, seen) = heads.extend(id(0), b"yz").unwrap();
        assert_eq!((head.len(), seen), (102, 100));
        assert_eq!(heads.oldest_past(heads.bytes), None);
        assert_eq!(heads.oldest_past(heads.bytes - 1), Some(id(0)));
        assert_eq!(heads.take(id(0)).map(|head| head.len()), Some(102));
        assert_eq!(heads.oldest_past(0), Some(id(1)));
        heads.take(id(2));
        assert_eq!(heads.oldest_past(0), None, "a single one may be finished");
        heads.take(id(1));
        assert_eq!((heads.bytes, heads.take(id(1))), (0, None));
    }

    #[test]
    fn the_line_does_not_grow_with_heads_that_are_complete() {
        let mut heads = Heads::default();
        heads.begin(id(0), b"slow");
        for index in 1..10_000 {
            heads.begin(id(index), b"quick");
            heads.take(id(index));
            heads.check_invariants(|_| true);
        }
        assert_eq!(heads.oldest_past(0), None);
        heads.begin(id(1), b"x");
        assert_eq!(heads.oldest_past(0), Some(id(0)));
    }
}
