//! What the loop around a shard counts. Written by its thread alone, read by any.

use crate::metrics::counters;
use crate::pulse::Pulse;

counters! {
    /// What the loop around a shard counts.
    LoopCounters {
        /// Turns of the loop.
        turns,
        /// Times that it slept.
        sleeps,
        /// Turns in which the lane had to wait because the logs were full.
        log_stalls,
        /// Times that the completion queue overflowed. Nothing is lost, but multishot operations
        /// end.
        cq_overflows,
        /// Receives that found no provided buffer, and waited for the turn's end.
        buffer_shortages,
        /// Times that accepting rested because descriptors, or the kernel's memory, had run out.
        accept_rests,
    } also {
        /// Whether the loop is stuck.
        pulse: Pulse,
    }
}
