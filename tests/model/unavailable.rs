//! Topics that their broker has not subscribed.

use roadcast::mesh::{Down, TopicId, Unavailable, Up};
use roadcast::shard::{About, ConnId, JoinRefusal, Reason, Refusal, Task};

use super::rig::{Rig, quiet};
use super::wire;

/// The topic that the shard has asked for by this name, and no longer waits for in the test.
fn asked(rig: &mut Rig, name: &str) -> TopicId {
    rig.ask();
    let is = |question: &Up| matches!(question, Up::Interest { name: of, .. } if **of == *name);
    let place = rig.questions.iter().position(is).unwrap_or_else(|| panic!("{name} is not asked"));
    let Up::Interest { topic, .. } = rig.questions.remove(place) else { unreachable!() };
    topic
}

fn refuse(rig: &mut Rig, name: &str) {
    refuse_for(rig, name, Unavailable::Late);
}

fn refuse_for(rig: &mut Rig, name: &str, why: Unavailable) {
    let topic = asked(rig, name);
    rig.take(Down::Unavailable { topic, why });
    rig.sweep();
}

#[test]
fn all_who_wait_are_refused_the_topic_is_freed_and_who_comes_next_asks_anew() {
    let mut rig = Rig::new(quiet());
    let ids: Vec<ConnId> = (0..3).map(|_| rig.connect()).collect();
    ids.iter().for_each(|&id| rig.join(id, &["foo"]));
    refuse(&mut rig, "foo");
    for &id in &ids {
        assert_eq!(rig.texts(id), [wire::reply("#join", &["foo"])]);
    }
    assert_eq!((rig.counters.topics.value(), rig.shard.standing().subscriptions_bytes), (0, 0));
    let counters = &rig.counters;
    assert_eq!((counters.joins_refused.value(), counters.joins_unavailable.value()), (3, 3));
    let said = rig.tasks().into_iter().filter_map(|task| match task {
        Task::Report(_, report) => Some((report.reason, report.about)),
        _ => None,
    });
    let reason = Reason::Refused(Refusal::Join(JoinRefusal::Broker(Unavailable::Late)));
    assert_eq!(said.collect::<Vec<_>>(), [(reason, About::Sent("foo".into()))]);
    rig.join(ids[0], &["foo"]);
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(ids[0]), [wire::reply("@join", &["foo"])]);
}

#[test]
fn a_topic_that_the_brokers_server_forbids_is_told_from_one_that_is_late() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect();
    rig.join(id, &["foo"]);
    refuse_for(&mut rig, "foo", Unavailable::Forbidden);
    assert_eq!(rig.texts(id), [wire::reply("#join", &["foo"])]);
    let counters = &rig.counters;
    assert_eq!((counters.joins_refused.value(), counters.joins_unavailable.value()), (1, 0));
    assert_eq!(counters.joins_forbidden.value(), 1);
    let reason = Reason::Refused(Refusal::Join(JoinRefusal::Broker(Unavailable::Forbidden)));
    let said = |task: &Task| matches!(task, Task::Report(_, report) if report.reason == reason);
    assert_eq!(rig.tasks().iter().filter(|task| said(task)).count(), 1);
}

#[test]
fn a_join_is_refused_as_a_whole_whichever_of_its_topics_cannot_be_had() {
    for last in [true, false] {
        let mut rig = Rig::new(quiet());
        let _other = rig.member(&["held"]);
        let id = rig.connect();
        rig.join(id, &["held", "a", "b"]);
        if last {
            let a = asked(&mut rig, "a");
            rig.take(Down::Interested { topic: a, sequence: 0 });
            refuse(&mut rig, "b");
        } else {
            refuse(&mut rig, "b");
            let a = asked(&mut rig, "a");
            rig.take(Down::Interested { topic: a, sequence: 0 });
            rig.sweep();
        }
        assert_eq!(rig.texts(id), [wire::reply("#join", &["held", "a", "b"])]);
        rig.publish("held", b"x");
        rig.sweep();
        assert!(rig.texts(id).is_empty(), "none of them is joined");
        rig.answer();
        assert_eq!(rig.counters.topics.value(), 1, "what was confirmed is given up");
    }
}

#[test]
fn what_waits_behind_a_join_that_is_refused_goes_on_and_may_ask_for_the_topic_again() {
    let mut rig = Rig::new(quiet());
    let (id, other) = (rig.connect(), rig.connect());
    rig.join(id, &["foo"]);
    rig.leave(id, &["bar"]);
    rig.join(id, &["foo"]);
    rig.join(other, &["foo"]);
    refuse(&mut rig, "foo");
    let refused = wire::reply("#join", &["foo"]);
    assert_eq!(rig.texts(id), [refused.clone(), wire::reply("@leave", &["bar"])]);
    assert_eq!(rig.texts(other), [refused]);
    rig.answer();
    rig.sweep();
    assert_eq!(rig.texts(id), [wire::reply("@join", &["foo"])]);
    rig.publish("foo", b"x");
    rig.sweep();
    assert_eq!(rig.texts(id).len(), 1);
    assert!(rig.texts(other).is_empty());
}

#[test]
fn who_has_gone_meanwhile_leaves_nothing_behind() {
    let mut rig = Rig::new(quiet());
    let (gone, stays) = (rig.connect(), rig.connect());
    rig.join(gone, &["foo", "bar"]);
    rig.join(stays, &["foo"]);
    rig.shard.ended(gone);
    refuse(&mut rig, "foo");
    refuse(&mut rig, "bar");
    assert_eq!(rig.texts(stays), [wire::reply("#join", &["foo"])]);
    assert_eq!((rig.counters.topics.value(), rig.shard.standing().subscriptions_bytes), (0, 0));
}

/// It was given up and is wanted again: the second answer is the one that cannot be had.
#[test]
fn a_topic_that_is_asked_for_again_may_be_unavailable_then() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.leave(id, &["foo"]);
    rig.ask();
    rig.join(id, &["foo"]);
    let Some(Up::Uninterest { topic }) = rig.questions.pop() else { panic!("it is given up") };
    rig.take(Down::Uninterested { topic });
    refuse(&mut rig, "foo");
    let expected = [wire::reply("@leave", &["foo"]), wire::reply("#join", &["foo"])];
    assert_eq!(rig.texts(id), expected);
    assert_eq!(rig.counters.topics.value(), 0);
}
