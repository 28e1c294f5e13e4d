//! What joins are charged with, and what of it is given back.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use roadcast::limits::Limits;
use roadcast::shard::ConnId;
use roadcast::shard::charge::{SUBSCRIPTION_BYTES, topic_bytes};

use super::rig::{Rig, quiet};
use super::wire;

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
    assert_eq!(
        rig.texts(id),
        [wire::reply("@join", &[&a, &c, &b])],
        "what it has already costs nothing"
    );

    let [e, f, g] = [b'e', b'f', b'g'].map(name);
    let other = rig.member(&[&d, &e, &f]);
    let third = rig.connect();
    rig.join(third, &[&g]);
    rig.sweep();
    assert_eq!(rig.texts(third), [wire::reply("#join", &[&g])], "over the shard's");
    rig.join(third, &[&a]);
    rig.sweep();
    assert_eq!(
        rig.texts(third),
        [wire::reply("@join", &[&a])],
        "a topic that there is costs little"
    );
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
    let limits = Limits {
        subscriptions_bytes_per_connection: 10_000,
        subscriptions_bytes: 10_000,
        ..quiet()
    };
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
                    let due = joined.contains(&name).then(|| wire::publication(&name, "x"));
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
