//! The outbox of one connection: bytes for it alone, in order, with the lengths of its frames.
//!
//! Private frames (replies, pings, pongs, Close, the upgrade answer) and the publications of a
//! laggard go here. While an outbox is not empty nothing is sent past it, so no publication
//! precedes its `@join` and none follows its `@leave`. What a frame is made of is no business of
//! the outbox: an HTTP answer is one, too.
//!
//! Invariants:
//! - the bytes are the rest of the frame under way, if there is one, and then the whole frames of
//!   `frames`. Frames enter at the back, which is always a border;
//! - each publication that has not left whole is the frame under way or one that is marked.

use super::lengths::Lengths;
use super::log::VISIT_BYTES;
use super::queue::Queue;

/// Bytes waiting for one connection. Exists only while there are some.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Queue<u8, 4096>,
    /// Frames of which nothing has been sent. Publications are marked.
    frames: Lengths,
    /// Bytes left of the frame under way.
    under_way: usize,
    /// Whether that is a publication.
    publication_under_way: bool,
    /// Bytes ever taken off the front.
    sent: u64,
    /// `sent` at which the bytes that were waiting when the deadline was set have left.
    laggard_mark: u64,
    /// Publications that have not left whole.
    publications: u64,
}

impl Outbox {
    /// What it holds, as bounds count it: bytes that wait, and the lengths of their frames.
    #[inline]
    pub fn cost(&self) -> usize {
        self.bytes.len() + self.frames.cost()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Publications that have not left whole, the one under way included.
    pub fn publications(&self) -> u64 {
        self.publications
    }

    /// Lets `encode` append one whole frame that is no publication. It must only append.
    pub fn push_private(&mut self, encode: impl FnOnce(&mut Vec<u8>)) {
        let tail = self.bytes.tail();
        let before = tail.len();
        encode(tail);
        let length = tail.len() - before;
        if length > 0 {
            self.frames.push(length, false);
        }
    }

    /// Appends whole publications of these lengths.
    pub fn push_publications(&mut self, frames: &[u8], lengths: impl Iterator<Item = usize>) {
        self.bytes.push(frames);
        let before = self.frames.len();
        self.frames.extend(lengths, true);
        self.publications += (self.frames.len() - before) as u64;
    }

    /// Appends the rest of a publication whose front has been sent. The outbox must be empty.
    pub fn push_cut_publication(&mut self, rest: &[u8]) {
        debug_assert!(self.is_empty());
        self.bytes.push(rest);
        self.under_way = rest.len();
        self.publication_under_way = !rest.is_empty();
        self.publications += u64::from(self.publication_under_way);
    }

    /// What the next send carries: at most [`VISIT_BYTES`].
    pub fn front(&self) -> &[u8] {
        let bytes = self.bytes.as_slice();
        &bytes[..bytes.len().min(VISIT_BYTES)]
    }

    /// Takes `n` sent bytes off the front. Returns the publications that have left whole with them.
    pub fn advance(&mut self, n: usize) -> u64 {
        self.bytes.release(n);
        self.sent += n as u64;
        let (mut sent, mut left) = (n, 0);
        while sent > 0 {
            if self.under_way == 0 {
                let Some((length, publication)) = self.frames.pop() else { break };
                (self.under_way, self.publication_under_way) = (length, publication);
            }
            let taken = sent.min(self.under_way);
            sent -= taken;
            self.under_way -= taken;
            left += u64::from(self.under_way == 0 && self.publication_under_way);
        }
        self.publications -= left;
        left
    }

    /// Drops all frames but the one under way. Returns what they cost and the publications among
    /// them.
    pub fn drop_waiting(&mut self) -> (usize, u64) {
        let (cost, publications) = (self.cost(), self.publications);
        self.bytes.truncate(self.under_way);
        self.frames = Lengths::default();
        self.publications = u64::from(self.under_way > 0 && self.publication_under_way);
        (cost - self.cost(), publications - self.publications)
    }

    /// `sent` at which all that waits now has left.
    fn end(&self) -> u64 {
        self.sent + self.bytes.len() as u64
    }

    /// Marks all that waits now as due to leave by the next deadline.
    pub fn set_laggard_mark(&mut self) {
        self.laggard_mark = self.end();
    }

    /// Whether what was marked has left.
    pub fn laggard_mark_passed(&self) -> bool {
        self.sent >= self.laggard_mark
    }
}

#[cfg(test)]
mod tests {
    use super::super::lengths::LENGTH_BYTES;
    use super::*;

    /// A frame of any framing.
    fn frame(bytes: usize) -> Vec<u8> {
        vec![b'x'; bytes]
    }

    fn private(outbox: &mut Outbox, frame: &[u8]) {
        outbox.push_private(|out| out.extend_from_slice(frame));
    }

    fn publication(outbox: &mut Outbox, frame: &[u8]) {
        outbox.push_publications(frame, std::iter::once(frame.len()));
    }

    /// Every place where a send may have stopped: what is dropped begins at the next border, and
    /// each publication is counted once, as left or as dropped; the one under way when its rest has
    /// left.
    #[test]
    fn dropping_finishes_the_frame_under_way_wherever_it_stands() {
        // Publications but for the second and the last.
        let frames = [frame(5), frame(204), frame(3), frame(11), frame(2)];
        let publication = [true, false, true, true, false];
        let all = frames.concat();
        for sent in 0..=all.len() {
            let mut outbox = Outbox::default();
            for (frame, publication) in frames.iter().zip(publication) {
                if publication {
                    self::publication(&mut outbox, frame);
                } else {
                    private(&mut outbox, frame);
                }
            }
            let left = outbox.advance(sent);
            let (mut border, mut expected_left, mut expected_dropped) = (0, 0, 0);
            let mut under_way = 0;
            for (frame, publication) in frames.iter().zip(publication) {
                let end = border + frame.len();
                match (border, end) {
                    (_, end) if end <= sent => expected_left += u64::from(publication),
                    (begin, end) if begin < sent => under_way = end,
                    _ => expected_dropped += u64::from(publication),
                }
                border = end;
            }
            let kept = if under_way == 0 { sent } else { under_way };
            assert_eq!(left, expected_left, "after {sent}");
            let cost = outbox.cost();
            let (dropped, publications) = outbox.drop_waiting();
            assert_eq!(publications, expected_dropped, "after {sent}");
            assert_eq!((outbox.cost(), dropped), (kept - sent, cost - (kept - sent)));
            assert_eq!(outbox.front(), &all[sent..kept]);
            let rest = outbox.publications();
            assert_eq!(left + expected_dropped + rest, 3, "after {sent}");
            assert_eq!(outbox.advance(kept - sent), rest);
            assert_eq!(outbox.publications(), 0);
        }
    }

    #[test]
    fn publications_are_counted_however_they_leave() {
        let lengths = [5, 2, 134];
        let bytes = frame(5 + 2 + 134);
        for step in 1..=bytes.len() {
            let mut outbox = Outbox::default();
            outbox.push_cut_publication(b"rest");
            outbox.push_publications(&bytes, lengths.into_iter());
            let mut left = 0;
            while !outbox.is_empty() {
                left += outbox.advance(step.min(outbox.front().len()));
            }
            assert_eq!(
                (left, outbox.publications(), outbox.cost()),
                (4, 0, 0),
                "{step} bytes a time"
            );
        }
    }

    #[test]
    fn the_rest_of_a_frame_is_no_border() {
        let mut outbox = Outbox::default();
        outbox.push_cut_publication(b"rest");
        publication(&mut outbox, &frame(7));
        assert_eq!(outbox.advance(1), 0);
        assert_eq!(outbox.drop_waiting(), (7 + LENGTH_BYTES, 1));
        assert_eq!(outbox.front(), b"est");
        assert_eq!(outbox.advance(3), 1);
    }

    #[test]
    fn the_mark_passes_when_what_waited_then_has_left() {
        let mut outbox = Outbox::default();
        private(&mut outbox, &frame(10));
        outbox.set_laggard_mark();
        private(&mut outbox, &frame(10));
        outbox.advance(9);
        assert!(!outbox.laggard_mark_passed());
        outbox.advance(1);
        assert!(outbox.laggard_mark_passed());
    }
}
