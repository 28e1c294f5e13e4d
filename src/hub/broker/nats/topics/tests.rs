//! One topic through each of its steps, and many of them at random against a plain model.

use std::collections::{BTreeMap, HashMap, HashSet};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::*;

const PATIENCE: Duration = Duration::from_secs(5);

fn topics() -> (Topics, Instant) {
    (Topics::new(PATIENCE), Instant::now())
}

fn name(text: &str) -> Arc<str> {
    Arc::from(text)
}

fn confirmed(name_: &str, gap: bool) -> Option<Confirmed> {
    Some(Confirmed { name: name(name_), gap })
}

/// A topic that is subscribed.
fn subscribed(topics: &mut Topics, text: &str, now: Instant) -> TopicId {
    assert_eq!(topics.want(&name(text), now), Wanting::Later);
    let (id, _) = topics.take().unwrap();
    assert_eq!(topics.confirm(id), confirmed(text, false));
    id
}

#[test]
fn a_topic_is_wanted_asked_for_once_and_subscribed() {
    let (mut topics, now) = topics();
    assert_eq!(topics.want(&name("a"), now), Wanting::Later);
    assert_eq!(topics.want(&name("a"), now), Wanting::Later);
    let (id, asked) = topics.take().unwrap();
    assert_eq!((&*asked, topics.take()), ("a", None));
    assert_eq!(TopicId::of_number(id.number()), id);
    assert_eq!(topics.confirm(id), confirmed("a", false));
    assert_eq!(topics.confirm(id), None, "once");
    assert_eq!(topics.want(&name("a"), now), Wanting::Now);
    assert_eq!(topics.next_due(), None);
}

#[test]
fn whoever_waits_too_long_is_told_and_the_topic_may_still_come() {
    let (mut topics, now) = topics();
    topics.want(&name("a"), now);
    let (id, _) = topics.take().unwrap();
    // A later shard does not make the first wait for longer.
    topics.want(&name("a"), now + PATIENCE / 2);
    assert_eq!(topics.next_due(), Some(now + PATIENCE));
    assert_eq!(topics.due(now + PATIENCE - LINGER), None);
    assert_eq!(topics.due(now + PATIENCE), Some(Due::Unavailable(id, name("a"))));
    assert_eq!(topics.due(now + PATIENCE), None);
    // Somebody else has it.
    assert_eq!(topics.confirm(id), confirmed("a", false));
}

#[test]
fn a_topic_that_nobody_has_after_waiting_in_vain_is_forgotten() {
    let (mut topics, now) = topics();
    topics.want(&name("queued"), now);
    let late = now + PATIENCE;
    let Some(Due::Unavailable(id, _)) = topics.due(late) else { panic!() };
    topics.forget(id, late);
    assert_eq!((topics.len(), topics.take()), (0, None));

    topics.want(&name("asked"), late);
    let (id, _) = topics.take().unwrap();
    let later = late + PATIENCE;
    assert_eq!(topics.due(later), Some(Due::Unavailable(id, name("asked"))));
    topics.forget(id, later);
    // The server has been told of it.
    assert_eq!(topics.confirm(id), None);
    assert_eq!(topics.due(later + LINGER), Some(Due::Release(id, name("asked"))));
    assert_eq!(topics.len(), 0);
}

#[test]
fn a_topic_lingers_for_a_second_and_is_there_at_once_for_who_comes_meanwhile() {
    let (mut topics, now) = topics();
    let id = subscribed(&mut topics, "a", now);
    topics.unwant("a", now);
    assert_eq!(topics.arrives(id), None);
    assert_eq!(topics.want(&name("a"), now + LINGER / 2), Wanting::Now);
    assert_eq!(topics.due(now + LINGER), None);
    topics.unwant("a", now + LINGER);
    assert_eq!(topics.due(now + LINGER), None);
    assert_eq!(topics.due(now + LINGER * 2), Some(Due::Release(id, name("a"))));
    // Whoever wants it now has it anew, under another id.
    topics.want(&name("a"), now + LINGER * 2);
    let (again, _) = topics.take().unwrap();
    assert_ne!(again, id);
    assert_eq!((topics.confirm(id), topics.arrives(id)), (None, None));
}

#[test]
fn a_broken_connection_leaves_a_gap_in_what_was_subscribed_alone() {
    let (mut topics, now) = topics();
    let a = subscribed(&mut topics, "a", now);
    let b = subscribed(&mut topics, "b", now);
    subscribed(&mut topics, "gone", now);
    topics.unwant("gone", now);
    topics.want(&name("asked"), now);
    let (asked, _) = topics.take().unwrap();
    topics.want(&name("queued"), now);
    assert_eq!(topics.disconnected(), 2);
    assert_eq!(topics.find("gone"), None);
    assert_eq!(topics.want(&name("a"), now), Wanting::Later);
    // It breaks again before anything is back.
    assert_eq!(topics.disconnected(), 2);

    let taken: Vec<_> = std::iter::from_fn(|| topics.take().map(|(id, _)| id)).collect();
    assert_eq!(taken.len(), 4);
    // A publication comes before its topic is confirmed, and behind the gap.
    assert_eq!(topics.arrives(a), confirmed("a", true));
    assert_eq!(topics.arrives(a), confirmed("a", false));
    assert_eq!(topics.confirm(a), confirmed("a", false));
    assert_eq!(topics.confirm(b), confirmed("b", true));
    assert!(topics.are_resuming());
    assert_eq!(topics.confirm(asked), confirmed("asked", false));
    let queued = topics.find("queued").unwrap();
    topics.unwant("queued", now);
    assert_eq!(topics.confirm(queued), None);
    assert!(topics.due(now + LINGER).is_some());
    assert!(!topics.are_resuming());
}

#[test]
fn a_refused_topic_is_asked_for_again_for_the_next_who_wants_it() {
    let (mut topics, now) = topics();
    topics.want(&name("a"), now);
    let (id, _) = topics.take().unwrap();
    // Nobody has it, or can be told.
    assert_eq!(topics.refuse(id, now), confirmed("a", true));
    assert_eq!(topics.take(), None);
    assert_eq!(topics.want(&name("a"), now), Wanting::Later);
    assert_eq!(topics.next_due(), Some(now + PATIENCE));
    assert_eq!(topics.take(), Some((id, name("a"))));
    topics.confirm(id);
    // Taken away from us later: those who have it miss something.
    assert_eq!(topics.refuse(id, now), confirmed("a", true));
    topics.unwant("a", now);
    assert_eq!((topics.len(), topics.next_due()), (0, None));
}

#[test]
fn a_refused_topic_that_somebody_has_is_asked_for_again_in_a_while_and_told_of_once() {
    let (mut topics, now) = topics();
    let a = subscribed(&mut topics, "a", now);
    assert_eq!(topics.refuse(a, now), confirmed("a", true));
    let mut at = now;
    for _ in 0..3 {
        assert_eq!(topics.next_due(), Some(at + AGAIN));
        at += AGAIN;
        assert_eq!(topics.due(at - LINGER), None);
        assert_eq!((topics.due(at), topics.take()), (None, Some((a, name("a")))));
        assert_eq!(topics.refuse(a, at), confirmed("a", false));
    }
    // Also over an outage, in which it is not asked for.
    topics.disconnected();
    assert_eq!(topics.next_due(), None);
    topics.take().unwrap();
    assert_eq!(topics.refuse(a, at), confirmed("a", false));
    assert_eq!(topics.due(at + AGAIN), None);
    topics.take().unwrap();
    assert_eq!(topics.confirm(a), confirmed("a", true));
    assert_eq!(topics.next_due(), None);
    assert_eq!(topics.refuse(a, at), confirmed("a", true));
    // It is back, and taken away before that is confirmed.
    assert_eq!(topics.due(at + AGAIN), None);
    topics.take().unwrap();
    assert_eq!(topics.arrives(a), confirmed("a", true));
    assert_eq!(topics.refuse(a, at), confirmed("a", true));
}

#[test]
fn a_topic_that_nobody_wants_is_released_once_its_answer_has_come() {
    let (mut topics, now) = topics();
    topics.want(&name("a"), now);
    let (id, _) = topics.take().unwrap();
    topics.unwant("a", now);
    assert_eq!(topics.due(now + LINGER), None);
    assert_eq!(topics.confirm(id), None);
    assert_eq!(topics.due(now + LINGER * 2), Some(Due::Release(id, name("a"))));
    assert_eq!(topics.len(), 0);
}

#[test]
fn those_who_keep_a_refused_topic_hear_again_that_they_missed_something_when_it_is_back() {
    let (mut topics, now) = topics();
    let a = subscribed(&mut topics, "a", now);
    assert_eq!(topics.refuse(a, now), confirmed("a", true));
    // On its way since before.
    assert_eq!(topics.arrives(a), None);
    topics.want(&name("a"), now);
    assert_eq!(topics.take(), Some((a, name("a"))));
    assert_eq!(topics.confirm(a), confirmed("a", true));
    assert_eq!(topics.arrives(a), confirmed("a", false));

    // The gap of the broken connection has been told before it is refused.
    topics.disconnected();
    topics.take().unwrap();
    assert_eq!(topics.arrives(a), confirmed("a", true));
    assert_eq!(topics.refuse(a, now), confirmed("a", true));
    topics.want(&name("a"), now);
    topics.take().unwrap();
    assert_eq!(topics.confirm(a), confirmed("a", true));
}

#[test]
fn topics_that_come_and_go_while_no_server_asks_leave_nothing_in_the_queue() {
    let (mut topics, now) = topics();
    topics.want(&name("first"), now);
    for n in 0..10_000 {
        let text = format!("t{n}");
        topics.want(&name(&text), now);
        topics.unwant(&text, now);
        assert!(topics.queued.len() <= 2 * topics.len() + DEAD_MAX + 2);
    }
    topics.want(&name("last"), now);
    let taken: Vec<_> = std::iter::from_fn(|| topics.take().map(|(_, name)| name)).collect();
    assert_eq!(taken, [name("first"), name("last")]);
}

#[test]
fn whatever_happens_all_who_wait_are_answered_and_every_gap_is_told_once() {
    for seed in 0..200 {
        let mut rng = StdRng::seed_from_u64(seed);
        let (mut topics, mut now) = topics();
        let names: Vec<_> = (0..12).map(|n| name(&format!("t{n}"))).collect();
        // What the server has, what is asked of it; who has what; who waits since when; of which
        // refusals whoever has the topic knows.
        let mut asked: VecDeque<TopicId> = VecDeque::new();
        let mut has: BTreeMap<Arc<str>, bool> = BTreeMap::new();
        let mut waits: HashMap<Arc<str>, Instant> = HashMap::new();
        let mut told: HashSet<Arc<str>> = HashSet::new();
        for _ in 0..2_000 {
            now += Duration::from_millis(rng.random_range(0..400));
            let name = &names[rng.random_range(0..names.len())];
            while let Some(due) = topics.due(now) {
                match due {
                    Due::Unavailable(id, name) => {
                        assert!(waits.remove(&name).is_some(), "seed {seed}");
                        if !has.contains_key(&name) {
                            topics.forget(id, now);
                        }
                    }
                    Due::Release(_, name) => {
                        assert!(!has.contains_key(&name) && !waits.contains_key(&name));
                    }
                }
            }
            match rng.random_range(0..100) {
                0..40 => match topics.want(name, now) {
                    Wanting::Now => drop(has.entry(name.clone()).or_default()),
                    Wanting::Later => drop(waits.entry(name.clone()).or_insert(now)),
                },
                40..65 => {
                    if has.remove(name).is_some() | waits.remove(name).is_some() {
                        topics.unwant(name, now);
                        told.remove(name);
                    }
                }
                65..80 => asked.extend(topics.take().map(|(id, _)| id)),
                80..84 => {
                    let Some(id) = asked.pop_front() else { continue };
                    let Some(refused) = topics.refuse(id, now) else { continue };
                    let name = refused.name;
                    assert_eq!(refused.gap, !told.contains(&name), "seed {seed}: {name}");
                    waits.remove(&name);
                    match has.get_mut(&name) {
                        Some(gap) => {
                            *gap = true;
                            told.insert(name);
                        }
                        None => topics.forget(id, now),
                    }
                }
                84..97 => {
                    let Some(id) = asked.pop_front() else { continue };
                    let Some(confirmed) = topics.confirm(id) else { continue };
                    let name = confirmed.name;
                    let gap = has.get(&name).copied().unwrap_or_default();
                    assert_eq!(confirmed.gap, gap, "seed {seed}: {name}");
                    told.remove(&name);
                    if waits.remove(&name).is_some() || has.contains_key(&name) {
                        has.insert(name, false);
                    }
                }
                _ => {
                    asked.clear();
                    let gaps = topics.disconnected();
                    has.values_mut().for_each(|gap| *gap = true);
                    assert_eq!(gaps, has.len(), "seed {seed}");
                }
            }
            let oldest = waits.values().min();
            assert!(oldest.is_none_or(|since| now < *since + PATIENCE + PATIENCE / 10), "{seed}");
            assert!(has.keys().chain(waits.keys()).all(|name| topics.find(name).is_some()));
        }
        // In the end all come back.
        topics.disconnected();
        while let Some((id, _)) = topics.take() {
            topics.confirm(id);
        }
        assert!(!topics.are_resuming() && !topics.are_queued(), "seed {seed}");
        for name in has.keys().chain(waits.keys()) {
            assert_eq!(topics.want(name, now), Wanting::Now, "seed {seed}");
        }
    }
}
