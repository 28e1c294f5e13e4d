//! Several nodes at random: clients that join and leave, publishers on every node, one broker
//! behind all. What each client got while it was in a topic must be one piece of what was
//! published there: no hole, nothing twice, in order.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tungstenite::{Bytes, Message};

use super::servers::BrokerServer;
use crate::common::{Client, Received, Server, eventually, figure, seed, size};

const TOPICS: usize = 12;
/// Clients of each node that join and leave.
const CLIENTS: usize = 6;
/// Behind everything that is published in a topic.
const END: &str = "the end";

/// One stay of a client in a topic.
struct Stay {
    topic: usize,
    /// When `@join` was read.
    joined: Instant,
    got: Vec<String>,
    /// Whether it stayed until the last publication.
    to_the_end: bool,
}

/// A publication: its payload, and when its call was sent.
type Published = (String, Instant);

fn topic(number: usize) -> String {
    format!("topic-{number}")
}

fn nodes(driver: &str, address: &str, count: usize) -> Vec<Server> {
    let directory = tempdir();
    let file = directory.join(format!("{driver}-{count}.yaml"));
    let section = format!(
        "broadcast: {{ default: {{ driver: {driver}, config: {{ addrs: [\"{address}\"] }} }} }}\n"
    );
    std::fs::write(&file, section).expect("a configuration");
    let file = file.to_str().expect("a path of UTF-8").to_owned();
    (0..count).map(|_| Server::start_with(&["-c", &file], &[])).collect()
}

fn tempdir() -> std::path::PathBuf {
    let directory = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
        "nodes-{}-{:?}",
        std::process::id(),
        thread::current().id()
    ));
    std::fs::create_dir_all(&directory).expect("a directory");
    directory
}

/// Publishes on random topics through a node until told to stop; says what, by topic.
fn publish(server: &Server, node: usize, seed: u64, stop: &AtomicBool) -> Vec<Vec<Published>> {
    let (mut random, mut publisher) = (StdRng::seed_from_u64(seed), server.publisher());
    let mut published: Vec<Vec<Published>> = (0..TOPICS).map(|_| Vec::new()).collect();
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let calls: Vec<_> = (0..random.random_range(1..20))
            .map(|_| {
                number += 1;
                (random.random_range(0..TOPICS), format!("{node}:{number}"))
            })
            .collect();
        let begun = Instant::now();
        publisher.publish_all(
            calls.len(),
            calls.iter().map(|(to, payload)| (topic(*to), payload.clone().into_bytes())),
        );
        for (to, payload) in calls {
            published[to].push((payload, begun));
        }
        thread::sleep(Duration::from_millis(random.random_range(0..4)));
    }
    published
}

/// Joins and leaves at random until told to stop, then stays in all topics that it is in until
/// their end.
fn wander(server: &Server, seed: u64, stop: &AtomicBool, resting: &AtomicUsize) -> Vec<Stay> {
    let (mut random, mut stays) = (StdRng::seed_from_u64(seed), Vec::new());
    let mut client = Client::connect(server.clients, "/ws").expect("the node takes clients");
    let mut here: HashMap<usize, Stay> = HashMap::new();
    let take = |here: &mut HashMap<usize, Stay>, received: Received| match received {
        Received::Message(from, payload) => {
            let number: usize = from["topic-".len()..].parse().expect("a topic of this test");
            let stay = here.get_mut(&number).expect("a publication of a topic that it is in");
            stay.got.push(payload);
            None
        }
        other => Some(other),
    };
    while !stop.load(Ordering::Relaxed) {
        let number = random.random_range(0..TOPICS);
        let name = topic(number);
        match (random.random_range(0..3), here.contains_key(&number)) {
            (0, false) => {
                assert!(client.command("join", &[&name]));
                let reply = loop {
                    if let Some(reply) = take(&mut here, client.next()) {
                        break reply;
                    }
                };
                assert_eq!(reply, Received::Reply("@join".into(), vec![name]));
                let joined = Instant::now();
                here.insert(number, Stay { topic: number, joined, got: vec![], to_the_end: false });
            }
            (1, true) => {
                assert!(client.command("leave", &[&name]));
                let reply = loop {
                    if let Some(reply) = take(&mut here, client.next()) {
                        break reply;
                    }
                };
                assert_eq!(reply, Received::Reply("@leave".into(), vec![name]));
                stays.extend(here.remove(&number));
            }
            _ => {
                client.send_message(Message::Ping(Bytes::new()));
                while let Some(received) = client.next_or_pong() {
                    assert_eq!(take(&mut here, received), None);
                }
            }
        }
    }
    resting.fetch_add(1, Ordering::Relaxed);
    while here.values().any(|stay| stay.got.last().is_none_or(|last| last != END)) {
        assert_eq!(take(&mut here, client.next()), None);
    }
    stays.extend(here.into_values().map(|stay| Stay { to_the_end: true, ..stay }));
    stays
}

/// Is in every topic from the first publication to the last; says what it got, by topic.
fn listen(server: &Server, listening: &AtomicUsize) -> Vec<Vec<String>> {
    let mut client = Client::connect(server.clients, "/ws").expect("the node takes clients");
    for number in 0..TOPICS {
        client.join(&[&topic(number)]);
    }
    listening.fetch_add(1, Ordering::Relaxed);
    let mut got: Vec<Vec<String>> = (0..TOPICS).map(|_| Vec::new()).collect();
    while got.iter().any(|of| of.last().is_none_or(|last| last != END)) {
        let Received::Message(from, payload) = client.next() else { panic!("only publications") };
        let number: usize = from["topic-".len()..].parse().expect("a topic of this test");
        got[number].push(payload);
    }
    got
}

/// What of a list one publisher published.
fn of(publisher: &str, list: &[String]) -> Vec<String> {
    list.iter().filter(|payload| payload.split(':').next() == Some(publisher)).cloned().collect()
}

/// What was published in a topic, as the listener got it.
struct Whole {
    payloads: Vec<String>,
    place: HashMap<String, usize>,
    /// The latest call up to each publication.
    latest: Vec<Option<Instant>>,
}

impl Whole {
    /// `sent`: when each publication's call was.
    fn new(payloads: Vec<String>, sent: &HashMap<&str, Instant>) -> Self {
        let place = payloads.iter().cloned().enumerate().map(|(at, payload)| (payload, at));
        let latest = payloads.iter().scan(None, |latest, payload| {
            *latest = (*latest).max(sent.get(payload.as_str()).copied());
            Some(*latest)
        });
        Self { place: place.collect(), latest: latest.collect(), payloads }
    }

    /// A stay must be one piece of it, from no later than the first publication behind the join.
    fn check(&self, stay: &Stay) {
        let begin = match stay.got.first() {
            Some(first) => *self.place.get(first).expect("it was published"),
            None => self.payloads.len(),
        };
        let end = (begin + stay.got.len()).min(self.payloads.len());
        assert_eq!(stay.got[..], self.payloads[begin..end], "one piece");
        if stay.to_the_end {
            assert_eq!(end, self.payloads.len(), "up to the last publication");
        }
        if (stay.to_the_end || !stay.got.is_empty()) && begin > 0 {
            let missed = self.latest[begin - 1].is_some_and(|latest| latest > stay.joined);
            assert!(!missed, "published behind the join, and not received");
        }
    }
}

/// Runs `count` nodes; `total`: the broker gives a topic one order for all nodes, else only the
/// publications of one node have one.
fn run(driver: &str, address: &str, count: usize, total: bool) {
    let (seed, seconds) = (seed(), size("ROADCAST_NODES_SECONDS", 4));
    let servers = nodes(driver, address, count);
    let (stop, quiet) = (AtomicBool::new(false), AtomicBool::new(false));
    let (listening, resting) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (published, stays, heard) = thread::scope(|scope| {
        let listeners: Vec<_> =
            servers.iter().map(|server| scope.spawn(|| listen(server, &listening))).collect();
        eventually("every listener is in every topic", || {
            listening.load(Ordering::Relaxed) == count
        });
        let publishers: Vec<_> = servers
            .iter()
            .enumerate()
            .map(|(node, server)| {
                let (seed, quiet) = (seed ^ node as u64, &quiet);
                scope.spawn(move || publish(server, node, seed, quiet))
            })
            .collect();
        let clients: Vec<_> = (0..count * CLIENTS)
            .map(|number| {
                let (server, seed) = (&servers[number % count], seed ^ (7000 + number as u64));
                let (stop, resting) = (&stop, &resting);
                scope.spawn(move || wander(server, seed, stop, resting))
            })
            .collect();
        thread::sleep(Duration::from_secs(seconds as u64));
        stop.store(true, Ordering::Relaxed);
        quiet.store(true, Ordering::Relaxed);
        let published: Vec<_> =
            publishers.into_iter().map(|publisher| publisher.join().unwrap()).collect();
        // Who joined behind the end would wait for it in vain.
        eventually("nobody joins any more", || resting.load(Ordering::Relaxed) == count * CLIENTS);
        let last = (0..TOPICS).map(|number| (topic(number), END.as_bytes().to_vec()));
        servers[0].publisher().publish_all(1, last);
        let stays: Vec<Stay> =
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
        let heard: Vec<_> =
            listeners.into_iter().map(|listener| listener.join().unwrap()).collect();
        (published, stays, heard)
    });

    let by_topic: Vec<Vec<Published>> = (0..TOPICS)
        .map(|number| published.iter().flat_map(|of_node| of_node[number].clone()).collect())
        .collect();
    for number in 0..TOPICS {
        for (node, of_node) in published.iter().enumerate() {
            let sent: Vec<String> =
                of_node[number].iter().map(|(payload, _)| payload.clone()).collect();
            for got in &heard {
                assert_eq!(of(&node.to_string(), &got[number]), sent, "in its publisher's order");
            }
        }
        for got in &heard {
            assert_eq!(got[number].len(), by_topic[number].len() + 1, "nothing twice");
            assert!(!total || got[number] == heard[0][number], "one order for all nodes");
        }
    }
    let sent: HashMap<&str, Instant> =
        by_topic.iter().flatten().map(|(payload, at)| (payload.as_str(), *at)).collect();
    // Of each order that must hold: everything, or what each node published.
    let orders: Vec<Option<String>> = match total {
        true => vec![None],
        false => (0..count).map(|node| Some(node.to_string())).collect(),
    };
    for order in orders {
        let part = |list: &[String]| match &order {
            None => list.to_vec(),
            Some(node) => of(node, list),
        };
        let wholes: Vec<Whole> = heard[0].iter().map(|got| Whole::new(part(got), &sent)).collect();
        for stay in &stays {
            wholes[stay.topic].check(&Stay { got: part(&stay.got), ..*stay });
        }
    }
    let received: usize = stays.iter().map(|stay| stay.got.len()).sum();
    figure(
        &format!("{count} nodes, {driver}, {seconds} s: publications, stays, received"),
        format_args!(
            "{}, {}, {received}",
            by_topic.iter().map(Vec::len).sum::<usize>(),
            stays.len()
        ),
    );
}

#[test]
fn two_and_three_nodes_on_one_redis_deliver_everything_once_and_in_one_order() {
    for count in [2, 3] {
        let Some(redis) = BrokerServer::redis(&[]) else { return };
        run("redis", &redis.address(), count, true);
    }
}

#[test]
fn two_and_three_nodes_on_one_nats_deliver_everything_once_and_in_each_publishers_order() {
    for count in [2, 3] {
        let Some(nats) = BrokerServer::nats(&[]) else { return };
        run("nats", &nats.address(), count, false);
    }
}
