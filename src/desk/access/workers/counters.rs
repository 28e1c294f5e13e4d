//! What the pool counts, and whether it works: written by the desk's thread alone, read by any.

use std::sync::Mutex;

use crate::desk::access::times::Times;
use crate::metrics::counters;

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
        /// Questions put again, since a worker had left without an answer, and not by a failure.
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
        /// Questions that several workers left without an answer.
        failed_unanswered: Part("worker_failures", "unanswered"),
    } also {
        /// How long workers took to answer.
        answer_time: Times,
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
