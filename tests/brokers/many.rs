//! Very many topics: how long it takes to subscribe them, and to come back.
//!
//! With `ROADCAST_TOPICS=100000` and `ROADCAST_BINARY=$PWD/target/release/roadcast`,
//! `cargo test --test brokers many:: -- --nocapture --test-threads=1` prints figures.

use std::time::Instant;

use crate::common::{Received, Scrape, eventually, figure, size};
use crate::servers::{BrokerServer, node};

fn come_back(driver: &str) {
    let Some(mut server) = BrokerServer::of(driver) else { return };
    let count = size("ROADCAST_TOPICS", 5_000);
    let node = node(
        driver,
        &server.address(),
        &[
            "roadcast.limits.topics=1000000",
            "roadcast.limits.topics_per_connection=1000000",
            "roadcast.limits.subscriptions_bytes=1GiB",
            "roadcast.limits.subscriptions_bytes_per_connection=1GiB",
        ],
    );
    let sample = |name: &str, labels: &[&str]| {
        Scrape::of(node.endpoint("metrics")).sample(name, &[&["main"], labels].concat())
    };
    eventually("up", || sample("broker_state", &["up"]) == 1);
    let before = node.resident_kib();
    let topics: Vec<String> = (0..count).map(|n| format!("topic-{n}")).collect();
    let mut client = node.client();
    let begin = Instant::now();
    for part in topics.chunks(1_000) {
        let names: Vec<&str> = part.iter().map(String::as_str).collect();
        client.join(&names);
    }
    let figure =
        |what: &str, value: f64| figure(&format!("{driver}, {count} topics: {what}"), value);
    figure("seconds to join", begin.elapsed().as_secs_f64());
    let per_topic = |kib: u64| (kib.saturating_sub(before) * 1024) as f64 / count as f64;
    figure("bytes of memory for each", per_topic(node.resident_kib()));
    server.kill();
    eventually("down", || sample("broker_state", &["down"]) == 1);
    server.start_again();
    let begin = Instant::now();
    eventually("all are subscribed again", || sample("broker_state", &["up"]) == 1);
    figure(
        "seconds from the server's return until all are subscribed",
        begin.elapsed().as_secs_f64(),
    );
    assert_eq!(sample("broker_gaps_total", &[]), count as u64);
    figure("bytes of memory for each afterwards", per_topic(node.resident_kib()));
    let mut publisher = node.publisher();
    for name in [0, count / 2, count - 1].map(|place| topics[place].as_str()) {
        publisher.publish(&[name], b"behind");
        assert_eq!(client.next(), Received::Message(name.to_owned(), "behind".to_owned()));
    }
}

#[test]
fn very_many_topics_of_a_redis_are_subscribed_at_once_and_come_back_at_once() {
    come_back("redis");
}

#[test]
fn very_many_topics_of_a_nats_are_subscribed_at_once_and_come_back_at_once() {
    come_back("nats");
}
