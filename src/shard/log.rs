//! A topic's log: the frames that some subscriber of this shard has not been sent yet, in one
//! contiguous piece.
//!
//! Positions count bytes since the topic came to be and always lie on frame borders. All
//! subscribers read the same bytes, so a publication is stored once however many they are.

use std::collections::VecDeque;

use super::bytes::{ByteQueue, KEPT_BYTES};
use crate::worst_case;
use crate::ws::frame::frame_len;

/// Bytes that one visit sends at most, or one frame if that is larger.
///
/// Real networks take far less at once than loopback does (78 KiB on a fresh socket over
/// Ethernet-sized segments against 4 MiB), so a longer send would mostly come back short.
pub const VISIT_BYTES: usize = 64 * 1024;

/// How far two marks of a log are apart at least: what counting frames walks over at most, or
/// nearly.
const MARK_BYTES: u64 = VISIT_BYTES as u64;

/// Position of a border, and the frames appended before it. Boxed, since there is a log for each
/// topic and few are long.
type Marks = Option<Box<VecDeque<(u64, u32)>>>;

/// The frames between the oldest position that a subscriber may stand at and the head.
#[derive(Debug, Default)]
pub struct Log {
    frames: ByteQueue,
    /// Position of the first byte kept.
    base: u64,
    /// The last range whose frames were counted: consecutive subscribers mostly stand at the same
    /// place.
    counted: (u64, u64, u32),
    /// Frames ever appended, modulo 2^32: only differences count.
    appended: u32,
    /// Bytes of the newest frame.
    newest_bytes: u32,
    /// Borders of a long log with the frames appended before each, so that counting what a
    /// subscriber has not had does not walk over all of it.
    marks: Marks,
}

impl Log {
    /// Position behind the newest frame.
    #[inline]
    pub fn head(&self) -> u64 {
        self.base + self.frames.len() as u64
    }

    /// Bytes kept.
    #[inline]
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether it has no memory for frames. For tests.
    pub fn is_bare(&self) -> bool {
        self.frames.is_bare()
    }

    /// Appends one whole frame.
    pub fn append(&mut self, frame: &[u8]) {
        debug_assert_eq!(frame_len(frame), frame.len());
        if self.frames.len() as u64 >= MARK_BYTES {
            self.mark();
        }
        self.frames.push(frame);
        self.appended = self.appended.wrapping_add(1);
        // A publication is bounded far below.
        self.newest_bytes = frame.len() as u32;
    }

    fn mark(&mut self) {
        let (head, base) = (self.head(), self.base);
        let marks = self.marks.get_or_insert_default();
        if head - marks.back().map_or(base, |mark| mark.0) >= MARK_BYTES {
            marks.push_back((head, self.appended));
        }
    }

    /// Bytes of the newest frame.
    pub fn newest_bytes(&self) -> usize {
        self.newest_bytes as usize
    }

    /// Where the newest frame begins. It may have been released.
    pub fn newest(&self) -> u64 {
        self.head() - u64::from(self.newest_bytes)
    }

    /// Frames from a border to the head.
    pub fn frames_behind(&mut self, border: u64) -> u64 {
        if border == self.head() {
            return 0;
        }
        let mark = self.marks.as_ref().and_then(|marks| {
            let place = marks.partition_point(|mark| mark.0 < border);
            marks.get(place).copied()
        });
        let (end, appended) = mark.unwrap_or((self.head(), self.appended));
        u64::from(self.frames_between(border, end))
            + u64::from(self.appended.wrapping_sub(appended))
    }

    /// The bytes between two positions.
    #[inline]
    pub fn slice(&self, from: u64, to: u64) -> &[u8] {
        &self.frames.as_slice()[(from - self.base) as usize..(to - self.base) as usize]
    }

    /// How far one visit that begins at `from` reaches: to the head, or to the last border within
    /// [`VISIT_BYTES`], or past one larger frame.
    #[inline]
    pub fn visit_end(&self, from: u64) -> u64 {
        let head = self.head();
        if head - from <= VISIT_BYTES as u64 {
            return head;
        }
        let mut to = from;
        loop {
            let next = to + frame_len(self.slice(to, head)) as u64;
            if next - from > VISIT_BYTES as u64 {
                return if to == from { next } else { to };
            }
            to = next;
        }
    }

    /// The frame border at or behind `position`, looked for from the border `from` on.
    pub fn border_behind(&self, from: u64, position: u64) -> u64 {
        let mut border = from;
        while border < position {
            border += frame_len(self.slice(border, self.head())) as u64;
        }
        border
    }

    /// Frames between two borders.
    #[inline]
    pub fn frames_between(&mut self, from: u64, to: u64) -> u32 {
        let (counted_from, counted_to, count) = self.counted;
        if (counted_from, counted_to) == (from, to) {
            return count;
        }
        let count = self.count(from, to) as u32;
        self.counted = (from, to, count);
        count
    }

    /// As [`Log::frames_between`], always counted anew.
    pub fn count(&self, from: u64, to: u64) -> u64 {
        let (mut count, mut border) = (0, from);
        while border < to {
            border += frame_len(self.slice(border, to)) as u64;
            count += 1;
        }
        count
    }

    /// Releases what lies below `position`. Returns the bytes released.
    pub fn release(&mut self, position: u64) -> usize {
        let released = (position - self.base) as usize;
        if released > 0 {
            self.frames.release(released);
            self.base = position;
            if let Some(marks) = &mut self.marks {
                while marks.front().is_some_and(|mark| mark.0 < position) {
                    marks.pop_front();
                }
                if marks.is_empty() {
                    self.marks = None;
                }
            }
        }
        released
    }
}

/// Memories of empty logs that are kept.
const SPARE_LOGS: usize = 256;

const _: () = assert!((SPARE_LOGS * KEPT_BYTES) as u64 == worst_case::SPARE_LOGS_BYTES);

/// Memory of logs that have been swept out, for the next ones: those who are published to are few
/// at a time, topics many.
#[derive(Debug, Default)]
pub struct SpareLogs {
    memories: Vec<Vec<u8>>,
}

impl SpareLogs {
    /// Gives memory to a log that has none, if there is any.
    #[inline]
    pub fn give(&mut self, log: &mut Log) {
        if log.frames.is_bare()
            && let Some(memory) = self.memories.pop()
        {
            log.frames.furnish(memory);
        }
    }

    /// Takes the memory of a log without frames; past the bound it is freed.
    #[inline]
    pub fn take(&mut self, log: &mut Log) {
        if let Some(memory) = log.frames.strip().filter(|_| self.memories.len() < SPARE_LOGS) {
            self.memories.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ws::frame::{Opcode, encode};

    fn log_of(payloads: &[usize]) -> (Log, Vec<u64>) {
        let mut log = Log::default();
        let mut borders = vec![0];
        for &bytes in payloads {
            let mut frame = Vec::new();
            encode(&mut frame, Opcode::Text, &vec![b'x'; bytes]);
            log.append(&frame);
            borders.push(log.head());
        }
        (log, borders)
    }

    #[test]
    fn a_visit_is_cut_at_the_last_border_within_its_bound() {
        let (log, borders) = log_of(&[40_000, 20_000, 10_000, 70_000, 5]);
        assert_eq!(log.visit_end(borders[0]), borders[2]);
        assert_eq!(log.visit_end(borders[2]), borders[3]);
        assert_eq!(log.visit_end(borders[3]), borders[4], "a larger frame goes alone");
        assert_eq!(log.visit_end(borders[4]), borders[5]);
    }

    #[test]
    fn frames_are_counted_between_any_two_borders() {
        let (mut log, borders) = log_of(&[0, 125, 126, 65_535, 65_536, 3]);
        for from in 0..borders.len() {
            for to in from..borders.len() {
                assert_eq!(log.frames_between(borders[from], borders[to]) as usize, to - from);
            }
        }
    }

    #[test]
    fn frames_behind_any_border_of_a_long_log_are_counted_also_after_releases() {
        let sizes: Vec<usize> =
            (0..3_000).map(|n| (n * 37) % 500 + if n % 400 == 0 { 90_000 } else { 0 }).collect();
        let (mut log, borders) = log_of(&sizes);
        let frames = sizes.len();
        assert_eq!(log.newest(), borders[frames - 1]);
        for released in [0, 1, 700, 1_500, 2_999, 3_000] {
            log.release(borders[released]);
            for (place, border) in borders.iter().enumerate().skip(released) {
                assert_eq!(
                    log.frames_behind(*border),
                    (frames - place) as u64,
                    "{place} of {released}"
                );
            }
        }
        assert!(log.marks.is_none(), "an empty log holds nothing");
    }

    #[test]
    fn the_memory_of_empty_logs_serves_the_next_and_is_bounded() {
        let mut spare = SpareLogs::default();
        let mut logs: Vec<Log> = (0..SPARE_LOGS + 10).map(|_| log_of(&[1_500]).0).collect();
        spare.take(&mut logs[0]);
        assert!(spare.memories.is_empty(), "it holds a frame");
        for log in &mut logs {
            log.release(log.head());
            spare.take(log);
        }
        assert!(logs.iter().all(|log| log.frames.is_bare()) && spare.memories.len() == SPARE_LOGS);
        assert!(spare.memories.iter().all(|memory| memory.capacity() <= KEPT_BYTES));
        spare.give(&mut logs[0]);
        spare.give(&mut logs[0]);
        assert!(!logs[0].frames.is_bare() && spare.memories.len() == SPARE_LOGS - 1);
    }

    #[test]
    fn positions_stay_valid_after_a_release() {
        let (mut log, borders) = log_of(&[10, 20, 30]);
        let last = log.slice(borders[2], borders[3]).to_vec();
        assert_eq!(log.release(borders[2]) as u64, borders[2]);
        assert_eq!(log.slice(borders[2], borders[3]), last);
        assert_eq!(log.border_behind(borders[2], borders[2] + 1), borders[3]);
        assert_eq!(log.border_behind(borders[2], borders[2]), borders[2]);
        log.release(borders[3]);
        assert_eq!((log.len(), log.head()), (0, borders[3]));
    }
}
