//! Brokers that would double messages, since they share a server.

use super::*;

/// Which earlier broker each shares its channels with, of two with these options.
fn shares(one: &str, other: &str) -> Option<usize> {
    let file = format!(
        "broadcast: {{ default: {{ driver: {one} }} }}, other: {{ driver: {other} }} }} }}"
    );
    config(&file).brokers[1].shares
}

#[test]
fn brokers_with_the_same_channels_on_one_server_are_found() {
    for (one, other) in [
        ("redis, config: {", "redis, config: {"),
        ("redis, config: { addrs: [\"localhost:6379\"]", "redis, config: { db: 5"),
        (
            "redis, config: { addrs: [\"a:1\", \"b:1\"]",
            "redis, config: { addrs: [\"c:1\", \"B:1\"]",
        ),
        ("redis, config: { addrs: [/run/r.sock]", "redis, config: { addrs: [/run/r.sock]"),
        ("nats, config: {", "nats, config: { addr: \"nats://user:x@localhost\""),
        ("nats, config: { prefix: \"a.\"", "nats, config: { prefix: \"a.\""),
    ] {
        assert_eq!(shares(one, other), Some(0), "{one} {other}");
    }
    for (one, other) in [
        ("redis, config: {", "nats, config: {"),
        ("redis, config: {", "memory, config: {"),
        ("redis, config: {", "redis, config: { prefix: x"),
        ("redis, config: { addrs: [\"a:1\"]", "redis, config: { addrs: [\"a:2\"]"),
        ("redis, config: { master_name: a", "redis, config: { master_name: b"),
        ("nats, config: {", "nats, config: { prefix: \"a.\""),
        (
            "redis, config: { addrs: [\"a:1\", \"b:1\"], sharded: true",
            "redis, config: { addrs: [\"a:1\", \"b:1\"], sharded: false",
        ),
        (
            "redis, config: { addrs: [\"a:1\"]",
            "redis, config: { addrs: [\"a:1\", \"b:1\"], sharded: true",
        ),
    ] {
        assert_eq!(shares(one, other), None, "{one} {other}");
    }
}

#[test]
fn whether_brokers_share_a_cluster_is_not_left_to_what_is_found_there() {
    let two = |one: &str, other: &str| {
        let broker =
            |more| format!("{{ driver: redis, config: {{ addrs: ['a:1', 'b:1']{more} }} }}");
        load(&format!("broadcast:\n  default: {}\n  other: {}\n", broker(one), broker(other)))
    };
    let error = two("", ", sharded: false").unwrap_err();
    assert_eq!(
        error,
        ".rr.yaml:3:10: broadcast.other.config.sharded: `auto` decides whether it shares the channels of \
         broker default on the same Cluster; say `true` or `false` for both, or give one of them a `prefix`"
    );
    assert!(two(", sharded: true", "").is_err());
    assert!(two("", "").is_ok() && two(", sharded: false", ", sharded: false").is_ok());
    assert!(two("", ", prefix: x, sharded: false").is_ok());
}

#[test]
fn a_file_that_roadrunner_takes_runs_and_says_what_becomes_of_it() {
    let told = notices(
        "broadcast:\n  default: { driver: redis }\n  other: { driver: redis, config: { db: 1 } }\n",
    );
    assert_eq!(
        told,
        "warning: .rr.yaml:3:10: broadcast.other.config: brokers default and other have the same channels on one \
         server, so a topic of one is a topic of the other; broadcast.Publish publishes to default alone, or \
         messages would double. Give one of them a `prefix`, or leave one out\n"
    );
}
