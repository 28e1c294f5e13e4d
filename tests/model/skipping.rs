//! Topics whose policy is to skip: a laggard stays, and the newest publication survives.

use roadcast::access::Pattern;
use roadcast::limits::Limits;
use roadcast::policy::Policies;
use roadcast::shard::{Dropped, Task};

use super::rig::{Rig, Taken, quiet};

/// Outboxes of a few frames; `ticks.*` skips.
fn rig() -> Rig {
    let limits =
        Limits { publication_bytes: 1_000, outbox_bytes: 3_000, log_bytes: 4_000, ..quiet() };
    let policies =
        Policies { skip: vec![Pattern::parse("ticks.*").unwrap()], ..Policies::default() };
    Rig::with_policies(limits, policies)
}

fn payloads(texts: &[String]) -> Vec<char> {
    texts.iter().map(|text| text.chars().rev().nth(2).unwrap()).collect()
}

fn letter(n: u8) -> Vec<u8> {
    [vec![b' '; 700], vec![b'a' + n]].concat()
}

#[test]
fn a_laggard_gets_what_its_outbox_took_and_then_the_newest_in_order_and_whole() {
    let mut rig = rig();
    let id = rig.member(&["ticks.x"]);
    let first = rig.make_laggard(id, "ticks.x", 5);
    for n in 0..20 {
        rig.publish("ticks.x", &letter(n));
        rig.sweep();
    }
    assert!(!rig.shard.has_work(), "nothing turns in circles for a laggard's sake");
    rig.tasks();
    rig.shard.writable(id);
    rig.sweep();
    let stream = rig.taken(id);
    assert!(stream.starts_with(&first));
    rig.streams.insert(id, stream[first.len()..].to_vec());
    let texts = rig.texts(id);
    assert_eq!(payloads(&texts), ['a', 'b', 'c', 't'], "the outbox holds three of them");
    let balance = rig.shard.standing().balance;
    assert_eq!(balance.dropped(Dropped::Skipped), 16);
    assert_eq!((balance.owed, balance.delivered, rig.counters.overflows.value()), (21, 5, 0));
    rig.publish("ticks.x", &letter(20));
    rig.sweep();
    assert_eq!(payloads(&rig.texts(id)), ['u'], "it is like everyone else again");
}

#[test]
fn the_newest_goes_into_an_outbox_that_is_half_empty_before_it_has_drained() {
    let mut rig = rig();
    let id = rig.member(&["ticks.x"]);
    rig.make_laggard(id, "ticks.x", 5);
    for n in 0..9 {
        rig.publish("ticks.x", &letter(n));
        rig.sweep();
    }
    rig.shard.writable(id);
    rig.sweep_with(|_, bytes| {
        if bytes.len() > 1_500 { Taken::Bytes(bytes.len() - 700) } else { Taken::Bytes(0) }
    });
    let standing = rig.shard.standing();
    assert_eq!((standing.parked_bytes, standing.log_bytes), (0, 0), "it waits in the outbox now");
    rig.tasks();
    rig.shard.writable(id);
    rig.sweep();
    assert_eq!(rig.taken(id).last_chunk(), Some(b"i\"}"));
}

#[test]
fn laggards_that_are_parked_do_not_keep_the_shard_from_taking_more() {
    let mut rig = rig();
    let topics: Vec<String> = (0..20).map(|n| format!("ticks.{n}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let slow = rig.member(&names);
    let quick = rig.member(&["other"]);
    rig.make_laggard(slow, "ticks.0", 5);
    for round in 0..3 {
        for name in &names {
            assert!(rig.shard.wants_entries());
            rig.publish(name, &letter(round));
            rig.sweep();
        }
    }
    let standing = rig.shard.standing();
    assert!(standing.parked_bytes <= 4_000 && standing.log_bytes == 0, "{standing:?}");
    assert!(rig.counters.newest_dropped.value() > 0, "more are owed than are kept");
    rig.publish("other", b"hello");
    rig.sweep();
    assert_eq!(rig.texts(quick).len(), 1);
}

#[test]
fn whoever_leaves_or_ends_while_parked_lets_go_of_the_frame() {
    for leaves in [true, false] {
        let mut rig = rig();
        let id = rig.member(&["ticks.x"]);
        let _other = rig.member(&["ticks.x"]);
        rig.make_laggard(id, "ticks.x", 5);
        for n in 0..9 {
            rig.publish("ticks.x", &letter(n));
            rig.sweep();
        }
        assert_eq!(rig.shard.standing().balance.queued_logs, 1);
        assert!(rig.shard.standing().parked_bytes > 0);
        if leaves {
            rig.leave(id, &["ticks.x"]);
        } else {
            rig.shard.ended(id);
        }
        rig.sweep();
        let standing = rig.shard.standing();
        assert_eq!((standing.parked_bytes, standing.log_bytes), (0, 0));
        let reason = if leaves { Dropped::Left } else { Dropped::Gone };
        assert!(standing.balance.dropped(reason) > 0 && standing.balance.holds(), "{standing:?}");
    }
}

#[test]
fn another_topic_of_the_same_connection_still_disconnects() {
    let mut rig = rig();
    let id = rig.member(&["ticks.x", "orders"]);
    rig.make_laggard(id, "ticks.x", 5);
    for n in 0..9 {
        rig.publish("ticks.x", &letter(n));
        rig.sweep();
    }
    assert_eq!(rig.counters.overflows.value(), 0);
    rig.publish("orders", &letter(0));
    rig.sweep();
    assert_eq!(rig.counters.overflows.value(), 1);
    assert!(rig.tasks().iter().any(|task| matches!(task, Task::Report(..))));
}

/// A round of more subscribers than a batch has sends: the laggard is parked in the first batch and
/// drains in the second.
#[test]
fn who_has_room_again_in_the_middle_of_a_round_gets_the_newest_all_the_same() {
    let mut rig = rig();
    let id = rig.member(&["ticks.x"]);
    let _others: Vec<_> = (0..150).map(|_| rig.member(&["ticks.x"])).collect();
    rig.publish("ticks.x", &letter(0));
    rig.sweep_with(|to, _| if to == id { Taken::Bytes(5) } else { Taken::All });
    for n in 1..5 {
        rig.publish("ticks.x", &letter(n));
        rig.sweep();
    }
    rig.publish("ticks.x", &letter(5));
    rig.batch(|_, _| Taken::All);
    rig.shard.writable(id);
    rig.sweep();
    rig.tasks();
    rig.shard.check_invariants();
    assert_eq!(rig.taken(id).last_chunk(), Some(b"f\"}"));
    assert_eq!(rig.shard.standing().parked_bytes, 0);
}
