//! A Cluster: plain and sharded channels, slots that move, a master that dies.

use std::collections::HashSet;
use std::process::Command;
use std::time::Instant;

use super::{count, is, node_with, publish};
use crate::common::{Received, Server, eventually};
use crate::fault::Fault;
use crate::servers::{BrokerServer, free_port};

/// Three masters, and as many replicas if there are to be any.
fn cluster(replicas: bool) -> Option<Vec<BrokerServer>> {
    let count = if replicas { 6 } else { 3 };
    let nodes: Option<Vec<BrokerServer>> = (0..count)
        .map(|_| {
            let bus = free_port().to_string();
            let words = "--cluster-enabled yes --cluster-node-timeout 1000 \
                         --repl-diskless-sync-delay 0 --cluster-port";
            let words: Vec<&str> = words.split(' ').chain([bus.as_str()]).collect();
            BrokerServer::redis(&words)
        })
        .collect();
    let nodes = nodes?;
    let addresses: Vec<String> = nodes.iter().map(BrokerServer::address).collect();
    let made = Command::new("redis-cli")
        .args(["--cluster", "create"])
        .args(&addresses)
        .args(["--cluster-yes", "--cluster-replicas", if replicas { "1" } else { "0" }])
        .output()
        .expect("redis-cli runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
    for node in &nodes {
        eventually("all agree", || {
            let info = node.redis_cli(&["CLUSTER", "INFO"]);
            let known = format!("cluster_known_nodes:{count}");
            let replication = node.redis_cli(&["INFO", "replication"]);
            let follows = replication.contains("role:master")
                || replication.contains("master_link_status:up");
            info.contains("cluster_state:ok") && info.contains(&known) && follows
        });
    }
    Some(nodes)
}

fn sharing(nodes: &[BrokerServer], more: &str) -> Server {
    let addresses: Vec<String> =
        nodes.iter().take(2).map(|node| format!("'{}'", node.address())).collect();
    let server = node_with(&format!("addrs: [{}]{more}", addresses.join(", ")), &[]);
    is(&server, "up");
    server
}

/// How many nodes have a sharded channel subscribed.
fn sharded_at(nodes: &[BrokerServer], channel: &str) -> Vec<usize> {
    let has = |node: &BrokerServer| {
        let said = node.redis_cli(&["PUBSUB", "SHARDNUMSUB", channel]);
        said.lines().last().is_some_and(|count| count != "0")
    };
    nodes.iter().enumerate().filter(|(_, node)| has(node)).map(|(place, _)| place).collect()
}

#[test]
fn sharded_channels_are_at_home_at_all_masters() {
    let Some(nodes) = cluster(false) else { return };
    let servers = [sharing(&nodes, ""), sharing(&nodes, "")];
    let topics: Vec<String> = (0..30).map(|number| format!("topic {number}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let mut clients: Vec<_> = servers.iter().map(|server| server.client()).collect();
    clients.iter_mut().for_each(|client| client.join(&names));
    let mut publisher = servers[0].publisher();
    for round in 0..20 {
        let calls = topics.iter().map(|topic| (topic.clone(), round.to_string().into_bytes()));
        publisher.publish_all(30, calls);
    }
    for client in &mut clients {
        let mut next = vec![0; topics.len()];
        for _ in 0..topics.len() * 20 {
            let Received::Message(topic, payload) = client.next() else { panic!() };
            let place = topics.iter().position(|known| *known == topic).unwrap();
            assert_eq!(payload, next[place].to_string(), "{topic}");
            next[place] += 1;
        }
    }
    let homes: HashSet<usize> = topics.iter().flat_map(|topic| sharded_at(&nodes, topic)).collect();
    assert_eq!(homes.len(), 3, "at home at all masters");
    assert_eq!(count(&servers[0], "broker_channels"), 30);
}

#[test]
fn plain_channels_reach_whoever_says_publish_at_any_node() {
    let Some(mut nodes) = cluster(false) else { return };
    let server = sharing(&nodes, ", sharded: false");
    let mut client = server.client();
    client.join(&["foo"]);
    for (place, node) in nodes.iter().enumerate() {
        node.redis_publish("foo", &place.to_string());
        client.expect("foo", &place.to_string());
    }
    publish(&mut server.publisher(), "foo", "own").unwrap();
    client.expect("foo", "own");
    // The node that is used goes; another one takes its place.
    let used = nodes.iter().position(|node| node.redis_subscribers("foo") == 1).unwrap();
    let fault = Fault::of(&server, "main", "watched", None);
    nodes[used].kill();
    let since = Instant::now();
    eventually("the gaps", || count(&server, "broker_gaps_total") == 2);
    is(&server, "up");
    let other = (used + 1) % 3;
    nodes[other].redis_publish("foo", "by others");
    client.expect("foo", "by others");
    fault.ends("Redis Cluster: the node that is used is killed", since, 2..=2);
}

#[test]
fn a_slot_that_moves_takes_its_topic_along_and_is_a_gap_of_it_alone() {
    let Some(nodes) = cluster(false) else { return };
    let server = sharing(&nodes, ", sharded: true");
    let (mut client, mut publisher) = (server.client(), server.publisher());
    client.join(&["bar"]);
    // Publications go on meanwhile.
    let fault = Fault::of(&server, "main", "foo", None);
    let slot = nodes[0].redis_cli(&["CLUSTER", "KEYSLOT", "foo"]);
    let from = sharded_at(&nodes, "foo")[0];
    let to = (from + 1) % 3;
    let [from_id, to_id] = [from, to].map(|place| nodes[place].redis_cli(&["CLUSTER", "MYID"]));
    // As `redis-cli --cluster reshard` does it. Without IMPORTING the new owner's claim would be as
    // old as its others, and word of the old owner could overrule it.
    for (place, how, id) in [
        (to, "IMPORTING", &from_id),
        (from, "MIGRATING", &to_id),
        (to, "NODE", &to_id),
        (from, "NODE", &to_id),
        ((from + 2) % 3, "NODE", &to_id),
    ] {
        let said = nodes[place].redis_cli(&["CLUSTER", "SETSLOT", &slot, how, id]);
        assert_eq!(said, "OK");
    }
    eventually("it is subscribed at its new home", || sharded_at(&nodes, "foo") == [to]);
    fault.ends("Redis Cluster: a slot moves", Instant::now(), 1..=1);
    publish(&mut publisher, "bar", "x").unwrap();
    client.expect("bar", "x");
}

#[test]
fn a_master_that_dies_is_followed_by_its_replica_and_costs_its_own_topics_a_gap() {
    let Some(mut nodes) = cluster(true) else { return };
    let server = sharing(&nodes, "");
    let mut client = server.client();
    client.join(&["bar"]);
    let fault = Fault::of(&server, "main", "foo", None);
    let home = sharded_at(&nodes, "foo")[0];
    assert_ne!(home, sharded_at(&nodes, "bar")[0]);
    nodes[home].kill();
    let since = Instant::now();
    fault.is_away();
    publish(&mut server.publisher(), "bar", "unmoved").unwrap();
    client.expect("bar", "unmoved");
    fault.ends("Redis Cluster: a master killed, its replica follows", since, 1..=1);
}
