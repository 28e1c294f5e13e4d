//! Room stepped without threads or sockets: the test takes out of the lanes by hand.

use std::collections::HashMap;

use rand::prelude::*;

use super::*;
use crate::hub::stream::Peer;
use crate::limits::Limits;
use crate::mesh::{ShardEnd, mesh};

const BROKER: BrokerId = BrokerId(0);

fn room(shards: usize, lane_entries: usize, lane_bytes: usize) -> (Room, Vec<ShardEnd>) {
    let limits = Limits { lane_entries, lane_bytes, ..Limits::default() };
    let (end, shards) = mesh(shards, &limits).unwrap();
    (Room::new(end.down, lane_bytes, Arc::default()), shards)
}

fn id(index: u32) -> TopicId {
    TopicId { index, generation: 0 }
}

fn frame(bytes: usize) -> Arc<[u8]> {
    vec![0; bytes].into()
}

fn is_pushed(offer: &mut Offer) -> bool {
    match offer {
        Offer::Pushed => true,
        Offer::Left(_) => false,
        Offer::Waits(done) => done.try_recv().is_ok(),
    }
}

fn publish(room: &mut Room, name: &str, frame: Arc<[u8]>) -> Offer {
    room.wanted(BROKER, name)
        .map_or(Offer::Pushed, |topic| room.publish(topic, frame, Patience::Caller))
}

/// Everything in a lane, as text.
fn take(end: &mut ShardEnd) -> Vec<String> {
    std::iter::from_fn(|| end.down.pop())
        .map(|entry| match entry {
            Down::Publish { topic, sequence, frame } => {
                format!("{}#{sequence}:{}", topic.index, frame.len())
            }
            Down::Interested { topic, sequence } => format!("+{}#{sequence}", topic.index),
            Down::Uninterested { topic } => format!("-{}", topic.index),
            Down::StopAccepting => "stop".into(),
            Down::Drain => "drain".into(),
        })
        .collect()
}

#[test]
fn answers_and_publications_share_one_order() {
    let (mut room, mut shards) = room(2, 16, 1000);
    assert!(matches!(publish(&mut room, "foo", frame(1)), Offer::Pushed), "nobody wants it");
    assert!(room.interested(0, id(7), BROKER, "foo"));
    publish(&mut room, "foo", frame(1));
    assert!(!room.interested(1, id(3), BROKER, "foo"));
    publish(&mut room, "foo", frame(2));
    assert_eq!(room.uninterested(0, id(7)), None);
    publish(&mut room, "foo", frame(3));
    assert_eq!(take(&mut shards[0]), ["+7#0", "7#1:1", "7#2:2", "-7"]);
    assert_eq!(take(&mut shards[1]), ["+3#1", "3#2:2", "3#3:3"]);
    assert_eq!(room.uninterested(1, id(3)), Some((BROKER, "foo".into())));
}

#[test]
fn a_publication_reaches_all_shards_or_none() {
    let (mut room, mut shards) = room(2, 16, 10);
    room.interested(0, id(0), BROKER, "both");
    room.interested(1, id(0), BROKER, "both");
    room.interested(1, id(1), BROKER, "second");
    publish(&mut room, "second", frame(8));
    let mut waits = publish(&mut room, "both", frame(3));
    assert!(!is_pushed(&mut waits));
    assert_eq!(take(&mut shards[0]), ["+0#0"], "nothing of it although this lane has room");
    assert_eq!(take(&mut shards[1]), ["+0#0", "+1#0", "1#1:8"]);
    assert!(room.advance());
    assert!(is_pushed(&mut waits));
    assert_eq!(
        (take(&mut shards[0]), take(&mut shards[1])),
        (vec!["0#1:3".into()], vec!["0#1:3".into()])
    );
}

#[test]
fn a_full_lane_stops_only_what_needs_it() {
    let (mut room, mut shards) = room(3, 16, 10);
    room.interested(0, id(0), BROKER, "zero");
    room.interested(1, id(0), BROKER, "one");
    room.interested(0, id(1), BROKER, "both");
    room.interested(1, id(1), BROKER, "both");
    publish(&mut room, "zero", frame(10));
    let mut zero = publish(&mut room, "zero", frame(4));
    let mut both = publish(&mut room, "both", frame(4));
    for _ in 0..2 {
        assert!(is_pushed(&mut publish(&mut room, "one", frame(5))), "its lane is empty");
    }
    take(&mut shards[0]);
    room.advance();
    assert!(is_pushed(&mut zero));
    assert!(!is_pushed(&mut both), "now the other lane is full");
    take(&mut shards[1]);
    room.advance();
    assert!(is_pushed(&mut both));
}

#[test]
fn who_waits_for_a_lane_is_not_overtaken_there() {
    let (mut room, mut shards) = room(1, 16, 10);
    room.interested(0, id(0), BROKER, "foo");
    publish(&mut room, "foo", frame(6));
    let mut large = publish(&mut room, "foo", frame(7));
    let mut small = publish(&mut room, "foo", frame(1));
    assert!(
        !is_pushed(&mut large) && !is_pushed(&mut small),
        "there is room for the small one, behind the large"
    );
    take(&mut shards[0]);
    room.advance();
    assert!(is_pushed(&mut large) && is_pushed(&mut small));
    assert_eq!(take(&mut shards[0]), ["0#2:7", "0#3:1"]);
}

/// Two lanes that are never free at the same moment by themselves: the oldest keeps the room that
/// it has found.
#[test]
fn the_oldest_is_not_starved_by_streams_to_each_of_its_lanes() {
    let (mut room, mut shards) = room(2, 16, 10);
    for (shard, own) in ["zero", "one"].into_iter().enumerate() {
        room.interested(shard, id(0), BROKER, own);
        room.interested(shard, id(1), BROKER, "both");
        publish(&mut room, own, frame(10));
    }
    let mut both = publish(&mut room, "both", frame(6));
    take(&mut shards[0]);
    room.advance();
    assert!(
        is_pushed(&mut publish(&mut room, "zero", frame(4))),
        "it leaves the six of ten that are kept"
    );
    assert!(!is_pushed(&mut publish(&mut room, "zero", frame(1))));
    take(&mut shards[1]);
    room.advance();
    assert!(is_pushed(&mut both));
    assert_eq!(take(&mut shards[0]), ["0#2:4", "1#1:6"]);
}

#[test]
fn the_entry_bound_counts_as_the_byte_bound_does() {
    let (mut room, mut shards) = room(1, 2, 1000);
    room.interested(0, id(0), BROKER, "foo");
    assert!(is_pushed(&mut publish(&mut room, "foo", frame(1))));
    let mut waits = publish(&mut room, "foo", frame(1));
    assert!(!is_pushed(&mut waits));
    take(&mut shards[0]);
    room.advance();
    assert!(is_pushed(&mut waits));
}

#[test]
fn a_publication_larger_than_the_lane_enters_it_empty() {
    let (mut room, mut shards) = room(1, 16, 10);
    room.interested(0, id(0), BROKER, "foo");
    publish(&mut room, "foo", frame(1));
    let mut waits = publish(&mut room, "foo", frame(100));
    assert!(!is_pushed(&mut waits));
    take(&mut shards[0]);
    room.advance();
    assert!(is_pushed(&mut waits));
}

#[test]
fn answers_wait_for_an_entry_ahead_of_publications() {
    let (mut room, mut shards) = room(1, 1, 1000);
    room.interested(0, id(0), BROKER, "foo");
    room.interested(0, id(1), BROKER, "bar");
    let mut waits = publish(&mut room, "bar", frame(1));
    room.uninterested(0, id(0));
    assert!(!is_pushed(&mut waits));
    let mut seen = Vec::new();
    while room.advance() || !is_pushed(&mut waits) {
        seen.extend(take(&mut shards[0]));
    }
    seen.extend(take(&mut shards[0]));
    assert_eq!(seen, ["+0#0", "+1#0", "-0", "1#1:1"]);
}

#[test]
fn interest_that_changes_during_the_wait_is_what_counts() {
    let (mut room, mut shards) = room(2, 16, 10);
    room.interested(0, id(0), BROKER, "foo");
    publish(&mut room, "foo", frame(10));
    let mut second = publish(&mut room, "foo", frame(2));
    room.interested(1, id(0), BROKER, "foo");
    take(&mut shards[0]);
    room.advance();
    assert!(is_pushed(&mut second));
    assert_eq!(
        take(&mut shards[1]),
        ["+0#1", "0#2:2"],
        "the newcomer was told the sequence before it"
    );

    publish(&mut room, "foo", frame(8));
    let mut third = publish(&mut room, "foo", frame(5));
    room.uninterested(0, id(0));
    room.uninterested(1, id(0));
    assert!(room.advance());
    assert!(is_pushed(&mut third), "nobody wants it any more");
}

#[test]
fn the_end_refuses_what_waits_and_is_the_last_entry() {
    let (mut room, mut shards) = room(1, 2, 1000);
    room.interested(0, id(0), BROKER, "foo");
    publish(&mut room, "foo", frame(1));
    let Offer::Waits(mut waits) = publish(&mut room, "foo", frame(1)) else { panic!() };
    room.announce(|| Down::StopAccepting);
    room.end();
    assert_eq!(waits.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    room.uninterested(0, id(0));
    publish(&mut room, "foo", frame(1));
    let mut seen = take(&mut shards[0]);
    room.advance();
    seen.extend(take(&mut shards[0]));
    assert_eq!(seen, ["+0#0", "0#1:1", "stop", "drain"]);
    assert!(!room.advance());
}

#[test]
fn a_shard_that_is_gone_stops_nobody() {
    let (mut room, mut shards) = room(2, 1, 10);
    room.interested(0, id(0), BROKER, "foo");
    room.interested(1, id(0), BROKER, "foo");
    drop(shards.remove(0));
    assert_eq!(take(&mut shards[0]), ["+0#0"]);
    for sequence in 1..5 {
        assert!(is_pushed(&mut publish(&mut room, "foo", frame(3))));
        assert_eq!(take(&mut shards[0]), [format!("0#{sequence}:3")]);
    }
    assert!(!room.is_abandoned());
    shards.clear();
    assert!(room.is_abandoned());
}

/// Random interest, publications, and shards that take now and then, against what each shard must
/// see.
#[test]
fn every_shard_sees_each_topic_gapless_from_its_answer_on() {
    for seed in 0..200 {
        let mut random = StdRng::seed_from_u64(seed);
        let shards = random.random_range(1..=4);
        let (mut room, mut ends) =
            room(shards, random.random_range(1..6), random.random_range(1..30));
        let names = ["a", "b", "c"];
        // Per shard and topic: wants it (and the question is answered), and the sequence seen last.
        let mut wants = vec![[false; 3]; shards];
        let mut asked = vec![[false; 3]; shards];
        let mut seen: HashMap<(usize, usize), Option<u64>> = HashMap::new();
        let mut waiting: Vec<Offer> = Vec::new();
        let mut received = vec![0u64; shards];
        let mut settle =
            |room: &mut Room, shard: usize, end: &mut ShardEnd, asked: &mut [[bool; 3]]| {
                let Some(entry) = end.down.pop() else { return false };
                match entry {
                    Down::Interested { topic, sequence } => {
                        seen.insert((shard, topic.index as usize), Some(sequence));
                        asked[shard][topic.index as usize] = false;
                    }
                    Down::Uninterested { topic } => {
                        seen.insert((shard, topic.index as usize), None);
                        asked[shard][topic.index as usize] = false;
                    }
                    Down::Publish { topic, sequence, .. } => {
                        let last =
                            seen.get_mut(&(shard, topic.index as usize)).unwrap().as_mut().unwrap();
                        assert_eq!(sequence, *last + 1, "seed {seed}: gapless");
                        *last = sequence;
                        received[shard] += 1;
                    }
                    entry => panic!("{entry:?}"),
                }
                room.want_room();
                true
            };
        for _ in 0..400 {
            let (shard, topic) = (random.random_range(0..shards), random.random_range(0..3));
            match random.random_range(0..10) {
                0..2 if !asked[shard][topic] => {
                    asked[shard][topic] = true;
                    let wanted = &mut wants[shard][topic];
                    *wanted = !*wanted;
                    if *wanted {
                        room.interested(shard, id(topic as u32), BROKER, names[topic]);
                    } else {
                        room.uninterested(shard, id(topic as u32));
                    }
                }
                0..6 => {
                    let mut offer =
                        publish(&mut room, names[topic], frame(random.random_range(1..12)));
                    if !is_pushed(&mut offer) {
                        waiting.push(offer);
                    }
                }
                6..9 => {
                    settle(&mut room, shard, &mut ends[shard], &mut asked);
                }
                _ => {
                    room.advance();
                }
            }
        }
        // Shards that drain let everything go.
        loop {
            let mut progress = room.advance();
            for (shard, end) in ends.iter_mut().enumerate() {
                progress |= settle(&mut room, shard, end, &mut asked);
            }
            if !progress {
                break;
            }
        }
        assert!(waiting.iter_mut().all(is_pushed), "seed {seed}: nothing waits for empty lanes");
        assert_eq!(
            received.iter().sum::<u64>(),
            room.counters.publications_pushed.value(),
            "seed {seed}"
        );
        for topic in 0..3 {
            let last: Vec<_> =
                (0..shards).filter_map(|s| seen.get(&(s, topic)).copied().flatten()).collect();
            assert!(
                last.windows(2).all(|two| two[0] == two[1]),
                "seed {seed}: all shards end alike {last:?}"
            );
        }
    }
}

/// A full lane, and many that wait for it, of as many topics: a look at it costs the same as if one
/// waited.
#[test]
fn what_cannot_move_is_not_looked_at() {
    let (mut room, mut shards) = room(2, 1000, 100);
    for index in 0..200u32 {
        room.interested(0, id(index), BROKER, format!("zero {index}"));
        room.interested(0, id(1000 + index), BROKER, format!("both {index}"));
        room.interested(1, id(index), BROKER, format!("both {index}"));
    }
    room.interested(1, id(1000), BROKER, "one");
    for _ in 0..5 {
        for index in 0..200 {
            publish(&mut room, &format!("zero {index}"), frame(10));
            publish(&mut room, &format!("both {index}"), frame(10));
        }
    }
    assert!(is_pushed(&mut publish(&mut room, "one", frame(10))), "its lane has room");
    let looks = |room: &mut Room| {
        let before = room.looks.get();
        let moved = room.advance();
        (moved, room.looks.get() - before)
    };
    assert_eq!(looks(&mut room), (false, 2), "the oldest of each set of shards");
    shards.iter_mut().for_each(|shard| while shard.down.pop().is_some() {});
    // Ten find room, and the next of each set does not.
    assert_eq!(looks(&mut room), (true, 12));
}

#[test]
fn a_publication_behind_another_of_its_topic_stays_behind_it_when_interest_changes() {
    let (mut room, mut shards) = room(2, 16, 10);
    room.interested(0, id(0), BROKER, "foo");
    publish(&mut room, "foo", frame(10));
    let mut first = publish(&mut room, "foo", frame(1));
    room.interested(1, id(0), BROKER, "foo");
    room.uninterested(0, id(0));
    let mut second = publish(&mut room, "foo", frame(2));
    room.advance();
    assert!(is_pushed(&mut first) && is_pushed(&mut second));
    assert_eq!(take(&mut shards[1]), ["+0#1", "0#2:1", "0#3:2"]);
    assert_eq!(take(&mut shards[0]), ["+0#0", "0#1:10", "-0"]);
}

#[test]
fn what_is_left_waiting_is_on_its_account_until_it_goes_or_nobody_wants_it() {
    let (mut room, mut shards) = room(1, 16, 10);
    let patience = Patience::Account(Account::of(Peer::Unix), usize::MAX);
    room.interested(0, id(0), BROKER, "foo");
    room.interested(0, id(1), BROKER, "bar");
    publish(&mut room, "foo", frame(10));
    publish(&mut room, "foo", frame(3));
    assert_eq!(room.accounts().bytes(), 0, "its caller waits");
    for name in ["foo", "bar", "bar"] {
        let topic = room.wanted(BROKER, name).unwrap();
        let offer = room.publish(topic, frame(4), patience);
        assert!(matches!(offer, Offer::Left(bytes) if bytes == 4 + WAITING_BYTES));
    }
    assert_eq!(room.accounts().bytes(), 3 * (4 + WAITING_BYTES));
    room.uninterested(0, id(1));
    assert_eq!(room.accounts().bytes(), 4 + WAITING_BYTES);
    take(&mut shards[0]);
    room.advance();
    assert_eq!(room.accounts().bytes(), 0);
    assert!(!room.is_waiting());
    let topic = room.wanted(BROKER, "foo").unwrap();
    room.publish(topic, frame(10), patience);
    room.publish(topic, frame(10), patience);
    assert_eq!((room.end(), room.accounts().bytes()), (2, 0));
}
