//! Very many topics: how long it takes to subscribe them, and to come back.
//!
//! `ROADCAST_TOPICS=100000 cargo test --release --test brokers redis::many -- --nocapture` prints
//! figures.

use std::time::Instant;

use super::{count, is, node_with, until_published};
use crate::common::{eventually, figure, size};
use crate::servers::BrokerServer;

#[test]
fn very_many_topics_are_subscribed_at_once_and_come_back_at_once() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let count_of_topics = size("ROADCAST_TOPICS", 5_000);
    let node = node_with(
        &format!("addrs: ['{}']", redis.address()),
        &[
            "roadcast.limits.topics=1000000",
            "roadcast.limits.topics_per_connection=1000000",
            "roadcast.limits.subscriptions_bytes=1GiB",
            "roadcast.limits.subscriptions_bytes_per_connection=1GiB",
        ],
    );
    is(&node, "up");
    let before = node.resident_kib();
    let topics: Vec<String> = (0..count_of_topics).map(|n| format!("topic-{n}")).collect();
    let mut client = node.client();
    let begin = Instant::now();
    for part in topics.chunks(1_000) {
        let names: Vec<&str> = part.iter().map(String::as_str).collect();
        client.join(&names);
    }
    figure("seconds to join", begin.elapsed().as_secs_f64());
    let kib = node.resident_kib() - before;
    figure("KiB of memory for them", kib);
    assert_eq!(redis.redis_subscribers(topics.last().unwrap()), 1);
    let begin = Instant::now();
    redis.redis_cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("all gaps", || count(&node, "broker_gaps_total") == count_of_topics as u64);
    is(&node, "up");
    figure("seconds to come back", begin.elapsed().as_secs_f64());
    until_published(&node, topics.last().unwrap(), "behind");
    client.expect(topics.last().unwrap(), "behind");
}
