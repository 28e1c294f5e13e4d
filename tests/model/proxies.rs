//! Connections that begin with the PROXY protocol, one shard driven by hand.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::access::Rules;
use roadcast::http::proxies::Proxies;
use roadcast::limits::Limits;
use roadcast::mesh::desk::About;
use roadcast::shard::{ConnId, Shard, ShardConfig, Task};
use roadcast::source_limits::SourceLimits;

use super::rig::{Rig, asking, config, quiet};
use super::wire;

const PROXY: &str = "10.0.0.1";

/// A shard whose proxies, 10.0.0.0/8, speak the PROXY protocol; each client may have one
/// connection.
fn rig(limits: Limits) -> (Rig, Arc<SourceLimits>) {
    let sources = Arc::new(SourceLimits::new(1, 0).unwrap());
    let mut rig = Rig::new(limits.clone());
    let config = config(limits);
    let proxies = Proxies { protocol: true, ..config.proxies.clone() };
    let shard = Shard::new(
        Arc::new(ShardConfig { proxies, ..config }),
        rig.counters.clone(),
        rig.budget.clone(),
    );
    rig.shard = shard.with_source_limits(Some(sources.clone()));
    (rig, sources)
}

fn from(rig: &mut Rig, peer: &str) -> ConnId {
    rig.shard.accepted_from(Some(peer.parse::<IpAddr>().unwrap())).expect("room for one more")
}

fn header(version: u8, client: u8) -> Vec<u8> {
    match version {
        1 => format!("PROXY TCP4 192.0.2.{client} 10.0.0.1 1 2\r\n").into_bytes(),
        _ => [
            &b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02"[..],
            &[client, 10, 0, 0, 1, 0, 1, 0, 2],
        ]
        .concat(),
    }
}

fn status(rig: &mut Rig, id: ConnId) -> Option<u16> {
    rig.sweep();
    let taken = rig.taken(id);
    let text = String::from_utf8_lossy(&taken).into_owned();
    text.split(' ').nth(1).map(|status| status.parse().unwrap())
}

/// Goal: however header, request and first command are cut, the client that the header names is the
/// one that counts, and the command is served.
#[test]
fn a_header_counts_for_its_client_however_it_is_cut() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let (mut rig, sources) = rig(quiet());
        let join = wire::masked(
            roadcast::ws::frame::Opcode::Text,
            wire::command("join", "", &["a"]).as_bytes(),
        );
        for (client, expected) in [(1, 101), (1, 429), (2, 101)] {
            let version = rng.random_range(1..3);
            let bytes =
                [header(version, client), wire::upgrade_request("/ws"), join.clone()].concat();
            let id = from(&mut rig, PROXY);
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at(rng.random_range(1..rest.len().min(40) + 1));
                rig.bytes(id, piece);
                rest = behind;
            }
            rig.answer();
            assert_eq!(status(&mut rig, id), Some(expected), "seed {seed}: client {client}");
        }
        assert_eq!((rig.counters.joins.value(), sources.len()), (2, 2), "seed {seed}");
        assert_eq!(rig.counters.forwarded_missing.value(), 0);
    }
}

#[test]
fn a_header_that_does_not_come_meets_the_deadline_of_the_request() {
    let (mut rig, _) = rig(quiet());
    let (silent, slow) = (from(&mut rig, PROXY), from(&mut rig, PROXY));
    rig.bytes(slow, b"PROXY TCP4 192.0.2.1");
    rig.tasks();
    rig.pass(Duration::from_secs(11));
    assert!(rig.tasks().contains(&Task::Terminate { id: silent, abort: false }));
    assert_eq!(status(&mut rig, slow), Some(408));
    rig.shard.check_invariants();
}

#[test]
fn unfinished_headers_are_bounded_as_unfinished_requests_are() {
    let (mut rig, _) = rig(Limits { heads_bytes: 2_000, ..quiet() });
    let ids: Vec<ConnId> = (0..50)
        .map(|_| {
            let id = from(&mut rig, PROXY);
            rig.bytes(id, b"PROXY TCP4 192.0.2.1 ");
            id
        })
        .collect();
    let given_up = ids.iter().filter(|id| status(&mut rig, **id) == Some(503)).count();
    assert!((30..50).contains(&given_up), "{given_up}");
    rig.bytes(ids[49], b"10.0.0.1 1 2\r\n");
    rig.bytes(ids[49], &wire::upgrade_request("/ws"));
    assert_eq!(status(&mut rig, ids[49]), Some(101));
}

#[test]
fn whoever_is_no_proxy_begins_with_its_request() {
    let (mut rig, _) = rig(quiet());
    let direct = from(&mut rig, "192.0.2.1");
    rig.bytes(direct, &wire::upgrade_request("/ws"));
    assert_eq!(status(&mut rig, direct), Some(101));
    // Nor can it speak for others, or a proxy come without.
    let forger = from(&mut rig, "192.0.2.2");
    rig.bytes(forger, &[header(1, 9), wire::upgrade_request("/ws")].concat());
    assert_eq!(status(&mut rig, forger), Some(400));
    let silent = from(&mut rig, PROXY);
    rig.bytes(silent, &wire::upgrade_request("/ws"));
    assert_eq!(status(&mut rig, silent), Some(400));
}

/// Goal: workers and the callback are told the address that the limits count: one that a header of
/// the PROXY protocol has named, or the proxy's own where it speaks for itself, is not looked for
/// in the request once more.
#[test]
fn who_is_asked_is_told_the_client_that_the_header_names_and_no_other() {
    let config = asking(quiet(), Rules::default());
    let proxies = Proxies { protocol: true, ..config.proxies.clone() };
    let mut rig = Rig::with_config(ShardConfig { proxies, ..config });
    let local = [&b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"[..]].concat();
    for (before, client) in [
        (header(1, 7), "192.0.2.7"),
        (header(2, 7), "192.0.2.7"),
        (local, PROXY),
        (b"PROXY UNKNOWN\r\n".to_vec(), PROXY),
        // Another trusted proxy: its header is believed.
        (b"PROXY TCP4 10.0.0.2 10.0.0.1 1 2\r\n".to_vec(), "203.0.113.9"),
    ] {
        let id = from(&mut rig, PROXY);
        let lines = "\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n";
        let request = wire::upgrade_request("/ws");
        let request = [request.strip_suffix(b"\r\n\r\n").unwrap(), lines.as_bytes()].concat();
        rig.bytes(id, &[&before[..], &request].concat());
        let ask = rig.shard.next_ask().expect("a question");
        let About::Connect(asked) = &ask.about else { panic!("{ask:?}") };
        let before = String::from_utf8_lossy(&before);
        assert_eq!(asked.client, Some(client.parse().unwrap()), "{before:?}");
    }
}
