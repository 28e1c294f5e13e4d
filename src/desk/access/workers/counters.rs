//! What the pool counts, and whether it works: written by the desk's thread alone, read by any.

use std::sync::Mutex;
use std::time::Duration;

use crate::metrics::{Counter, counters};

counters! {
    /// Counts since the start; those of workers and of what waits are the numbers by now.
    WorkerCounters {
        /// Workers that wait for a question.
        ready: Gauge("workers_ready"),
        /// Workers that are being asked.
        working: Gauge("workers_working"),
        /// Workers that are to end.
        stopping: Gauge("workers_stopping"),
        /// Questions that wait for a worker.
        waiting: Gauge("worker_questions_waiting"),
        /// Workers started.
        started: Counter("workers_started"),
        /// Attempts to start a worker that failed.
        starts_failed: Counter("worker_starts_failed"),
        /// Workers replaced, for whatever reason but a reset.
        replaced: Counter("workers_replaced"),
        /// Questions that came.
        asked: Counter("worker_questions"),
        /// Questions refused because too many waited.
        refused_full: Part("worker_questions_refused", "full"),
        /// Questions refused because no worker was free in time.
        refused_late: Part("worker_questions_refused", "late"),
        /// Questions refused because there is no worker.
        refused_down: Part("worker_questions_refused", "down"),
        /// Questions put again, since a worker had ended before it read them.
        put_again: Counter("worker_questions_put_again"),
        /// Questions that workers answered with an error.
        failed_error: Part("worker_failures", "error"),
        /// Workers that ended while they were asked.
        failed_gone: Part("worker_failures", "gone"),
        /// Workers that said what is no frame.
        failed_garbled: Part("worker_failures", "garbled"),
        /// Answers that took longer than exec_ttl.
        failed_late: Part("worker_failures", "late"),
        /// Answers that are no verdict.
        failed_verdict: Part("worker_failures", "verdict"),
        /// Questions that none of several workers has read.
        failed_unread: Part("worker_failures", "unread"),
    } also {
        /// How long workers took to answer.
        answer_time: Times,
    }
}

/// Upper bounds of [`Times`], in seconds. The first is what a worker takes that only looks at a
/// session; the last is where browsers give up.
pub const TIMES_S: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// A histogram.
#[derive(Debug, Default)]
pub struct Times {
    /// By the smallest bound that a time is within; the last: beyond all.
    counts: [Counter; TIMES_S.len() + 1],
    sum_us: Counter,
}

impl Times {
    /// Adds one.
    pub fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = TIMES_S.iter().position(|bound| seconds <= *bound).unwrap_or(TIMES_S.len());
        self.counts[place].add(1);
        self.sum_us.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Each bound with the number between it and the one below; the last bound is `f64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = TIMES_S.into_iter().chain([f64::MAX]);
        bounds.zip(self.counts.iter().map(Counter::value))
    }

    /// All together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.value())
    }

    /// On average; 0 where there is none yet.
    pub fn mean(&self) -> Duration {
        let count: u64 = self.counts.iter().map(Counter::value).sum();
        self.sum().checked_div(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

/// What other threads may know of the pool.
#[derive(Debug)]
pub struct WorkerTelemetry {
    /// Counts.
    pub counts: WorkerCounters,
    unready: Mutex<Option<String>>,
}

impl WorkerTelemetry {
    /// Nothing has been counted yet. `unready`: why it is not ready.
    pub fn new(unready: Option<&str>) -> Self {
        let unready = Mutex::new(unready.map(str::to_owned));
        Self { counts: WorkerCounters::default(), unready }
    }

    /// Whether questions can be answered; if not, why.
    pub fn is_ready(&self) -> Result<(), String> {
        match &*self.lock() {
            None => Ok(()),
            Some(why) => Err(why.clone()),
        }
    }

    pub(super) fn set_ready(&self, ready: Result<(), String>) {
        *self.lock() = ready.err();
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        // Nobody panics while they hold it, and the value is whole at any time.
        self.unready.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_at_the_smallest_bound_that_it_is_within() {
        let times = Times::default();
        assert_eq!(times.mean(), Duration::ZERO);
        for ms in [1, 2, 1000, 31_000] {
            times.add(Duration::from_millis(ms));
        }
        let counted: Vec<_> = times.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0.001, 1), (0.0025, 1), (1.0, 1), (f64::MAX, 1)]);
        assert_eq!(
            (times.sum(), times.mean()),
            (Duration::from_millis(32_003), Duration::from_micros(8_000_750))
        );
    }
}
