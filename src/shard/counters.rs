//! What a shard counts. Written by its thread alone, read by any.

use super::balance::{STANDING_NUMBERS, Standing};
use crate::metrics::{Snapshot, counters, counters_by_code};

counters_by_code! {
    /// Close frames by status code (RFC 6455 §7.4.1); 1005 is a Close without a code.
    Closes [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1012, 1013]
}

counters_by_code! {
    /// Upgrade requests refused for what they are, by HTTP status.
    Refusals [400, 403, 404, 405, 426, 431, 501, 503]
}

counters! {
    /// Counts of one shard since its start; `open` and `topics` are the numbers by now.
    ShardCounters {
        /// Connections by now.
        open,
        /// Topics with a subscriber, or about to have one or lose its last, by now.
        topics,
        /// Connections accepted.
        accepted,
        /// Connections beyond the limit of connections: refused with 503, or closed at once.
        refused_limit,
        /// Connections beyond `connections_per_address`: refused with 429, or closed at once.
        refused_address_connections,
        /// Connections beyond `handshakes_per_address`: refused with 429, or closed at once.
        refused_address_handshakes,
        /// Requests of trusted proxies that named no client: counted for the proxy's own address.
        forwarded_missing,
        /// Source addresses without a connection that were forgotten early, since too many had to
        /// be remembered.
        sources_forgotten,
        /// Upgrade requests refused with 503 because the server shuts down.
        refused_shutdown,
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
        /// Connections whose client ended or reset them without a closing handshake.
        gone,
        /// Publications taken from the lane.
        publications,
        /// Publications put into the outbox of a subscriber.
        delayed,
        /// Batches planned, those without a send included.
        batches,
        /// Sends asked of the kernel.
        sends,
        /// Work of the sweep: looks at a subscriber, a copy into an outbox as many as it costs.
        sweep_steps,
        /// Times the sweep has come round all subscribers of a topic.
        rounds,
        /// Bytes that the kernel took.
        bytes_sent,
        /// Bytes received.
        bytes_received,
        /// Bytes received that waited behind a join, or behind replies that their client did not
        /// read.
        input_held,
        /// Times a connection began to lag.
        laggards,
        /// Times that a socket promised room and took nothing: the kernel's memory for sockets had
        /// run out.
        room_denied,
        /// Connections closed because what waited for them passed a bound.
        overflows,
        /// Times that even the newest publication was skipped, since those that parked connections
        /// wait for filled `log_bytes`.
        newest_dropped,
        /// Connections terminated because what waited did not leave in time, or a closing handshake
        /// did not end.
        too_slow,
        /// Pings sent.
        pings,
        /// Connections terminated for a missing pong.
        pongs_missing,
    } also {
        /// Close frames sent on the server's own account.
        closes: Closes,
        /// Close frames of clients, answered.
        closes_by_client: Closes,
        /// Upgrade requests refused for what they are.
        refusals: Refusals,
        /// Where deliveries and memory stand, as of the last batch. See
        /// [`ShardCounters::standing`].
        standing: Snapshot<STANDING_NUMBERS>,
    }
}

impl ShardCounters {
    /// How the shard stood after its last batch: numbers that belong together.
    pub fn standing(&self) -> Standing {
        Standing::of_numbers(self.standing.read())
    }
}
