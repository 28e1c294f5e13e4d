//! The outbox of one connection: bytes for it alone, in order, with the frame borders known.
//!
//! Private frames (replies, pings, pongs, Close, the upgrade answer) and the publications of a
//! laggard go here. While an outbox is not empty nothing is sent past it, so no publication
//! precedes its `@join` and none follows its `@leave`.
//!
//! Invariants:
//! - from `border` on, the content is whole frames; before it lies the rest of one frame under way,
//!   or of the HTTP answer. Frames enter at the back, which is always a border;
//! - each publication that has not left whole lies in one of `runs`, and nothing else does.

use std::collections::VecDeque;

use super::bytes::ByteQueue;
use super::log::VISIT_BYTES;
use crate::ws::frame::frame_len;

/// Bytes waiting for one connection. Exists only while there are some.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: ByteQueue,
    /// Offset of the first frame border in `bytes`.
    border: usize,
    /// Bytes ever taken off the front.
    sent: u64,
    /// `sent` at which the bytes that were waiting when the deadline was set have left.
    laggard_mark: u64,
    /// Where publications lie, counted as `sent` is; adjacent ranges are one.
    runs: VecDeque<(u64, u64)>,
    /// Publications that have not left whole.
    publications: u64,
    late_pong: Option<LatePong>,
}

/// The answer to a ping that came while the connection lagged. A later ping replaces its payload
/// (RFC 6455 §5.5.3), not its turn: it is due when what waited at the first of them has left.
#[derive(Debug)]
struct LatePong {
    payload: Box<[u8]>,
    due: u64,
}

impl Outbox {
    /// Bytes waiting.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The back, for encoders of whole frames. They must only append.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        self.bytes.tail()
    }

    /// Publications that have not left whole, the one under way included.
    pub fn publications(&self) -> u64 {
        self.publications
    }

    /// Appends `count` whole publications.
    pub fn push_publications(&mut self, frames: &[u8], count: u64) {
        let from = self.sent + self.len() as u64;
        let to = from + frames.len() as u64;
        self.bytes.push(frames);
        self.publications += count;
        match self.runs.back_mut() {
            _ if from == to => {}
            Some(run) if run.1 == from => run.1 = to,
            _ => self.runs.push_back((from, to)),
        }
    }

    /// Appends the rest of a publication whose front has been sent. The outbox must be empty.
    pub fn push_cut_publication(&mut self, rest: &[u8]) {
        debug_assert!(self.is_empty());
        self.border = rest.len();
        self.push_publications(rest, u64::from(!rest.is_empty()));
    }

    /// Appends an HTTP answer. The outbox must be empty.
    pub fn push_http(&mut self, answer: &[u8]) {
        debug_assert!(self.is_empty());
        self.bytes.push(answer);
        self.border = answer.len();
    }

    /// What the next send carries: at most [`VISIT_BYTES`].
    pub fn front(&self) -> &[u8] {
        let bytes = self.bytes.as_slice();
        &bytes[..bytes.len().min(VISIT_BYTES)]
    }

    /// Takes `n` sent bytes off the front. Returns the publications that have left whole with them.
    pub fn advance(&mut self, n: usize) -> u64 {
        let mut left = 0;
        while self.border < n {
            left += self.publication_ends_at(self.border);
            self.border += frame_len(&self.bytes.as_slice()[self.border..]);
        }
        if self.border == n && n > 0 {
            left += self.publication_ends_at(n);
        }
        self.border -= n;
        self.sent += n as u64;
        self.bytes.release(n);
        while self.runs.front().is_some_and(|run| run.1 <= self.sent) {
            self.runs.pop_front();
        }
        self.publications -= left;
        left
    }

    /// 1 when the frame that ends at this border is a publication. 0 is a border that nothing ends
    /// at.
    fn publication_ends_at(&mut self, border: usize) -> u64 {
        let end = self.sent + border as u64;
        // Borders are asked for from front to back.
        while border > 0 && self.runs.front().is_some_and(|run| run.1 < end) {
            self.runs.pop_front();
        }
        u64::from(border > 0 && self.runs.front().is_some_and(|run| run.0 < end))
    }

    /// Drops all frames but the one under way. Returns bytes and publications dropped.
    pub fn drop_waiting(&mut self) -> (usize, u64) {
        let bytes = self.bytes.len() - self.border;
        self.bytes.truncate(self.border);
        let kept = self.publication_ends_at(self.border);
        let end = self.sent + self.border as u64;
        self.runs.clear();
        if kept > 0 {
            self.runs.push_back((self.sent, end));
        }
        let dropped = self.publications - kept;
        self.publications = kept;
        (bytes, dropped)
    }

    /// Keeps the answer to a ping until what waits now has left, in the place of one that is kept
    /// already.
    pub fn keep_pong(&mut self, payload: &[u8]) {
        let due = self.late_pong.as_ref().map_or(self.sent + self.len() as u64, |pong| pong.due);
        self.late_pong = Some(LatePong { payload: payload.into(), due });
    }

    /// Whether an answer to a ping is kept.
    pub fn keeps_pong(&self) -> bool {
        self.late_pong.is_some()
    }

    /// The answer kept, once it is due.
    pub fn due_pong(&mut self) -> Option<Box<[u8]>> {
        self.late_pong.take_if(|pong| pong.due <= self.sent).map(|pong| pong.payload)
    }

    /// Marks all that waits now as due to leave by the next deadline.
    pub fn set_laggard_mark(&mut self) {
        self.laggard_mark = self.sent + self.len() as u64;
    }

    /// Whether what was marked has left.
    pub fn laggard_mark_passed(&self) -> bool {
        self.sent >= self.laggard_mark
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::{Opcode, encode};

    fn frame(bytes: usize) -> Vec<u8> {
        let mut frame = Vec::new();
        encode(&mut frame, Opcode::Text, &vec![b'x'; bytes]);
        frame
    }

    /// Every place where a send may have stopped: what is dropped begins at the next border, and
    /// each publication is counted once, as left or as dropped; the one under way when its rest has
    /// left.
    #[test]
    fn dropping_finishes_the_frame_under_way_wherever_it_stands() {
        // Publications but for the second and the last.
        let frames = [frame(3), frame(200), frame(1), frame(9), frame(0)];
        let publication = [true, false, true, true, false];
        let all = frames.concat();
        for sent in 0..=all.len() {
            let mut outbox = Outbox::default();
            for (frame, publication) in frames.iter().zip(publication) {
                if publication {
                    outbox.push_publications(frame, 1);
                } else {
                    outbox.tail().extend_from_slice(frame);
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
            assert_eq!(outbox.drop_waiting(), (all.len() - kept, expected_dropped), "after {sent}");
            assert_eq!(outbox.front(), &all[sent..kept]);
            let rest = outbox.publications();
            assert_eq!(left + expected_dropped + rest, 3, "after {sent}");
            assert_eq!(outbox.advance(kept - sent), rest);
            assert_eq!(outbox.publications(), 0);
        }
    }

    #[test]
    fn publications_are_counted_however_they_leave() {
        let bytes = [frame(3), frame(0), frame(130)].concat();
        for step in 1..=bytes.len() {
            let mut outbox = Outbox::default();
            outbox.push_cut_publication(b"rest");
            outbox.push_publications(&bytes, 3);
            let mut left = 0;
            while !outbox.is_empty() {
                left += outbox.advance(step.min(outbox.len()));
            }
            assert_eq!(
                (left, outbox.publications(), outbox.runs.len()),
                (4, 0, 0),
                "{step} bytes a time"
            );
        }
    }

    #[test]
    fn the_rest_of_a_frame_is_no_border() {
        let mut outbox = Outbox::default();
        outbox.push_cut_publication(b"rest");
        outbox.push_publications(&frame(5), 1);
        assert_eq!(outbox.advance(1), 0);
        assert_eq!(outbox.drop_waiting(), (frame(5).len(), 1));
        assert_eq!(outbox.front(), b"est");
        assert_eq!(outbox.advance(3), 1);
    }

    #[test]
    fn the_mark_passes_when_what_waited_then_has_left() {
        let mut outbox = Outbox::default();
        outbox.tail().extend_from_slice(&frame(8));
        outbox.set_laggard_mark();
        outbox.tail().extend_from_slice(&frame(8));
        outbox.advance(9);
        assert!(!outbox.laggard_mark_passed());
        outbox.advance(1);
        assert!(outbox.laggard_mark_passed());
    }
}
