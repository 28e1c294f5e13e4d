//! Limits per source address, over several shards that share them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::limits::Limits;
use roadcast::mesh::Down;
use roadcast::shard::{About, ConnId, OVER_LIMIT_MAX, Reason, Refusal, Task};
use roadcast::source_limits::{Exceeded, SourceLimits};

use super::rig::{Rig, quiet};
use super::wire;

const PROXY: &str = "10.0.0.1";
const NO_LIMIT: usize = 0;

fn limits(connections: usize, handshakes: usize) -> Arc<SourceLimits> {
    Arc::new(SourceLimits::new(connections, handshakes).unwrap())
}

fn rig_with(limits: Limits, sources: &Arc<SourceLimits>) -> Rig {
    let mut rig = Rig::new(limits);
    rig.shard = rig.shard.with_source_limits(Some(sources.clone()));
    rig
}

fn rig(sources: &Arc<SourceLimits>) -> Rig {
    rig_with(quiet(), sources)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn from(rig: &mut Rig, peer: &str) -> ConnId {
    rig.shard.accepted_from(Some(ip(peer))).expect("room for one more")
}

/// Sends an upgrade request with these header lines; the status of the answer and the answer.
fn request(rig: &mut Rig, id: ConnId, lines: &[&str]) -> (u16, String) {
    let head = String::from_utf8(wire::upgrade_request("/ws")).unwrap();
    let more: String = lines.iter().map(|line| format!("{line}\r\n")).collect();
    rig.bytes(id, head.replacen("\r\n", &format!("\r\n{more}"), 1).as_bytes());
    rig.sweep();
    let answer = String::from_utf8(rig.taken(id)).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

fn status(rig: &mut Rig, id: ConnId, lines: &[&str]) -> u16 {
    request(rig, id, lines).0
}

fn end(rig: &mut Rig, id: ConnId) {
    rig.shard.ended(id);
    rig.shard.released(id);
}

/// What the log would say of refusals by source.
fn said(rig: &mut Rig) -> Vec<(Exceeded, String, u64)> {
    let reports = rig.tasks().into_iter().filter_map(|task| match task {
        Task::Report(_, report) => match (report.reason, report.about) {
            (Reason::Refused(Refusal::Source(exceeded)), About::Sent(source)) => {
                Some((exceeded, source, report.unsaid.0))
            }
            _ => None,
        },
        _ => None,
    });
    reports.collect()
}

#[test]
fn one_address_over_several_shards_has_one_limit_of_connections() {
    let sources = limits(3, NO_LIMIT);
    let mut shards = [rig(&sources), rig(&sources)];
    let mut open = Vec::new();
    for place in [0, 1, 1] {
        let id = from(&mut shards[place], "192.0.2.1");
        assert_eq!(status(&mut shards[place], id, &[]), 101);
        open.push((place, id));
    }
    for shard in &mut shards {
        let over = from(shard, "192.0.2.1");
        let (status, answer) = request(shard, over, &[]);
        assert!(status == 429 && answer.contains("\r\nRetry-After: 10\r\n"), "{answer}");
        let other = from(shard, "192.0.2.2");
        assert_eq!(request(shard, other, &[]).0, 101, "another address has its own");
        let counters = &shard.counters;
        assert_eq!(counters.refused_address_connections.value(), 1);
        assert_eq!(counters.refused_address_handshakes.value(), 0);
        assert_eq!(said(shard), [(Exceeded::Connections, "192.0.2.1".to_owned(), 0)]);
    }
    let (place, id) = open.pop().unwrap();
    end(&mut shards[place], id);
    let next = from(&mut shards[0], "192.0.2.1");
    assert_eq!(status(&mut shards[0], next, &[]), 101, "one has gone, one may come");
}

#[test]
fn the_addresses_of_one_ipv6_subscriber_are_one_source() {
    let sources = limits(1, NO_LIMIT);
    let mut rig = rig(&sources);
    for (address, expected) in [
        ("2001:db8:1:2::1", 101),
        ("2001:db8:1:2:ffff::9", 429),
        ("2001:db8:1:3::1", 101),
        ("192.0.2.1", 101),
        ("::ffff:192.0.2.1", 429),
    ] {
        let id = from(&mut rig, address);
        assert_eq!(status(&mut rig, id, &[]), expected, "{address}");
    }
    assert_eq!(
        said(&mut rig),
        [(Exceeded::Connections, "2001:db8:1:2::/64".to_owned(), 0)],
        "once a period"
    );
}

#[test]
fn handshakes_beyond_the_rate_are_refused_and_the_log_counts_them() {
    let sources = limits(NO_LIMIT, 2);
    let mut rig = rig(&sources);
    for expected in [101, 101, 429, 429] {
        let id = from(&mut rig, "192.0.2.1");
        let (status, answer) = request(&mut rig, id, &[]);
        assert_eq!(status, expected);
        assert_eq!(answer.contains("\r\nRetry-After: 1\r\n"), expected == 429, "{answer}");
        end(&mut rig, id);
    }
    assert_eq!(said(&mut rig), [(Exceeded::Handshakes, "192.0.2.1".to_owned(), 0)]);
    rig.pass(Duration::from_secs(10));
    for _ in 0..3 {
        let id = from(&mut rig, "192.0.2.1");
        end(&mut rig, id);
    }
    assert_eq!(said(&mut rig), [(Exceeded::Handshakes, "192.0.2.1".to_owned(), 1)]);
    assert_eq!(rig.counters.refused_address_handshakes.value(), 3);
    assert_eq!(rig.counters.refused_address_connections.value(), 0);
}

#[test]
fn a_trusted_proxys_clients_count_each_for_itself() {
    let sources = limits(1, NO_LIMIT);
    let mut rig = rig(&sources);
    for (lines, expected) in [
        (&["X-Forwarded-For: 192.0.2.1"][..], 101),
        (&["X-Forwarded-For: 192.0.2.1"], 429),
        (&["X-Forwarded-For: 192.0.2.2, 10.0.0.9"], 101),
        (&["X-Real-IP: 192.0.2.2"], 429),
        (&["X-Forwarded-For: [2001:db8::1]:4711"], 101),
        // Whatever a client has put in front.
        (&["X-Forwarded-For: 203.0.113.7, 192.0.2.1"], 429),
    ] {
        let id = from(&mut rig, PROXY);
        assert_eq!(status(&mut rig, id, lines), expected, "{lines:?}");
    }
    assert_eq!(rig.counters.forwarded_missing.value(), 0);
    assert_eq!(said(&mut rig), [(Exceeded::Connections, "192.0.2.1".to_owned(), 0)]);
    // Directly it is the same client.
    let direct = from(&mut rig, "192.0.2.1");
    assert_eq!(status(&mut rig, direct, &[]), 429);
}

#[test]
fn a_request_with_too_many_headers_counts_for_the_client_that_its_proxy_names() {
    let sources = limits(1, NO_LIMIT);
    let mut rig = rig(&sources);
    let mut lines = vec!["X-Pad: x"; 200];
    lines.push("X-Forwarded-For: 192.0.2.1");
    for expected in [431, 429] {
        let id = from(&mut rig, PROXY);
        assert_eq!(status(&mut rig, id, &lines), expected);
    }
    assert_eq!(rig.counters.forwarded_missing.value(), 0);
    let unnamed = from(&mut rig, PROXY);
    assert_eq!(status(&mut rig, unnamed, &[]), 101, "the proxy has nothing to do with it");
}

#[test]
fn a_proxy_that_names_nobody_counts_for_itself() {
    let sources = limits(2, NO_LIMIT);
    let mut rig = rig(&sources);
    for (lines, expected) in
        [(&[][..], 101), (&["X-Forwarded-For: unknown"], 101), (&["X-Real-IP: 300.1.1.1"], 429)]
    {
        let id = from(&mut rig, PROXY);
        assert_eq!(status(&mut rig, id, lines), expected, "{lines:?}");
    }
    assert_eq!(rig.counters.forwarded_missing.value(), 3);
    assert_eq!(said(&mut rig), [(Exceeded::Connections, PROXY.to_owned(), 0)]);
}

#[test]
fn what_an_untrusted_peer_forwards_is_ignored() {
    let sources = limits(1, NO_LIMIT);
    let mut rig = rig(&sources);
    let first = from(&mut rig, "192.0.2.1");
    assert_eq!(status(&mut rig, first, &["X-Forwarded-For: 192.0.2.9"]), 101);
    let second = from(&mut rig, "192.0.2.1");
    assert_eq!(status(&mut rig, second, &["X-Forwarded-For: 192.0.2.8"]), 429);
    // Nor does it take anything from the one that it names.
    let named = from(&mut rig, "192.0.2.9");
    assert_eq!(status(&mut rig, named, &[]), 101);
}

#[test]
fn a_refused_address_takes_no_place_from_others() {
    let sources = limits(1, NO_LIMIT);
    let mut rig = rig_with(Limits { connections: 3, ..quiet() }, &sources);
    let held = from(&mut rig, "192.0.2.1");
    let answered =
        (0..1000).filter(|_| rig.shard.accepted_from(Some(ip("192.0.2.1"))).is_some()).count();
    assert_eq!(answered, OVER_LIMIT_MAX, "few are answered, the others closed at once");
    assert_eq!(rig.counters.refused_address_connections.value(), 1000);
    assert_eq!(rig.budget.open(), 1);
    for other in ["192.0.2.2", "192.0.2.3"] {
        let id = from(&mut rig, other);
        assert_eq!(status(&mut rig, id, &[]), 101, "{other}");
    }
    assert!(
        rig.shard.accepted_from(Some(ip("192.0.2.4"))).is_none(),
        "the limit of all still holds"
    );
    end(&mut rig, held);
    let id = from(&mut rig, "192.0.2.1");
    assert_eq!(status(&mut rig, id, &[]), 101);
}

#[test]
fn whoever_is_over_the_limit_of_all_costs_its_address_nothing() {
    let sources = limits(1, 1);
    let mut rig = rig_with(Limits { connections: 1, ..quiet() }, &sources);
    let first = from(&mut rig, "192.0.2.1");
    let over = from(&mut rig, "192.0.2.2");
    assert_eq!(status(&mut rig, over, &[]), 503);
    end(&mut rig, first);
    let again = from(&mut rig, "192.0.2.2");
    assert_eq!(status(&mut rig, again, &[]), 101);
}

#[test]
fn whoever_comes_while_the_shard_stops_is_counted_and_given_back() {
    let sources = limits(1, NO_LIMIT);
    let mut rig = rig(&sources);
    let proxied = from(&mut rig, PROXY);
    let direct = from(&mut rig, "192.0.2.1");
    rig.take(Down::StopAccepting);
    assert_eq!(status(&mut rig, proxied, &["X-Forwarded-For: 192.0.2.2"]), 503);
    assert_eq!(status(&mut rig, direct, &[]), 503);
    end(&mut rig, proxied);
    end(&mut rig, direct);
    assert!(sources.is_empty());
}

#[test]
fn without_limits_no_address_is_asked_for() {
    let mut rig = Rig::new(quiet());
    assert!(!rig.shard.wants_addresses());
    let id = from(&mut rig, "192.0.2.1");
    assert_eq!(status(&mut rig, id, &["X-Forwarded-For: unknown"]), 101);
    assert_eq!(rig.counters.forwarded_missing.value(), 0);
}

/// What a naive book-keeper knows of a source.
#[derive(Default)]
struct Known {
    open: usize,
    /// When handshakes were let through.
    admitted_ms: Vec<u64>,
}

/// Goal: under any order of comings and goings over several shards, no source ever passes a limit,
/// and none is refused that was within it.
#[test]
fn no_source_passes_its_limits_and_none_is_refused_within_them() {
    for seed in 0..40 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (connections, rate) = (rng.random_range(1..5), rng.random_range(1..8));
        let sources = limits(connections, rate);
        let mut shards = [rig(&sources), rig(&sources), rig(&sources)];
        let mut known: HashMap<u8, Known> = HashMap::new();
        let mut open: Vec<(usize, ConnId, u8)> = Vec::new();
        let mut now = 0;
        for _ in 0..600 {
            let passed = [0, 0, 1, 20, 150, 1300][rng.random_range(0..6)];
            now += passed;
            shards.iter_mut().for_each(|rig| rig.pass(Duration::from_millis(passed)));
            if !open.is_empty() && rng.random_bool(0.5) {
                let (place, id, name) = open.swap_remove(rng.random_range(0..open.len()));
                end(&mut shards[place], id);
                known.get_mut(&name).unwrap().open -= 1;
                continue;
            }
            let name: u8 = rng.random_range(1..4);
            let of = known.entry(name).or_default();
            let (place, client) =
                (rng.random_range(0..3), Ipv4Addr::new(192, 0, 2, name).to_string());
            let rig = &mut shards[place];
            let line = format!("X-Forwarded-For: {client}");
            let (id, lines) = if rng.random() {
                (from(rig, PROXY), vec![line.as_str()])
            } else {
                (from(rig, &client), vec![])
            };
            let last_second = of.admitted_ms.iter().filter(|at| **at + 1000 > now).count();
            match request(rig, id, &lines) {
                (101, _) => {
                    assert!(of.open < connections, "seed {seed}: {name} has {connections} already");
                    of.admitted_ms.push(now);
                    for (first, from) in of.admitted_ms.iter().enumerate() {
                        let in_window = of.admitted_ms.len() - first;
                        let allowed = rate as u64 + (now - from) * rate as u64 / 1000;
                        assert!(in_window as u64 <= allowed, "seed {seed}: {name} passes the rate");
                    }
                    of.open += 1;
                    open.push((place, id, name));
                    continue;
                }
                (429, answer) if answer.contains("Retry-After: 10\r\n") => {
                    assert_eq!(
                        of.open, connections,
                        "seed {seed}: {name} was within its connections"
                    );
                }
                (429, _) => {
                    assert!(
                        of.open < connections && last_second >= rate,
                        "seed {seed}: {name} was within its rate"
                    );
                }
                (status, _) => panic!("seed {seed}: {status}"),
            }
            end(rig, id);
        }
        for (place, id, _) in open {
            end(&mut shards[place], id);
        }
        assert!(sources.len() <= 3);
        let open: u64 = shards.iter().map(|rig| rig.counters.open.value()).sum();
        assert_eq!((open, shards[0].budget.open()), (0, 0), "seed {seed}");
    }
}
