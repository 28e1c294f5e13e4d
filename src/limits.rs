//! Every bound of the server that a configuration can set.
//!
//! A limit is written once, as a row of the table below: its documentation, its name, its unit with
//! the least and the most that may be set, and its default; behind `=>`, what is held under it at
//! worst (`worst_case.rs`). The struct, its defaults, the keys of the configuration, their reading
//! and their documentation come from there. For example
//!
//! ```text
//! /// One goridge frame. Past it: that RPC connection is closed.
//! rpc_frame_bytes: Bytes(1 KiB ..= 2 GiB) = 16 MiB;
//! ```
//!
//! Bounds that no one needs to set are named constants beside the code they bind.

mod table;

pub use self::table::{Field, Held, Kind, Limit, QUEUE_HOLDS, units};

use self::table::limits;

limits! {
    /// The bounds in force. One value, shared by all threads, fixed at start.
    Limits

    in "roadcast." {
        /// Between two pings to a connection; 0 = none.
        ping_interval: Duration(0 ..= 24 h) = 25 s;
        /// From a ping to the last moment for a sign of life; 0 = a missing pong ends nothing.
        pong_timeout: Duration(0 ..= 24 h) = 8 s;
    }
    in "roadcast.access." {
        /// Verdicts that workers or the callback let be remembered (docs/access.md), of all. Past
        /// it the oldest are forgotten.
        remember_bytes: Bytes(0 ..= 1 GiB) = 16 MiB
            => Held::once("remembered verdicts").where_asked();
    }
    in "roadcast.limits." {
        /// Connections in all; 0 = as many as file descriptors allow. Past it: 503.
        connections: Count(0 ..= 16_000_000) = 0;
        /// Connections of one client address at a time (IPv6: of a /64); 0 = no limit. Past it:
        /// 429.
        connections_per_address: Count(0 ..= 16_000_000) = 0;
        /// Handshakes of one client address in a second; 0 = no limit. Past it: 429.
        handshakes_per_address: Count(0 ..= 1_000_000) = 0;
        /// Connections of one user at a time, in the whole process; 0 = no limit. Past it:
        /// `connections_per_user_beyond`.
        connections_per_user: Count(0 ..= 16_000_000) = 0;
        /// Questions of one shard under way, who may connect or join, with the requests that they
        /// are about; by default less where memory is short. Past it: 503, `#join`.
        asks_bytes: Bytes(1 KiB ..= 64 GiB) = 64 MiB
            => Held::in_each_shard("questions of access").where_asked()
                .follows_memory_down_to(|limits| limits.head_bytes);
        /// Sessions of one shard: who clients are, and the requests that workers are told of at
        /// each join; by default less where memory is short. Past it: 503.
        sessions_bytes: Bytes(1 KiB ..= 64 GiB) = 256 MiB
            => Held::in_each_shard("sessions").where_asked()
                .follows_memory_down_to(|limits| limits.head_bytes);
        /// One message from a client, all fragments together. Past it: close 1009.
        message_bytes: Bytes(125 ..= 1 GiB) = 64 KiB;
        /// Topics of one connection. A join past it: `#join`.
        topics_per_connection: Count(1 ..= 1_000_000) = 10000;
        /// A topic's name. A join past it: `#join`; a publish: an RPC error.
        topic_bytes: Bytes(1 ..= 64 KiB) = 1024;
        /// Topics with a subscriber, per shard. A join past it: `#join`.
        topics: Count(1 ..= 100_000_000) = 1000000;
        /// Topics and subscriptions of one shard: names, tables, and what the hub keeps of them; by
        /// default less where memory is short. A join past it: `#join`.
        subscriptions_bytes: Bytes(1 KiB ..= 64 GiB) = 256 MiB
            => Held::in_each_shard("topics and subscriptions")
                .follows_memory_down_to(|limits| limits.subscriptions_bytes_per_connection);
        /// Of these, for one connection; by default at most a quarter of them. A join past it:
        /// `#join`.
        subscriptions_bytes_per_connection: Bytes(1 KiB ..= 1 GiB) = 8 MiB;
        /// One publication as encoded for clients. A larger one: an RPC error.
        publication_bytes: Bytes(1 KiB ..= 1 GiB) = 1 MiB;
        /// Queued for one connection that does not keep up. Past it: close 1013, or
        /// `roadcast.overflow`.
        outbox_bytes: Bytes(1 KiB ..= 1 GiB) = 2 MiB;
        /// Queued for all such connections of one shard; by default less where memory is short.
        /// Past it, the one that wants more: close 1013, or `roadcast.overflow`.
        outboxes_bytes: Bytes(1 KiB ..= 1024 GiB) = 256 MiB
            => Held::in_each_shard("outboxes").in_queues()
                .follows_memory_down_to(|limits| limits.outbox_bytes);
        /// Topic logs of one shard; by default less where memory is short. At it, the shard takes
        /// no more until subscribers have been served.
        log_bytes: Bytes(1 KiB ..= 64 GiB) = 16 MiB
            => Held::in_each_shard("topic logs").in_queues()
                .follows_memory_down_to(|limits| limits.publication_bytes);
        /// Publications queued for one shard. At it, publishers wait.
        lane_entries: Count(16 ..= 1_048_576) = 4096;
        /// Bytes queued for one shard; by default less where memory is short. At it, publishers
        /// wait.
        lane_bytes: Bytes(1 KiB ..= 64 GiB) = 8 MiB
            => Held::in_each_shard("lanes")
                .follows_memory_down_to(|limits| limits.outbox_bytes);
        /// Publications that are kept for those who were away, of all topics together
        /// (docs/recovery.md); by default less where memory is short. Past it the oldest go first.
        history_bytes: Bytes(0 ..= 64 GiB) = 64 MiB
            => Held::once("history").where_kept().follows_memory_down_to(|_| 0);
        /// Kernel send buffer of a connection (`SO_SNDBUF`); 0 = the kernel decides (up to
        /// `tcp_wmem[2]`).
        socket_send_bytes: Bytes(0 ..= 1 GiB) = 256 KiB;
        /// RPC connections at a time. One more is closed at once.
        rpc_connections: Count(1 ..= 1_000_000) = 1024;
        /// One goridge frame. Past it: that RPC connection is closed.
        rpc_frame_bytes: Bytes(1 KiB ..= 2 GiB) = 16 MiB;
        /// `PublishAsync` publications that wait for room, of all publishers. No address gets more
        /// than two thirds of it. Past it: an RPC error, unless nothing of the address waits.
        rpc_async_bytes: Bytes(0 ..= 1 GiB) = 4 MiB
            => Held::once("asynchronous publications");
        /// For a goridge frame to arrive whole, and for answers to be read.
        rpc_timeout: Duration(1 ms ..= 24 h) = 30 s;
        /// The head of an upgrade request, cookies and all. Past it: 431.
        head_bytes: Bytes(1 KiB ..= 1 MiB) = 32 KiB;
        /// Headers of an upgrade request. Past it: 431.
        headers: Count(16 ..= 1000) = 200;
        /// Upgrade requests of one shard that have arrived in part. Past it the oldest of them is
        /// answered with 503.
        heads_bytes: Bytes(1 KiB ..= 1 GiB) = 8 MiB
            => Held::in_each_shard("unfinished requests").in_queues()
                .follows_memory_down_to(|limits| limits.head_bytes);
        /// For the head of an upgrade request to arrive.
        head_timeout: Duration(1 ms ..= 24 h) = 10 s;
        /// For a closing handshake, before the connection is terminated.
        close_timeout: Duration(1 ms ..= 24 h) = 5 s;
        /// For what is queued for a connection that does not keep up to leave.
        laggard_timeout: Duration(1 ms ..= 24 h) = 30 s;
    }
}

/// Two limits that do not fit together, by their keys below `roadcast.limits`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitsClash {
    /// The one that is too large, with its value.
    pub smaller: (&'static str, usize),
    /// The one that must not be below it, with its value.
    pub larger: (&'static str, usize),
    /// Why not.
    pub why: &'static str,
}

impl Limits {
    /// Checks that the limits fit together: a publication fits an outbox, an outbox's worth fits a
    /// lane and a log.
    pub fn check(&self) -> Vec<LimitsClash> {
        let chain = [
            (
                ("publication_bytes", self.publication_bytes),
                ("outbox_bytes", self.outbox_bytes),
                "an outbox must hold at least one publication",
            ),
            (
                ("outbox_bytes", self.outbox_bytes),
                ("lane_bytes", self.lane_bytes),
                "a lane must hold what an outbox holds",
            ),
            (
                ("outbox_bytes", self.outbox_bytes),
                ("outboxes_bytes", self.outboxes_bytes),
                "all outboxes together must hold at least one",
            ),
            (
                ("subscriptions_bytes_per_connection", self.subscriptions_bytes_per_connection),
                ("subscriptions_bytes", self.subscriptions_bytes),
                "a shard must hold what one connection may join",
            ),
            (
                ("publication_bytes", self.publication_bytes),
                ("log_bytes", self.log_bytes),
                "a topic log must hold at least one publication",
            ),
            (
                ("head_bytes", self.head_bytes),
                ("heads_bytes", self.heads_bytes),
                "all unfinished requests together must hold at least one",
            ),
            (
                ("head_bytes", self.head_bytes),
                ("asks_bytes", self.asks_bytes),
                "all questions together must hold at least one request",
            ),
            (
                ("head_bytes", self.head_bytes),
                ("sessions_bytes", self.sessions_bytes),
                "all sessions together must hold at least one request",
            ),
        ];
        let clashes =
            chain.into_iter().map(|(smaller, larger, why)| LimitsClash { smaller, larger, why });
        clashes.filter(|clash| clash.smaller.1 > clash.larger.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(Limits::default().check(), []);
    }

    #[test]
    fn limits_that_clash_are_all_found() {
        let limits = Limits { publication_bytes: 4 * MIB, lane_bytes: MIB, ..Limits::default() };
        let clashes: Vec<_> =
            limits.check().iter().map(|clash| (clash.smaller, clash.larger)).collect();
        let outbox = ("outbox_bytes", 2 * MIB);
        assert_eq!(
            clashes,
            [(("publication_bytes", 4 * MIB), outbox), (outbox, ("lane_bytes", MIB))]
        );
    }
}
