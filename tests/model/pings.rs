//! Keepalive under virtual time.

use std::time::Duration;

use roadcast::limits::Limits;
use roadcast::shard::{ConnId, Reason, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, frame_of, quiet, said};
use super::wire;

const INTERVAL: Duration = Duration::from_secs(20);
const PATIENCE: Duration = Duration::from_secs(5);
const TICK: Duration = Duration::from_millis(100);

fn limits() -> Limits {
    Limits { ping_interval: INTERVAL, pong_timeout: PATIENCE, ..Limits::default() }
}

/// Lets time pass until a ping has left to the connection.
fn until_pinged(rig: &mut Rig, id: ConnId) {
    for _ in 0..INTERVAL.as_millis() / TICK.as_millis() + 3 {
        rig.pass(TICK);
        rig.sweep();
        if rig.taken(id) == frame_of(Opcode::Ping, b"") {
            return;
        }
    }
    panic!("no ping within the interval");
}

/// Lets time pass in which the connection gives no sign of life: it is ended, once.
fn ended_for_its_silence(rig: &mut Rig, id: ConnId) {
    let mut tasks = Vec::new();
    for _ in 0..(2 * INTERVAL.as_secs()) {
        rig.pass(Duration::from_secs(1));
        rig.sweep();
        tasks.extend(rig.tasks());
    }
    assert_eq!(tasks, [said(id, Reason::PongMissing), Task::Terminate { id, abort: true }]);
}

#[test]
fn pongs_missing_terminate() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    until_pinged(&mut rig, id);
    rig.tasks();
    rig.pass(PATIENCE - TICK);
    assert_eq!(rig.tasks(), [], "not before its time is over");
    rig.pass(3 * TICK);
    assert_eq!(rig.tasks(), [said(id, Reason::PongMissing), Task::Terminate { id, abort: true }]);
}

#[test]
fn any_byte_is_a_sign_of_life() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    rig.tasks();
    for _ in 0..5 {
        until_pinged(&mut rig, id);
        rig.bytes(id, &wire::masked(Opcode::Text, b"{}")[..1]);
        rig.bytes(id, &wire::masked(Opcode::Text, b"{}")[1..]);
    }
    assert!(!rig.tasks().contains(&Task::Terminate { id, abort: true }));
    assert_eq!(rig.counters.pings.value(), 5);
}

#[test]
fn laggards_are_forgiven_a_missing_pong() {
    let mut rig = Rig::new(limits());
    let id = rig.member(&["foo"]);
    until_pinged(&mut rig, id);
    rig.make_laggard(id, "foo", 1);
    rig.tasks();
    rig.pass(PATIENCE + 3 * TICK);
    assert_eq!(rig.tasks(), [], "the laggard's own deadline governs");
    rig.pass(INTERVAL);
    assert_eq!(rig.tasks(), [], "and it is not pinged behind what it does not read");
    assert_eq!(rig.counters.pings.value(), 1);
    rig.shard.writable(id);
    rig.sweep();
    rig.taken(id);
    until_pinged(&mut rig, id);
}

/// Progress of the outbox counts as well: the ping stands behind what a slow reader still takes.
#[test]
fn progress_of_the_outbox_is_a_sign_of_life() {
    let mut rig = Rig::new(Limits { laggard_timeout: Duration::from_secs(100), ..limits() });
    let id = rig.member(&["foo"]);
    until_pinged(&mut rig, id);
    rig.make_laggard(id, "foo", 1);
    rig.tasks();
    rig.pass(PATIENCE / 2);
    rig.shard.writable(id);
    rig.sweep();
    rig.pass(PATIENCE);
    assert_eq!(rig.tasks(), []);
}

#[test]
fn who_is_not_listened_to_is_not_blamed_for_a_missing_pong() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.bytes(id, &wire::masked(Opcode::Text, &[b' '; 20_000]));
    until_pinged(&mut rig, id);
    assert!(rig.tasks().contains(&Task::PauseReceive(id)));
    rig.pass(PATIENCE + 3 * TICK);
    assert_eq!(rig.tasks(), []);
}

#[test]
fn a_ping_behind_a_join_that_waits_is_answered_at_once() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.leave(id, &["bar"]);
    rig.bytes(id, &wire::masked(Opcode::Ping, b"are you there"));
    rig.sweep();
    assert_eq!(rig.taken(id), frame_of(Opcode::Pong, b"are you there"));
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"]), wire::reply("@leave", &["bar"])]);
}

#[test]
fn a_join_that_waits_excuses_no_missing_pong_and_a_pong_behind_it_counts() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    until_pinged(&mut rig, id);
    rig.bytes(id, &wire::masked(Opcode::Pong, b""));
    rig.tasks();
    rig.pass(PATIENCE + 3 * TICK);
    assert_eq!(rig.tasks(), []);
    ended_for_its_silence(&mut rig, id);
}

#[test]
fn pings_are_spread() {
    let mut rig = Rig::new(limits());
    let ids: Vec<ConnId> = (0..400).map(|_| rig.connect()).collect();
    let mut most = 0;
    for _ in 0..INTERVAL.as_millis() / TICK.as_millis() + 3 {
        let before = rig.counters.pings.value();
        rig.now += TICK;
        rig.shard.set_now(rig.now);
        rig.shard.expire();
        most = most.max(rig.counters.pings.value() - before);
        while !rig.batch(|_, _| Taken::All).is_empty() {}
    }
    assert!(rig.counters.pings.value() >= ids.len() as u64);
    assert!(most <= 16, "{most} pings in one tick");
}

#[test]
fn a_ping_behind_what_a_slow_reader_has_not_read_kills_nobody_who_reads_on() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    rig.tasks();
    let mut deadlines = 0;
    for second in 0..120u64 {
        // It reads 1,000 bytes a second of 500,000 that the kernel holds; the pings are behind
        // them.
        rig.measures = (second * 1000, 500_000);
        rig.pass(Duration::from_secs(1));
        rig.sweep();
        assert_eq!(rig.tasks(), [], "after {second} s");
        deadlines = rig.counters.pings.value();
    }
    assert!(deadlines > 0);
    // It stops reading: what follows the next ping acknowledges nothing.
    ended_for_its_silence(&mut rig, id);
}

/// Its kernel takes all that comes, it reads now and then: the pong comes late, and is never far
/// behind the messages.
#[test]
fn messages_that_its_kernel_acknowledges_are_a_sign_of_life_although_the_pong_is_late() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    rig.tasks();
    for second in 0..200u64 {
        // A message a second, and nothing outstanding.
        rig.measures = (second * 100, 0);
        rig.pass(Duration::from_secs(1));
        rig.sweep();
        assert_eq!(rig.tasks(), [], "after {second} s");
    }
    assert!(rig.counters.pings.value() > 0);
    // Nothing is acknowledged any more: the link is dead.
    ended_for_its_silence(&mut rig, id);
}

/// The kernel of a program that hangs acknowledges pings for ever.
#[test]
fn the_acknowledgement_of_the_ping_itself_is_no_sign_of_life() {
    let mut rig = Rig::new(limits());
    let id = rig.connect();
    until_pinged(&mut rig, id);
    rig.measures = (1_000, 0);
    rig.tasks();
    rig.measures.0 += frame_of(Opcode::Ping, b"").len() as u64;
    rig.pass(PATIENCE + 3 * TICK);
    assert_eq!(rig.tasks(), [said(id, Reason::PongMissing), Task::Terminate { id, abort: true }]);
}

#[test]
fn a_laggard_that_keeps_taking_gets_its_pong() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 5);
    rig.bytes(id, &wire::masked(Opcode::Ping, b"are you there"));
    for _ in 0..120 {
        rig.publish("foo", &[b'x'; 1000]);
        rig.shard.writable(id);
        rig.batch(|_, bytes| Taken::Bytes(bytes.len().min(1000)));
        rig.tasks();
        rig.pass(Duration::from_secs(1));
    }
    let (bytes, pong) = (rig.taken(id), frame_of(Opcode::Pong, b"are you there"));
    assert!(bytes.windows(pong.len()).any(|window| window == pong), "no pong in 120 s");
}
