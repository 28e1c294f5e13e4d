//! Gaps where `roadcast.on_gap` is `close`: who did not ask to be told is closed, one by one.

use std::time::Duration;

use roadcast::access::Pattern;
use roadcast::limits::Limits;
use roadcast::policy::{OnGap, Policies};
use roadcast::shard::{ConnId, Reason, ShardConfig, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{self, Rig, frame_of, quiet, said};
use super::wire::{publication, reply};

fn rig() -> Rig {
    Rig::with_config(ShardConfig { on_gap: OnGap::Close, ..rig::config(quiet()) })
}

fn goodbye() -> Vec<u8> {
    frame_of(Opcode::Close, b"\x03\xF4messages may be missing: connect again")
}

#[test]
fn who_did_not_ask_is_closed_behind_what_is_queued_and_who_did_is_told() {
    let mut rig = rig();
    let (plain, asked) = (rig.member(&["foo"]), rig.heeding(&["foo"]));
    let elsewhere = rig.member(&["bar"]);
    rig.lose("foo");
    let frame = rig.publish("foo", b"one");
    rig.pass(Duration::from_millis(10_200));
    rig.sweep();
    assert_eq!(rig.taken(plain), [frame, goodbye()].concat());
    assert_eq!(rig.texts(asked), [reply("@gap", &["foo"]), publication("foo", "one")]);
    assert!(rig.taken(elsewhere).is_empty());
    assert_eq!((rig.counters.gap_closes.value(), rig.counters.gaps_told.value()), (1, 1));
    assert!(rig.tasks().contains(&said(plain, Reason::Gap)));
}

/// An outage concerns all topics at once.
#[test]
fn an_outage_of_everything_closes_everyone_once_evenly_over_ten_seconds() {
    let mut rig = rig();
    let names = ["a", "b", "c"];
    let ids: Vec<ConnId> = (0..200).map(|_| rig.member(&names)).collect();
    for name in names {
        rig.lose(name);
        rig.sweep();
    }
    for second in 1..=10 {
        let before = rig.counters.gap_closes.value();
        for _ in 0..10 {
            rig.pass(Duration::from_millis(100));
            rig.sweep();
        }
        let closed = rig.counters.gap_closes.value() - before;
        assert!((14..=26).contains(&closed), "{closed} in second {second}");
    }
    rig.pass(Duration::from_millis(200));
    rig.sweep();
    assert_eq!(rig.counters.gap_closes.value(), 200);
    for id in ids {
        assert_eq!(rig.taken(id), goodbye());
    }
}

#[test]
fn who_has_gone_by_then_is_not_closed_again_and_its_successor_is_left_alone() {
    let mut rig = rig();
    let id = rig.member(&["foo"]);
    rig.lose("foo");
    rig.shard.ended(id);
    rig.tasks();
    rig.shard.released(id);
    let successor = rig.member(&["foo"]);
    rig.pass(Duration::from_secs(11));
    rig.sweep();
    assert_eq!(successor.index, id.index);
    assert!(rig.taken(successor).is_empty());
    assert_eq!(rig.counters.gap_closes.value(), 0);
}

/// More is queued for it than its outbox holds.
#[test]
fn a_parked_laggard_is_closed_once_it_has_read_on() {
    let limits =
        Limits { publication_bytes: 1_000, outbox_bytes: 3_000, log_bytes: 4_000, ..quiet() };
    let policies = Policies { skip: vec![Pattern::parse("*").unwrap()], ..Policies::default() };
    let config = ShardConfig { on_gap: OnGap::Close, policies, ..rig::config(limits) };
    let mut rig = Rig::with_config(config);
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 5);
    for n in 0..9u8 {
        rig.publish("foo", &[b'a' + n; 700]);
        rig.sweep();
    }
    rig.lose("foo");
    rig.pass(Duration::from_secs(11));
    assert_eq!(rig.counters.gap_closes.value(), 0);
    rig.tasks();
    rig.shard.writable(id);
    rig.sweep();
    rig.pass(Duration::from_secs(2));
    rig.sweep();
    assert_eq!(rig.counters.gap_closes.value(), 1);
    assert!(rig.taken(id).ends_with(&goodbye()));
}

#[test]
fn without_the_key_nobody_is_closed() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.lose("foo");
    rig.pass(Duration::from_secs(11));
    rig.sweep();
    assert!(rig.taken(id).is_empty() && rig.tasks().iter().all(|task| !is_end(task)));
}

fn is_end(task: &Task) -> bool {
    matches!(task, Task::Terminate { .. } | Task::FinishSending(_))
}
