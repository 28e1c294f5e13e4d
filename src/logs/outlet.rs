//! Lines on their way out of the process: a bounded queue, and a thread that writes them.
//!
//! Whoever has a line to say never waits for the pipe, file or terminal that it goes to. What finds
//! no room in the queue is counted, and its number is written in its place as soon as something can
//! be written again.
//!
//! Invariants worth naming:
//! - **Saying never waits**: [`Outlet::push`] takes no lock that is held over a write.
//! - **The end does not wait either**: [`Outlet::flush`] gives up after [`FLUSH_TIME`], and nobody
//!   joins the thread, which may stand in write(2) for ever.
//! - **A line is whole or missing**: what a full disk has cut off ends before the next one begins.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Bytes that a line takes in the queue besides its text. More than it does: it also bounds the
/// places of the queue.
const LINE_COST: usize = 256;

/// How long the end waits for what is queued. A guess: a reader that is alive takes a full queue in
/// far less.
const FLUSH_TIME: Duration = Duration::from_secs(1);

/// What was to be written and is not.
#[derive(Debug, Default)]
pub struct Losses {
    /// Found no room.
    refused: AtomicU64,
    /// Could not be written.
    failed: AtomicU64,
}

impl Losses {
    /// Lines lost so far.
    pub fn lines(&self) -> u64 {
        self.refused.load(Ordering::Relaxed) + self.failed.load(Ordering::Relaxed)
    }
}

/// Where lines are handed in. Clones hand in to the same thread.
#[derive(Clone, Debug)]
pub struct Outlet {
    lines: SyncSender<Line>,
    shared: Arc<Shared>,
    losses: Arc<Losses>,
}

#[derive(Debug)]
struct Line {
    text: String,
    /// Lines that had found no room before it.
    refused_before: u64,
}

#[derive(Debug)]
struct Shared {
    bytes_max: usize,
    /// What is queued costs, the line under way included.
    bytes: AtomicUsize,
    accepted: AtomicU64,
    /// Accepted lines that have been dealt with.
    handled: Mutex<u64>,
    progress: Condvar,
}

impl Outlet {
    /// Starts the thread `name`, which writes to `out`. What is queued costs `bytes_max` at most;
    /// `missing` is the line that stands for so many lost ones.
    pub fn start(
        name: &str,
        bytes_max: usize,
        out: impl Write + Send + 'static,
        missing: impl Fn(u64) -> String + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, queue) = sync_channel(bytes_max / LINE_COST);
        let shared = Arc::new(Shared {
            bytes_max,
            bytes: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            handled: Mutex::new(0),
            progress: Condvar::new(),
        });
        let losses = Arc::<Losses>::default();
        let writer = Writer {
            queue,
            shared: shared.clone(),
            losses: losses.clone(),
            out,
            missing,
            failed: 0,
            said: 0,
            torn: false,
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(move || writer.run())?;
        Ok(Self { lines, shared, losses })
    }

    /// What was lost.
    pub fn losses(&self) -> &Arc<Losses> {
        &self.losses
    }

    /// Whether a line may find room; without, spare the work of making it and call
    /// [`Outlet::refuse`].
    pub fn has_room(&self) -> bool {
        self.shared.bytes.load(Ordering::Relaxed) + LINE_COST <= self.shared.bytes_max
    }

    /// Counts a line as lost.
    pub fn refuse(&self) {
        self.losses.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Hands in a line, its end included. Without room it is lost, and counted.
    pub fn push(&self, text: String) {
        if !self.offer(text) {
            self.refuse();
        }
    }

    /// Whether a line has found room.
    fn offer(&self, text: String) -> bool {
        let cost = cost(&text);
        if !self.shared.reserve(cost) {
            return false;
        }
        let refused_before = self.losses.refused.load(Ordering::Relaxed);
        // Before it can be dealt with: whoever flushes would take another line, dealt with earlier,
        // for the own one.
        self.shared.accepted.fetch_add(1, Ordering::Relaxed);
        let taken = self.lines.try_send(Line { text, refused_before }).is_ok();
        if !taken {
            self.shared.accepted.fetch_sub(1, Ordering::Relaxed);
            self.shared.bytes.fetch_sub(cost, Ordering::Relaxed);
        }
        taken
    }

    /// Waits until what was handed in before has been written, for a second at most (`FLUSH_TIME`).
    pub fn flush(&self) {
        // A line without text is not written, but has what was lost before it said. Without room
        // other lines do.
        self.offer(String::new());
        let accepted = self.shared.accepted.load(Ordering::Relaxed);
        let handled = self.shared.handled.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |handled: &mut u64| *handled < accepted;
        // Over time: nobody reads, and that is no reason to stay.
        drop(self.shared.progress.wait_timeout_while(handled, FLUSH_TIME, waiting));
    }
}

impl Shared {
    fn reserve(&self, cost: usize) -> bool {
        if self.bytes.fetch_add(cost, Ordering::Relaxed) + cost <= self.bytes_max {
            return true;
        }
        self.bytes.fetch_sub(cost, Ordering::Relaxed);
        false
    }
}

fn cost(text: &str) -> usize {
    text.len() + LINE_COST
}

/// The thread's side.
struct Writer<W, M> {
    queue: Receiver<Line>,
    shared: Arc<Shared>,
    losses: Arc<Losses>,
    out: W,
    missing: M,
    /// Lines that could not be written.
    failed: u64,
    /// Lost lines that have been said to be.
    said: u64,
    /// The last write left a line without its end.
    torn: bool,
}

impl<W: Write, M: Fn(u64) -> String> Writer<W, M> {
    /// Writes until nobody is left who may hand in.
    fn run(mut self) {
        let mut next = self.queue.recv().ok();
        while let Some(line) = next {
            self.say_missing(line.refused_before);
            if self.write(&line.text).is_err() {
                self.failed += 1;
                self.losses.failed.fetch_add(1, Ordering::Relaxed);
            }
            self.shared.bytes.fetch_sub(cost(&line.text), Ordering::Relaxed);
            next = self.queue.try_recv().ok();
            if next.is_none() {
                self.say_missing(self.losses.refused.load(Ordering::Relaxed));
            }
            *self.shared.handled.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            self.shared.progress.notify_all();
            if next.is_none() {
                next = self.queue.recv().ok();
            }
        }
    }

    /// Says what was lost up to a place in the queue, unless it has been said or cannot be by now.
    fn say_missing(&mut self, refused: u64) {
        let lost = refused + self.failed;
        if lost > self.said && self.write(&(self.missing)(lost - self.said)).is_ok() {
            self.said = lost;
        }
    }

    fn write(&mut self, line: &str) -> io::Result<()> {
        if self.torn && !line.is_empty() {
            self.out.write_all(b"\n")?;
            self.torn = false;
        }
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => rest = &rest[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    self.torn = rest.len() < line.len();
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests;
