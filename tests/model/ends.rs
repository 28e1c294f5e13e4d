//! How connections end, and how the whole shard does.

use std::time::Duration;

use roadcast::http::Fault;
use roadcast::limits::Limits;
use roadcast::log_rate::Unsaid;
use roadcast::mesh::Down;
use roadcast::shard::{About, BATCH_SENDS, ConnId, Reason, Refusal, Report, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, frame_of, quiet, said};
use super::wire;

const GOING_AWAY: &[u8] = b"\x88\x1D\x03\xE9the server is shutting down";

#[test]
fn nobody_is_accepted_when_the_grace_is_over() {
    let mut rig = Rig::new(quiet());
    rig.take(Down::StopAccepting);
    rig.pass(Duration::from_secs(60));
    assert!(rig.shard.accepted().is_none());
}

#[test]
fn a_late_completion_touches_nobody_else() {
    let mut rig = Rig::new(quiet());
    let first = rig.member(&["foo"]);
    rig.shard.ended(first);
    rig.shard.released(first);
    let second = rig.member(&["foo"]);
    assert_eq!(second.index, first.index, "in the same slot");
    rig.make_laggard(second, "foo", 3);
    rig.tasks();
    rig.bytes(first, b"\x81\x01x");
    rig.shard.writable(first);
    rig.shard.ended(first);
    assert_eq!(rig.sweep(), 0, "the second still waits for room");
    assert_eq!(rig.tasks(), []);
    rig.shard.writable(second);
    rig.sweep();
    assert_eq!(rig.texts(second).len(), 1);
}

#[test]
fn an_ended_connection_has_left_every_topic_at_once() {
    let mut rig = Rig::new(quiet());
    let topics: Vec<String> = (0..50).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    let (gone, other) = (rig.member(&names), rig.member(&names[..1]));
    rig.shard.ended(gone);
    rig.publish("t0", b"x");
    assert_eq!(rig.batch(|_, _| Taken::All), [other]);
    rig.answer();
    assert_eq!(rig.counters.topics.value(), 1, "the topics that it alone wanted are given back");
}

#[test]
fn a_closing_handshake_ends_with_the_peers_end() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.tasks();
    rig.bytes(id, &wire::masked(Opcode::Close, b"\x0B\xB8bye"));
    assert_eq!(rig.tasks(), [], "first the answer leaves");
    rig.sweep();
    assert_eq!(rig.taken(id), frame_of(Opcode::Close, b"\x0B\xB8"));
    assert_eq!(rig.tasks(), [Task::FinishSending(id)]);
    rig.bytes(id, b"still unread input is thrown away");
    rig.shard.ended(id);
    assert_eq!(rig.tasks(), [Task::Terminate { id, abort: false }]);
}

#[test]
fn a_peer_that_ends_at_once_gets_its_answer_all_the_same() {
    let mut rig = Rig::new(quiet());
    let id = rig.accept();
    rig.bytes(id, &wire::upgrade_request("/nowhere"));
    rig.shard.ended(id);
    rig.tasks();
    rig.sweep();
    assert!(rig.taken(id).starts_with(b"HTTP/1.1 404 "));
    assert_eq!(rig.tasks(), [Task::Terminate { id, abort: false }]);
}

/// Five seconds for a closing handshake, thirty for what a laggard has not taken.
fn patient() -> Limits {
    let (close_timeout, laggard_timeout) = (Duration::from_secs(5), Duration::from_secs(30));
    Limits { close_timeout, laggard_timeout, ..quiet() }
}

#[test]
fn a_closing_handshake_that_does_not_end_is_aborted() {
    let mut rig = Rig::new(patient());
    let id = rig.connect();
    rig.take(Down::Drain);
    rig.sweep();
    rig.bytes(id, &wire::masked(Opcode::Text, b"anything but a Close"));
    rig.tasks();
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.tasks(), []);
    rig.pass(Duration::from_secs(2));
    let why = "its closing handshake did not end within roadcast.limits.close_timeout";
    let said = said(id, Reason::TooSlow(why));
    assert_eq!(rig.tasks(), [said, Task::Terminate { id, abort: true }]);
    assert_eq!(rig.counters.too_slow.value(), 1);
}

#[test]
fn a_goodbye_that_does_not_leave_is_not_said_to_be_a_handshake_that_did_not_end() {
    let mut rig = Rig::new(patient());
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 4);
    rig.take(Down::Drain);
    rig.sweep();
    rig.tasks();
    rig.pass(Duration::from_secs(29));
    assert_eq!(rig.tasks(), []);
    rig.pass(Duration::from_secs(2));
    let tasks = rig.tasks();
    let [
        Task::Report(_, Report { reason: Reason::TooSlow(why), .. }),
        Task::Terminate { abort: true, .. },
    ] = tasks[..]
    else {
        panic!("{tasks:?}")
    };
    assert!(
        why.contains("did not leave") && why.contains("roadcast.limits.laggard_timeout"),
        "{why}"
    );
}

/// Both have said goodbye: what is missing is the end of the connection, which is no closing
/// handshake.
#[test]
fn who_has_said_goodbye_and_keeps_its_socket_is_ended_without_a_word() {
    let close = wire::masked(Opcode::Close, b"\x03\xE9");
    let frames = |frames: &[&[u8]]| frames.concat();
    let ping = wire::masked(Opcode::Ping, b"?");
    let text = wire::masked(Opcode::Text, br#"{"command":"join","topics":["late"]}"#);
    // In one piece, behind other frames, in pieces within a message that had begun before our
    // goodbye.
    for (before, behind) in [
        (&[][..], close.clone()),
        (&[][..], frames(&[&text, &ping, &close])),
        (&text[..9], frames(&[&text[9..], &close])),
    ] {
        for pieces in [1, 3, usize::MAX] {
            let mut rig = Rig::new(patient());
            let id = rig.connect();
            rig.bytes(id, before);
            rig.take(Down::Drain);
            rig.sweep();
            behind.chunks(behind.len().div_ceil(pieces)).for_each(|piece| rig.bytes(id, piece));
            rig.tasks();
            rig.pass(Duration::from_secs(6));
            assert_eq!(rig.tasks(), [Task::Terminate { id, abort: true }]);
            assert_eq!(rig.counters.too_slow.value(), 0);
            assert_eq!(rig.counters.joins.value(), 0, "nothing else is listened to");
        }
    }
    // Its goodbye had come first, or none can come.
    let mut rig = Rig::new(patient());
    let ids = [rig.connect(), rig.accept(), rig.connect()];
    rig.bytes(ids[0], &close);
    rig.bytes(ids[1], &wire::upgrade_request("/nowhere"));
    rig.bytes(ids[2], b"\xFF\xFF violates the protocol");
    rig.sweep();
    rig.tasks();
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.tasks(), ids.map(|id| Task::Terminate { id, abort: true }));
    assert_eq!(rig.counters.too_slow.value(), 0);
}

#[test]
fn a_goodbye_held_behind_a_join_that_waits_is_one_too() {
    let mut rig = Rig::new(patient());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.bytes(id, &wire::masked(Opcode::Close, b"\x03\xE8"));
    rig.take(Down::Drain);
    rig.sweep();
    rig.tasks();
    rig.pass(Duration::from_secs(6));
    assert_eq!(rig.tasks(), [Task::Terminate { id, abort: true }]);
}

/// What it had not read is read by then: from there on it is like any other.
#[test]
fn a_former_laggard_has_no_longer_for_its_end_than_others() {
    let mut rig = Rig::new(patient());
    let id = rig.member(&["foo"]);
    let frame = rig.make_laggard(id, "foo", 4);
    rig.take(Down::Drain);
    rig.pass(Duration::from_secs(10));
    rig.shard.writable(id);
    rig.sweep();
    assert_eq!(rig.taken(id), [&frame, GOING_AWAY].concat());
    rig.bytes(id, &wire::masked(Opcode::Close, b"\x03\xE9"));
    rig.tasks();
    rig.pass(Duration::from_secs(4));
    assert_eq!(rig.tasks(), []);
    rig.pass(Duration::from_secs(2));
    assert_eq!(rig.tasks(), [Task::Terminate { id, abort: true }]);
}

#[test]
fn a_laggard_whose_socket_has_just_had_room_keeps_its_time() {
    let mut rig = Rig::new(patient());
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 4);
    rig.shard.writable(id);
    rig.take(Down::Drain);
    rig.sweep_with(|_, _| Taken::Bytes(1));
    rig.tasks();
    rig.pass(Duration::from_secs(29));
    assert_eq!(rig.tasks(), []);
}

#[test]
fn a_request_that_takes_too_long_is_ended_with_an_answer_if_it_has_begun() {
    let mut rig = Rig::new(Limits { head_timeout: Duration::from_secs(10), ..quiet() });
    let (silent, slow) = (rig.accept(), rig.accept());
    rig.bytes(slow, b"GET /ws HT");
    rig.pass(Duration::from_secs(9));
    rig.tasks();
    rig.pass(Duration::from_secs(2));
    let reason = Reason::Refused(Refusal::Request(Fault::Late));
    let refused = Report { reason, about: About::Sent(String::new()), unsaid: Unsaid(0) };
    let tasks = rig.tasks();
    assert!(tasks.contains(&Task::Terminate { id: silent, abort: false }), "{tasks:?}");
    assert!(tasks.contains(&Task::Report(slow, refused)) && tasks.len() == 2, "{tasks:?}");
    rig.sweep();
    assert!(rig.taken(slow).starts_with(b"HTTP/1.1 408 "));
    assert_eq!(rig.counters.head_timeouts.value(), 2);
}

#[test]
fn connections_beyond_the_limit_are_answered_503_until_one_is_released() {
    let mut rig = Rig::new(Limits { connections: 2, ..quiet() });
    let first = rig.connect();
    rig.connect();
    let refused = rig.accept();
    rig.bytes(refused, &wire::upgrade_request("/ws"));
    rig.sweep();
    assert!(rig.taken(refused).starts_with(b"HTTP/1.1 503 "));
    rig.shard.ended(refused);
    rig.shard.released(refused);
    assert_eq!(rig.budget.open(), 2, "it was never counted");
    rig.shard.ended(first);
    assert_eq!(rig.budget.open(), 2, "counted until its socket is closed");
    rig.shard.released(first);
    rig.connect();
}

#[test]
fn refusals_themselves_are_bounded() {
    let mut rig = Rig::new(Limits { connections: 1, ..quiet() });
    rig.connect();
    let refused = (0..100_000).take_while(|_| rig.shard.accepted().is_some()).count();
    assert!((1..10_000).contains(&refused), "{refused}");
    assert_eq!(rig.counters.refused_limit.value(), refused as u64 + 1);
}

#[test]
fn drain_closes_after_the_sweep_has_passed() {
    let mut rig = Rig::new(quiet());
    let ids: Vec<ConnId> = (0..3 * BATCH_SENDS).map(|_| rig.member(&["foo"])).collect();
    let slow = rig.member(&["foo"]);
    let mut sent = rig.make_laggard(slow, "foo", 4);
    ids.iter().for_each(|&id| drop(rig.taken(id)));
    let (head, refused) = (rig.accept(), rig.connect_to("/echo"));
    rig.take(Down::StopAccepting);
    let last = rig.publish("foo", b"the last");
    rig.take(Down::Drain);
    rig.join(refused, &["too late"]);
    rig.sweep();
    let goodbye = [&last[..], GOING_AWAY].concat();
    ids.iter().for_each(|&id| assert_eq!(rig.taken(id), goodbye));
    assert!(rig.taken(head).starts_with(b"HTTP/1.1 503 "), "who has not asked is told in HTTP");
    rig.shard.writable(slow);
    rig.sweep();
    sent.extend(goodbye);
    assert_eq!(rig.taken(slow), sent, "a laggard too, once it reads");
    assert!(!rig.shard.is_done());
    for id in ids.into_iter().chain([slow, head, refused]) {
        rig.shard.ended(id);
        rig.shard.released(id);
    }
    assert!(rig.shard.is_done());
    assert_eq!(rig.budget.open(), 0);
}

#[test]
fn a_shard_that_shuts_down_upgrades_and_joins_nobody() {
    let mut rig = Rig::new(quiet());
    let member = rig.member(&["foo"]);
    let late = rig.accept();
    let crowd: Vec<ConnId> = (0..2 * BATCH_SENDS).map(|_| rig.member(&["foo"])).collect();
    rig.take(Down::StopAccepting);
    rig.bytes(late, &wire::upgrade_request("/ws"));
    rig.publish("foo", b"so that the sweep is under way");
    rig.take(Down::Drain);
    rig.join(member, &["bar"]);
    rig.sweep();
    assert!(rig.taken(late).starts_with(b"HTTP/1.1 503 "));
    let frames = wire::frames(&rig.taken(member));
    assert!(frames.iter().any(|(_, text)| *text == wire::reply("#join", &["bar"]).as_bytes()));
    assert!(crowd.iter().all(|&id| wire::frames(&rig.taken(id)).len() == 2));
    assert!(rig.tasks().contains(&Task::StopAccepting));
}

#[test]
fn whoever_is_left_when_the_grace_is_over_is_aborted() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 4);
    rig.take(Down::StopAccepting);
    rig.take(Down::Drain);
    rig.tasks();
    assert_eq!(rig.shard.next_deadline().map(|at| at <= Duration::from_secs(31)), Some(true));
    rig.pass(Duration::from_secs(31));
    assert!(rig.tasks().contains(&Task::Terminate { id, abort: true }));
    rig.shard.released(id);
    rig.sweep();
    assert!(rig.shard.is_done());
}

/// The lane may be full, and its entries may never come.
#[test]
fn the_grace_counts_from_the_signal_and_needs_no_entry_of_the_lane() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.tasks();
    rig.pass(Duration::from_secs(100));
    assert!(rig.shard.misses_end(true, false));
    rig.shard.shutdown_began(Duration::from_secs(90));
    assert!(!rig.shard.misses_end(true, false));
    assert_eq!(rig.shard.next_deadline(), Some(Duration::from_secs(120)));
    rig.pass(Duration::from_secs(10));
    rig.take(Down::StopAccepting);
    rig.pass(Duration::from_millis(9_999));
    assert_eq!(
        rig.tasks(),
        [Task::StopAccepting],
        "an entry that comes late does not begin it anew"
    );
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.tasks(), [Task::Terminate { id, abort: true }]);
    rig.shard.released(id);
    assert!(rig.shard.is_done(), "the lane's last entry has not come");
}

#[test]
fn a_shard_that_gets_no_word_at_all_accepts_nobody_behind_its_grace() {
    let mut rig = Rig::new(quiet());
    rig.shard.shutdown_began(Duration::ZERO);
    rig.pass(Duration::from_secs(30));
    assert_eq!(rig.tasks(), [Task::StopAccepting]);
    assert!(rig.shard.accepted().is_none());
    assert!(rig.shard.is_done());
}

#[test]
fn a_shard_whose_hub_has_gone_delivers_what_it_has_and_says_goodbye() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    let last = rig.publish("foo", b"the last");
    assert!(rig.shard.misses_end(false, true));
    rig.shard.hub_is_gone();
    assert!(!rig.shard.misses_end(true, true));
    rig.sweep();
    assert_eq!(rig.taken(id), [&last[..], GOING_AWAY].concat());
    assert!(rig.tasks().contains(&Task::StopAccepting));
    rig.shard.ended(id);
    rig.shard.released(id);
    assert!(rig.shard.is_done());
}
