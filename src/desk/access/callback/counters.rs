//! What is counted of the callback, and whether it answers: written by the desk's thread alone,
//! read by any.

use std::time::Instant;

use crate::desk::access::readiness::Readiness;
use crate::desk::access::times::Times;
use crate::metrics::counters;

counters! {
    /// Counts since the start; those of what is under way and waits are the numbers by now.
    CallbackCounters {
        /// Questions that came.
        asked: Counter("callback_questions"),
        /// Questions that are under way.
        under_way: Gauge("callback_questions_under_way"),
        /// Questions that wait for their turn.
        waiting: Gauge("callback_questions_waiting"),
        /// Questions put again, since a kept connection had ended meanwhile.
        put_again: Counter("callback_questions_put_again"),
        /// Questions refused because too many waited.
        refused_full: Part("callback_questions_refused", "full"),
        /// Questions refused because their turn did not come in time.
        refused_late: Part("callback_questions_refused", "late"),
        /// Questions refused because the callback did not answer others.
        refused_open: Part("callback_questions_refused", "open"),
        /// No connection.
        failed_connect: Part("callback_failures", "connect"),
        /// No TLS.
        failed_tls: Part("callback_failures", "tls"),
        /// No answer in time.
        failed_late: Part("callback_failures", "late"),
        /// Connections that ended before the answer did.
        failed_closed: Part("callback_failures", "closed"),
        /// Answers that are no HTTP.
        failed_garbled: Part("callback_failures", "garbled"),
        /// Answers that are too large.
        failed_large: Part("callback_failures", "large"),
        /// Answers that are no verdict.
        failed_verdict: Part("callback_failures", "verdict"),
        /// 1 while it is not asked, because it did not answer.
        open: Gauge("callback_open"),
        /// How often that has begun.
        opened: Counter("callback_opened"),
    } also {
        /// How long answers took.
        answer_time: Times,
    }
}

/// What other threads may know of the callback.
#[derive(Debug, Default)]
pub struct CallbackTelemetry {
    /// Counts.
    pub counts: CallbackCounters,
    pub(super) ready: Readiness,
}

impl CallbackTelemetry {
    /// Whether questions are put to it; if not, why. Once its pause is over they are, to see: were
    /// it not said to be ready then, balancers would send nobody who could be asked about.
    pub fn is_ready(&self, now: Instant) -> Result<(), String> {
        self.ready.of(now)
    }
}
