//! What a shard counts. Written by its thread alone, read by any.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::balance::{STANDING_NUMBERS, Standing};
use crate::metrics::{Snapshot, counters, counters_by_code};

counters_by_code! {
    /// Close frames by status code (RFC 6455 §7.4.1); 1005 is a Close without a code.
    Closes [1000, 1001, 1002, 1003, 1005, 1007, 1008, 1009, 1011, 1012, 1013, 4401, 4409]
}

counters_by_code! {
    /// Upgrade requests refused for what they are, by HTTP status.
    Refusals [400, 403, 404, 405, 426, 431, 501, 503]
}

counters! {
    /// Counts of one shard since its start; `open` and `topics` are the numbers by now.
    ShardCounters {
        /// Connections by now.
        open: Gauge("connections_open"),
        /// Topics with a subscriber.
        // Or about to have one, or to lose its last.
        topics: Gauge("topics"),
        /// Connections accepted.
        accepted: Counter("connections_accepted"),
        /// Connections beyond the limit of connections: refused with 503, or closed at once.
        refused_limit: Part("connections_refused", "limit"),
        /// Connections beyond `connections_per_address`: refused with 429, or closed at once.
        refused_address_connections: Part("connections_refused", "address_connections"),
        /// Connections beyond `handshakes_per_address`: refused with 429, or closed at once.
        refused_address_handshakes: Part("connections_refused", "address_handshakes"),
        /// Requests of trusted proxies that named no client address.
        forwarded_missing: Counter("forwarded_missing"),
        /// Source addresses without a connection that were forgotten early.
        sources_forgotten: Counter("sources_forgotten"),
        /// Upgrade requests refused with 503 because the server shuts down.
        refused_shutdown: Part("connections_refused", "shutdown"),
        /// Requests that took too long.
        head_timeouts: Part("connections_refused", "timeout"),
        /// Upgrade requests refused with 503 because too much is asked of the desk, or held of its
        /// answers.
        refused_asks: Part("connections_refused", "access_limit"),
        /// Who was asked has said no to an upgrade, or has not answered.
        denied: Part("connections_refused", "access"),
        /// Tokens that clients sent to go on with, refused with #token.
        tokens_refused: Counter("tokens_refused"),
        /// Connections that became WebSockets.
        upgraded: Counter("connections_upgraded"),
        /// Commands understood.
        commands: Counter("commands"),
        /// Messages that are no command, ignored.
        malformed: Counter("commands_malformed"),
        /// Joins answered with @join.
        joins: Counter("joins"),
        /// Joins answered with #join.
        joins_refused: Counter("joins_refused"),
        /// Topics of which publications may have been missed, each time.
        gaps: Counter("gaps"),
        /// Times that a client was told that it may have missed something.
        gaps_told: Counter("gaps_told"),
        /// Connections closed with 1012 because they may have missed something.
        gap_closes: Counter("gap_closes"),
        /// Deliveries of publications that were published before their client joined.
        recovered: Counter("deliveries_recovered"),
        /// Topics of joins whose missed publications would not fit into the outbox, so that they
        /// were not recovered.
        recoveries_cut: Counter("recoveries_cut"),
        /// Joins answered with #join because a broker had not subscribed a topic in time.
        joins_unavailable: Counter("joins_unavailable"),
        /// Joins answered with #join because a broker's server does not permit a topic.
        joins_forbidden: Counter("joins_forbidden"),
        /// Leaves answered with @leave.
        leaves: Counter("leaves"),
        /// Connections closed because they broke the WebSocket protocol.
        violations: Counter("protocol_violations"),
        /// Connections whose client ended or reset them without a closing handshake.
        gone: Part("connections_ended", "gone"),
        /// Publications taken from the lane.
        publications: Counter("publications_taken"),
        /// Deliveries that went through an outbox.
        delayed: Counter("deliveries_delayed"),
        /// Batches of sends planned, empty ones included.
        batches: Counter("batches"),
        /// Sends asked of the kernel.
        sends: Counter("sends"),
        /// Work of the sweep, in looks at a subscriber.
        // A copy into an outbox is as many as it costs.
        sweep_steps: Counter("sweep_steps"),
        /// Times the sweep has come round all subscribers of a topic.
        rounds: Counter("sweep_rounds"),
        /// Bytes that the kernel took.
        bytes_sent: Counter("bytes_sent"),
        /// Bytes received.
        bytes_received: Counter("bytes_received"),
        /// Bytes of messages that waited behind a join or unread replies.
        input_held: Counter("input_held_bytes"),
        /// Times a connection began to lag.
        laggards: Counter("laggards"),
        /// Times a socket promised room and took nothing: no memory for sockets.
        room_denied: Counter("room_denied"),
        /// Connections closed with 1013 because what waited for them passed a bound.
        overflows: Counter("overflows"),
        /// Times that even the newest publication was skipped.
        newest_dropped: Counter("newest_dropped"),
        /// Connections terminated because what waited did not leave in time, or a closing handshake
        /// did not end.
        too_slow: Part("connections_ended", "too_slow"),
        /// Pings sent.
        pings: Counter("pings"),
        /// Connections terminated for a missing pong.
        pongs_missing: Part("connections_ended", "silent"),
    } also {
        /// What lies in many small allocations, in bytes: topics, subscriptions, questions to the
        /// desk, sessions.
        small: AtomicU64,
        /// The most that it was since somebody asked last: whoever looks now and then would miss
        /// it. See [`ShardCounters::take_small`].
        small_high: AtomicU64,
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
    /// The shard's: so much lies in small allocations by now.
    #[inline]
    pub(super) fn set_small(&self, bytes: u64) {
        self.small.store(bytes, Relaxed);
        if bytes > self.small_high.load(Relaxed) {
            self.small_high.store(bytes, Relaxed);
        }
    }

    /// How much lies in small allocations, and the most that it was since this was last asked.
    pub fn take_small(&self) -> (u64, u64) {
        let now = self.small.load(Relaxed);
        (now, self.small_high.swap(0, Relaxed).max(now))
    }

    /// How the shard stood after its last batch: numbers that belong together.
    pub fn standing(&self) -> Standing {
        Standing::of_numbers(self.standing.read())
    }
}
