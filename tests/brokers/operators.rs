//! What operators see of a broker that goes and comes back: `roadcast brokers`, readiness, metrics.

use crate::common::cli::run;
use crate::common::{Scrape, Server, eventually, get, http};
use crate::servers::BrokerServer;

/// A server whose default broker is that Redis, and another one in memory.
fn server(redis: &BrokerServer, more: &[&str]) -> Server {
    let address = format!("broadcast.default.config.addrs={}", redis.address());
    let own = [
        "broadcast.default.driver=redis",
        address.as_str(),
        "broadcast.local.driver=memory",
        "metrics.address=127.0.0.1:0",
        "status.address=127.0.0.1:0",
    ];
    Server::start(&[&own[..], more].concat())
}

#[test]
fn a_broker_that_is_down_is_shown_with_why_and_turns_readiness_off_until_it_is_back() {
    let Some(mut redis) = BrokerServer::redis(&[]) else { return };
    let server = server(&redis, &[]);
    let status = server.endpoint("status");
    eventually("up", || get(status, "/ready") == 200);
    // Two topics in memory, one of them with clients of both shards.
    let mut clients: Vec<_> = (0..4).map(|_| server.client()).collect();
    for (client, topic) in clients.iter_mut().zip(["a", "a", "a", "b"]) {
        client.send(&format!(r#"{{"command":"join","broker":"local","topics":["{topic}"]}}"#));
        client.expect_reply("@join", &[topic]);
    }
    let channels = || Scrape::of(server.endpoint("metrics")).sum("broker_channels", &["local"]);
    assert_eq!(channels(), 2);
    clients.drain(1..);
    eventually("one that has been left", || channels() == 1);
    redis.kill();
    eventually("down", || get(status, "/ready") == 503);
    let answer = http(status, b"GET /ready HTTP/1.1\r\nHost: x\r\n\r\n");
    let text = String::from_utf8(answer.body).expect("text");
    assert!(text.starts_with("broker default has been down for "), "{text}");
    assert_eq!(get(status, "/health"), 200, "no reason to restart");

    let output = run(&["brokers", "--url", &server.publish], b"");
    assert_eq!(output.status.code(), Some(1));
    let table = String::from_utf8(output.stdout).expect("text");
    let shown = |begin: &str, state: &str| {
        table.lines().any(|line| line.starts_with(begin) && line.contains(state))
    };
    assert!(shown("default (default)", "  down  ") && shown("local ", "  up  "), "{table}");
    assert!(table.lines().last().is_some_and(|line| line.starts_with("default: ")), "{table}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said, "roadcast: broker default is down\n");
    let scrape = Scrape::of(server.endpoint("metrics"));
    assert_eq!(scrape.sum("broker_state", &["default", "up"]), 0);
    assert_eq!(scrape.sum("broker_state", &["local", "up"]), 1);

    redis.start_again();
    eventually("up again", || get(status, "/ready") == 200);
    assert!(run(&["brokers", "--url", &server.publish], b"").status.success());
    assert!(
        Scrape::of(server.endpoint("metrics")).sum("broker_reconnects_total", &["default"]) > 0
    );
}

#[test]
fn readiness_may_do_without_a_broker() {
    let Some(mut redis) = BrokerServer::redis(&[]) else { return };
    let server = server(&redis, &["roadcast.ready_without=default"]);
    let state = |state: &str| {
        Scrape::of(server.endpoint("metrics")).sum("broker_state", &["default", state]) == 1
    };
    eventually("up", || state("up"));
    redis.kill();
    eventually("down", || !state("up"));
    assert_eq!(get(server.endpoint("status"), "/ready"), 200);
}

#[test]
fn two_brokers_on_one_server_hear_once_what_is_published_to_all() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let address = format!("broadcast.other.config.addrs={}", redis.address());
    let server = server(&redis, &["broadcast.other.driver=redis", &address]);
    let mut clients: Vec<_> = (0..2).map(|_| server.client()).collect();
    clients[0].join(&["news"]);
    clients[1].send(r#"{"command":"join","broker":"other","topics":["news"]}"#);
    clients[1].expect_reply("@join", &["news"]);
    server.publisher().publish(&["news"], b"first");
    server.publisher().publish(&["news"], b"second");
    for client in &mut clients {
        client.expect("news", "first");
        client.expect("news", "second");
    }
}
