//! A Redis behind Sentinels: fail-over.

use std::time::Instant;

use super::{is, node_with, until_published};
use crate::common::{Server, eventually};
use crate::fault::Fault;
use crate::servers::BrokerServer;

/// A master, its replica, and a Sentinel that watches them; a server that asks it.
fn pair() -> Option<(BrokerServer, BrokerServer, BrokerServer, Server)> {
    let master = BrokerServer::redis(&[])?;
    let port = master.port.to_string();
    let replica = BrokerServer::redis(&["--replicaof", "127.0.0.1", &port])?;
    eventually("the replica follows", || {
        replica.redis_cli(&["INFO", "replication"]).contains("master_link_status:up")
    });
    let sentinel = BrokerServer::sentinel(&master, "main")?;
    eventually("the Sentinel knows the replica", || {
        sentinel.redis_cli(&["SENTINEL", "REPLICAS", "main"]).contains(&replica.port.to_string())
    });
    let config = format!("addrs: ['{}'], master_name: main", sentinel.address());
    let node = node_with(&config, &[]);
    is(&node, "up");
    Some((master, replica, sentinel, node))
}

#[test]
fn a_master_that_dies_is_followed_by_its_replica() {
    let Some((mut master, replica, _sentinel, node)) = pair() else { return };
    let mut client = node.client();
    client.join(&["foo"]);
    assert_eq!(master.redis_publish("foo", "before"), 1);
    client.expect("foo", "before");
    let fault = Fault::of(&node, "main", "watched", None);
    master.kill();
    let since = Instant::now();
    fault.is_away();
    eventually("the replica is used", || replica.redis_subscribers("foo") == 1);
    is(&node, "up");
    until_published(&node, "foo", "behind");
    client.expect("foo", "behind");
    replica.redis_publish("foo", "by others");
    client.expect("foo", "by others");
    fault.ends("Redis: master killed, fail-over by Sentinel", since, 2..=2);
}

#[test]
fn a_fail_over_by_hand_is_followed_though_the_old_master_lives() {
    let Some((master, replica, sentinel, node)) = pair() else { return };
    let mut client = node.client();
    client.join(&["foo"]);
    let fault = Fault::of(&node, "main", "watched", None);
    // It must have heard from the replica before.
    eventually("the Sentinel begins a fail-over", || {
        sentinel.redis_cli(&["SENTINEL", "FAILOVER", "main"]) == "OK"
    });
    eventually("the replica is used, and it alone", || {
        replica.redis_subscribers("foo") == 1 && master.redis_subscribers("foo") == 0
    });
    // Up to now the old one may have served.
    let since = Instant::now();
    is(&node, "up");
    until_published(&node, "foo", "behind");
    client.expect("foo", "behind");
    fault.ends("Redis: SENTINEL FAILOVER, the old master lives", since, 2..=4);
}
