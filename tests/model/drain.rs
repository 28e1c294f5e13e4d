//! Goodbyes one by one, under virtual time.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::limits::Limits;
use roadcast::mesh::Down;
use roadcast::shard::{ConnId, Dropped, ShardConfig, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{self, Rig, Taken, quiet};
use super::wire;

const DRAIN: Duration = Duration::from_secs(10);
const GOING_AWAY: &[u8] = b"\x88\x1D\x03\xE9the server is shutting down";

fn rig(limits: Limits) -> Rig {
    Rig::with_config(ShardConfig { drain: DRAIN, ..rig::config(limits) })
}

/// Those of `ids` that have read a Close by now, in their order.
fn told(rig: &mut Rig, ids: &[ConnId]) -> Vec<ConnId> {
    rig.sweep();
    let told =
        |rig: &mut Rig, id| wire::frames(&rig.taken(id)).iter().any(|(of, _)| *of == Opcode::Close);
    ids.iter().copied().filter(|id| told(rig, *id)).collect()
}

#[test]
fn goodbyes_are_spread_evenly_and_the_newest_come_last() {
    let mut rig = rig(quiet());
    let mut ids: Vec<ConnId> = (0..50).map(|_| rig.member(&["news"])).collect();
    // Half of them leave, and others come in their places: the order is not that of the places.
    for place in (0..25).rev() {
        let id = ids.remove(2 * place);
        rig.shard.ended(id);
        rig.shard.released(id);
    }
    ids.extend((0..75).map(|_| rig.member(&["news"])));
    rig.pass(Duration::from_secs(3));
    rig.shard.shutdown_began(rig.now - Duration::from_secs(1));
    let mut order = Vec::new();
    for second in 1..=10 {
        let due = told(&mut rig, &ids);
        assert_eq!(due.len(), if second == 1 { 0 } else { 10 }, "in second {second}");
        order.extend(due);
        assert!(!rig.shard.has_drained());
        let next = rig.shard.next_deadline().expect("somebody is due");
        assert!(next <= rig.now + Duration::from_millis(100), "{next:?} at {:?}", rig.now);
        rig.pass(if second == 1 { Duration::ZERO } else { Duration::from_secs(1) });
    }
    order.extend(told(&mut rig, &ids));
    assert_eq!(order, ids);
    assert!(rig.shard.has_drained());
    assert!(!rig.shard.has_drained(), "said once");
}

#[test]
fn the_grace_begins_when_the_drain_is_over() {
    let mut rig = rig(quiet());
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 4);
    rig.shard.shutdown_began(rig.now);
    rig.pass(DRAIN);
    assert!(rig.shard.has_drained());
    rig.tasks();
    rig.take(Down::StopAccepting);
    rig.take(Down::Drain);
    rig.pass(Duration::from_secs(29));
    assert!(!rig.tasks().contains(&Task::Terminate { id, abort: true }));
    rig.pass(Duration::from_secs(1));
    assert!(rig.tasks().contains(&Task::Terminate { id, abort: true }));
}

/// When everyone has gone before, nothing is waited for, and what is left of the time is not added
/// to the grace.
#[test]
fn the_drain_is_over_when_everyone_has_gone() {
    let mut rig = rig(Limits { head_timeout: Duration::from_secs(600), ..quiet() });
    let ids = [rig.connect(), rig.connect()];
    rig.shard.shutdown_began(rig.now);
    rig.pass(DRAIN / 10);
    assert!(!rig.shard.has_drained());
    for id in ids {
        rig.shard.ended(id);
        rig.shard.released(id);
    }
    assert!(rig.shard.has_drained());
    let newcomer = rig.accept();
    rig.take(Down::StopAccepting);
    rig.tasks();
    rig.pass(Duration::from_secs(29));
    assert_eq!(rig.tasks(), []);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.tasks(), [Task::Terminate { id: newcomer, abort: true }]);
}

/// Whoever is refused comes again and again: it must not keep the drain going.
#[test]
fn newcomers_do_not_prolong_a_drain_that_nobody_is_left_to_be_told_in() {
    let mut rig = rig(Limits { head_timeout: Duration::from_secs(600), ..quiet() });
    let ids = [rig.connect(), rig.connect(), rig.connect()];
    rig.shard.shutdown_began(rig.now);
    let silent = rig.accept();
    let refused = rig.accept();
    rig.bytes(refused, &wire::upgrade_request("/ws"));
    rig.pass(DRAIN / 2);
    assert_eq!(told(&mut rig, &ids), ids[..1]);
    rig.shard.ended(ids[2]);
    assert!(!rig.shard.has_drained(), "one is left");
    rig.shard.ended(ids[1]);
    assert!(rig.shard.has_drained(), "{silent:?} and {refused:?} have never been let in");
    assert!(!rig.shard.has_drained(), "said once");
}

fn retry_after(rig: &mut Rig) -> String {
    let id = rig.accept();
    rig.bytes(id, &wire::upgrade_request("/ws"));
    rig.sweep();
    let answer = String::from_utf8(rig.taken(id)).unwrap();
    let line = answer.lines().find_map(|line| line.strip_prefix("Retry-After: "));
    line.unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// The others of the server may have clients to tell: it is over when they all have.
#[test]
fn a_shard_that_has_told_everyone_names_the_end_of_the_drain_until_it_stops_accepting() {
    let mut rig = rig(quiet());
    let waiting = rig.accept();
    rig.shard.shutdown_began(rig.now);
    assert!(rig.shard.has_drained(), "nobody is there");
    assert_eq!(retry_after(&mut rig), "10");
    rig.pass(DRAIN * 4 / 10);
    assert_eq!(retry_after(&mut rig), "6");
    rig.take(Down::StopAccepting);
    rig.bytes(waiting, &wire::upgrade_request("/ws"));
    rig.sweep();
    let answer = String::from_utf8(rig.taken(waiting)).unwrap();
    assert!(answer.contains("\r\nRetry-After: 1\r\n"), "{answer}");
}

#[test]
fn those_who_have_not_been_told_are_served_and_nobody_is_let_in() {
    let mut rig = rig(quiet());
    let ids: Vec<ConnId> = (0..10).map(|_| rig.member(&["news"])).collect();
    let slow = rig.accept();
    rig.tasks();
    rig.shard.shutdown_began(rig.now);
    rig.pass(Duration::from_millis(2_500));
    assert_eq!(told(&mut rig, &ids), ids[..2]);
    let frame = rig.publish("news", b"to those who are here");
    rig.join(ids[9], &["more"]);
    rig.answer();
    rig.sweep();
    assert!(ids[2..9].iter().all(|&id| rig.taken(id) == frame));
    assert!(rig.texts(ids[9]).contains(&wire::reply("@join", &["more"])));
    for id in [slow, rig.accept()] {
        rig.bytes(id, &wire::upgrade_request("/ws"));
        rig.sweep();
        let answer = String::from_utf8(rig.taken(id)).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.contains("\r\nRetry-After: 8\r\n"),
            "{answer}"
        );
    }
    assert_eq!(rig.counters.refused_shutdown.value(), 2);
    assert!(!rig.tasks().contains(&Task::StopAccepting), "newcomers are answered until it is over");
    rig.take(Down::StopAccepting);
    assert!(rig.tasks().contains(&Task::StopAccepting));
}

#[test]
fn newcomers_may_meet_a_closed_port_instead() {
    let mut rig =
        Rig::with_config(ShardConfig { drain: DRAIN, drain_accept: false, ..rig::config(quiet()) });
    rig.connect();
    rig.tasks();
    rig.shard.shutdown_began(rig.now);
    assert_eq!(rig.tasks(), [Task::StopAccepting]);
    rig.take(Down::StopAccepting);
    rig.take(Down::Drain);
    assert!(!rig.tasks().contains(&Task::StopAccepting), "once");
}

#[test]
fn whoever_is_told_has_been_sent_all_that_was_published_before() {
    let mut rig = rig(quiet());
    let ids: Vec<ConnId> = (0..10).map(|_| rig.member(&["foo", "bar"])).collect();
    let lagging = rig.make_laggard(ids[0], "foo", 4);
    ids.iter().for_each(|&id| drop(rig.taken(id)));
    rig.shard.shutdown_began(rig.now);
    // Not swept yet when everyone is due.
    let frames =
        [rig.publish("foo", b"one"), rig.publish("bar", b"two"), rig.publish("foo", b"three")];
    rig.pass(DRAIN);
    assert!(rig.shard.has_drained());
    rig.shard.writable(ids[0]);
    rig.sweep();
    let sorted = |frames: Vec<(Opcode, Vec<u8>)>| {
        let mut frames: Vec<_> =
            frames.into_iter().map(|(of, bytes)| (of == Opcode::Close, bytes)).collect();
        frames.sort();
        frames
    };
    let expected = sorted(wire::frames(&[&frames.concat(), GOING_AWAY].concat()));
    for &id in &ids[1..] {
        assert_eq!(sorted(wire::frames(&rig.taken(id))), expected);
    }
    let taken = rig.taken(ids[0]);
    assert!(taken.starts_with(&lagging[4..]) && taken.ends_with(GOING_AWAY), "the laggard too");
    assert_eq!(rig.balance().dropped(Dropped::Shutdown), 0);
}

/// What waits for it does not fit: it is told with everyone, behind that.
#[test]
fn one_whose_outbox_is_full_is_told_at_the_end() {
    let limits = Limits { publication_bytes: 1_000, outbox_bytes: 2_000, ..quiet() };
    let mut rig = rig(limits);
    let id = rig.member(&["foo"]);
    rig.shard.shutdown_began(rig.now);
    let frames: Vec<Vec<u8>> = (0..4).map(|_| rig.publish("foo", &[b'x'; 900])).collect();
    rig.pass(DRAIN);
    assert!(rig.shard.has_drained());
    rig.take(Down::Drain);
    rig.sweep();
    assert_eq!(rig.taken(id), [&frames.concat(), GOING_AWAY].concat());
    assert_eq!(rig.balance().dropped(Dropped::Shutdown), 0);
}

/// Publications, short sends, laggards and parked ones at any moment: the books are checked with
/// each step.
#[test]
fn random_traffic_keeps_its_promises_while_everyone_is_told() {
    for seed in 0..30 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let close_timeout = Duration::from_secs(100);
        let limits =
            Limits { publication_bytes: 1_000, outbox_bytes: 3_000, close_timeout, ..quiet() };
        let policies = match seed % 2 {
            0 => Default::default(),
            _ => roadcast::policy::Policies {
                skip: vec![roadcast::access::Pattern::parse("b*").unwrap()],
                ..Default::default()
            },
        };
        let mut rig =
            Rig::with_config(ShardConfig { drain: DRAIN, policies, ..rig::config(limits) });
        let ids: Vec<ConnId> = (0..20).map(|_| rig.member(&["a", "b"])).collect();
        ids.iter().for_each(|&id| drop(rig.taken(id)));
        rig.shard.shutdown_began(rig.now);
        let mut last = 0;
        while !rig.shard.has_drained() {
            if rng.random_bool(0.7) {
                last += 1;
                let topic = if rng.random() { "a" } else { "b" };
                rig.publish(topic, format!("{last:0>0$}", rng.random_range(8..700)).as_bytes());
            }
            rig.batch(|_, bytes| match rng.random_range(0..4) {
                0 => Taken::Bytes(rng.random_range(0..bytes.len())),
                _ => Taken::All,
            });
            for task in rig.tasks() {
                if let Task::WatchWritable(id) = task {
                    rig.shard.writable(id);
                }
            }
            rig.pass(Duration::from_millis(rng.random_range(0..60)));
        }
        rig.take(Down::Drain);
        while rig.sweep() > 0 {
            rig.pass(Duration::from_millis(100));
            for task in rig.tasks() {
                if let Task::WatchWritable(id) = task {
                    rig.shard.writable(id);
                }
            }
        }
        let balance = rig.balance();
        assert_eq!(balance.dropped(Dropped::Shutdown), 0, "seed {seed}: {balance:?}");
        let told = |rig: &mut Rig, id| rig.taken(id).ends_with(GOING_AWAY);
        let told = ids.iter().filter(|&&id| told(&mut rig, id)).count();
        let overflows = rig.counters.overflows.value() as usize;
        assert_eq!(told + overflows, ids.len(), "seed {seed}");
    }
}
