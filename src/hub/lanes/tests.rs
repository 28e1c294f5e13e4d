//! Lanes stepped without threads or sockets: the test takes out of the lanes by hand.

use super::*;
use crate::hub::accounts::Account;
use crate::limits::Limits;
use crate::mesh::{ShardEnd, mesh};

mod losses;
mod positions;
mod random;

const BROKER: BrokerId = BrokerId(0);

fn lanes(shards: usize, lane_entries: usize, lane_bytes: usize) -> (Lanes, Vec<ShardEnd>) {
    let limits = Limits { lane_entries, lane_bytes, ..Limits::default() };
    let (end, shards) = mesh(shards, &limits).unwrap();
    (Lanes::new(end.down, &limits, &Policies::default(), Arc::default()), shards)
}

fn key(name: impl Into<Arc<str>>) -> Key {
    Key { broker: BROKER, form: Form::Plain, name: name.into() }
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

fn publish(lanes: &mut Lanes, name: &str, frame: Arc<[u8]>) -> Offer {
    lanes
        .wanted(BROKER, name)
        .map_or(Offer::Pushed, |topic| lanes.publish(topic, frame, Patience::Caller))
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
            Down::Unavailable { topic, .. } => format!("!{}", topic.index),
            Down::Positioned { connection, topics } => {
                format!("@{}:{topics:?}", connection.index)
            }
            Down::Lost { topic } => format!("?{}", topic.index),
            Down::StopAccepting => "stop".into(),
            Down::Drain => "drain".into(),
        })
        .collect()
}

#[test]
fn answers_and_publications_share_one_order() {
    let (mut lanes, mut shards) = lanes(2, 16, 1000);
    assert!(matches!(publish(&mut lanes, "foo", frame(1)), Offer::Pushed), "nobody wants it");
    lanes.interested(0, id(7), key("foo"));
    publish(&mut lanes, "foo", frame(1));
    lanes.interested(1, id(3), key("foo"));
    publish(&mut lanes, "foo", frame(2));
    assert_eq!(lanes.uninterested(0, id(7)), None);
    publish(&mut lanes, "foo", frame(3));
    assert_eq!(take(&mut shards[0]), ["+7#0", "7#1:1", "7#2:2", "-7"]);
    assert_eq!(take(&mut shards[1]), ["+3#1", "3#2:2", "3#3:3"]);
    assert_eq!(lanes.uninterested(1, id(3)), Some(key("foo")));
}

#[test]
fn a_publication_reaches_all_shards_or_none() {
    let (mut lanes, mut shards) = lanes(2, 16, 10);
    lanes.interested(0, id(0), key("both"));
    lanes.interested(1, id(0), key("both"));
    lanes.interested(1, id(1), key("second"));
    publish(&mut lanes, "second", frame(8));
    let mut waits = publish(&mut lanes, "both", frame(3));
    assert!(!is_pushed(&mut waits));
    assert_eq!(take(&mut shards[0]), ["+0#0"], "nothing of it although this lane has room");
    assert_eq!(take(&mut shards[1]), ["+0#0", "+1#0", "1#1:8"]);
    assert!(lanes.advance());
    assert!(is_pushed(&mut waits));
    assert_eq!(
        (take(&mut shards[0]), take(&mut shards[1])),
        (vec!["0#1:3".into()], vec!["0#1:3".into()])
    );
}

#[test]
fn a_full_lane_stops_only_what_needs_it() {
    let (mut lanes, mut shards) = lanes(3, 16, 10);
    lanes.interested(0, id(0), key("zero"));
    lanes.interested(1, id(0), key("one"));
    lanes.interested(0, id(1), key("both"));
    lanes.interested(1, id(1), key("both"));
    publish(&mut lanes, "zero", frame(10));
    let mut zero = publish(&mut lanes, "zero", frame(4));
    let mut both = publish(&mut lanes, "both", frame(4));
    for _ in 0..2 {
        assert!(is_pushed(&mut publish(&mut lanes, "one", frame(5))), "its lane is empty");
    }
    take(&mut shards[0]);
    lanes.advance();
    assert!(is_pushed(&mut zero));
    assert!(!is_pushed(&mut both), "now the other lane is full");
    take(&mut shards[1]);
    lanes.advance();
    assert!(is_pushed(&mut both));
}

#[test]
fn who_waits_for_a_lane_is_not_overtaken_there() {
    let (mut lanes, mut shards) = lanes(1, 16, 10);
    lanes.interested(0, id(0), key("foo"));
    publish(&mut lanes, "foo", frame(6));
    let mut large = publish(&mut lanes, "foo", frame(7));
    let mut small = publish(&mut lanes, "foo", frame(1));
    assert!(
        !is_pushed(&mut large) && !is_pushed(&mut small),
        "there is room for the small one, behind the large"
    );
    take(&mut shards[0]);
    lanes.advance();
    assert!(is_pushed(&mut large) && is_pushed(&mut small));
    assert_eq!(take(&mut shards[0]), ["0#2:7", "0#3:1"]);
}

/// Two lanes that are never free at the same moment by themselves: the oldest keeps the room that
/// it has found.
#[test]
fn the_oldest_is_not_starved_by_streams_to_each_of_its_lanes() {
    let (mut lanes, mut shards) = lanes(2, 16, 10);
    for (shard, own) in ["zero", "one"].into_iter().enumerate() {
        lanes.interested(shard, id(0), key(own));
        lanes.interested(shard, id(1), key("both"));
        publish(&mut lanes, own, frame(10));
    }
    let mut both = publish(&mut lanes, "both", frame(6));
    take(&mut shards[0]);
    lanes.advance();
    assert!(
        is_pushed(&mut publish(&mut lanes, "zero", frame(4))),
        "it leaves the six of ten that are kept"
    );
    assert!(!is_pushed(&mut publish(&mut lanes, "zero", frame(1))));
    take(&mut shards[1]);
    lanes.advance();
    assert!(is_pushed(&mut both));
    assert_eq!(take(&mut shards[0]), ["0#2:4", "1#1:6"]);
}

#[test]
fn the_entry_bound_counts_as_the_byte_bound_does() {
    let (mut lanes, mut shards) = lanes(1, 2, 1000);
    lanes.interested(0, id(0), key("foo"));
    assert!(is_pushed(&mut publish(&mut lanes, "foo", frame(1))));
    let mut waits = publish(&mut lanes, "foo", frame(1));
    assert!(!is_pushed(&mut waits));
    take(&mut shards[0]);
    lanes.advance();
    assert!(is_pushed(&mut waits));
}

#[test]
fn a_publication_larger_than_the_lane_enters_it_empty() {
    let (mut lanes, mut shards) = lanes(1, 16, 10);
    lanes.interested(0, id(0), key("foo"));
    publish(&mut lanes, "foo", frame(1));
    let mut waits = publish(&mut lanes, "foo", frame(100));
    assert!(!is_pushed(&mut waits));
    take(&mut shards[0]);
    lanes.advance();
    assert!(is_pushed(&mut waits));
}

#[test]
fn answers_wait_for_an_entry_ahead_of_publications() {
    let (mut lanes, mut shards) = lanes(1, 1, 1000);
    lanes.interested(0, id(0), key("foo"));
    lanes.interested(0, id(1), key("bar"));
    let mut waits = publish(&mut lanes, "bar", frame(1));
    lanes.uninterested(0, id(0));
    assert!(!is_pushed(&mut waits));
    let mut seen = Vec::new();
    while lanes.advance() || !is_pushed(&mut waits) {
        seen.extend(take(&mut shards[0]));
    }
    seen.extend(take(&mut shards[0]));
    assert_eq!(seen, ["+0#0", "+1#0", "-0", "1#1:1"]);
}

#[test]
fn interest_that_changes_during_the_wait_is_what_counts() {
    let (mut lanes, mut shards) = lanes(2, 16, 10);
    lanes.interested(0, id(0), key("foo"));
    publish(&mut lanes, "foo", frame(10));
    let mut second = publish(&mut lanes, "foo", frame(2));
    lanes.interested(1, id(0), key("foo"));
    take(&mut shards[0]);
    lanes.advance();
    assert!(is_pushed(&mut second));
    assert_eq!(
        take(&mut shards[1]),
        ["+0#1", "0#2:2"],
        "the newcomer was told the sequence before it"
    );

    publish(&mut lanes, "foo", frame(8));
    let mut third = publish(&mut lanes, "foo", frame(5));
    lanes.uninterested(0, id(0));
    lanes.uninterested(1, id(0));
    assert!(lanes.advance());
    assert!(is_pushed(&mut third), "nobody wants it any more");
}

#[test]
fn the_end_refuses_what_waits_and_is_the_last_entry() {
    let (mut lanes, mut shards) = lanes(1, 2, 1000);
    lanes.interested(0, id(0), key("foo"));
    publish(&mut lanes, "foo", frame(1));
    let Offer::Waits(mut waits) = publish(&mut lanes, "foo", frame(1)) else { panic!() };
    lanes.announce(|| Down::StopAccepting);
    lanes.end();
    assert_eq!(waits.try_recv(), Err(oneshot::error::TryRecvError::Closed));
    lanes.uninterested(0, id(0));
    publish(&mut lanes, "foo", frame(1));
    let mut seen = take(&mut shards[0]);
    lanes.advance();
    seen.extend(take(&mut shards[0]));
    assert_eq!(seen, ["+0#0", "0#1:1", "stop", "drain"]);
    assert!(!lanes.advance());
}

#[test]
fn a_shard_that_is_gone_stops_nobody() {
    let (mut lanes, mut shards) = lanes(2, 1, 10);
    lanes.interested(0, id(0), key("foo"));
    lanes.interested(1, id(0), key("foo"));
    drop(shards.remove(0));
    assert_eq!(take(&mut shards[0]), ["+0#0"]);
    for sequence in 1..5 {
        assert!(is_pushed(&mut publish(&mut lanes, "foo", frame(3))));
        assert_eq!(take(&mut shards[0]), [format!("0#{sequence}:3")]);
    }
    assert!(!lanes.is_abandoned());
    shards.clear();
    assert!(lanes.is_abandoned());
}

/// A full lane, and many that wait for it, of as many topics: a look at it costs the same as if one
/// waited.
#[test]
fn what_cannot_move_is_not_looked_at() {
    let (mut lanes, mut shards) = lanes(2, 1000, 100);
    for index in 0..200u32 {
        lanes.interested(0, id(index), key(format!("zero {index}")));
        lanes.interested(0, id(1000 + index), key(format!("both {index}")));
        lanes.interested(1, id(index), key(format!("both {index}")));
    }
    lanes.interested(1, id(1000), key("one"));
    for _ in 0..5 {
        for index in 0..200 {
            publish(&mut lanes, &format!("zero {index}"), frame(10));
            publish(&mut lanes, &format!("both {index}"), frame(10));
        }
    }
    assert!(is_pushed(&mut publish(&mut lanes, "one", frame(10))), "its lane has room");
    let looks = |lanes: &mut Lanes| {
        let before = lanes.looks.get();
        let moved = lanes.advance();
        (moved, lanes.looks.get() - before)
    };
    assert_eq!(looks(&mut lanes), (false, 2), "the oldest of each set of shards");
    shards.iter_mut().for_each(|shard| while shard.down.pop().is_some() {});
    // Ten find room, and the next of each set does not.
    assert_eq!(looks(&mut lanes), (true, 12));
}

#[test]
fn a_publication_behind_another_of_its_topic_stays_behind_it_when_interest_changes() {
    let (mut lanes, mut shards) = lanes(2, 16, 10);
    lanes.interested(0, id(0), key("foo"));
    publish(&mut lanes, "foo", frame(10));
    let mut first = publish(&mut lanes, "foo", frame(1));
    lanes.interested(1, id(0), key("foo"));
    lanes.uninterested(0, id(0));
    let mut second = publish(&mut lanes, "foo", frame(2));
    lanes.advance();
    assert!(is_pushed(&mut first) && is_pushed(&mut second));
    assert_eq!(take(&mut shards[1]), ["+0#1", "0#2:1", "0#3:2"]);
    assert_eq!(take(&mut shards[0]), ["+0#0", "0#1:10", "-0"]);
}

#[test]
fn what_is_left_waiting_is_on_its_account_until_it_goes_or_nobody_wants_it() {
    let (mut lanes, mut shards) = lanes(1, 16, 10);
    let patience = Patience::Account(Account::of(None), usize::MAX);
    lanes.interested(0, id(0), key("foo"));
    lanes.interested(0, id(1), key("bar"));
    publish(&mut lanes, "foo", frame(10));
    publish(&mut lanes, "foo", frame(3));
    assert_eq!(lanes.accounts().bytes(), 0, "its caller waits");
    for name in ["foo", "bar", "bar"] {
        let topic = lanes.wanted(BROKER, name).unwrap();
        let offer = lanes.publish(topic, frame(4), patience);
        assert!(matches!(offer, Offer::Left(bytes) if bytes == 4 + WAITING_BYTES));
    }
    assert_eq!(lanes.accounts().bytes(), 3 * (4 + WAITING_BYTES));
    lanes.uninterested(0, id(1));
    assert_eq!(lanes.accounts().bytes(), 4 + WAITING_BYTES);
    take(&mut shards[0]);
    lanes.advance();
    assert_eq!(lanes.accounts().bytes(), 0);
    assert!(!lanes.is_waiting());
    let topic = lanes.wanted(BROKER, "foo").unwrap();
    lanes.publish(topic, frame(10), patience);
    lanes.publish(topic, frame(10), patience);
    assert_eq!((lanes.end(), lanes.accounts().bytes()), (2, 0));
}
