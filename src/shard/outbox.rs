//! The outbox of one connection: bytes for it alone, in order, with the frame borders known.
//!
//! Private frames (replies, pings, pongs, Close, the upgrade answer) and the publications of a laggard go here. While
//! an outbox is not empty nothing is sent past it, so no publication precedes its `@join` and none follows its `@leave`.
//!
//! Invariant: from `border` on, the content is whole frames; before it lies the rest of one frame under way, or of the
//! HTTP answer. Frames enter at the back, which is always a border.

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
    late_pong: Option<LatePong>,
}

/// The answer to a ping that came while the connection lagged. A later ping replaces its payload (RFC 6455 §5.5.3), not
/// its turn: it is due when what waited at the first of them has left.
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

    /// Appends whole frames.
    pub fn push_frames(&mut self, frames: &[u8]) {
        self.bytes.push(frames);
    }

    /// Appends bytes without frame borders: an HTTP answer, or the rest of a frame whose front has been sent.
    /// The outbox must be empty.
    pub fn push_rest(&mut self, rest: &[u8]) {
        debug_assert!(self.is_empty());
        self.bytes.push(rest);
        self.border = rest.len();
    }

    /// What the next send carries: at most [`VISIT_BYTES`].
    pub fn front(&self) -> &[u8] {
        let bytes = self.bytes.as_slice();
        &bytes[..bytes.len().min(VISIT_BYTES)]
    }

    /// Takes `n` sent bytes off the front.
    pub fn advance(&mut self, n: usize) {
        while self.border < n {
            self.border += frame_len(&self.bytes.as_slice()[self.border..]);
        }
        self.border -= n;
        self.sent += n as u64;
        self.bytes.release(n);
    }

    /// Drops all frames but the one under way. Returns bytes and frames dropped.
    pub fn drop_waiting(&mut self) -> (usize, u64) {
        let dropped = self.bytes.len() - self.border;
        let mut rest = &self.bytes.as_slice()[self.border..];
        let mut frames = 0;
        while !rest.is_empty() {
            rest = &rest[frame_len(rest)..];
            frames += 1;
        }
        self.bytes.truncate(self.border);
        (dropped, frames)
    }

    /// Keeps the answer to a ping until what waits now has left, in the place of one that is kept already.
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

    /// Every place where a send may have stopped: what is dropped begins at the next border.
    #[test]
    fn dropping_finishes_the_frame_under_way_wherever_it_stands() {
        let frames = [frame(3), frame(200), frame(1)];
        let all = frames.concat();
        for sent in 0..=all.len() {
            let mut outbox = Outbox::default();
            outbox.push_frames(&all);
            outbox.advance(sent);
            let mut border = 0;
            let mut whole = frames.len() as u64;
            for frame in &frames {
                if border >= sent {
                    break;
                }
                border += frame.len();
                whole -= 1;
            }
            assert_eq!(outbox.drop_waiting(), (all.len() - border, whole), "after {sent}");
            assert_eq!(outbox.front(), &all[sent..border]);
        }
    }

    #[test]
    fn the_rest_of_a_frame_is_no_border() {
        let mut outbox = Outbox::default();
        outbox.push_rest(b"rest");
        outbox.push_frames(&frame(5));
        outbox.advance(1);
        assert_eq!(outbox.drop_waiting(), (frame(5).len(), 1));
        assert_eq!(outbox.front(), b"est");
    }

    #[test]
    fn the_mark_passes_when_what_waited_then_has_left() {
        let mut outbox = Outbox::default();
        outbox.push_frames(&frame(8));
        outbox.set_laggard_mark();
        outbox.push_frames(&frame(8));
        outbox.advance(9);
        assert!(!outbox.laggard_mark_passed());
        outbox.advance(1);
        assert!(outbox.laggard_mark_passed());
    }
}
