//! What the desk counts of access.

use crate::metrics::counters;

counters! {
    /// Counts since the start, but of verdicts that shards give by themselves.
    AccessCounters {
        /// Clients that were let in.
        granted: Counter("access_granted"),
        /// Clients refused because who was asked said no.
        refused_judged: Part("access_refused", "judged"),
        /// Clients refused because all who could be asked were busy.
        refused_busy: Part("access_refused", "busy"),
        /// Clients refused because there was nobody to ask: no worker runs, or the callback does
        /// not answer.
        refused_down: Part("access_refused", "down"),
        /// Clients refused because who was asked has given no answer, or none that makes sense.
        refused_no_answer: Part("access_refused", "no_answer"),
        /// Clients, and further tokens, refused because the token is missing or not good.
        refused_token: Part("access_refused", "token"),
        /// Clients refused because their user has as many connections as it may.
        refused_user: Part("access_refused", "user"),
        /// Connections closed because their user has opened newer ones.
        replaced: Counter("access_replaced"),
        /// Further tokens that were good.
        renewed: Counter("access_renewed"),
        /// Joins that who was asked allowed.
        joins_allowed: Counter("access_joins_allowed"),
        /// Joins that who was asked refused, or did not judge.
        joins_refused: Counter("access_joins_refused"),
        /// Verdicts that were remembered, so that nobody was asked.
        remembered: Counter("access_remembered"),
        /// Resets that were done.
        resets: Counter("access_resets"),
        /// Resets that failed, since no new worker started: the old ones stay.
        resets_failed: Counter("access_resets_failed"),
        /// What remembered verdicts hold.
        remembered_bytes: Gauge("access_remembered_bytes"),
    }
}
