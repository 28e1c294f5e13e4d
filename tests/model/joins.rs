//! Joins, leaves, and the shard's interest at the hub.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::limits::Limits;
use roadcast::log_rate::Unsaid;
use roadcast::mesh::{Down, Up};
use roadcast::shard::charge::{SUBSCRIPTION_BYTES, topic_bytes};
use roadcast::shard::{About, BATCH_SENDS, ConnId, Reason, Refusal, Report, Task};
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, quiet};
use super::wire;

fn publication(topic: &str, payload: &str) -> String {
    format!("{{\"topic\":\"{topic}\",\"payload\":\"{payload}\"}}")
}

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
        publication("new", "x"),
    ];
    assert_eq!(rig.texts(id), expected);
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
    assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"]), publication("foo", "x")]);
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
    assert!(matches!(question, Up::Uninterest { .. }) && rig.questions.is_empty(), "one question at a time");
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
    assert_eq!(rig.texts(second), [wire::reply("@join", &["foo"]), publication("foo", "to all")]);
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
        publication("foo", "x"),
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

/// What the join of a new topic with a name of this length is charged with.
fn cost(name_len: usize) -> usize {
    topic_bytes(name_len) + SUBSCRIPTION_BYTES
}

#[test]
fn a_join_past_a_bound_in_bytes_is_refused_as_a_whole() {
    // Room for three topics a connection, and for six in the shard, with what waits for an answer.
    let limits = Limits {
        subscriptions_bytes_per_connection: 3 * cost(100),
        subscriptions_bytes: 6 * cost(100) + 500,
        ..quiet()
    };
    let mut rig = Rig::new(limits);
    let name = |n: u8| (n as char).to_string().repeat(100);
    let [a, b, c, d] = [b'a', b'b', b'c', b'd'].map(name);
    let id = rig.member(&[&a, &b]);
    rig.join(id, &[&c, &d]);
    assert!(!rig.shard.has_questions(), "nothing has been made");
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("#join", &[&c, &d])], "over its own bound");
    rig.join(id, &[&a, &c, &b]);
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &[&a, &c, &b])], "what it has already costs nothing");

    let [e, f, g] = [b'e', b'f', b'g'].map(name);
    let other = rig.member(&[&d, &e, &f]);
    let third = rig.connect();
    rig.join(third, &[&g]);
    rig.sweep();
    assert_eq!(rig.texts(third), [wire::reply("#join", &[&g])], "over the shard's");
    rig.join(third, &[&a]);
    rig.sweep();
    assert_eq!(rig.texts(third), [wire::reply("@join", &[&a])], "a topic that there is costs little");
    rig.leave(other, &[&d, &e]);
    rig.answer();
    rig.join(third, &[&g]);
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(third), [wire::reply("@join", &[&g])], "what has been left is given back");
    assert_eq!(rig.counters.joins_refused.value(), 2);
}

/// Clients that come and go while the hub does not answer leave their place among those who wait.
#[test]
fn joins_that_wait_for_an_answer_are_bounded_however_many_clients_come_and_go() {
    let limits =
        Limits { subscriptions_bytes_per_connection: 10_000, subscriptions_bytes: 10_000, ..quiet() };
    let mut rig = Rig::new(limits);
    let mut waited = 0;
    let refused = loop {
        let id = rig.connect();
        rig.join(id, &["foo"]);
        rig.sweep();
        let texts = rig.texts(id);
        rig.shard.ended(id);
        rig.shard.released(id);
        if !texts.is_empty() {
            break texts;
        }
        waited += 1;
        assert!(waited < 10_000, "as many as like to wait");
    };
    assert_eq!(refused, [wire::reply("#join", &["foo"])]);
    assert!(waited > 100, "{waited}");
    rig.answer();
    assert_eq!(rig.shard.standing().subscriptions_bytes, 0);
    rig.member(&["foo"]);
}

/// Clients with few topics and with hundreds, at random, against a set of names for each.
#[test]
fn what_joins_leaves_and_ends_were_charged_is_given_back() {
    for seed in 0..20 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut rig = Rig::new(quiet());
        let mut clients: Vec<(ConnId, BTreeSet<String>)> =
            (0..3).map(|_| (rig.connect(), BTreeSet::new())).collect();
        let topics = [5, 30, 200][rng.random_range(0..3)];
        for step in 0..100 {
            let place = rng.random_range(0..clients.len());
            let (id, joined) = &mut clients[place];
            let count = rng.random_range(1..=topics.min(40));
            let names: Vec<String> =
                (0..count).map(|_| format!("t{}", rng.random_range(0..topics))).collect();
            let few: Vec<&str> = names.iter().map(String::as_str).collect();
            match rng.random_range(0..10) {
                0..6 => {
                    rig.join(*id, &few);
                    joined.extend(names.iter().cloned());
                }
                6..9 => {
                    rig.leave(*id, &few);
                    joined.retain(|name| !names.contains(name));
                }
                _ => {
                    // Also with a join that waits.
                    rig.shard.ended(*id);
                    rig.shard.released(*id);
                    rig.shard.check_invariants();
                    clients[place] = (rig.connect(), BTreeSet::new());
                }
            }
            if rng.random_bool(0.7) {
                rig.answer();
            }
            if step % 10 == 9 {
                rig.answer();
                rig.sweep();
                clients.iter().for_each(|(id, _)| drop(rig.taken(*id)));
                let name = format!("t{}", rng.random_range(0..topics));
                if clients.iter().any(|(_, joined)| joined.contains(&name)) {
                    rig.publish(&name, b"x");
                }
                rig.sweep();
                for (id, joined) in &clients {
                    let got = rig.texts(*id);
                    let due = joined.contains(&name).then(|| publication(&name, "x"));
                    assert_eq!(got, Vec::from_iter(due), "seed {seed}, step {step}");
                }
            }
        }
        for (id, _) in clients {
            rig.shard.ended(id);
            rig.shard.released(id);
        }
        rig.answer();
        assert_eq!(rig.shard.standing().subscriptions_bytes, 0, "seed {seed}");
    }
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
            rig.bytes(id, &wire::masked(Opcode::Text, wire::command(name, "redis", &[topic]).as_bytes()));
            rig.answer();
        }
        rig.publish("foo", b"x");
        rig.sweep();
        let replies = [("@join", "foo"), ("@join", "bar"), ("@leave", "bar")];
        let mut expected_texts: Vec<String> =
            replies.iter().map(|(reply, topic)| wire::reply(reply, &[topic])).collect();
        expected_texts.push(publication("foo", "x"));
        assert_eq!(rig.texts(id), expected_texts);
        assert_eq!(rig.tasks(), expected, "of others it is counted");
    }
}

#[test]
fn the_same_name_at_two_brokers_is_two_topics() {
    let mut rig = Rig::new(quiet());
    let (here, there) = (rig.connect(), rig.connect());
    rig.bytes(there, &wire::masked(Opcode::Text, wire::command("join", "bus", &["foo"]).as_bytes()));
    rig.answer();
    rig.join(here, &["foo"]);
    rig.answer();
    rig.publish("foo", b"x");
    rig.sweep();
    assert_eq!(rig.texts(here), [wire::reply("@join", &["foo"]), publication("foo", "x")]);
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
    assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"]), publication("foo", "after")]);
    assert!(crowd.iter().all(|&id| rig.texts(id).len() == 2));
}

#[test]
fn an_entry_for_a_freed_topic_reaches_nobody() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    rig.ask();
    let Some(Up::Interest { topic: old, .. }) = rig.questions.first() else { panic!("a first subscriber") };
    let old = *old;
    rig.answer();
    rig.leave(id, &["foo"]);
    rig.answer();
    rig.join(id, &["bar"]);
    rig.answer();
    rig.sweep();
    rig.taken(id);
    rig.take(Down::Publish { topic: old, sequence: 1, frame: rig.publish_to_nobody("foo", b"x").into() });
    rig.take(Down::Uninterested { topic: old });
    rig.publish("bar", b"y");
    rig.sweep();
    assert_eq!(rig.texts(id), [publication("bar", "y")]);
}
