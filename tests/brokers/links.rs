//! Ways to a broker's server that go bad while it runs on, for each kind of server: packets that
//! vanish in the middle of a connection, answers that take long.
//!
//! `ROADCAST_SLOW_SECONDS=60 cargo test --test brokers links::` has answers take long for a minute.

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::common::{Namespace, PROTO, Scrape, eventually, messages, size};
use crate::fault::Fault;
use crate::plain::Plain;
use crate::relay::Relay;
use crate::servers::{BrokerServer, node};

fn name(driver: &str) -> &str {
    if driver == "redis" { "Redis" } else { "NATS" }
}

/// Packets of the server vanish for a while: nothing that it sends arrives, no acknowledgement
/// either, and no connection can be made; what is sent to it still arrives.
fn is_half_open(driver: &str) {
    let Some(namespace) = Namespace::create() else { return };
    let server = namespace.inside(|| match driver {
        "redis" => BrokerServer::redis(&["--bind", "0.0.0.0", "--protected-mode", "no"]),
        _ => BrokerServer::nats(&["-a", "0.0.0.0"]),
    });
    let Some(server) = server else { return };
    let address = SocketAddr::from((namespace.address(), server.port));
    let node = node(driver, &address.to_string(), &[]);
    // Its machine's own clients are served all the time.
    let connection = namespace.inside(|| TcpStream::connect(address)).expect("it listens inside");
    let plain = Plain::new(Box::new(move || connection.try_clone()), driver == "nats");
    let fault = Fault::of(&node, "main", "watched", Some(plain));
    namespace.fall_silent();
    fault.is_away();
    let why = node.says("broker is down", 1);
    assert!(why.contains("nothing came") || why.contains("no answer"), "{why}");
    // Attempts to connect are in vain for a while.
    std::thread::sleep(Duration::from_secs(2));
    namespace.speak_again();
    let what = format!("{}: its packets vanish (half-open TCP)", name(driver));
    fault.ends(&what, Instant::now(), 1..=1);
}

#[test]
fn a_redis_whose_packets_vanish_is_given_up_and_taken_back() {
    is_half_open("redis");
}

#[test]
fn a_nats_whose_packets_vanish_is_given_up_and_taken_back() {
    is_half_open("nats");
}

/// Each answer takes long, for so many seconds, and is never late enough to be an outage.
fn is_slow(driver: &str) {
    let Some(server) = BrokerServer::of(driver) else { return };
    let seconds = size("ROADCAST_SLOW_SECONDS", 5);
    let relay = Relay::to(server.port);
    let node = node(driver, &format!("127.0.0.1:{}", relay.port), &[]);
    let plain = match driver {
        "redis" => Plain::redis(&server),
        _ => Plain::nats(&server),
    };
    let fault = Fault::of(&node, "main", "watched", Some(plain));
    relay.delay(Duration::from_millis(300));
    let begin = Instant::now();
    let (mut client, mut publisher) = (node.client(), node.publisher());
    let mut number = 0;
    while begin.elapsed() < Duration::from_secs(seconds as u64) {
        let topic = format!("t{number}");
        client.join(&[&topic]);
        let body = messages(&[(&[&topic], b"x")]);
        assert!(publisher.ask("broadcast.Publish", PROTO, &body).is_ok());
        client.expect(&topic, "x");
        client.leave(&[&topic]);
        number += 1;
    }
    relay.delay(Duration::ZERO);
    let what = format!("{}: each answer takes 0.6 s, for {seconds} s", name(driver));
    fault.ends(&what, Instant::now(), 0..=0);
    let scrape = Scrape::of(node.endpoint("metrics"));
    assert_eq!(scrape.sample("broker_reconnects_total", &["main"]), 0);
    eventually("nobody has them", || {
        Scrape::of(node.endpoint("metrics")).sample("broker_channels", &["main"]) == 0
    });
}

#[test]
fn a_redis_that_answers_slowly_serves() {
    is_slow("redis");
}

#[test]
fn a_nats_that_answers_slowly_serves() {
    is_slow("nats");
}
