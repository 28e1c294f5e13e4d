//! Joins, leaves, and the shard's interest at the hub.

use roadcast::limits::Limits;
use roadcast::log_rate::Unsaid;
use roadcast::mesh::{Down, Up};
use roadcast::shard::{About, BATCH_SENDS, ConnId, Reason, Refusal, Report, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, frame_of, quiet};
use super::wire;

#[test]
fn a_join_waits_for_the_hub_and_later_commands_wait_behind_it() {
    let mut rig = Rig::new(quiet());
    rig.member(&["held"]);
    let id = rig.connect();
    rig.join(id, &["held", "new"]);
    rig.leave(id, &["held"]);
    rig.join(id, &["held"]);
    rig.publish("held", b"before the join is complete");
    rig.sweep();
    assert!(rig.texts(id).is_empty(), "no reply, no publication");
    rig.answer();
    rig.publish("new", b"x");
    rig.sweep();
    let expected = [
        wire::reply("@join", &["held", "new"]),
        wire::reply("@leave", &["held"]),
        wire::reply("@join", &["held"]),
        wire::publication("new", "x"),
    ];
    assert_eq!(rig.texts(id), expected);
}

#[test]
fn a_close_is_answered_at_once_though_a_join_waits_and_leaves_nothing_behind() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.leave(id, &["bar"]);
    rig.bytes(id, &wire::masked(Opcode::Close, &1000u16.to_be_bytes()));
    rig.sweep();
    let goodbye = frame_of(Opcode::Close, &1000u16.to_be_bytes());
    assert_eq!(rig.taken(id), goodbye, "nobody waits for the replies any more");
    rig.answer();
    rig.sweep();
    assert!(rig.taken(id).is_empty());
    assert_eq!(rig.counters.topics.value(), 0);
}

#[test]
fn what_breaks_the_protocol_behind_a_join_that_waits_ends_the_connection_at_once() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.bytes(id, b"\x81\x01x");
    rig.sweep();
    let frames = wire::frames(&rig.taken(id));
    assert_eq!((frames.len(), frames[0].0), (1, Opcode::Close));
    assert_eq!(frames[0].1[..2], 1002u16.to_be_bytes());
    rig.answer();
    assert_eq!(rig.counters.topics.value(), 0);
}

/// However the input is split, and although the message is in two pieces with a ping between.
#[test]
fn messages_behind_a_join_that_waits_are_served_in_their_order() {
    let mut input = wire::fragment(false, Opcode::Text, b"{\"command\":\"leave\",");
    input.extend(wire::masked(Opcode::Ping, b"between"));
    input.extend(wire::fragment(true, Opcode::Continuation, b"\"topics\":[\"foo\"]}"));
    input.extend(wire::masked(Opcode::Text, wire::command("join", "", &["bar"]).as_bytes()));
    input.extend(wire::masked(Opcode::Text, wire::command("leave", "", &["bar"]).as_bytes()));
    for split in 0..=input.len() {
        let mut rig = Rig::new(quiet());
        let id = rig.connect();
        rig.join(id, &["foo"]);
        rig.bytes(id, &input[..split]);
        rig.bytes(id, &input[split..]);
        rig.sweep();
        assert_eq!(rig.taken(id), frame_of(Opcode::Pong, b"between"), "split at {split}");
        rig.answer();
        rig.sweep();
        let replies = [("@join", "foo"), ("@leave", "foo"), ("@join", "bar"), ("@leave", "bar")];
        let expected = replies.map(|(reply, topic)| wire::reply(reply, &[topic]));
        assert_eq!(rig.texts(id), expected, "split at {split}");
    }
}

#[test]
fn a_topic_that_the_shard_holds_is_joined_without_the_hub() {
    let mut rig = Rig::new(quiet());
    rig.member(&["foo"]);
    let id = rig.connect();
    rig.join(id, &["foo"]);
    assert!(!rig.shard.has_questions());
    rig.publish("foo", b"x");
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"]), wire::publication("foo", "x")]);
}

#[test]
fn one_question_serves_all_who_join_meanwhile() {
    let mut rig = Rig::new(quiet());
    let ids = [rig.connect(), rig.connect(), rig.connect()];
    ids.iter().for_each(|&id| rig.join(id, &["foo"]));
    rig.ask();
    assert_eq!(rig.questions.len(), 1);
    rig.answer();
    rig.sweep();
    ids.iter().for_each(|&id| assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"])]));
}

#[test]
fn a_topic_is_freed_only_after_the_hubs_answer() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.publish("foo", b"x");
    rig.leave(id, &["foo"]);
    assert_eq!(rig.counters.topics.value(), 1);
    // What the hub has sequenced before it hears of it is still on its way.
    rig.publish("foo", b"y");
    rig.answer();
    assert_eq!(rig.counters.topics.value(), 0);
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@leave", &["foo"])]);
}

#[test]
fn who_joins_a_topic_that_is_being_given_up_waits_for_its_second_answer() {
    let mut rig = Rig::new(quiet());
    let first = rig.member(&["foo"]);
    rig.leave(first, &["foo"]);
    rig.ask();
    let second = rig.connect();
    rig.join(second, &["foo"]);
    rig.ask();
    let question = rig.questions.remove(0);
    assert!(
        matches!(question, Up::Uninterest { .. }) && rig.questions.is_empty(),
        "one question at a time"
    );
    rig.publish("foo", b"to nobody");
    let answer = rig.answer_to(question);
    rig.take(answer);
    rig.sweep();
    assert!(rig.texts(second).is_empty());
    rig.ask();
    assert!(matches!(rig.questions[..], [Up::Interest { .. }]));
    rig.answer();
    rig.publish("foo", b"to all");
    rig.sweep();
    assert_eq!(
        rig.texts(second),
        [wire::reply("@join", &["foo"]), wire::publication("foo", "to all")]
    );
}

#[test]
fn a_client_that_goes_while_its_join_waits_leaves_nothing_behind() {
    for answered_first in [false, true] {
        let mut rig = Rig::new(quiet());
        let id = rig.connect();
        rig.join(id, &["foo", "bar"]);
        rig.ask();
        if answered_first {
            let question = rig.questions.remove(0);
            let answer = rig.answer_to(question);
            rig.take(answer);
        }
        rig.shard.ended(id);
        rig.shard.released(id);
        let other = rig.connect();
        assert_eq!(other.index, id.index, "in the same slot");
        rig.answer();
        rig.sweep();
        assert!(rig.texts(other).is_empty());
        assert_eq!(rig.counters.topics.value(), 0);
    }
}

#[test]
fn questions_that_the_lane_has_no_room_for_are_asked_later_in_their_order() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["a", "b"]);
    let first = rig.shard.next_question().unwrap();
    rig.shard.return_question(first);
    assert!(rig.shard.has_questions());
    rig.ask();
    let names: Vec<String> = rig
        .questions
        .iter()
        .map(|question| match question {
            Up::Interest { name, .. } => name.to_string(),
            Up::Uninterest { .. } => panic!("nothing is given up"),
            Up::Positions { .. } => panic!("nobody counts"),
        })
        .collect();
    assert_eq!(names, ["a", "b"]);
}

#[test]
fn joining_twice_or_naming_a_topic_twice_subscribes_once() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo", "foo", "bar", "foo"]);
    rig.answer();
    rig.join(id, &["bar", "foo"]);
    rig.publish("foo", b"x");
    rig.sweep();
    let expected = [
        wire::reply("@join", &["foo", "foo", "bar", "foo"]),
        wire::reply("@join", &["bar", "foo"]),
        wire::publication("foo", "x"),
    ];
    assert_eq!(rig.texts(id), expected);
    rig.leave(id, &["foo"]);
    rig.sweep();
    rig.publish("foo", b"y");
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@leave", &["foo"])]);
}

#[test]
fn a_refused_join_subscribes_to_none_of_its_topics() {
    let limits = Limits { topics_per_connection: 2, topic_bytes: 10, topics: 4, ..quiet() };
    let mut rig = Rig::new(limits);
    let id = rig.member(&["one"]);
    let refusals: [&[&str]; 2] = [&["two", "three"], &["two", "a name too long"]];
    for topics in refusals {
        rig.join(id, topics);
        assert!(!rig.shard.has_questions(), "nothing has been made");
        rig.sweep();
        assert_eq!(rig.texts(id), [wire::reply("#join", topics)]);
    }
    rig.member(&["three", "four"]);
    rig.member(&["five"]);
    rig.join(id, &["six"]);
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("#join", &["six"])], "as many topics as there may be");
    rig.join(id, &["five"]);
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &["five"])], "but one of those may be joined");
    rig.take(Down::Drain);
    assert_eq!(rig.counters.joins_refused.value(), 3);
}

#[test]
fn a_leave_is_answered_whether_joined_or_not() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.leave(id, &["foo", "never joined", "foo"]);
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@leave", &["foo", "never joined", "foo"])]);
}

#[test]
fn a_broker_that_there_is_not_means_the_default_one_and_is_reported_once_a_connection() {
    let mut rig = Rig::new(quiet());
    let first = rig.connect();
    let second = rig.connect();
    rig.tasks();
    let reported = |unsaid| Report {
        reason: Reason::Refused(Refusal::Broker),
        about: About::Sent("redis".into()),
        unsaid: Unsaid(unsaid),
    };
    for (id, expected) in [(first, vec![Task::Report(first, reported(0))]), (second, vec![])] {
        for (name, topic) in [("join", "foo"), ("join", "bar"), ("leave", "bar")] {
            rig.bytes(
                id,
                &wire::masked(Opcode::Text, wire::command(name, "redis", &[topic]).as_bytes()),
            );
            rig.answer();
        }
        rig.publish("foo", b"x");
        rig.sweep();
        let replies = [("@join", "foo"), ("@join", "bar"), ("@leave", "bar")];
        let mut expected_texts: Vec<String> =
            replies.iter().map(|(reply, topic)| wire::reply(reply, &[topic])).collect();
        expected_texts.push(wire::publication("foo", "x"));
        assert_eq!(rig.texts(id), expected_texts);
        assert_eq!(rig.tasks(), expected, "of others it is counted");
    }
}

#[test]
fn the_same_name_at_two_brokers_is_two_topics() {
    let mut rig = Rig::new(quiet());
    let (here, there) = (rig.connect(), rig.connect());
    rig.bytes(
        there,
        &wire::masked(Opcode::Text, wire::command("join", "bus", &["foo"]).as_bytes()),
    );
    rig.answer();
    rig.join(here, &["foo"]);
    rig.answer();
    rig.publish("foo", b"x");
    rig.sweep();
    assert_eq!(rig.texts(here), [wire::reply("@join", &["foo"]), wire::publication("foo", "x")]);
    assert_eq!(rig.texts(there), [wire::reply("@join", &["foo"])]);
}

/// The log still holds what others have not been sent; a new subscriber begins behind it.
#[test]
fn a_subscriber_gets_nothing_published_before_it_joined() {
    let mut rig = Rig::new(quiet());
    let crowd: Vec<ConnId> = (0..2 * BATCH_SENDS).map(|_| rig.member(&["foo"])).collect();
    let id = rig.connect();
    rig.publish("foo", b"before");
    rig.batch(|_, _| Taken::All);
    rig.join(id, &["foo"]);
    rig.publish("foo", b"after");
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"]), wire::publication("foo", "after")]);
    assert!(crowd.iter().all(|&id| rig.texts(id).len() == 2));
}

#[test]
fn an_entry_for_a_freed_topic_reaches_nobody() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.ask();
    let Some(Up::Interest { topic: old, .. }) = rig.questions.first() else {
        panic!("a first subscriber")
    };
    let old = *old;
    rig.answer();
    rig.leave(id, &["foo"]);
    rig.answer();
    rig.join(id, &["bar"]);
    rig.answer();
    rig.sweep();
    rig.taken(id);
    rig.take(Down::Publish {
        topic: old,
        sequence: 1,
        frame: rig.publish_to_nobody("foo", b"x").into(),
    });
    rig.take(Down::Uninterested { topic: old });
    rig.publish("bar", b"y");
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::publication("bar", "y")]);
}
