//! Every bound of the server that a configuration can set, with its unit and what it costs at
//! worst.
//!
//! Bounds that no one needs to set are named constants beside the code they bind.

use std::time::Duration;

/// The bounds in force. One value, shared by all threads, fixed at start.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections in all. Past it an upgrade is answered with 503. 0 = as many as descriptors
    /// allow.
    pub connections: usize,
    /// Connections of one source address at a time (IPv6: of a /64). Past it an upgrade is answered
    /// with 429. 0 = no limit.
    pub connections_per_address: usize,
    /// Handshakes of one source address in a second. Past it an upgrade is answered with 429. 0 =
    /// no limit.
    pub handshakes_per_address: usize,
    /// Bytes of one message from a client, all its fragments together. Past it: close 1009.
    /// Worst case held: this × connections, while each is in the middle of a message.
    pub message_bytes: usize,
    /// Topics one connection may be subscribed to. A join past it is refused (`#join`).
    pub topics_per_connection: usize,
    /// Bytes of a topic's name. A join past it is refused (`#join`), a publish is an RPC error.
    pub topic_bytes: usize,
    /// Topics with a subscriber, per shard. A join past it is refused (`#join`).
    pub topics: usize,
    /// Bytes that topics and those who subscribe to them take, per shard, with what the hub keeps
    /// of them: tables, names, subscriptions, joins that wait. A join past it is refused (`#join`).
    pub subscriptions_bytes: usize,
    /// Of these, bytes of one connection, each of its topics counted as if nobody else had joined
    /// it. A join past it is refused (`#join`).
    pub subscriptions_bytes_per_connection: usize,
    /// Bytes of one publication as encoded for clients. A larger one is an RPC error.
    pub publication_bytes: usize,
    /// Bytes queued for one connection that does not keep up. Past it the connection is closed with
    /// 1013.
    pub outbox_bytes: usize,
    /// Bytes of all outboxes of one shard. Past it the laggard that wants more is closed with 1013.
    pub outboxes_bytes: usize,
    /// Bytes of the topic logs of one shard. At it the shard takes no more from its lane until
    /// subscribers have passed.
    pub log_bytes: usize,
    /// Publications queued for one shard. At it publishers wait.
    pub lane_entries: usize,
    /// Bytes queued for one shard. At it publishers wait.
    pub lane_bytes: usize,
    /// Kernel send buffer of a connection (`SO_SNDBUF`); 0 leaves it to the kernel (up to
    /// `tcp_wmem[2]`).
    pub socket_send_bytes: usize,
    /// RPC connections at a time. One more is closed at once, counted and logged.
    pub rpc_connections: usize,
    /// Bytes of one goridge frame. Past it the RPC connection is closed.
    pub rpc_frame_bytes: usize,
    /// Bytes of publications that wait for room in a lane, answered already by `PublishAsync`, of
    /// all source addresses; one may hold twice what it leaves free. Past it such a call is an RPC
    /// error, unless nothing of its address waits.
    pub rpc_async_bytes: usize,
    /// How long a goridge frame may take to arrive, and answers to be read, before the RPC
    /// connection is closed.
    pub rpc_timeout: Duration,
    /// Bytes of an upgrade request, and its headers. Past either: 431.
    pub head_bytes: usize,
    /// See `head_bytes`.
    pub headers: usize,
    /// Bytes of all requests of one shard that have arrived in part. Past it, the oldest is
    /// answered with 503.
    pub heads_bytes: usize,
    /// How long the head of an upgrade request may take.
    pub head_timeout: Duration,
    /// How long a closing handshake may take before the connection is terminated.
    pub close_timeout: Duration,
    /// How long what is queued for a connection that does not keep up may take to leave.
    pub laggard_timeout: Duration,
    /// Between two pings to a connection; zero: none.
    pub ping_interval: Duration,
    /// From a ping's departure to the last moment for a sign of life; zero: a missing pong ends
    /// nothing.
    pub pong_timeout: Duration,
}

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 0,
            connections_per_address: 0,
            handshakes_per_address: 0,
            message_bytes: 64 * KIB,
            topics_per_connection: 10_000,
            topic_bytes: 1024,
            topics: 1_000_000,
            subscriptions_bytes: 256 * MIB,
            subscriptions_bytes_per_connection: 8 * MIB,
            publication_bytes: MIB,
            outbox_bytes: 2 * MIB,
            outboxes_bytes: 256 * MIB,
            log_bytes: 16 * MIB,
            lane_entries: 4096,
            lane_bytes: 8 * MIB,
            socket_send_bytes: 256 * KIB,
            rpc_connections: 1024,
            rpc_frame_bytes: 16 * MIB,
            rpc_async_bytes: 4 * MIB,
            rpc_timeout: Duration::from_secs(30),
            head_bytes: 32 * KIB,
            headers: 200,
            heads_bytes: 8 * MIB,
            head_timeout: Duration::from_secs(10),
            close_timeout: Duration::from_secs(5),
            laggard_timeout: Duration::from_secs(30),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
        }
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
        ];
        let clashes =
            chain.into_iter().map(|(smaller, larger, why)| LimitsClash { smaller, larger, why });
        clashes.filter(|clash| clash.smaller.1 > clash.larger.1).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
