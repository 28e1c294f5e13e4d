//! What a shard counts. Written by its thread alone, read by any.

use crate::metrics::counters;

counters! {
    /// Counts of one shard since its start; `open` and `topics` are the numbers by now.
    ShardCounters {
        /// Connections by now.
        open,
        /// Topics with a subscriber, or about to have one or lose its last, by now.
        topics,
        /// Connections accepted.
        accepted,
        /// Connections refused with 503, or closed at once, at the limit of connections.
        refused_limit,
        /// Requests answered with an error of HTTP.
        refused_http,
        /// Requests that took too long.
        head_timeouts,
        /// Connections upgraded.
        upgraded,
        /// Commands understood.
        commands,
        /// Commands not understood.
        malformed,
        /// Joins completed.
        joins,
        /// Joins refused.
        joins_refused,
        /// Leaves completed.
        leaves,
        /// Connections closed because they broke the protocol.
        violations,
        /// Publications taken from the lane.
        publications,
        /// Publications sent straight from the log, one a subscriber.
        delivered,
        /// Publications put into the outbox of a subscriber.
        delayed,
        /// Frames dropped because a subscriber did not keep up.
        dropped,
        /// Sends asked of the kernel.
        sends,
        /// Bytes that the kernel took.
        bytes_sent,
        /// Times a connection began to lag.
        laggards,
        /// Connections closed because what waited for them passed a bound.
        overflows,
        /// Connections terminated because what waited did not leave in time, or a closing handshake did not end.
        too_slow,
        /// Pings sent.
        pings,
        /// Connections terminated for a missing pong.
        pongs_missing,
        /// Times the lane had to wait for the logs.
        log_stalls,
    }
}
