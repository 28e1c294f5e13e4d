//! Connections whose sockets do not take what they are given.

use std::time::Duration;

use roadcast::limits::Limits;
use roadcast::log_rate::Unsaid;
use roadcast::mesh::Down;
use roadcast::shard::{About, Dropped, Reason, Report, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, frame_of, quiet, said};
use super::wire;

const CLOSE_1013: &[u8] = b"\x88\x0A\x03\xF5too slow";

#[test]
fn a_laggard_alone_in_its_topic_does_not_hold_the_log() {
    let limits = Limits { publication_bytes: 2_000, log_bytes: 4_000, ..quiet() };
    let mut rig = Rig::new(limits);
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 5);
    for _ in 0..20 {
        assert!(rig.shard.wants_entries(), "what the laggard is owed is its outbox's business");
        while rig.shard.wants_entries() {
            rig.publish("foo", &[b'x'; 1_000]);
        }
        rig.batch(|_, _| Taken::All);
    }
}

#[test]
fn a_shard_whose_last_work_was_no_send_drains() {
    let mut rig = Rig::new(quiet());
    let slow = rig.member(&["foo"]);
    let idle = rig.member(&["bar"]);
    rig.make_laggard(slow, "foo", 5);
    rig.publish("foo", b"copied, not sent");
    rig.take(Down::Drain);
    rig.sweep();
    assert_eq!(rig.taken(idle), frame_of(Opcode::Close, b"\x03\xE9the server is shutting down"));
}

#[test]
fn a_laggard_waits_alone_and_is_normal_again_once_its_outbox_is_empty() {
    let mut rig = Rig::new(quiet());
    let (slow, other) = (rig.member(&["foo", "bar"]), rig.member(&["foo"]));
    let mut sent = rig.make_laggard(slow, "foo", 3);
    sent.extend(rig.publish("foo", b"one"));
    sent.extend(rig.publish("bar", b"two"));
    assert_eq!(rig.batch(|_, _| Taken::All), [other]);
    rig.shard.writable(slow);
    rig.sweep();
    sent.extend(rig.publish("foo", b"three"));
    let before = rig.counters.delayed.value();
    rig.sweep();
    assert_eq!(rig.counters.delayed.value(), before, "straight from the log again");
    let taken = rig.taken(slow);
    assert_eq!(taken, sent);
    assert_eq!(rig.texts(other).len(), 3);
}

/// Wherever the frame under way stands, it is finished, what waits behind it is dropped, and a
/// Close follows.
#[test]
fn overflow_finishes_the_frame_under_way_then_closes_1013() {
    let limits = || Limits { publication_bytes: 1_000, outbox_bytes: 2_500, ..quiet() };
    let first = Rig::new(limits()).publish_to_nobody("foo", b"the first that did not fit").len();
    for sent in 0..first {
        let mut rig = Rig::new(limits());
        let (slow, other) = (rig.member(&["foo"]), rig.member(&["foo"]));
        let frame = rig.make_laggard(slow, "foo", sent);
        for _ in 0..3 {
            rig.publish("foo", &[b'x'; 900]);
            rig.sweep();
        }
        let under_way = if sent == 0 { &[][..] } else { &frame[..] };
        // The last of the three never came as far as the outbox.
        let dropped = if sent == 0 { 4 } else { 3 };
        let reason = Reason::Overflow { key: "roadcast.limits.outbox_bytes", bytes_max: 2_500 };
        let report = Report { reason, about: About::Dropped(dropped), unsaid: Unsaid(0) };
        assert!(rig.tasks().contains(&Task::Report(slow, report)), "after {sent}");
        assert_eq!(rig.balance().dropped(Dropped::Overflow), dropped);
        rig.shard.writable(slow);
        rig.publish("foo", b"no business of the closed one");
        rig.sweep();
        assert_eq!(rig.taken(slow), [under_way, CLOSE_1013].concat(), "after {sent}");
        assert_eq!(rig.texts(other).len(), 5, "the others have everything");
        assert!(rig.tasks().contains(&Task::FinishSending(slow)));
    }
}

#[test]
fn a_full_sum_of_outboxes_closes_the_laggard_that_wants_more() {
    let limits =
        Limits { publication_bytes: 1_000, outbox_bytes: 2_000, outboxes_bytes: 2_500, ..quiet() };
    let mut rig = Rig::new(limits);
    let (one, two) = (rig.member(&["a"]), rig.member(&["b"]));
    rig.make_laggard(one, "a", 1);
    rig.make_laggard(two, "b", 1);
    for topic in ["a", "b", "b"] {
        rig.publish(topic, &[b'x'; 900]);
        rig.sweep();
    }
    let reports: Vec<Task> =
        rig.tasks().into_iter().filter(|task| matches!(task, Task::Report(..))).collect();
    let key = "roadcast.limits.outboxes_bytes";
    let reason = Reason::Overflow { key, bytes_max: 2_500 };
    let report = Report { reason, about: About::Dropped(2), unsaid: Unsaid(0) };
    assert_eq!(reports, [Task::Report(two, report)]);
}

#[test]
fn a_laggards_pings_are_answered_in_their_order_behind_what_waits_for_it() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    let mut expected = rig.make_laggard(id, "foo", 5);
    rig.bytes(id, &wire::masked(Opcode::Ping, b"1"));
    let between = rig.publish("foo", b"between");
    rig.sweep();
    rig.bytes(id, &wire::masked(Opcode::Ping, b"2"));
    rig.shard.writable(id);
    rig.bytes(id, &wire::masked(Opcode::Ping, b"3"));
    rig.sweep();
    expected.extend(frame_of(Opcode::Pong, b"1"));
    expected.extend(between);
    expected.extend([frame_of(Opcode::Pong, b"2"), frame_of(Opcode::Pong, b"3")].concat());
    assert_eq!(rig.taken(id), expected);
}

#[test]
fn a_laggard_that_pings_on_and_on_is_not_read_from_until_it_has_read() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    let frame = rig.make_laggard(id, "foo", 5);
    rig.tasks();
    let (ping, mut sent) = (wire::masked(Opcode::Ping, &[b'x'; 125]), 0);
    while rig.tasks() != [Task::PauseReceive(id)] {
        rig.bytes(id, &ping);
        sent += 1;
        assert!(sent < 2_000, "its pongs pile up for ever");
    }
    rig.shard.writable(id);
    rig.sweep();
    assert_eq!(rig.tasks(), [Task::Receive(id)]);
    assert_eq!(wire::frames(&rig.taken(id)).len(), 1 + sent, "{frame:?} and a pong for each");
}

/// A socket that takes a byte now and then is given up once a whole timeout was not enough for what
/// waited at its start.
#[test]
fn a_laggard_that_trickles_meets_its_deadline() {
    let timeout = Duration::from_secs(10);
    let mut rig = Rig::new(Limits { laggard_timeout: timeout, ..quiet() });
    let id = rig.member(&["foo"]);
    rig.publish("foo", &[b'x'; 1_000]);
    rig.make_laggard(id, "foo", 1);
    for _ in 0..9 {
        rig.pass(timeout / 10);
        rig.shard.writable(id);
        rig.sweep_with(|_, _| Taken::Bytes(1));
        assert_eq!(rig.tasks(), [Task::WatchWritable(id)]);
    }
    rig.pass(timeout / 5);
    let tasks = rig.tasks();
    let [Task::Report(_, report), Task::Terminate { abort: true, .. }] = &tasks[..] else {
        panic!("{tasks:?}")
    };
    assert!(matches!(report.reason, Reason::TooSlow(_)), "{report:?}");
}

#[test]
fn a_laggard_whose_backlog_leaves_in_time_may_lag_on() {
    let timeout = Duration::from_secs(10);
    let mut rig = Rig::new(Limits { laggard_timeout: timeout, ..quiet() });
    let id = rig.member(&["foo"]);
    let mut waiting = rig.make_laggard(id, "foo", 1).len() - 1;
    for _ in 0..20 {
        // All that waited leaves, something new has come behind it, and the socket is full again.
        let more = rig.publish("foo", b"more").len();
        rig.sweep();
        rig.shard.writable(id);
        rig.sweep_with(|_, _| Taken::Bytes(waiting));
        waiting = more;
        rig.pass(timeout / 2);
        assert_eq!(rig.tasks(), [Task::WatchWritable(id)]);
    }
    assert_eq!(rig.counters.laggards.value(), 1, "it has lagged once");
}

#[test]
fn a_laggard_gets_its_time_to_take_what_stands_before_its_close() {
    let limits = Limits {
        laggard_timeout: Duration::from_secs(10),
        close_timeout: Duration::from_secs(1),
        ..quiet()
    };
    let mut rig = Rig::new(limits);
    let id = rig.member(&["foo"]);
    let frame = rig.make_laggard(id, "foo", 2);
    rig.bytes(id, &wire::masked(Opcode::Close, b"\x03\xE8"));
    rig.pass(Duration::from_secs(9));
    assert_eq!(rig.tasks(), []);
    rig.shard.writable(id);
    rig.sweep();
    assert_eq!(rig.taken(id), [frame, frame_of(Opcode::Close, b"\x03\xE8")].concat());
}

/// Without memory for sockets the kernel says "room" at once, and takes nothing: asking again at
/// once would never end.
#[test]
fn a_socket_that_promises_room_and_takes_nothing_rests_before_it_is_watched_again() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    let frame = rig.make_laggard(id, "foo", 1);
    for round in 0..3 {
        rig.shard.writable(id);
        rig.sweep_with(|_, _| Taken::Errno(libc::EAGAIN));
        let once = [said(id, Reason::RoomDenied)];
        assert_eq!(rig.tasks(), if round == 0 { &once[..] } else { &[] }, "said once");
        assert!(!rig.shard.has_work() && rig.shard.next_deadline().is_some());
        rig.pass(Duration::from_millis(100));
        assert_eq!(rig.tasks(), [Task::WatchWritable(id)]);
    }
    rig.shard.writable(id);
    rig.sweep();
    assert_eq!(rig.taken(id), frame);
    assert_eq!((rig.counters.room_denied.value(), rig.counters.laggards.value()), (3, 1));
    // Who has gone meanwhile is not watched, nor who has its place.
    rig.make_laggard(id, "foo", 1);
    rig.shard.writable(id);
    rig.sweep_with(|_, _| Taken::Errno(libc::EAGAIN));
    rig.shard.ended(id);
    assert!(matches!(rig.tasks()[..], [Task::Terminate { .. }]));
    rig.shard.released(id);
    let next = rig.member(&["foo"]);
    assert_eq!(next.index, id.index);
    rig.tasks();
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.tasks(), []);
}

/// What the kernel refuses moves to outboxes too, so their sum is looked at there as well.
#[test]
fn a_publication_that_everyone_refuses_keeps_the_sum_of_outboxes() {
    let limits = Limits {
        publication_bytes: 1 << 20,
        outbox_bytes: 2 << 20,
        outboxes_bytes: 4 << 20,
        ..quiet()
    };
    for taken in [Taken::Errno(libc::EAGAIN), Taken::Bytes(1000)] {
        let mut rig = Rig::new(limits.clone());
        let ids: Vec<_> = (0..100).map(|_| rig.member(&["foo"])).collect();
        rig.publish("foo", &vec![b'x'; 1_000_000]);
        rig.sweep_with(|_, _| taken);
        assert_eq!(rig.counters.overflows.value(), 96, "four megabytes hold four of them");
        assert_eq!(rig.counters.laggards.value(), 100, "each socket was full, whatever came of it");
        assert_eq!(rig.balance().dropped(Dropped::Overflow), 96);
        let ended = rig
            .tasks()
            .into_iter()
            .filter(|task| matches!(task, Task::Terminate { abort: true, .. }))
            .count();
        // In the middle of a frame no Close can be said.
        assert_eq!(ended, if matches!(taken, Taken::Bytes(_)) { 96 } else { 0 });
        rig.shard.check_invariants();
        assert_eq!(ids.len(), 100);
    }
}
