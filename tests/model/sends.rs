//! How publications and outboxes leave: the sweep, batches, short sends.

use roadcast::limits::Limits;
use roadcast::shard::{BATCH_SENDS, ConnId, Task};

use super::rig::{Rig, Taken, quiet};
use super::wire;

#[test]
fn a_burst_larger_than_an_outbox_reaches_a_subscriber_that_takes_everything() {
    let mut rig = Rig::new(Limits { publication_bytes: 20_000, outbox_bytes: 100_000, ..quiet() });
    let id = rig.member(&["foo"]);
    let frames: Vec<Vec<u8>> = (0..20).map(|_| rig.publish("foo", &[b'x'; 15_000])).collect();
    rig.sweep();
    assert!(rig.taken(id) == frames.concat());
    assert_eq!(rig.counters.overflows.value(), 0);
}

#[test]
fn bursts_of_several_topics_at_once_reach_a_subscriber_that_takes_everything() {
    let mut rig = Rig::new(Limits { publication_bytes: 20_000, outbox_bytes: 40_000, ..quiet() });
    let topics = ["a", "b", "c", "d", "e"];
    let id = rig.member(&topics);
    for topic in topics {
        rig.publish(topic, &[b'x'; 15_000]);
    }
    rig.sweep();
    assert_eq!(rig.texts(id).len(), topics.len());
    assert_eq!(rig.counters.overflows.value(), 0);
}

#[test]
fn two_topics_of_one_connection_share_one_send() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["a", "b"]);
    let sent = [rig.publish("a", b"1"), rig.publish("b", b"2"), rig.publish("a", b"3")].concat();
    assert_eq!(rig.batch(|_, _| Taken::All), [id]);
    let taken = rig.taken(id);
    assert_eq!(taken.len(), sent.len());
    let texts: Vec<Vec<u8>> =
        wire::frames(&taken).into_iter().map(|(_, payload)| payload).collect();
    let of = |topic: &str| -> Vec<&Vec<u8>> {
        let start = format!("{{\"topic\":\"{topic}\"");
        texts.iter().filter(|text| text.starts_with(start.as_bytes())).collect()
    };
    assert_eq!((of("a").len(), of("b").len()), (2, 1));
    assert!(
        of("a")[0].ends_with(b"\"1\"}") && of("a")[1].ends_with(b"\"3\"}"),
        "each topic in its order"
    );
}

#[test]
fn a_reply_and_a_publication_share_one_send() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    rig.leave(id, &["bar"]);
    rig.publish("foo", b"x");
    assert_eq!(rig.batch(|_, _| Taken::All), [id]);
    assert_eq!(
        rig.texts(id),
        [wire::reply("@leave", &["bar"]), r#"{"topic":"foo","payload":"x"}"#.into()]
    );
}

/// Wherever the send stops, and whatever is published meanwhile: nothing is lost and nothing comes
/// twice.
#[test]
fn a_short_send_moves_exactly_the_rest() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    let bytes = rig.publish("foo", b"first").len() + rig.publish("foo", &[b'x'; 200]).len();
    rig.sweep();
    rig.taken(id);
    for stop in 0..bytes {
        let mut sent = [rig.publish("foo", b"first"), rig.publish("foo", &[b'x'; 200])].concat();
        let how = if stop == 0 { Taken::Errno(libc::EAGAIN) } else { Taken::Bytes(stop) };
        assert_eq!(rig.batch(|_, _| how), [id]);
        sent.extend(rig.publish("foo", b"meanwhile"));
        assert_eq!(rig.sweep(), 0, "nothing before there is room");
        assert!(rig.tasks().contains(&Task::WatchWritable(id)));
        rig.shard.writable(id);
        rig.sweep();
        assert_eq!(rig.taken(id), sent, "after {stop} bytes");
    }
    assert_eq!(rig.counters.laggards.value(), bytes as u64);
    assert_eq!(rig.balance().delivered, 2 + 3 * bytes as u64, "each publication is counted once");
}

#[test]
fn nothing_passes_an_outbox() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo", "bar"]);
    let first = rig.make_laggard(id, "foo", 7);
    rig.leave(id, &["foo"]);
    let second = rig.publish("bar", b"behind the reply");
    assert_eq!(rig.sweep(), 0);
    rig.shard.writable(id);
    rig.sweep();
    let frames: Vec<Vec<u8>> =
        wire::frames(&rig.taken(id)).into_iter().map(|(_, text)| text).collect();
    let reply = wire::reply("@leave", &["foo"]);
    let expected = [&first[2..], reply.as_bytes(), &second[2..]];
    assert_eq!(frames, expected);
}

/// Replies of more connections than a batch has room for: whoever waits for its turn gets no
/// publication before its reply.
#[test]
fn no_publication_passes_an_outbox_that_waits_for_its_turn() {
    let mut rig = Rig::new(quiet());
    let ids: Vec<ConnId> = (0..3 * BATCH_SENDS).map(|_| rig.member(&["foo"])).collect();
    ids.iter().for_each(|&id| rig.leave(id, &["bar"]));
    rig.publish("foo", b"x");
    rig.sweep();
    let expected = [wire::reply("@leave", &["bar"]), r#"{"topic":"foo","payload":"x"}"#.into()];
    assert!(ids.iter().all(|&id| rig.texts(id) == expected));
}

#[test]
fn one_send_carries_64_kib_or_one_larger_frame() {
    let mut rig = Rig::new(quiet());
    let id = rig.member(&["foo"]);
    let frame = rig.publish("foo", &[b'x'; 20_000]).len();
    for _ in 0..4 {
        rig.publish("foo", &[b'x'; 20_000]);
    }
    let large = rig.publish("foo", &[b'x'; 200_000]).len();
    let mut sends = Vec::new();
    rig.sweep_with(|of, bytes| {
        assert_eq!(of, id);
        sends.push(bytes.len());
        Taken::All
    });
    assert_eq!(sends, [3 * frame, 2 * frame, large]);
}

/// Members leave and join while the sweep is at every place of its round: whoever stays gets each
/// publication once.
#[test]
fn leaving_in_mid_sweep_skips_nobody() {
    for leaver in (0..80).step_by(3) {
        let mut rig = Rig::new(quiet());
        let ids: Vec<ConnId> = (0..80).map(|_| rig.member(&["foo"])).collect();
        let mut sent = rig.publish("foo", b"before");
        let visited = rig.batch(|_, _| Taken::All);
        assert_eq!(visited.len(), BATCH_SENDS);
        sent.extend(rig.publish("foo", b"while the round is under way"));
        rig.leave(ids[leaver], &["foo"]);
        rig.shard.ended(ids[(leaver + 40) % 80]);
        rig.join(ids[leaver], &["foo"]);
        rig.sweep();
        for (place, &id) in ids.iter().enumerate() {
            if place != leaver && place != (leaver + 40) % 80 {
                assert_eq!(rig.taken(id), sent, "{place} when {leaver} left");
            }
        }
    }
}

#[test]
fn a_hot_topic_starves_nobody() {
    let mut rig = Rig::new(quiet());
    let hot: Vec<ConnId> = (0..3 * BATCH_SENDS).map(|_| rig.member(&["hot"])).collect();
    let mut topics: Vec<String> = (0..10).map(|n| format!("quiet{n}")).collect();
    let quiet: Vec<ConnId> = topics.iter().map(|topic| rig.member(&[topic])).collect();
    let talker = rig.connect();
    rig.publish("hot", b"x");
    rig.batch(|_, _| Taken::All);
    topics.iter_mut().for_each(|topic| drop(rig.publish(topic, b"at last")));
    rig.leave(talker, &["nothing"]);
    for _ in 0..2 {
        // There is more for the hot topic than a batch can carry, always.
        rig.publish("hot", b"x");
        rig.batch(|_, _| Taken::All);
    }
    assert!(quiet.iter().all(|&id| rig.texts(id).len() == 1), "each topic has had its turn");
    assert_eq!(rig.texts(talker).len(), 1, "and so has a reply");
    rig.publish("hot", b"x");
    rig.sweep();
    assert!(hot.iter().all(|&id| rig.texts(id).len() == 4));
}

#[test]
fn a_crowd_of_replies_does_not_starve_a_topic() {
    let mut rig = Rig::new(quiet());
    let subscriber = rig.member(&["foo"]);
    let crowd: Vec<ConnId> = (0..2 * BATCH_SENDS).map(|_| rig.connect()).collect();
    crowd.iter().for_each(|&id| rig.leave(id, &["nothing"]));
    rig.publish("foo", b"x");
    assert!(rig.batch(|_, _| Taken::All).contains(&subscriber));
}

/// The log is never empty, and yet never grows: what everyone has had is released after each batch.
#[test]
fn the_log_releases_what_all_have_had_under_steady_publishing() {
    let limits = Limits { publication_bytes: 1_000, log_bytes: 10_000, ..quiet() };
    let mut rig = Rig::new(limits);
    let ids: Vec<ConnId> = (0..BATCH_SENDS + 10).map(|_| rig.member(&["foo"])).collect();
    for _ in 0..200 {
        assert!(rig.shard.wants_entries());
        rig.publish("foo", &[b'x'; 900]);
        rig.batch(|_, _| Taken::All);
    }
    rig.sweep();
    assert!(ids.iter().all(|&id| rig.texts(id).len() == 200));
}

/// However many topics have ever been published to: the invariants look at each of them.
#[test]
fn a_log_that_has_been_swept_out_keeps_no_memory() {
    let mut rig = Rig::new(quiet());
    let names: Vec<String> = (0..300).map(|n| format!("topic {n}")).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let id = rig.member(&topics);
    for topic in &topics {
        rig.publish(topic, &[b'x'; 1_000]);
    }
    rig.sweep();
    assert_eq!(rig.texts(id).len(), topics.len());
    rig.shard.check_invariants();
    for topic in &topics {
        rig.publish(topic, b"again");
        rig.sweep();
    }
    assert_eq!(rig.texts(id).len(), topics.len());
}

#[test]
fn a_full_log_takes_no_more_until_it_is_swept() {
    let mut rig = Rig::new(Limits { publication_bytes: 1_000, log_bytes: 2_000, ..quiet() });
    let id = rig.member(&["foo"]);
    let mut published = 0;
    while rig.shard.wants_entries() {
        rig.publish("foo", &[b'x'; 900]);
        published += 1;
    }
    assert_eq!(published, 3);
    rig.sweep();
    assert!(rig.shard.wants_entries());
    assert_eq!(rig.texts(id).len(), published);
}

#[test]
fn a_dead_socket_is_terminated_and_has_left_its_topics() {
    for errno in [libc::EPIPE, libc::ECONNRESET, libc::ETIMEDOUT] {
        let mut rig = Rig::new(quiet());
        let (dead, other) = (rig.member(&["foo"]), rig.member(&["foo"]));
        rig.tasks();
        let frame = rig.publish("foo", b"x");
        rig.batch(|id, _| if id == dead { Taken::Errno(errno) } else { Taken::All });
        assert_eq!(rig.tasks(), [Task::Terminate { id: dead, abort: false }]);
        rig.publish("foo", b"y");
        assert_eq!(rig.batch(|_, _| Taken::All), [other], "no send to the dead");
        assert!(rig.taken(other).starts_with(&frame));
        rig.shard.released(dead);
    }
}
