//! Many publishers, many subscribers, joins, leaves and resets meanwhile, on two shards: order, no
//! loss, no doubles.
//!
//! Method: every publication is `PUBLISHER:NUMBER`, numbered per publisher and topic. Steady
//! subscribers read all of it; the first of them gives a topic's order, and all others must have
//! exactly the same. What a subscriber that comes and goes has read between a join and its leave
//! must be one piece of that order, without a gap.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use crate::common::{Client, Received, Server};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const PUBLISHERS: usize = 4;
const TOPICS: usize = 6;
const PER_PUBLISHER_AND_TOPIC: usize = 400;
const STEADY: usize = 16;
const CHURNING: usize = 6;

fn topic(number: usize) -> String {
    format!("topic-{number}")
}

/// Reads until every publisher's last message has come on every topic; what came, by topic.
fn read_all(mut client: Client, topics: &[usize]) -> HashMap<String, Vec<String>> {
    let mut heard = HashMap::<String, Vec<String>>::new();
    for _ in 0..topics.len() * PUBLISHERS * PER_PUBLISHER_AND_TOPIC {
        match client.next() {
            Received::Message(topic, payload) => heard.entry(topic).or_default().push(payload),
            other => panic!("{other:?} in the middle of the messages"),
        }
    }
    // Anything twice would come in place of something else above, or here instead of the reply.
    let names: Vec<String> = topics.iter().map(|number| topic(*number)).collect();
    client.leave(&names.iter().map(String::as_str).collect::<Vec<_>>());
    client.close();
    heard
}

/// Comes and goes until told to stop; each piece that was read between a join and its end, by
/// topic.
fn churn(server: &Server, mut rng: StdRng, stop: &AtomicBool) -> Vec<(String, Vec<String>)> {
    let mut pieces = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let mut client = server.client();
        for _ in 0..rng.random_range(1..4) {
            let name = topic(rng.random_range(0..TOPICS));
            client.join(&[&name]);
            let mut piece = Vec::new();
            for _ in 0..rng.random_range(0..60) {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                // Between publications nothing may come for long; a ping of our own bounds the
                // wait.
                client.send_message(tungstenite::Message::Ping(Default::default()));
                match client.next_or_pong() {
                    Some(Received::Message(topic, payload)) => {
                        assert_eq!(topic, name);
                        piece.push(payload);
                    }
                    Some(other) => panic!("{other:?} instead of a message"),
                    None => {}
                }
            }
            assert!(client.command("leave", &[&name]), "the server reads");
            loop {
                match client.next() {
                    Received::Message(topic, payload) => {
                        assert_eq!(topic, name);
                        piece.push(payload);
                    }
                    reply => {
                        break assert_eq!(
                            reply,
                            Received::Reply("@leave".to_owned(), vec![name.clone()])
                        );
                    }
                }
            }
            pieces.push((name, piece));
        }
        // Half of them vanish while subscribed.
        if rng.random() {
            let all: Vec<String> = (0..TOPICS).map(topic).collect();
            client.command("join", &all.iter().map(String::as_str).collect::<Vec<_>>());
            client.reset();
        } else {
            client.close();
        }
    }
    pieces
}

#[test]
fn every_subscriber_sees_one_order_without_gaps_and_doubles() {
    let seed = crate::common::seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let server = Server::start(&[]);
    let stop = AtomicBool::new(false);

    let steady: Vec<(Client, Vec<usize>)> = (0..STEADY)
        .map(|number| {
            // The first has every topic: it is the reference.
            let topics: Vec<usize> =
                (0..TOPICS).filter(|_| number == 0 || rng.random_bool(0.5)).collect();
            let mut client = server.client();
            for number in &topics {
                client.join(&[&topic(*number)]);
            }
            (client, topics)
        })
        .collect();
    let seeds: Vec<u64> = (0..CHURNING + PUBLISHERS).map(|_| rng.random()).collect();

    let (heard, pieces) = thread::scope(|scope| {
        let churning: Vec<_> = seeds[..CHURNING]
            .iter()
            .map(|seed| scope.spawn(|| churn(&server, StdRng::seed_from_u64(*seed), &stop)))
            .collect();
        let readers: Vec<_> = steady
            .into_iter()
            .map(|(client, topics)| scope.spawn(move || read_all(client, &topics)))
            .collect();
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let mut rng = StdRng::seed_from_u64(seeds[CHURNING + publisher]);
                let mut connection = server.publisher();
                scope.spawn(move || {
                    let mut next = [0usize; TOPICS];
                    let calls = std::iter::from_fn(|| {
                        let open: Vec<usize> = (0..TOPICS)
                            .filter(|topic| next[*topic] < PER_PUBLISHER_AND_TOPIC)
                            .collect();
                        let number = *open.get(rng.random_range(0..open.len().max(1)))?;
                        next[number] += 1;
                        Some((
                            topic(number),
                            format!("{publisher}:{}", next[number] - 1).into_bytes(),
                        ))
                    });
                    connection.publish_all(32, calls);
                })
            })
            .collect();
        publishers.into_iter().for_each(|thread| thread.join().expect("a publisher"));
        stop.store(true, Ordering::Relaxed);
        let heard: Vec<_> =
            readers.into_iter().map(|thread| thread.join().expect("a subscriber")).collect();
        let pieces: Vec<_> = churning
            .into_iter()
            .flat_map(|thread| thread.join().expect("a subscriber that comes and goes"))
            .collect();
        (heard, pieces)
    });

    let reference = &heard[0];
    for (topic, order) in reference {
        for publisher in 0..PUBLISHERS {
            let own: Vec<&String> = order
                .iter()
                .filter(|payload| payload.starts_with(&format!("{publisher}:")))
                .collect();
            let sent: Vec<String> = (0..PER_PUBLISHER_AND_TOPIC)
                .map(|number| format!("{publisher}:{number}"))
                .collect();
            assert!(
                own.iter().copied().eq(sent.iter()),
                "{topic}: the order of publisher {publisher}"
            );
        }
    }
    for (number, heard) in heard.iter().enumerate() {
        for (topic, order) in heard {
            assert!(order == &reference[topic], "subscriber {number} has another order in {topic}");
        }
    }
    let places: HashMap<(&str, &str), usize> = reference
        .iter()
        .flat_map(|(topic, order)| {
            order.iter().enumerate().map(|(at, payload)| ((&topic[..], &payload[..]), at))
        })
        .collect();
    let mut read = 0;
    for (topic, piece) in &pieces {
        let Some(first) = piece.first() else { continue };
        let start = places[&(&topic[..], &first[..])];
        let expected = &reference[topic][start..(start + piece.len()).min(reference[topic].len())];
        assert!(piece == expected, "{topic} from {start}: {piece:?}");
        read += piece.len();
    }
    assert!(read > 0, "those who came and went have read something");
}
