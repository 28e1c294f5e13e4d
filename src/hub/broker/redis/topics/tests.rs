use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn names(range: std::ops::Range<usize>) -> Vec<Arc<str>> {
    range.map(|n| format!("t{n}").into()).collect()
}

fn sent(topics: &mut Topics, now: Instant) -> Vec<(Verb, Vec<String>)> {
    let mut sent = Vec::new();
    while let Some((verb, names)) = topics.next(now) {
        sent.push((verb, names.iter().map(|name| name.to_string()).collect()));
    }
    sent
}

fn held(topics: &mut Topics, names: &[Arc<str>], now: Instant) {
    for name in names {
        assert_eq!(topics.want(name, now), Wanting::Later);
    }
    sent(topics, now);
    for name in names {
        assert_eq!(topics.confirmed(name), Confirmed::Held { missed: false });
    }
}

#[test]
fn a_topic_is_there_once_the_server_has_confirmed_it() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    let foo: Arc<str> = "foo".into();
    assert_eq!(topics.want(&foo, now), Wanting::Later);
    assert_eq!(sent(&mut topics, now), [(Verb::Subscribe, vec!["foo".to_owned()])]);
    assert_eq!(topics.want(&foo, now), Wanting::Later, "asked for is not subscribed");
    assert_eq!(sent(&mut topics, now), []);
    assert_eq!(topics.confirmed("foo"), Confirmed::Held { missed: false });
    assert_eq!(topics.confirmed("foo"), Confirmed::Unasked);
    assert_eq!(topics.want(&foo, now), Wanting::Now);
    assert_eq!(topics.overdue(now + PATIENCE * 2), []);
}

#[test]
fn no_command_names_more_than_1000_channels_or_much_more_than_64_kib() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    for name in names(0..2_500) {
        topics.want(&name, now);
    }
    let counts = |sent: Vec<(Verb, Vec<String>)>| -> Vec<usize> {
        sent.into_iter().map(|(_, names)| names.len()).collect()
    };
    assert_eq!(counts(sent(&mut topics, now)), [1_000, 1_000, 500]);
    for n in 0..200 {
        topics.want(&format!("{n:01024}").into(), now);
    }
    assert_eq!(counts(sent(&mut topics, now)), [64, 64, 64, 8]);
}

#[test]
fn a_topic_lingers_before_it_is_left_and_may_come_back() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    held(&mut topics, &names(0..2), now);
    topics.unwant("t0", now);
    topics.unwant("t1", now);
    let before = now + LINGER - Duration::from_millis(1);
    assert_eq!(sent(&mut topics, before), []);
    assert_eq!(topics.want(&"t1".into(), before), Wanting::Now);
    let after = now + LINGER;
    assert_eq!(sent(&mut topics, after), [(Verb::Unsubscribe, vec!["t0".to_owned()])]);
    // Wanted again while UNSUBSCRIBE is under way: asked for anew once that is answered.
    assert_eq!(topics.want(&"t0".into(), after), Wanting::Later);
    assert_eq!(sent(&mut topics, after), []);
    assert_eq!(topics.confirmed("t0"), Confirmed::Unasked);
    assert_eq!(topics.ended("t0"), Ended::Left);
    assert_eq!(sent(&mut topics, after), [(Verb::Subscribe, vec!["t0".to_owned()])]);
    assert_eq!(topics.confirmed("t0"), Confirmed::Held { missed: false });
    topics.unwant("t0", after);
    sent(&mut topics, after + LINGER);
    topics.ended("t0");
    assert_eq!(topics.len(), 1, "nothing is kept of what was left");
}

#[test]
fn after_an_outage_all_is_asked_for_and_what_was_held_has_a_gap_once() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    held(&mut topics, &names(0..3), now);
    topics.want(&"new".into(), now);
    topics.unwant("t2", now);
    topics.disconnected();
    assert!(!topics.is_settled());
    let mut asked: Vec<String> = sent(&mut topics, now).remove(0).1;
    asked.sort();
    assert_eq!(asked, ["new", "t0", "t1"], "what lingered is left by now");
    assert_eq!(topics.want(&"t0".into(), now), Wanting::Later, "not subscribed by now");
    assert_eq!(topics.confirmed("t0"), Confirmed::Held { missed: true });
    assert_eq!(topics.confirmed("new"), Confirmed::Held { missed: false });
    assert!(!topics.is_settled());
    // A second outage before all are there: the gap of t1 has not been told yet.
    topics.disconnected();
    sent(&mut topics, now);
    for (name, missed) in [("t0", true), ("t1", true), ("new", true)] {
        assert_eq!(topics.confirmed(name), Confirmed::Held { missed }, "{name}");
    }
    assert!(topics.is_settled());
}

#[test]
fn who_waits_too_long_is_told_and_who_has_the_topic_keeps_it() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    held(&mut topics, &names(0..1), now);
    topics.disconnected();
    topics.want(&"t0".into(), now);
    topics.want(&"new".into(), now);
    assert_eq!(topics.overdue(now + PATIENCE - LINGER), []);
    let late = now + PATIENCE;
    let overdue: Vec<String> = topics.overdue(late).iter().map(ToString::to_string).collect();
    assert_eq!(overdue, ["t0", "new"]);
    topics.turned_away("t0", true, late);
    topics.turned_away("new", false, late);
    assert_eq!(topics.overdue(late + PATIENCE), []);
    assert_eq!(sent(&mut topics, late + LINGER), [(Verb::Subscribe, vec!["t0".to_owned()])]);
    assert_eq!((topics.len(), topics.is_settled()), (1, false));
}

#[test]
fn one_channel_that_is_refused_does_not_cost_the_others() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    let all = names(0..100);
    for name in &all {
        topics.want(name, now);
    }
    let (mut commands, mut refused) = (0, Vec::new());
    while let Some((verb, asked)) = topics.next(now) {
        commands += 1;
        assert_eq!(verb, Verb::Subscribe);
        let asked = asked.to_vec();
        if asked.iter().any(|name| &**name == "t37") {
            if let Refused::Topic(name) = topics.refused() {
                refused.push(name);
            }
        } else {
            for name in asked {
                assert_eq!(topics.confirmed(&name), Confirmed::Held { missed: false });
            }
        }
    }
    assert_eq!(refused, ["t37".into()]);
    assert!(commands < 20, "halved each time: {commands}");
    for name in &all {
        let held = topics.want(name, now) == Wanting::Now;
        assert_eq!(held, &**name != "t37");
    }
}

#[test]
fn a_ping_takes_its_place_among_the_answers() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    topics.asked_beside();
    topics.want(&"foo".into(), now);
    sent(&mut topics, now);
    topics.answered_beside();
    assert_eq!(topics.refused(), Refused::Topic("foo".into()));
    topics.asked_beside();
    assert_eq!(topics.refused(), Refused::Other);
}

#[test]
fn a_slot_that_moves_takes_its_topics_along_with_a_gap() {
    let (mut topics, now) = (Topics::new(PATIENCE, true), Instant::now());
    held(&mut topics, &names(0..2), now);
    topics.want(&"asked".into(), now);
    sent(&mut topics, now);
    assert_eq!(topics.ended("t0"), Ended::Moved);
    let mut released = topics.release(|_| false);
    released.sort_by(|a, b| a.name.cmp(&b.name));
    let said: Vec<_> = released.iter().map(|topic| (&*topic.name, topic.missed)).collect();
    assert_eq!(said, [("asked", false), ("t0", true), ("t1", true)]);
    assert_eq!(sent(&mut topics, now), [(Verb::Unsubscribe, vec!["t1".to_owned()])]);
    assert_eq!(topics.confirmed("asked"), Confirmed::Unasked, "another server's by now");
    assert_eq!(topics.ended("t1"), Ended::Left);
    assert_eq!(sent(&mut topics, now), [(Verb::Unsubscribe, vec!["asked".to_owned()])]);
    topics.ended("asked");
    assert_eq!(topics.len(), 0);
    let mut other = Topics::new(PATIENCE, true);
    for topic in released {
        other.adopt(topic, now);
    }
    assert_eq!(sent(&mut other, now).len(), 3, "a command each");
    assert_eq!(other.confirmed("t0"), Confirmed::Held { missed: true });
    assert_eq!(other.confirmed("asked"), Confirmed::Held { missed: false });
}

#[test]
fn who_waits_for_a_topic_waits_no_longer_when_it_moves() {
    let (mut topics, now) = (Topics::new(PATIENCE, true), Instant::now());
    topics.want(&"t0".into(), now);
    let mut other = Topics::new(PATIENCE, true);
    let later = now + PATIENCE / 2;
    other.want(&"t1".into(), later);
    for topic in topics.release(|_| false) {
        other.adopt(topic, later);
    }
    other.ask_nothing();
    assert!(other.due.is_empty());
    assert_eq!(other.overdue(now + PATIENCE), [Arc::from("t0")]);
    assert_eq!(other.overdue(later + PATIENCE), [Arc::from("t1")]);
}

/// What a server does that is sent these commands, and the answers that it owes.
fn serve(
    server: &mut HashSet<String>,
    answers: &mut VecDeque<(Verb, String)>,
    commands: Vec<(Verb, Vec<String>)>,
) {
    for (verb, names) in commands {
        for name in names {
            match verb {
                Verb::Subscribe => server.insert(name.clone()),
                _ => server.remove(&name),
            };
            answers.push_back((verb, name));
        }
    }
}

fn answered(topics: &mut Topics, verb: Verb, name: &str) {
    match verb {
        Verb::Subscribe => drop(topics.confirmed(name)),
        _ => drop(topics.ended(name)),
    }
}

/// Random wants, unwants, outages and slow answers against a server that is a set of names: what it
/// has confirmed and this side holds is always the same.
#[test]
fn what_is_held_is_what_the_server_has_subscribed() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut topics, mut now) = (Topics::new(PATIENCE, false), Instant::now());
        let mut server: HashSet<String> = HashSet::new();
        let mut answers: VecDeque<(Verb, String)> = VecDeque::new();
        let mut wanted: HashSet<String> = HashSet::new();
        for _ in 0..500 {
            let name: Arc<str> = format!("t{}", rng.random_range(0..8)).into();
            match rng.random_range(0..10) {
                0..4 => {
                    wanted.insert(name.to_string());
                    if topics.want(&name, now) == Wanting::Now {
                        assert!(server.contains(&*name), "seed {seed}: {name} is not subscribed");
                    }
                }
                4..6 => {
                    if wanted.remove(&*name) {
                        topics.unwant(&name, now);
                    }
                }
                6 if rng.random_bool(0.1) => {
                    topics.disconnected();
                    (server, answers) = Default::default();
                }
                6 => now += LINGER / 3,
                _ => {
                    if let Some((verb, name)) = answers.pop_front() {
                        answered(&mut topics, verb, &name);
                    }
                }
            }
            serve(&mut server, &mut answers, sent(&mut topics, now));
        }
        now += LINGER * 3;
        for _ in 0..10 {
            for (verb, name) in std::mem::take(&mut answers) {
                answered(&mut topics, verb, &name);
            }
            now += LINGER * 3;
            serve(&mut server, &mut answers, sent(&mut topics, now));
        }
        assert_eq!((&server, topics.len()), (&wanted, wanted.len()), "seed {seed}");
    }
}

#[test]
fn topics_that_come_and_go_in_an_outage_leave_nothing_behind() {
    let (mut topics, mut now) = (Topics::new(PATIENCE, false), Instant::now());
    for n in 0..5_000 {
        for name in ["same".into(), format!("t{n}").into()] {
            topics.want(&name, now);
            topics.unwant(&name, now);
        }
        now += LINGER;
        topics.end_lingering(now);
    }
    assert_eq!(topics.len(), 0);
    for queue in [topics.due.len(), topics.unwanted.len(), topics.waiting.len()] {
        assert!(queue < 100, "{queue}");
    }
}

#[test]
fn a_topic_that_is_left_twice_lingers_from_the_second_time() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    held(&mut topics, &names(0..1), now);
    topics.unwant("t0", now);
    topics.want(&"t0".into(), now + LINGER / 2);
    topics.unwant("t0", now + LINGER / 2);
    assert_eq!(sent(&mut topics, now + LINGER), []);
    assert_eq!(sent(&mut topics, now + LINGER * 2).len(), 1);
}

#[test]
fn what_a_server_ends_by_itself_answers_no_other_question() {
    let (mut topics, now) = (Topics::new(PATIENCE, true), Instant::now());
    held(&mut topics, &names(0..1), now);
    topics.want(&"new".into(), now);
    sent(&mut topics, now);
    topics.release(|name| name != "t0");
    sent(&mut topics, now);
    assert_eq!(topics.ended("t0"), Ended::Left);
    assert_eq!(topics.refused(), Refused::Topic("new".into()), "its question is still the oldest");
    assert_eq!(topics.ended("t0"), Ended::Left);
    assert_eq!(topics.len(), 1);
}

#[test]
fn a_topic_that_may_not_be_left_is_held() {
    let (mut topics, now) = (Topics::new(PATIENCE, false), Instant::now());
    held(&mut topics, &names(0..2), now);
    topics.unwant("t0", now);
    topics.unwant("t1", now);
    sent(&mut topics, now + LINGER);
    assert_eq!(topics.want(&"t0".into(), now + LINGER), Wanting::Later);
    assert!(!topics.is_held("t0"));
    assert_eq!(topics.refused(), Refused::Leave(names(0..2)));
    assert_eq!((topics.stays("t0"), topics.stays("t1")), (true, false));
    assert_eq!((topics.is_held("t0"), topics.is_held("t1")), (true, false));
    assert_eq!(topics.want(&"t1".into(), now + LINGER), Wanting::Now);
}
