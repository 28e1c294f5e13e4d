//! What has come and has not been consumed.

use std::ops::Range;

/// Bytes that a read may bring at once.
const READ: usize = 64 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// Initialised once, and read into over and over.
    buffer: Vec<u8>,
    /// Where what has come stands in it.
    held: Range<usize>,
    /// Bytes to come that are of no interest.
    skipped: u64,
    /// Bytes that have come in all.
    received: u64,
}

impl Input {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.held.clone()]
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    pub(super) fn consume(&mut self, bytes: usize) {
        self.held.start = (self.held.start + bytes).min(self.held.end);
        if self.held.is_empty() {
            self.held = 0..0;
        }
    }

    pub(super) fn skip(&mut self, bytes: u64) {
        let here = bytes.min(self.held.len() as u64);
        self.consume(here as usize);
        self.skipped += bytes - here;
    }

    /// Room for a read, at least a few KiB.
    pub(super) fn room(&mut self) -> &mut [u8] {
        if self.held.is_empty() {
            self.held = 0..0;
            if self.buffer.len() > READ {
                self.buffer = Vec::new();
            }
        }
        if self.buffer.len() - self.held.end < READ / 8 {
            self.buffer.copy_within(self.held.clone(), 0);
            self.held = 0..self.held.len();
            if self.buffer.len() - self.held.end < READ / 2 {
                // Twice as much: what is moved stays a share of what comes.
                self.buffer.resize((self.buffer.len() * 2).max(READ), 0);
            }
        }
        &mut self.buffer[self.held.end..]
    }

    /// So many bytes of the room have been filled.
    pub(super) fn filled(&mut self, bytes: usize) {
        self.received += bytes as u64;
        self.held.end += bytes;
        if self.skipped > 0 {
            // Whatever was held is older than what is skipped, so there is none.
            let skipped = std::mem::take(&mut self.skipped);
            self.skip(skipped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(input: &mut Input, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let room = input.room();
            let now = room.len().min(rest.len());
            room[..now].copy_from_slice(&rest[..now]);
            input.filled(now);
            rest = &rest[now..];
        }
    }

    #[test]
    fn bytes_are_held_until_they_are_consumed_however_they_come() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n as u8 ^ (n >> 8) as u8).collect();
        let mut input = Input::default();
        let (mut given, mut consumed) = (0, 0);
        for step in 0.. {
            if given == bytes.len() {
                break;
            }
            let next = (given + step % 997).min(bytes.len());
            fill(&mut input, &bytes[given..next]);
            given = next;
            assert_eq!(input.bytes(), &bytes[consumed..given]);
            let done = (step * 7 % 991).min(given - consumed);
            input.consume(done);
            consumed += done;
        }
    }

    #[test]
    fn what_is_skipped_is_never_held_and_costs_no_memory() {
        let mut input = Input::default();
        fill(&mut input, b"headsk");
        input.consume(4);
        input.skip(2 + 10_000_000);
        fill(&mut input, &vec![b's'; 10_000_000]);
        assert!(input.bytes().is_empty() && input.buffer.len() <= READ);
        fill(&mut input, b"tail");
        assert_eq!(input.bytes(), b"tail");
    }

    #[test]
    fn a_long_message_makes_the_buffer_grow_and_it_shrinks_again() {
        let mut input = Input::default();
        let long: Vec<u8> = (0..1_000_000_u32).map(|n| n as u8).collect();
        fill(&mut input, &long);
        assert_eq!(input.bytes(), long);
        input.consume(long.len());
        fill(&mut input, b"x");
        assert_eq!((input.bytes(), input.buffer.len()), (&b"x"[..], READ));
    }
}
