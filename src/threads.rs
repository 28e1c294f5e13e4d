//! The threads that carry the service, and the watchdog over their end: a thread that ends too
//! early or too late ends the process.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

/// See the module.
pub struct Threads {
    standing: Vec<(String, JoinHandle<()>)>,
    said: Sender<Note>,
    heard: Receiver<Note>,
}

enum Note {
    /// Shutting down began then.
    Begun(Instant),
    /// The thread of that name ends, in whatever way.
    Ended(String),
}

/// Says that shutting down has begun; for another thread.
#[derive(Clone)]
pub struct Beginning(Sender<Note>);

impl Beginning {
    /// Shutting down began then: the watchdog's time runs.
    pub fn say(&self, at: Instant) {
        // Whoever would hear it waits for threads no more.
        let _ = self.0.send(Note::Begun(at));
    }
}

/// Why the process must end at once.
#[derive(Debug, PartialEq, Eq)]
pub enum BadEnd {
    /// A thread has panicked.
    Panicked(String),
    /// These have not ended in time.
    Overdue(Vec<String>),
}

/// Tells of a thread's end also when it panics.
struct Last(String, Sender<Note>);

impl Drop for Last {
    fn drop(&mut self) {
        let _ = self.1.send(Note::Ended(std::mem::take(&mut self.0)));
    }
}

impl Default for Threads {
    fn default() -> Self {
        let (said, heard) = channel();
        Self { standing: Vec::new(), said, heard }
    }
}

impl Threads {
    /// Starts another one.
    pub fn spawn(&mut self, name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let last = Last(name.to_owned(), self.said.clone());
        let thread = Builder::new().name(name.to_owned()).spawn(move || {
            let _last = last;
            run();
        })?;
        self.standing.push((name.to_owned(), thread));
        Ok(())
    }

    /// For whoever begins to shut down.
    pub fn beginning(&self) -> Beginning {
        Beginning(self.said.clone())
    }

    /// Waits until all have ended: for ever until shutting down begins, and `patience` from then
    /// on. `now` is the clock.
    pub fn join(mut self, patience: Duration, now: impl Fn() -> Instant) -> Result<(), BadEnd> {
        let mut end_at: Option<Instant> = None;
        while !self.standing.is_empty() {
            let note = match end_at {
                None => self.heard.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(at) => self.heard.recv_timeout(at.saturating_duration_since(now())),
            };
            match note {
                Ok(Note::Begun(at)) => end_at = end_at.or(Some(at + patience)),
                Ok(Note::Ended(ended)) => {
                    let Some(place) = self.standing.iter().position(|(name, _)| *name == ended)
                    else {
                        continue;
                    };
                    let (name, thread) = self.standing.swap_remove(place);
                    if thread.join().is_err() {
                        return Err(BadEnd::Panicked(name));
                    }
                }
                Err(_) => {
                    return Err(BadEnd::Overdue(
                        self.standing.into_iter().map(|(name, _)| name).collect(),
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_that_does_not_end_in_time_is_named() {
        let (mut threads, begun) = (Threads::default(), Instant::now());
        let (release, held) = channel::<()>();
        threads.spawn("stuck", move || held.recv().unwrap_or_default()).unwrap();
        let patience = Duration::from_secs(3_600);
        threads.beginning().say(begun);
        // Only the first time counts.
        threads.beginning().say(begun + patience);
        assert_eq!(
            threads.join(patience, || begun + patience),
            Err(BadEnd::Overdue(vec!["stuck".into()]))
        );
        drop(release);
    }

    #[test]
    fn all_that_end_in_time_are_no_fault_and_before_the_beginning_there_is_no_time() {
        let mut threads = Threads::default();
        for name in ["a", "b"] {
            threads.spawn(name, || {}).unwrap();
        }
        let late = Instant::now() + Duration::from_secs(3_600);
        assert_eq!(threads.join(Duration::ZERO, || late), Ok(()));
    }

    #[test]
    fn a_panic_is_noticed_although_others_go_on() {
        let mut threads = Threads::default();
        let (release, held) = channel::<()>();
        threads.spawn("shard", move || held.recv().unwrap_or_default()).unwrap();
        threads.spawn("hub", || std::panic::resume_unwind(Box::new(()))).unwrap();
        assert_eq!(threads.join(Duration::ZERO, Instant::now), Err(BadEnd::Panicked("hub".into())));
        drop(release);
    }
}
