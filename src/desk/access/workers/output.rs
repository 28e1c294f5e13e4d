//! What a worker writes beside its answers, a line of the log for each of its lines: its stderr,
//! and its stdout where that carries no frames. Lines and their rate are bounded: a worker in a
//! loop must not push everything else out of the log.

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Duration, Instant};

/// A longer line is cut: a stack trace in JSON is below it.
const LINE_BYTES_MAX: usize = 16 * 1024;
/// Lines of one worker within [`WINDOW`]; more are counted.
const LINES_MAX: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);

/// Writes to the log what comes, until the end.
pub async fn log(mut from: impl AsyncRead + Unpin, pid: u32, stream: &'static str) {
    let (mut lines, mut rate) = (Lines::default(), Rate::default());
    let mut buffer = [0; 4096];
    loop {
        let more = async { from.read(&mut buffer).await };
        let read = match rate.ends() {
            None => more.await,
            Some(at) => match tokio::time::timeout_at(at, more).await {
                Ok(read) => read,
                Err(_) => {
                    if let Some(lines) = rate.left_out(Instant::now()) {
                        tracing::warn!(pid, lines, "more lines on {stream} of a worker, left out");
                    }
                    continue;
                }
            },
        };
        let bytes = match read {
            // Whoever wrote has gone.
            Ok(0) | Err(_) => break,
            Ok(bytes) => &buffer[..bytes],
        };
        lines.push(bytes, |line| said(line, pid, stream, &mut rate));
    }
    lines.end(|line| said(line, pid, stream, &mut rate));
    if let Some(lines) = rate.left_out(Instant::now() + WINDOW) {
        tracing::warn!(pid, lines, "more lines on {stream} of a worker, left out");
    }
}

fn said(line: &[u8], pid: u32, stream: &'static str, rate: &mut Rate) {
    if rate.admits(Instant::now()) {
        let cut = if line.len() > LINE_BYTES_MAX { " …" } else { "" };
        let line = String::from_utf8_lossy(&line[..line.len().min(LINE_BYTES_MAX)]);
        tracing::info!(pid, stream, "worker: {line}{cut}");
    }
}

/// Cuts what comes into lines without their ends; empty ones are none.
#[derive(Debug, Default)]
struct Lines {
    /// The beginning of the next, [`LINE_BYTES_MAX`] and one byte at most.
    begun: Vec<u8>,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = (LINE_BYTES_MAX + 1).saturating_sub(self.begun.len());
            self.begun.extend_from_slice(&piece[..piece.len().min(room)]);
            if piece.ends_with(b"\n") {
                self.end(&mut line);
            }
        }
    }

    fn end(&mut self, mut line: impl FnMut(&[u8])) {
        let text = self.begun.trim_ascii_end();
        if !text.is_empty() {
            line(text);
        }
        self.begun.clear();
    }
}

/// How many lines are written in a window of time.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    lines: u32,
    left_out: u64,
}

impl Rate {
    fn admits(&mut self, now: Instant) -> bool {
        if self.since.is_none_or(|since| now >= since + WINDOW) {
            // What was left out before is told by `left_out`, which the window's end calls.
            (self.since, self.lines) = (Some(now), 0);
        }
        self.lines += 1;
        let admitted = self.lines <= LINES_MAX;
        self.left_out += u64::from(!admitted);
        admitted
    }

    /// When it is to be told how many were left out, if any were.
    fn ends(&self) -> Option<Instant> {
        self.since.filter(|_| self.left_out > 0).map(|since| since + WINDOW)
    }

    /// How many were left out, once the window is over.
    fn left_out(&mut self, now: Instant) -> Option<u64> {
        let over = self.ends().is_some_and(|end| now >= end);
        over.then(|| std::mem::take(&mut self.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let (mut lines, mut all) = (Lines::default(), Vec::new());
        for piece in pieces {
            lines.push(piece, |line| all.push(line.to_vec()));
        }
        lines.end(|line| all.push(line.to_vec()));
        all
    }

    #[test]
    fn lines_are_the_same_however_they_come() {
        let text = b"one\r\n\n two\n\nthree";
        for split in 0..=text.len() {
            let (a, b) = text.split_at(split);
            assert_eq!(lines(&[a, b]), [&b"one"[..], b" two", b"three"], "{split}");
        }
    }

    #[test]
    fn a_line_without_end_takes_no_more_memory_than_one_that_is_cut() {
        let long = vec![b'x'; 100_000];
        let all = lines(&[&long, &long, b"\n", b"short\n"]);
        assert_eq!(all[0].len(), LINE_BYTES_MAX + 1);
        assert_eq!(all[1], b"short");
    }

    #[test]
    fn a_worker_in_a_loop_gets_so_many_lines_a_second_and_the_rest_is_counted() {
        let (mut rate, now) = (Rate::default(), Instant::now());
        let admitted = (0..1000).filter(|_| rate.admits(now)).count();
        assert_eq!(admitted as u32, LINES_MAX);
        assert_eq!(rate.left_out(now), None, "not before the second is over");
        assert_eq!(rate.left_out(now + WINDOW), Some(800));
        assert_eq!((rate.left_out(now + WINDOW), rate.ends()), (None, None));
        assert!(rate.admits(now + WINDOW));
    }
}
