//! A Redis that dies, stands still, says no, or cannot be reached: what publishers and clients are
//! told, and that all is as before once it is back. What may have been missed is a gap, which is
//! counted.

use std::time::Duration;

use rustix::process::Signal;

use super::{count, is, node, node_with, publish, scrape, until_published};
use crate::common::{Client, Received, Server, eventually};
use crate::relay::Relay;
use crate::servers::BrokerServer;

/// A client of the memory broker beside, which is to notice nothing.
struct Beside(Client);

impl Beside {
    fn of(node: &Server) -> Self {
        let mut client = node.client();
        client.send(r#"{"command":"join","broker":"local","topics":["beside"]}"#);
        client.expect_reply("@join", &["beside"]);
        Self(client)
    }

    /// A message passes.
    fn is_served(&mut self, node: &Server) {
        let mut body = Vec::new();
        let mut message = Vec::new();
        crate::common::field(&mut message, 2, b"local");
        crate::common::field(&mut message, 3, b"beside");
        crate::common::field(&mut message, 4, b"x");
        crate::common::field(&mut body, 1, &message);
        let answer = node.publisher().ask("websockets.Publish", crate::common::PROTO, &body);
        assert!(answer.is_ok(), "{answer:?}");
        self.0.expect("beside", "x");
    }
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
    let (mut client, mut publisher, mut beside) =
        (node.client(), node.publisher(), Beside::of(&node));
    client.join(&["foo", "bar"]);
    redis.kill();
    is(&node, "down");
    let error = publish(&mut publisher, "foo", "lost").unwrap_err();
    let names = format!("broker \"main\" (redis at {}) is down since", redis.address());
    assert!(error.contains(&names) && error.ends_with("not published"), "{error}");
    beside.is_served(&node);
    // A join waits, a leave does not.
    let mut waits = node.client();
    waits.command("join", &["foo"]);
    client.leave(&["bar"]);
    redis.start_again();
    waits.expect_reply("@join", &["foo"]);
    is_served(&node, &mut client, "foo");
    waits.expect("foo", "served");
    assert_eq!(count(&node, "broker_gaps_total"), 1, "bar was left meanwhile");
    assert_eq!(count(&node, "broker_reconnects_total"), 2);
    beside.is_served(&node);
    node.says("broker is down", 1);
}

#[test]
fn a_redis_that_stands_still_is_given_up_and_taken_back() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let config = format!("addrs: ['{}'], read_timeout: 500ms", redis.address());
    let node = node_with(&config, &[]);
    is(&node, "up");
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    redis.signal(Signal::STOP);
    // In doubt: Redis will take it as soon as it goes on.
    let error = publish(&mut publisher, "foo", "in doubt").unwrap_err();
    assert!(error.contains("may or may not have been published"), "{error}");
    // Both connections are given up by then, and some attempts have been in vain.
    std::thread::sleep(Duration::from_secs(3));
    is(&node, "down");
    redis.signal(Signal::CONT);
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
    assert_eq!(count(&node, "broker_gaps_total"), 1);
}

#[test]
fn connections_that_are_killed_are_made_anew() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let mut client = node.client();
    client.join(&["foo"]);
    redis.redis_cli(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]);
    eventually("a new connection", || count(&node, "broker_reconnects_total") == 1);
    is_served(&node, &mut client, "foo");
    assert_eq!(count(&node, "broker_gaps_total"), 0, "the one that publishes misses nothing");
    redis.redis_cli(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    eventually("a gap", || count(&node, "broker_gaps_total") == 1);
    is_served(&node, &mut client, "foo");
}

#[test]
fn a_redis_that_pauses_is_waited_for() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    redis.redis_cli(&["CLIENT", "PAUSE", "1500", "ALL"]);
    publish(&mut publisher, "foo", "x").unwrap();
    client.expect("foo", "x");
    assert_eq!(count(&node, "broker_reconnects_total"), 0);
}

#[test]
fn a_server_that_reads_too_slowly_is_cut_off_and_told_of_the_gap() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    redis.redis_cli(&["CONFIG", "SET", "client-output-buffer-limit", "pubsub 1mb 0 0"]);
    let node = node(&redis);
    let mut client = node.client();
    client.join(&["foo"]);
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
    eventually("a gap", || count(&node, "broker_gaps_total") == 1);
    is(&node, "up");
    redis.redis_publish("foo", "behind");
    let heard = reading.join().unwrap();
    assert!((1..200).contains(&heard), "{heard}");
}

#[test]
fn a_link_that_falls_silent_is_noticed_without_a_word() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let relay = Relay::to(redis.port);
    let node = behind(&relay);
    let mut client = node.client();
    client.join(&["foo"]);
    relay.fall_silent(true);
    // Both connections are given up by then.
    std::thread::sleep(Duration::from_secs(3));
    is(&node, "down");
    let why = node.says("broker is down", 1);
    assert!(why.contains("nothing came from the server"), "{why}");
    relay.fall_silent(false);
    is_served(&node, &mut client, "foo");
    assert_eq!(count(&node, "broker_gaps_total"), 1);
}

#[test]
fn a_link_that_is_cut_again_and_again_costs_gaps_and_nothing_else() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let relay = Relay::to(redis.port);
    let node = behind(&relay);
    let mut client = node.client();
    client.join(&["foo"]);
    for cut in 1..=5 {
        relay.cut();
        eventually("a gap", || count(&node, "broker_gaps_total") == cut);
        is_served(&node, &mut client, "foo");
    }
}

#[test]
fn a_redis_that_answers_slowly_serves() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let relay = Relay::to(redis.port);
    let config = format!("addrs: ['127.0.0.1:{}']", relay.port);
    let node = node_with(&config, &[]);
    is(&node, "up");
    relay.delay(Duration::from_millis(300));
    let (mut client, mut publisher) = (node.client(), node.publisher());
    for number in 0..5 {
        let topic = format!("t{number}");
        client.join(&[&topic]);
        publish(&mut publisher, &topic, "x").unwrap();
        client.expect(&topic, "x");
    }
    assert_eq!(count(&node, "broker_reconnects_total"), 0);
    assert_eq!(scrape(&node).sample("broker_state", &["main", "up"]), 1);
}

#[test]
fn a_password_that_changes_is_told_and_works_again_once_it_is_right() {
    let Some(redis) = BrokerServer::redis(&["--requirepass", "first-s3cret"]) else { return };
    let config = format!("addrs: ['{}'], password: first-s3cret", redis.address());
    let node = node_with(&config, &[]);
    is(&node, "up");
    let mut client = node.client();
    client.join(&["foo"]);
    let ask = |password: &str, words: &[&str]| {
        redis.redis_cli(&[&["--no-auth-warning", "-a", password], words].concat())
    };
    ask("first-s3cret", &["CONFIG", "SET", "requirepass", "other"]);
    for kind in ["normal", "pubsub"] {
        ask("other", &["CLIENT", "KILL", "TYPE", kind]);
    }
    is(&node, "down");
    let error = publish(&mut node.publisher(), "foo", "x").unwrap_err();
    assert!(
        error.contains("WRONGPASS") && error.contains("check `username` and `password`"),
        "{error}"
    );
    ask("other", &["CONFIG", "SET", "requirepass", "first-s3cret"]);
    is_served(&node, &mut client, "foo");
    assert!(!node.log().contains("s3cret"));
}

#[test]
fn a_user_who_may_not_publish_is_told_with_each_publication() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    redis.redis_cli(&["ACL", "SETUSER", "default", "-publish"]);
    let node = node(&redis);
    let (mut client, mut publisher) = (node.client(), node.publisher());
    client.join(&["foo"]);
    let error = publish(&mut publisher, "foo", "x").unwrap_err();
    assert!(error.contains("NOPERM") && error.ends_with("not published"), "{error}");
    redis.redis_cli(&["ACL", "SETUSER", "default", "+publish"]);
    publish(&mut publisher, "foo", "y").unwrap();
    client.expect("foo", "y");
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
