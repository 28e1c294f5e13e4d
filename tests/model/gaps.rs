//! Gaps: who asked is told between what came before and what follows, whatever stands in its way.

use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::access::Pattern;
use roadcast::limits::Limits;
use roadcast::mesh::Down;
use roadcast::policy::Policies;
use roadcast::shard::{ConnId, Dropped, ShardConfig, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{self, Rig, Taken, frame_of, quiet};
use super::wire::{self, publication};

fn gap(topic: &str) -> String {
    wire::reply("@gap", &[topic])
}

/// Outboxes of a few frames; `ticks.*` skips.
fn skipping() -> Rig {
    let limits =
        Limits { publication_bytes: 1_000, outbox_bytes: 3_000, log_bytes: 4_000, ..quiet() };
    let policies =
        Policies { skip: vec![Pattern::parse("ticks.*").unwrap()], ..Policies::default() };
    Rig::with_policies(limits, policies)
}

#[test]
fn who_asked_is_told_in_the_topics_order_and_others_hear_nothing_of_it() {
    let mut rig = Rig::new(quiet());
    let (asked, plain) = (rig.heeding(&["foo", "bar"]), rig.member(&["foo", "bar"]));
    let mut frames = rig.publish("foo", b"one");
    rig.lose("foo");
    frames.extend(rig.publish("foo", b"two"));
    frames.extend(rig.publish("bar", b"three"));
    rig.sweep();
    let expected = [
        publication("foo", "one"),
        gap("foo"),
        publication("foo", "two"),
        publication("bar", "three"),
    ];
    assert_eq!(rig.texts(asked), expected);
    assert_eq!(rig.taken(plain), frames);
    assert_eq!((rig.counters.gaps.value(), rig.counters.gaps_told.value()), (1, 1));
}

#[test]
fn each_gap_is_told_once_also_where_nothing_is_published_between_them() {
    let mut rig = Rig::new(quiet());
    let id = rig.heeding(&["foo"]);
    rig.lose("foo");
    rig.lose("foo");
    rig.sweep();
    rig.publish("foo", b"one");
    rig.sweep();
    assert_eq!(rig.texts(id), [gap("foo"), gap("foo"), publication("foo", "one")]);
}

#[test]
fn a_gap_of_a_topic_that_nobody_has_any_more_concerns_nobody() {
    let mut rig = Rig::new(quiet());
    let id = rig.heeding(&["foo"]);
    rig.leave(id, &["foo"]);
    rig.lose("foo");
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@leave", &["foo"])]);
    assert!(rig.shard.wants_entries());
}

#[test]
fn asking_again_with_the_flag_adds_it_and_without_it_keeps_it_until_the_topic_is_left() {
    let mut rig = Rig::new(quiet());
    let _other = rig.member(&["foo"]);
    let id = rig.member(&["foo"]);
    let told = |rig: &mut Rig| {
        rig.sweep();
        rig.taken(id);
        rig.lose("foo");
        rig.sweep();
        rig.texts(id).len()
    };
    assert_eq!(told(&mut rig), 0);
    rig.join_with_gaps(id, &["foo", "foo"]);
    assert_eq!(told(&mut rig), 1);
    rig.join(id, &["foo"]);
    assert_eq!(told(&mut rig), 1);
    rig.leave(id, &["foo"]);
    rig.join(id, &["foo"]);
    assert_eq!(told(&mut rig), 0);
}

/// The topic is there, since somebody else has joined it.
#[test]
fn who_has_not_read_its_join_yet_is_told_of_gaps_behind_it_alone() {
    let mut rig = Rig::new(quiet());
    let _other = rig.member(&["held"]);
    let (newcomer, joined) = (rig.connect(), rig.member(&["held"]));
    rig.join_with_gaps(newcomer, &["held", "new"]);
    rig.join_with_gaps(joined, &["held", "new"]);
    rig.lose("held");
    rig.sweep();
    assert!(rig.texts(newcomer).is_empty() && rig.texts(joined).is_empty());
    rig.answer();
    rig.lose("held");
    rig.sweep();
    let expected = [wire::reply("@join", &["held", "new"]), gap("held")];
    assert_eq!(rig.texts(newcomer), expected);
    assert_eq!(rig.texts(joined), expected);
}

#[test]
fn a_laggard_is_told_in_its_place_of_what_waits_for_it() {
    let mut rig = Rig::new(quiet());
    let (slow, other) = (rig.heeding(&["foo", "bar"]), rig.heeding(&["foo"]));
    let mut sent = rig.make_laggard(slow, "foo", 3);
    sent.extend(rig.publish("foo", b"one"));
    rig.sweep();
    sent.extend(rig.publish("bar", b"two"));
    sent.extend(rig.publish("bar", b"three"));
    rig.lose("bar");
    sent.extend(frame_of(Opcode::Text, gap("bar").as_bytes()));
    sent.extend(rig.publish("bar", b"four"));
    rig.sweep();
    rig.shard.writable(slow);
    rig.sweep();
    assert_eq!(rig.taken(slow), sent);
    assert_eq!(rig.texts(other).len(), 2, "it has not joined that topic");
    let delayed = rig.counters.delayed.value();
    rig.publish("foo", b"five");
    rig.sweep();
    assert_eq!(rig.counters.delayed.value(), delayed, "straight from the log again");
}

#[test]
fn a_laggard_without_room_for_the_notice_is_closed_as_one_without_room_for_a_publication() {
    let limits = Limits { publication_bytes: 1_000, outbox_bytes: 2_500, ..quiet() };
    let mut rig = Rig::new(limits);
    let (slow, other) = (rig.heeding(&["foo"]), rig.heeding(&["foo"]));
    rig.make_laggard(slow, "foo", 3);
    while rig.counters.overflows.value() == 0 {
        rig.lose("foo");
        rig.sweep();
    }
    rig.shard.writable(slow);
    rig.sweep();
    assert!(rig.taken(slow).ends_with(b"\x88\x0A\x03\xF5too slow"));
    let told = rig.texts(other).len() as u64 - 1;
    assert_eq!(told, rig.counters.gaps.value(), "others are told of each");
    rig.tasks();
    assert!(rig.shard.wants_entries() && !rig.shard.has_work());
}

#[test]
fn a_parked_laggard_is_told_once_of_all_gaps_ahead_of_what_was_published_since() {
    let mut rig = skipping();
    let (slow, other) = (rig.heeding(&["ticks.x"]), rig.heeding(&["ticks.x"]));
    let mut sent = rig.make_laggard(slow, "ticks.x", 5);
    for n in 0..9u8 {
        let frame = rig.publish("ticks.x", &[b'a' + n; 700]);
        rig.sweep();
        if n < 3 {
            sent.extend(frame);
        }
    }
    let mut newest = Vec::new();
    for n in 0..3 {
        rig.lose("ticks.x");
        rig.sweep();
        newest = rig.publish("ticks.x", &[b'0' + n; 700]);
        rig.sweep();
    }
    assert!(!rig.shard.has_work() && rig.shard.wants_entries());
    rig.tasks();
    rig.shard.writable(slow);
    rig.sweep();
    let notice = frame_of(Opcode::Text, gap("ticks.x").as_bytes());
    assert_eq!(rig.taken(slow), [sent, notice, newest].concat());
    assert_eq!(rig.texts(other).len(), 1 + 9 + 6);
    assert_eq!(rig.counters.overflows.value(), 0);
    let balance = rig.balance();
    assert_eq!(balance.dropped(Dropped::Skipped), 8, "{balance:?}");
}

/// Its outbox is not half empty yet, but has room for one more.
#[test]
fn what_is_published_while_a_parked_laggard_drains_does_not_pass_its_notice() {
    let mut rig = skipping();
    let slow = rig.heeding(&["ticks.x"]);
    let mut sent = rig.make_laggard(slow, "ticks.x", 5);
    for n in 0..9u8 {
        let frame = rig.publish("ticks.x", &[b'a' + n; 700]);
        rig.sweep();
        if n < 3 {
            sent.extend(frame);
        }
    }
    // Room for less than a notice.
    sent.extend(frame_of(Opcode::Text, wire::reply("@join", &["ticks.x"; 20]).as_bytes()));
    rig.join(slow, &["ticks.x"; 20]);
    while rig.shard.standing().outbox_bytes < 2_970 {
        sent.extend(frame_of(Opcode::Text, wire::reply("@join", &[""; 0]).as_bytes()));
        rig.join(slow, &[]);
    }
    rig.lose("ticks.x");
    sent.extend(frame_of(Opcode::Text, gap("ticks.x").as_bytes()));
    rig.tasks();
    rig.shard.writable(slow);
    rig.sweep_with(|_, bytes| Taken::Bytes(bytes.len().min(900)));
    sent.extend(rig.publish("ticks.x", b"small"));
    rig.sweep();
    rig.tasks();
    rig.shard.writable(slow);
    rig.sweep();
    let taken = rig.taken(slow);
    assert_eq!(wire::frames(&taken), wire::frames(&sent));
}

#[test]
fn who_leaves_or_ends_before_it_is_told_is_told_nothing() {
    for leaves in [true, false] {
        let mut rig = skipping();
        let (slow, other) = (rig.heeding(&["ticks.x"]), rig.member(&["ticks.x"]));
        rig.make_laggard(slow, "ticks.x", 5);
        for n in 0..9u8 {
            rig.publish("ticks.x", &[b'a' + n; 700]);
            rig.sweep();
        }
        rig.lose("ticks.x");
        match leaves {
            true => rig.leave(slow, &["ticks.x"]),
            false => rig.shard.ended(slow),
        }
        rig.tasks();
        rig.shard.writable(slow);
        rig.sweep();
        assert_eq!(rig.counters.gaps_told.value(), 0);
        assert_eq!(rig.texts(other).len(), 10);
        assert_eq!((rig.shard.standing().parked_bytes, rig.shard.standing().log_bytes), (0, 0));
    }
}

#[test]
fn in_a_drain_who_has_been_told_goodbye_hears_no_more_and_the_others_are_told() {
    let drain = Duration::from_secs(10);
    let mut rig = Rig::with_config(ShardConfig { drain, ..rig::config(quiet()) });
    let (first, second) = (rig.heeding(&["foo"]), rig.heeding(&["foo"]));
    rig.shard.shutdown_began(rig.now);
    rig.pass(Duration::from_millis(5_100));
    rig.lose("foo");
    rig.pass(Duration::from_millis(5_000));
    rig.sweep();
    let goodbye = frame_of(Opcode::Close, b"\x03\xE9the server is shutting down");
    let notice = frame_of(Opcode::Text, gap("foo").as_bytes());
    assert_eq!(rig.taken(first), goodbye);
    assert_eq!(rig.taken(second), [notice, goodbye].concat());
}

#[test]
fn a_notice_that_is_due_comes_before_the_goodbye_of_everyone() {
    let mut rig = Rig::new(quiet());
    let ids: Vec<ConnId> = (0..200).map(|_| rig.heeding(&["foo"])).collect();
    rig.lose("foo");
    assert!(!rig.shard.wants_entries(), "more than are told at once");
    rig.take(Down::Drain);
    rig.sweep();
    let notice = frame_of(Opcode::Text, gap("foo").as_bytes());
    let goodbye = frame_of(Opcode::Close, b"\x03\xE9the server is shutting down");
    for id in ids {
        assert_eq!(rig.taken(id), [&notice[..], &goodbye].concat());
    }
}

#[test]
fn while_many_are_told_nothing_is_taken_from_the_lane_and_no_turn_tells_all() {
    let mut rig = Rig::new(quiet());
    let ids: Vec<ConnId> = (0..300).map(|_| rig.heeding(&["foo"])).collect();
    let idle: Vec<ConnId> = (0..100).map(|_| rig.member(&["foo"])).collect();
    rig.lose("foo");
    let mut turns = 0;
    while !rig.shard.wants_entries() {
        let before = rig.counters.gaps_told.value();
        assert!(rig.shard.has_work());
        rig.batch(|_, _| Taken::All);
        let told = rig.counters.gaps_told.value() - before;
        assert!(told <= 64, "{told} in turn {turns}");
        turns += 1;
    }
    assert!(turns >= 300 / 64 - 1, "{turns}");
    rig.publish("foo", b"one");
    rig.sweep();
    for id in ids {
        assert_eq!(rig.texts(id), [gap("foo"), publication("foo", "one")]);
    }
    for id in idle {
        assert_eq!(rig.texts(id), [publication("foo", "one")]);
    }
}

/// What waits for all is at its bound, by another's doing.
#[test]
fn who_takes_everything_is_told_though_no_outbox_may_grow() {
    let limits = Limits {
        publication_bytes: 1_000,
        outbox_bytes: 4_000,
        outboxes_bytes: 4_000,
        log_bytes: 40_000,
        ..quiet()
    };
    let mut rig = Rig::new(limits);
    let (slow, quick) = (rig.member(&["foo"]), rig.heeding(&["foo", "bar"]));
    rig.make_laggard(slow, "foo", 3);
    for size in [900, 900, 900, 900, 100] {
        rig.publish("foo", &vec![b'x'; size]);
        rig.sweep();
    }
    rig.join(slow, &["foo"; 40]);
    assert!(rig.shard.standing().outbox_bytes > 4_000 - 30);
    rig.taken(quick);
    rig.publish("bar", b"one");
    rig.lose("bar");
    rig.sweep();
    assert!(rig.shard.wants_entries());
    assert_eq!(rig.texts(quick), [publication("bar", "one"), gap("bar")]);
}

/// Clients that come, ask, leave and lag at random while gaps are told to hundreds: each that asked
/// and stayed is told of each gap, between what was published before and behind it.
#[test]
fn whoever_comes_and_goes_meanwhile_each_is_told_once_and_in_its_place() {
    for seed in 0..5 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new(quiet());
        let ids: Vec<ConnId> = (0..150).map(|_| rig.heeding(&["foo"])).collect();
        let mut stay: Vec<ConnId> = ids.clone();
        let mut expected = Vec::new();
        for round in 0..5 {
            rig.publish("foo", round.to_string().as_bytes());
            expected.push(publication("foo", &round.to_string()));
            rig.lose("foo");
            expected.push(gap("foo"));
            while !rig.shard.wants_entries() {
                rig.batch(|_, bytes| match rng.random_range(0..10) {
                    0 => Taken::Bytes(rng.random_range(0..bytes.len())),
                    _ => Taken::All,
                });
                for task in rig.tasks() {
                    if let Task::WatchWritable(id) = task {
                        rig.shard.writable(id);
                    }
                }
                let gone = stay.swap_remove(rng.random_range(0..stay.len()));
                match rng.random() {
                    true => rig.leave(gone, &["foo"]),
                    false => rig.shard.ended(gone),
                }
                let newcomer = rig.connect();
                rig.join(newcomer, &["foo"]);
            }
        }
        loop {
            rig.sweep();
            let tasks = rig.tasks();
            let lagging = tasks.iter().filter_map(|task| match task {
                Task::WatchWritable(id) => Some(*id),
                _ => None,
            });
            let lagging: Vec<ConnId> = lagging.collect();
            if lagging.is_empty() {
                break;
            }
            lagging.into_iter().for_each(|id| rig.shard.writable(id));
        }
        for &id in &stay {
            assert_eq!(rig.texts(id), expected, "seed {seed}");
        }
        assert!(stay.len() > 50, "seed {seed}: {}", stay.len());
    }
}
