//! What arrives from clients: order, holding, pausing.

use roadcast::command::Malformed;
use roadcast::limits::Limits;
use roadcast::log_rate::{INTERVAL, LeftOut, Unsaid};
use roadcast::shard::{About, Reason, Report, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, frame_of, quiet};
use super::wire;

#[test]
fn what_arrives_behind_held_input_stays_behind_it() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect_to("/echo");
    let message = |n: u8| wire::masked(Opcode::Binary, &vec![n; 50_000]);
    let sent: Vec<u8> = (0..5).collect();
    // The third echo passes the mark; the fourth message is held, and the fifth was on its way
    // already.
    rig.bytes(id, &[message(0), message(1), message(2), message(3)].concat());
    assert!(rig.tasks().contains(&Task::PauseReceive(id)));
    rig.batch(|_, _| Taken::All);
    rig.bytes(id, &message(4));
    rig.sweep();
    let echoed: Vec<u8> =
        wire::frames(&rig.taken(id)).iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(echoed, sent);
}

#[test]
fn replies_unread_pause_their_client_alone() {
    let mut rig = Rig::new(quiet());
    let (id, other) = (rig.connect_to("/echo"), rig.connect_to("/echo"));
    rig.tasks();
    let message = wire::masked(Opcode::Text, &[b'x'; 60_000]);
    let mut sent = 0;
    while !rig.tasks().contains(&Task::PauseReceive(id)) {
        rig.bytes(id, &message);
        rig.sweep_with(|_, _| Taken::Errno(libc::EAGAIN));
        sent += 1;
        assert!(sent < 100, "its echoes pile up for ever");
    }
    rig.bytes(other, &message);
    rig.sweep();
    assert_eq!(wire::frames(&rig.taken(other)).len(), 1, "the other is served");
    assert_eq!(rig.counters.overflows.value(), 0);
    rig.shard.writable(id);
    rig.sweep();
    assert_eq!(wire::frames(&rig.taken(id)).len(), sent, "and so is the first, once it reads");
    assert_eq!(rig.tasks(), [Task::Receive(id)]);
}

/// Its Close waits for the echoes of what it has sent before, and nothing is read behind it.
#[test]
fn a_close_behind_messages_whose_echoes_are_not_read_comes_after_them() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect_to("/echo");
    let message = |n: u8| wire::masked(Opcode::Binary, &vec![n; 50_000]);
    let goodbye = wire::masked(Opcode::Close, &1000u16.to_be_bytes());
    rig.bytes(id, &[message(0), message(1), message(2), message(3), goodbye].concat());
    rig.bytes(id, &wire::masked(Opcode::Ping, b"not read any more"));
    rig.sweep();
    let frames = wire::frames(&rig.taken(id));
    let (last, echoes) = frames.split_last().expect("some");
    assert_eq!(echoes.iter().map(|(_, payload)| payload[0]).collect::<Vec<_>>(), [0, 1, 2, 3]);
    assert_eq!(last, &(Opcode::Close, 1000u16.to_be_bytes().to_vec()));
}

#[test]
fn pings_behind_a_pending_join_whose_pongs_are_not_read_pause_their_client() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.tasks();
    let (ping, mut sent) = (wire::masked(Opcode::Ping, &[b'x'; 125]), 0);
    while rig.tasks() != [Task::PauseReceive(id)] {
        rig.bytes(id, &ping);
        sent += 1;
        assert!(sent < 2_000, "its pongs pile up for ever");
    }
    rig.sweep();
    assert_eq!(wire::frames(&rig.taken(id)).len(), sent);
    assert_eq!(rig.tasks(), [Task::Receive(id)], "although its join waits");
}

#[test]
fn a_flood_behind_a_pending_join_pauses_its_client() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.tasks();
    rig.join(id, &["foo"]);
    let leave = wire::masked(Opcode::Text, wire::command("leave", "", &["bar"]).as_bytes());
    let mut held = 0;
    while rig.tasks() != [Task::PauseReceive(id)] {
        rig.bytes(id, &leave);
        held += 1;
        assert!(held < 10_000, "input is held without bound");
    }
    rig.answer();
    assert_eq!(rig.tasks(), [Task::Receive(id)]);
    rig.sweep();
    assert_eq!(rig.texts(id).len(), 1 + held);
}

/// Copied once, however many joins it waits behind one after the other.
#[test]
fn messages_held_behind_many_joins_are_copied_once() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    let topics: Vec<String> = (0..200).map(|n| format!("topic {n}")).collect();
    let join =
        |topic: &String| wire::masked(Opcode::Text, wire::command("join", "", &[topic]).as_bytes());
    let input: Vec<u8> = topics.iter().flat_map(join).collect();
    let message = |topic: &String| wire::command("join", "", &[topic]).len();
    let behind_the_first = topics[1..].iter().map(message).sum::<usize>();
    rig.bytes(id, &input);
    rig.answer();
    rig.sweep();
    let replies: Vec<String> = topics.iter().map(|topic| wire::reply("@join", &[topic])).collect();
    assert_eq!(rig.texts(id), replies);
    assert_eq!(rig.counters.input_held.value(), behind_the_first as u64);
}

/// A command that is none is ignored, counted each time, and reported once in a while.
#[test]
fn malformed_and_unknown_commands_are_reported_once_each_and_then_counted() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.tasks();
    for _ in 0..3 {
        rig.bytes(id, &wire::masked(Opcode::Text, b"{\"command\":\"dance\"}"));
        rig.bytes(id, &wire::masked(Opcode::Text, b"{"));
    }
    let said = |reason, about| Task::Report(id, Report { reason, about, unsaid: Unsaid(0) });
    let both = [
        said(Reason::UnknownCommand, About::Sent("dance".to_owned())),
        said(Reason::MalformedCommand(Malformed::NotJson), About::Nothing),
    ];
    assert_eq!(rig.tasks(), both);
    assert_eq!(rig.counters.malformed.value(), 6);
    rig.bytes(id, &wire::masked(Opcode::Text, b"{\"command\":\"headers\"}"));
    assert_eq!(rig.sweep(), 0, "no replies");
}

#[test]
fn a_violation_is_answered_by_its_code_behind_all_replies() {
    let violations: &[(&[u8], u16)] = &[
        (b"\x81\x01x", 1002),
        (b"\x81\x81\0\0\0\0\xFF", 1007),
        (b"\x82\xFE\xFF\xFF\0\0\0\0", 1009),
    ];
    for (bytes, code) in violations {
        let mut rig = Rig::new(Limits { message_bytes: 1_000, ..quiet() });
        let id = rig.member(&["foo"]);
        rig.leave(id, &["bar"]);
        rig.bytes(id, &[bytes, &wire::masked(Opcode::Ping, b"not read any more")[..]].concat());
        rig.publish_to_nobody("foo", b"x");
        rig.sweep();
        let frames = wire::frames(&rig.taken(id));
        assert_eq!(frames[0].1, wire::reply("@leave", &["bar"]).as_bytes());
        assert_eq!((frames.len(), frames[1].0), (2, Opcode::Close));
        assert_eq!(frames[1].1[..2], code.to_be_bytes());
        let reported = rig.tasks().iter().any(|task| match task {
            Task::Report(_, Report { reason: Reason::Violation(of, _), .. }) => of.0 == *code,
            _ => false,
        });
        assert!(reported);
    }
}

#[test]
fn frames_right_behind_the_request_are_served_wherever_the_input_is_split() {
    let mut input = wire::upgrade_request("/ws");
    input.extend(wire::masked(Opcode::Ping, b"at once"));
    input.extend(wire::fragment(false, Opcode::Text, b"{\"command\":\"leave\","));
    input.extend(wire::masked(Opcode::Ping, b"between"));
    input.extend(wire::fragment(true, Opcode::Continuation, b"\"topics\":[\"foo\"]}"));
    for split in 0..=input.len() {
        let mut rig = Rig::new(quiet());
        let id = rig.accept();
        rig.bytes(id, &input[..split]);
        rig.bytes(id, &input[split..]);
        rig.sweep();
        let taken = rig.taken(id);
        let head = taken.windows(4).position(|end| end == b"\r\n\r\n").expect("an answer") + 4;
        let expected = [
            frame_of(Opcode::Pong, b"at once"),
            frame_of(Opcode::Pong, b"between"),
            frame_of(Opcode::Text, wire::reply("@leave", &["foo"]).as_bytes()),
        ];
        assert_eq!(taken[head..], expected.concat(), "split at {split}");
    }
}

/// Each of many clients does everything wrong that a client can.
#[test]
fn what_many_clients_do_wrong_is_said_at_once_then_once_an_interval_with_the_number_unsaid() {
    let mut rig = Rig::new(Limits { message_bytes: 1_000, connections: 10_000, ..quiet() });
    let wrong: [&dyn Fn(&mut Rig); 5] = [
        &|rig| {
            let id = rig.connect();
            rig.bytes(id, &wire::masked(Opcode::Text, b"ping"))
        },
        &|rig| {
            let id = rig.connect();
            rig.bytes(id, &wire::masked(Opcode::Text, br#"{"command":"dance"}"#))
        },
        &|rig| {
            let id = rig.connect();
            rig.bytes(id, b"\x81\x01x")
        },
        &|rig| {
            let id = rig.connect();
            rig.bytes(id, &wire::masked(Opcode::Text, &[b'x'; 1_001]))
        },
        &|rig| {
            let id = rig.accept();
            rig.bytes(id, wire::upgrade_request("/nowhere").as_slice())
        },
    ];
    for (place, wrong) in wrong.iter().enumerate() {
        let mut said = Vec::new();
        for round in [300, 1] {
            (0..round).for_each(|_| wrong(&mut rig));
            said.extend(rig.tasks().into_iter().filter_map(|task| match task {
                Task::Report(_, report) => Some(report.unsaid.0),
                _ => None,
            }));
            rig.now += INTERVAL;
            rig.shard.set_now(rig.now);
        }
        assert_eq!(said, [0, 299], "fault {place}");
    }
    assert_eq!(rig.shard.left_out().count(), 0);
    // What comes to nobody's line any more is there for the end.
    (0..300).for_each(|_| wrong[0](&mut rig));
    let left: Vec<_> = rig.shard.left_out().collect();
    assert_eq!(left, [(Reason::MalformedCommand(Malformed::NotJson), LeftOut(300 - 1))]);
}
