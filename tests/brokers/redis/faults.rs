//! A Redis that dies, stands still, says no, or cannot be reached: what publishers and clients are
//! told, and that all is as before once it is back. What may have been missed is a gap, which is
//! counted.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{count, is, node, node_with, publish, until_published};
use crate::common::{Client, Received, Server, eventually};
use crate::fault::Fault;
use crate::plain::Plain;
use crate::relay::Relay;
use crate::servers::BrokerServer;

/// A fault of that Redis, at which others publish as well.
fn fault<'a>(node: &'a Server, redis: &BrokerServer) -> Fault<'a> {
    Fault::of(node, "main", "watched", Some(Plain::redis(redis)))
}

/// A server that reaches a Redis by a relay, and gives a silent connection up soon.
fn behind(relay: &Relay) -> Server {
    let config = format!("addrs: ['127.0.0.1:{}'], read_timeout: 500ms", relay.port);
    let node = node_with(&config, &[]);
    is(&node, "up");
    node
}

/// Publishes until it is taken, and until the client has it: what came before may be lost.
fn is_served(node: &Server, client: &mut Client, topic: &str) {
    is(node, "up");
    until_published(node, topic, "served");
    assert_eq!(client.next(), Received::Message(topic.to_owned(), "served".to_owned()));
}

#[test]
fn a_redis_that_is_killed_and_comes_back() {
    let Some(mut redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo", "bar"]);
    let fault = fault(&node, &redis);
    redis.kill();
    fault.is_away();
    is(&node, "down");
    let error = publish(&mut publisher, "foo", "lost").unwrap_err();
    let names = format!("broker \"main\" (redis at {}) is down since", redis.address());
    assert!(error.contains(&names) && error.ends_with("not published"), "{error}");
    // A join waits, a leave does not.
    let mut waits = node.client();
    waits.command("join", &["foo"]);
    client.leave(&["bar"]);
    redis.start_again();
    let since = Instant::now();
    waits.expect_reply("@join", &["foo"]);
    is_served(&node, &mut client, "foo");
    waits.expect("foo", "served");
    // Of `foo` and `watched`: `bar` was left meanwhile.
    fault.ends("Redis: kill -9, started again", since, 2..=2);
    assert_eq!(count(&node, "broker_reconnects_total"), 2);
    node.says("broker is down", 1);
}

#[test]
fn a_redis_that_stands_still_is_given_up_and_taken_back() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    let fault = fault(&node, &redis);
    redis.signal(Signal::STOP);
    let stopped = Instant::now();
    // In doubt: Redis will take it as soon as it goes on.
    let error = publish(&mut publisher, "foo", "in doubt").unwrap_err();
    assert!(error.contains("may or may not have been published"), "{error}");
    fault.is_away();
    // Both connections are given up by then.
    std::thread::sleep(Duration::from_secs(5).saturating_sub(stopped.elapsed()));
    is(&node, "down");
    redis.signal(Signal::CONT);
    let since = Instant::now();
    is(&node, "up");
    until_published(&node, "foo", "behind");
    let mut heard = Vec::new();
    while heard.last().is_none_or(|last| last != "behind") {
        let Received::Message(_, payload) = client.next() else { panic!() };
        heard.push(payload);
    }
    // It depends on what Redis reads first.
    let was_taken = heard.len() == 2 && heard[0] == "in doubt";
    assert!(heard == ["behind"] || was_taken, "{heard:?}");
    fault.ends("Redis: SIGSTOP for 5 s", since, 2..=2);
}

#[test]
fn connections_that_are_killed_are_made_anew() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    // Those of others end as well.
    for (kind, gaps) in [("normal", 0..=0), ("pubsub", 1..=1)] {
        let fault = fault(&node, &redis);
        let before = count(&node, "broker_reconnects_total");
        redis.redis_cli(&["CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes"]);
        let since = Instant::now();
        eventually("a new connection", || count(&node, "broker_reconnects_total") == before + 1);
        // The one that publishes misses nothing.
        fault.ends(&format!("Redis: CLIENT KILL TYPE {kind}"), since, gaps);
    }
}

#[test]
fn a_redis_that_pauses_is_waited_for() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    let fault = fault(&node, &redis);
    redis.redis_cli(&["CLIENT", "PAUSE", "1500", "ALL"]);
    let paused = Instant::now();
    publish(&mut publisher, "foo", "x").unwrap();
    client.expect("foo", "x");
    // No outage.
    fault.ends("Redis: CLIENT PAUSE for 1.5 s", paused + Duration::from_millis(1500), 0..=0);
    assert_eq!(count(&node, "broker_reconnects_total"), 0);
}

#[test]
fn a_server_that_reads_too_slowly_is_cut_off_and_told_of_the_gap() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    redis.redis_cli(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let node = node(&redis);
    let mut client = node.client();
    client.join(&["foo"]);
    let fault = fault(&node, &redis);
    const SIGSTOP: i32 = 19;
    const SIGCONT: i32 = 18;
    let behind = Received::Message("foo".to_owned(), "behind".to_owned());
    let reading = std::thread::spawn(move || {
        let mut heard = 0;
        loop {
            match client.next() {
                message if message == behind => return heard,
                Received::Message(..) => heard += 1,
                other => panic!("{other:?}"),
            }
        }
    });
    node.signal(SIGSTOP);
    let payload = "x".repeat(100_000);
    for _ in 0..200 {
        if redis.redis_publish("foo", &payload) == 0 {
            break;
        }
    }
    assert_eq!(redis.redis_subscribers("foo"), 0, "cut off");
    node.signal(SIGCONT);
    let since = Instant::now();
    eventually("the gaps", || count(&node, "broker_gaps_total") == 2);
    is(&node, "up");
    redis.redis_publish("foo", "behind");
    let heard = reading.join().unwrap();
    assert!((1..200).contains(&heard), "{heard}");
    fault.ends("Redis: client-output-buffer-limit pubsub passed", since, 2..=2);
}

#[test]
fn a_link_that_falls_silent_is_noticed_without_a_word() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let relay = Relay::to(redis.port);
    let node = behind(&relay);
    let fault = fault(&node, &redis);
    relay.fall_silent(true);
    fault.is_away();
    // Both connections are given up by then.
    std::thread::sleep(Duration::from_secs(3));
    is(&node, "down");
    let why = node.says("broker is down", 1);
    assert!(why.contains("nothing came from the server"), "{why}");
    relay.fall_silent(false);
    fault.ends("Redis: a link that passes nothing for 3 s", Instant::now(), 1..=1);
}

#[test]
fn a_link_that_is_cut_again_and_again_costs_gaps_and_nothing_else() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let relay = Relay::to(redis.port);
    let node = behind(&relay);
    for cut in 1..=5 {
        let fault = fault(&node, &redis);
        relay.cut();
        let since = Instant::now();
        eventually("a gap", || count(&node, "broker_gaps_total") == cut);
        fault.ends("Redis: connections that are cut", since, 1..=1);
    }
}

#[test]
fn a_password_that_changes_is_told_and_works_again_once_it_is_right() {
    let Some(redis) = BrokerServer::redis(&["--requirepass", "first-s3cret"]) else { return };
    let config = format!("addrs: ['{}'], password: first-s3cret", redis.address());
    let node = node_with(&config, &[]);
    is(&node, "up");
    let mut client = node.client();
    client.join(&["foo"]);
    // Another program would need the password.
    let fault = Fault::of(&node, "main", "watched", None);
    redis.redis_cli_with("first-s3cret", &["CONFIG", "SET", "requirepass", "other"]);
    for kind in ["normal", "pubsub"] {
        redis.redis_cli_with("other", &["CLIENT", "KILL", "TYPE", kind]);
    }
    fault.is_away();
    is(&node, "down");
    let error = publish(&mut node.publisher(), "foo", "x").unwrap_err();
    assert!(
        error.contains("WRONGPASS") && error.contains("check `username` and `password`"),
        "{error}"
    );
    redis.redis_cli_with("other", &["CONFIG", "SET", "requirepass", "first-s3cret"]);
    let since = Instant::now();
    is_served(&node, &mut client, "foo");
    fault.ends("Redis: password changed and changed back", since, 2..=2);
    assert!(!node.log().contains("s3cret"));
}

#[test]
fn a_user_who_may_not_publish_is_told_with_each_publication() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    let fault = fault(&node, &redis);
    redis.redis_cli(&["ACL", "SETUSER", "default", "-publish"]);
    let error = publish(&mut publisher, "foo", "x").unwrap_err();
    assert!(error.contains("NOPERM") && error.ends_with("not published"), "{error}");
    redis.redis_cli(&["ACL", "SETUSER", "default", "+publish"]);
    let since = Instant::now();
    publish(&mut publisher, "foo", "y").unwrap();
    client.expect("foo", "y");
    // It is there, and says no.
    fault.ends("Redis: ACL without PUBLISH", since, 0..=0);
    assert_eq!(count(&node, "broker_reconnects_total"), 0);
}

#[test]
fn a_redis_without_room_for_clients_is_waited_for() {
    let Some(redis) = BrokerServer::redis(&["--maxclients", "2"]) else { return };
    let taken: Vec<_> = (0..2).map(|_| std::net::TcpStream::connect(redis.address())).collect();
    let node = node_with(&format!("addrs: ['{}']", redis.address()), &[]);
    let why = node.says("broker is down", 1);
    assert!(why.contains("max number of clients reached"), "{why}");
    drop(taken);
    // A scrape takes none.
    is(&node, "up");
}

#[test]
fn a_server_that_knows_no_hello_is_as_good() {
    let Some(redis) = BrokerServer::redis(&["--rename-command", "HELLO", ""]) else { return };
    let node = node(&redis);
    let mut client = node.client();
    client.join(&["foo"]);
    is_served(&node, &mut client, "foo");
}

#[test]
fn publications_are_held_for_a_broker_that_comes_back_in_time_and_joins_are_refused_behind_it() {
    let Some(mut redis) = BrokerServer::redis(&[]) else { return };
    let config = format!("addrs: ['{}']", redis.address());
    let overrides = ["roadcast.broker_buffer=1KiB", "roadcast.broker_wait=1s"];
    let node = node_with(&config, &overrides);
    is(&node, "up");
    let mut client = node.client();
    client.join(&["foo"]);
    redis.kill();
    is(&node, "down");
    let mut late = node.client();
    late.command("join", &["new"]);
    let error = publish(&mut node.publisher(), "foo", "held too long").unwrap_err();
    assert!(error.ends_with("not published"), "{error}");
    late.expect_reply("#join", &["new"]);
    std::thread::scope(|scope| {
        let held = scope.spawn(|| publish(&mut node.publisher(), "foo", "held"));
        redis.start_again();
        // It may have come back before topics were subscribed again: then only others heard it.
        let _ = held.join().unwrap();
    });
    is(&node, "up");
    late.command("join", &["new"]);
    late.expect_reply("@join", &["new"]);
}
