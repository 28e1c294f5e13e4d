//! What the log and `roadcast brokers` say of a Redis that says no, changes its mind, is away and
//! back, and of messages that nobody may have.

use super::{count, is, node, node_with, publish, scrape};
use crate::common::cli::run;
use crate::common::{Server, eventually};
use crate::servers::BrokerServer;

/// What `roadcast brokers` says of the broker `main`.
fn told(node: &Server) -> serde_json::Value {
    let output = run(&["brokers", "--json", "--url", &node.publish], b"");
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let brokers = told["brokers"].as_array().expect("a list");
    brokers.iter().find(|broker| broker["name"] == "main").expect("it is there").clone()
}

#[test]
fn a_topic_that_redis_forbids_is_refused_at_once_in_its_own_words() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    redis.redis_cli(&["ACL", "SETUSER", "default", "resetchannels", "&app:free*"]);
    let config = format!("addrs: ['{}'], prefix: 'app:'", redis.address());
    let node = node_with(&config, &["roadcast.broker_wait=1h"]);
    is(&node, "up");
    let mut client = node.client();
    for topic in ["secret", "other"] {
        client.command("join", &[topic]);
        client.expect_reply("#join", &[topic]);
    }
    client.join(&["free"]);
    // The second one is left out: clients can cause as many as they like.
    let line = node.says("the server refuses a topic", 1);
    assert!(line.contains("NOPERM") && line.contains("secret"), "{line}");
    assert!(line.contains("app:secret"), "its channel: {line}");
    node.says("join refused: the broker's server does not permit it", 1);
    let scrape = scrape(&node);
    assert_eq!(scrape.sum("joins_forbidden_total", &[]), 2);
    assert_eq!(scrape.sum("joins_refused_total", &[]), 2);
    assert_eq!(scrape.sum("joins_unavailable_total", &[]), 0, "it was there");
    let error = told(&node)["lastError"].to_string();
    assert!(error.contains("NOPERM") && error.contains("app:other"), "{error}");
}

#[test]
fn a_reason_that_changes_is_told_and_so_is_the_way_back() {
    let Some(redis) = BrokerServer::redis(&["--requirepass", "first-s3cret"]) else { return };
    let config = format!("addrs: ['{}'], password: first-s3cret", redis.address());
    let node = node_with(&config, &[]);
    is(&node, "up");
    let line = node.says("broker is up", 1);
    assert!(line.contains(&redis.address()), "{line}");
    let mut client = node.client();
    client.join(&["foo", "bar"]);
    redis.redis_cli_with("first-s3cret", &["CONFIG", "SET", "requirepass", "other"]);
    for kind in ["normal", "pubsub"] {
        redis.redis_cli_with("other", &["CLIENT", "KILL", "TYPE", kind]);
    }
    node.says("broker is down", 1);
    let line = node.says("broker is still down", 1);
    assert!(line.contains("WRONGPASS"), "{line}");
    redis.redis_cli_with("other", &["CONFIG", "SET", "requirepass", "first-s3cret"]);
    let line = node.says("broker is up again", 1);
    assert!(line.contains("gaps=2") && line.contains("away="), "{line}");
    assert!(line.contains(&redis.address()), "{line}");
    node.says("resubscribing", 0);
    node.says("broker is still down", 1);
}

#[test]
fn a_message_that_clients_may_not_have_is_told_with_its_size_and_the_limit() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let config = format!("addrs: ['{}']", redis.address());
    let node = node_with(&config, &["roadcast.limits.publication_bytes=1KiB"]);
    is(&node, "up");
    let mut client = node.client();
    client.join(&["foo"]);
    for payload in ["x".repeat(100_000), "y".repeat(2_000)] {
        redis.redis_publish("foo", &payload);
    }
    redis.redis_publish("foo", "fine");
    client.expect("foo", "fine");
    let line = node.says("roadcast.limits.publication_bytes", 1);
    assert!(line.contains("bytes=100000") && line.contains("bytes_max=1024"), "{line}");
    assert!(line.contains("foo"), "{line}");
    assert_eq!(count(&node, "broker_gaps_total"), 2);
}

#[test]
fn what_is_published_is_what_was_taken_and_there_is_no_lag_while_it_is_down() {
    let Some(mut redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let mut publisher = node.publisher();
    for _ in 0..3 {
        publish(&mut publisher, "foo", "x").unwrap();
    }
    eventually("a probe has come back", || told(&node)["lagSeconds"].is_number());
    redis.kill();
    is(&node, "down");
    publish(&mut publisher, "foo", "x").unwrap_err();
    let broker = told(&node);
    assert_eq!((&broker["published"], &broker["publishErrors"]), (&3.into(), &1.into()));
    assert!(broker["lagSeconds"].is_null(), "{broker}");
    let metrics = scrape(&node);
    assert_eq!(metrics.sum("broker_published_total", &["main"]), 3);
    assert_eq!(metrics.sum("publications_total", &["main", "rpc"]), 4, "asked for");
}

#[test]
fn a_publication_in_doubt_is_not_called_refused() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let config = format!("addrs: ['{}'], read_timeout: 500ms", redis.address());
    let node = node_with(&config, &[]);
    is(&node, "up");
    redis.signal(rustix::process::Signal::STOP);
    let output = run(&["publish", "foo", "--broker", "main", "--url", &node.publish], b"a\nb\n");
    redis.signal(rustix::process::Signal::CONT);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("line 1 may or may not have been published: "), "{said}");
    let account = "0 lines were confirmed, 2 may or may not have been published";
    assert!(said.lines().last().is_some_and(|line| line.ends_with(account)), "{said}");
    assert!(!said.contains("refused"), "{said}");
}
