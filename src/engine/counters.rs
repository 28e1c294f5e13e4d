//! What the loop around a shard counts. Written by its thread alone, read by any.

use crate::metrics::counters;
use crate::pulse::Pulse;

counters! {
    /// What the loop around a shard counts.
    LoopCounters {
        /// Turns of a shard's event loop.
        turns: Counter("loop_turns"),
        /// Times a shard's event loop slept.
        sleeps: Counter("loop_sleeps"),
        /// Turns in which the lane waited because the logs were full.
        log_stalls: Counter("log_stalls"),
        /// Times the completion queue of a shard overflowed.
        cq_overflows: Counter("cq_overflows"),
        /// Receives that had to wait for a buffer.
        buffer_shortages: Counter("receive_buffer_shortages"),
        /// Times accepting rested because descriptors or memory had run out.
        accept_rests: Counter("accept_rests"),
    } also {
        /// Whether the loop is stuck.
        pulse: Pulse,
    }
}
