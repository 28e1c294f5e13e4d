//! A topic's log: the frames that some subscriber of this shard has not been sent yet, in one
//! contiguous piece, and where each of them ends.
//!
//! A position is a number of frames: how many the topic has had before. All subscribers read the
//! same bytes, so a publication is stored once however many they are. What is in a frame, and by
//! what framing, is no business of the log.

use super::lengths::LENGTH_BYTES;
use super::queue::Queue;
use crate::worst_case;

/// Bytes that one visit sends at most, or one frame if that is larger.
///
/// Real networks take far less at once than loopback does (78 KiB on a fresh socket over
/// Ethernet-sized segments against 4 MiB), so a longer send would mostly come back short.
pub const VISIT_BYTES: usize = 64 * 1024;

/// What each frame costs in a log beside its bytes: where it ends.
const END_BYTES: usize = size_of::<u64>();

/// What an empty log keeps of memory for the next frames and their ends.
const KEPT_BYTES: usize = 4096;
const KEPT_ENDS: usize = 128;

/// The frames between the oldest position that a subscriber may stand at and the head.
#[derive(Debug, Default)]
pub struct Log {
    frames: Queue<u8, KEPT_BYTES>,
    /// Where each frame kept ends, in bytes since the topic came to be.
    ends: Queue<u64, KEPT_ENDS>,
    /// Position of the first frame kept.
    base: u64,
    /// Bytes of all frames before it.
    released: u64,
}

impl Log {
    /// Position behind the newest frame.
    #[inline]
    pub fn head(&self) -> u64 {
        self.base + self.ends.len() as u64
    }

    /// Position of the first frame kept.
    #[inline]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Position of the newest frame. It may have been released.
    pub fn newest(&self) -> u64 {
        self.head().saturating_sub(1)
    }

    /// Whether no frame is kept.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// What it holds, as `log_bytes` counts it: frames, and where they end.
    #[inline]
    pub fn cost(&self) -> usize {
        self.frames.len() + self.ends.len() * END_BYTES
    }

    /// As [`Log::cost`], of the newest frame, if that is kept.
    pub fn newest_cost(&self) -> usize {
        if self.is_empty() { 0 } else { self.bytes_between(self.newest(), self.head()) + END_BYTES }
    }

    /// Whether it has no memory for frames.
    #[inline]
    pub fn is_bare(&self) -> bool {
        self.frames.is_bare() && self.ends.is_bare()
    }

    /// Appends one whole frame. Returns what it costs.
    #[inline]
    pub fn append(&mut self, frame: &[u8]) -> usize {
        self.frames.push(frame);
        self.ends.push(&[self.released + self.frames.len() as u64]);
        frame.len() + END_BYTES
    }

    /// Where the frame at a position begins in the bytes kept.
    #[inline]
    fn offset(&self, position: u64) -> usize {
        match (position - self.base) as usize {
            0 => 0,
            frames => (self.ends.as_slice()[frames - 1] - self.released) as usize,
        }
    }

    /// Bytes between two positions.
    #[inline]
    pub fn bytes_between(&self, from: u64, to: u64) -> usize {
        self.offset(to) - self.offset(from)
    }

    /// What the frames between two positions cost in an outbox.
    #[inline]
    pub fn outbox_cost(&self, from: u64, to: u64) -> usize {
        self.bytes_between(from, to) + (to - from) as usize * LENGTH_BYTES
    }

    /// The frames between two positions.
    #[inline]
    pub fn slice(&self, from: u64, to: u64) -> &[u8] {
        &self.frames.as_slice()[self.offset(from)..self.offset(to)]
    }

    /// The bytes of each frame between two positions.
    pub fn lengths(&self, from: u64, to: u64) -> impl Iterator<Item = usize> {
        let mut begin = self.released + self.offset(from) as u64;
        let ends = &self.ends.as_slice()[(from - self.base) as usize..(to - self.base) as usize];
        ends.iter().map(move |end| (end - std::mem::replace(&mut begin, *end)) as usize)
    }

    /// How far one visit that begins at `from` reaches: to the head, or to the last frame that ends
    /// within [`VISIT_BYTES`], or past one larger frame.
    #[inline]
    pub fn visit_end(&self, from: u64) -> u64 {
        let head = self.head();
        let bytes = self.frames.len();
        if bytes <= VISIT_BYTES || bytes - self.offset(from) <= VISIT_BYTES {
            return head;
        }
        let reach = self.released + (self.offset(from) + VISIT_BYTES) as u64;
        let ends = &self.ends.as_slice()[(from - self.base) as usize..];
        from + ends.partition_point(|end| *end <= reach).max(1) as u64
    }

    /// Where a send stopped that began at `from` and carried `sent` bytes: the position behind the
    /// frame under way, and the rest of that frame; none if it stopped behind a whole frame.
    pub fn cut(&self, from: u64, sent: usize) -> (u64, &[u8]) {
        let stopped = self.offset(from) + sent;
        let ends = &self.ends.as_slice()[(from - self.base) as usize..];
        let whole = ends.partition_point(|end| *end <= self.released + stopped as u64) as u64;
        let begun = self.bytes_between(from, from + whole) < sent;
        let border = from + whole + u64::from(begun);
        (border, &self.frames.as_slice()[stopped..self.offset(border)])
    }

    /// Releases what lies below `position`. Returns what it has cost.
    #[inline]
    pub fn release(&mut self, position: u64) -> usize {
        let frames = (position - self.base) as usize;
        if frames == 0 {
            return 0;
        }
        let bytes = self.offset(position);
        self.frames.release(bytes);
        self.ends.release(frames);
        self.released += bytes as u64;
        self.base = position;
        bytes + frames * END_BYTES
    }
}

/// Memories of empty logs that are kept.
const SPARE_LOGS: usize = 256;

const _: () = assert!(
    (SPARE_LOGS * (KEPT_BYTES + KEPT_ENDS * END_BYTES)) as u64 == worst_case::SPARE_LOGS_BYTES
);

/// Memory of logs that have been swept out, for the next ones: those who are published to are few
/// at a time, topics many.
#[derive(Debug, Default)]
pub struct SpareLogs {
    memories: Vec<(Vec<u8>, Vec<u64>)>,
}

impl SpareLogs {
    /// Gives memory to a log that has none, if there is any.
    #[inline]
    pub fn give(&mut self, log: &mut Log) {
        if log.is_bare()
            && let Some((frames, ends)) = self.memories.pop()
        {
            log.frames.furnish(frames);
            log.ends.furnish(ends);
        }
    }

    /// Takes the memory of a log without frames; past the bound it is freed.
    #[inline]
    pub fn take(&mut self, log: &mut Log) {
        if !log.is_empty() || log.is_bare() {
            return;
        }
        let memory = (log.frames.strip(), log.ends.strip());
        if self.memories.len() < SPARE_LOGS {
            self.memories.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of frames of these lengths, which are no WebSocket's.
    fn log_of(lengths: &[usize]) -> Log {
        let mut log = Log::default();
        for (place, &length) in lengths.iter().enumerate() {
            log.append(&vec![place as u8; length]);
        }
        log
    }

    #[test]
    fn a_visit_is_cut_at_the_last_border_within_its_bound() {
        let mut log = log_of(&[40_000, 20_000, 10_000, 70_000, 5, 65_530, 1, 5]);
        for released in 0..2 {
            log.release(released);
            assert_eq!(log.visit_end(1), 3);
            assert_eq!(log.visit_end(2), 3);
            assert_eq!(log.visit_end(3), 4, "a larger frame goes alone");
            assert_eq!(log.visit_end(4), 7, "exactly the bound");
            assert_eq!(log.visit_end(5), 8);
            assert_eq!(log.visit_end(8), 8);
        }
    }

    #[test]
    fn frames_of_any_length_come_out_as_they_went_in_also_after_releases() {
        let lengths: Vec<usize> =
            (0..300).map(|n| n * 37 % 50 + 1 + if n % 40 == 0 { 9_000 } else { 0 }).collect();
        let mut log = log_of(&lengths);
        assert_eq!(log.cost(), lengths.iter().sum::<usize>() + 300 * END_BYTES);
        for released in [0, 1, 70, 150, 299, 300] {
            let cost = log.cost();
            assert_eq!(log.release(released), cost - log.cost());
            for from in (released..300).step_by(7) {
                for to in [from, from + 1, 300] {
                    let expected = &lengths[from as usize..to as usize];
                    assert_eq!(log.lengths(from, to).collect::<Vec<_>>(), expected);
                    assert_eq!(log.bytes_between(from, to), expected.iter().sum::<usize>());
                    assert_eq!(log.slice(from, to).first(), (from < to).then_some(&(from as u8)));
                }
            }
        }
        assert_eq!((log.head(), log.base(), log.cost(), log.is_empty()), (300, 300, 0, true));
    }

    #[test]
    fn wherever_a_send_stops_the_frame_under_way_is_told_from_those_behind_it() {
        let mut log = log_of(&[9, 3, 1, 5, 2]);
        log.release(1);
        for sent in 0..=11 {
            let (border, rest) = log.cut(1, sent);
            let expected = match sent {
                0 => (1, 0),
                1..=3 => (2, 3 - sent),
                4 => (3, 0),
                5..=9 => (4, 9 - sent),
                _ => (5, 11 - sent),
            };
            assert_eq!((border, rest.len()), expected, "after {sent}");
            assert!(rest.iter().all(|byte| u64::from(*byte) == border - 1));
        }
    }

    #[test]
    fn the_memory_of_empty_logs_serves_the_next_and_is_bounded() {
        let mut spare = SpareLogs::default();
        let mut logs: Vec<Log> = (0..SPARE_LOGS + 10).map(|_| log_of(&[1_500])).collect();
        spare.take(&mut logs[0]);
        assert!(spare.memories.is_empty(), "it holds a frame");
        for log in &mut logs {
            log.release(log.head());
            spare.take(log);
        }
        assert!(logs.iter().all(Log::is_bare) && spare.memories.len() == SPARE_LOGS);
        let bounded = |(frames, ends): &(Vec<u8>, Vec<u64>)| {
            frames.capacity() <= KEPT_BYTES && ends.capacity() <= KEPT_ENDS
        };
        assert!(spare.memories.iter().all(bounded));
        spare.give(&mut logs[0]);
        spare.give(&mut logs[0]);
        assert!(!logs[0].is_bare() && spare.memories.len() == SPARE_LOGS - 1);
    }
}
