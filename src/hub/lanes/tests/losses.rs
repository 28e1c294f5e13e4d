//! Losses that are told, and those that wait for room.

use super::*;
use crate::mesh::Unavailable;

#[test]
fn a_loss_is_told_once_to_each_shard_that_has_the_topic_before_its_next_publication() {
    let (mut lanes, mut shards) = lanes(2, 16, 1000);
    lanes.interested(0, id(7), key("foo"));
    lanes.interested(1, id(3), key("foo"));
    lanes.interested(1, id(4), key("other"));
    publish(&mut lanes, "foo", frame(10));
    let foo = lanes.wanted(BROKER, "foo").unwrap();
    lanes.lost(foo);
    publish(&mut lanes, "foo", frame(10));
    assert_eq!(take(&mut shards[0]), ["+7#0", "7#1:10", "?7", "7#2:10"]);
    assert_eq!(take(&mut shards[1]), ["+3#0", "+4#0", "3#1:10", "?3", "3#2:10"]);
}

#[test]
fn losses_that_find_no_room_wait_once_a_topic_and_stop_their_topics_publications() {
    let (mut lanes, mut shards) = lanes(1, 2, 1000);
    lanes.interested(0, id(1), key("a"));
    lanes.interested(0, id(2), key("b"));
    assert_eq!(take(&mut shards[0]), ["+1#0", "+2#0"]);
    let (a, b) = (lanes.wanted(BROKER, "a").unwrap(), lanes.wanted(BROKER, "b").unwrap());
    for _ in 0..10 {
        lanes.lost(a);
        lanes.lost(b);
    }
    assert!(matches!(publish(&mut lanes, "b", frame(10)), Offer::Waits(_)));
    let mut seen = Vec::new();
    while let entries @ [_, ..] = &take(&mut shards[0])[..] {
        seen.extend_from_slice(entries);
        lanes.advance();
    }
    // Two were told at once and one waits in the lane; of all the others each topic has one.
    assert_eq!(seen, ["?1", "?2", "?1", "?1", "?2", "2#1:10"]);
}

#[test]
fn a_loss_of_a_topic_that_nobody_wants_any_more_is_forgotten() {
    let (mut lanes, mut shards) = lanes(2, 1, 1000);
    lanes.interested(0, id(1), key("a"));
    lanes.interested(1, id(1), key("a"));
    let a = lanes.wanted(BROKER, "a").unwrap();
    // Each lane is full of its answer, and the loss waits behind it.
    lanes.lost(a);
    lanes.lost(a);
    lanes.uninterested(0, id(1));
    lanes.uninterested(1, id(1));
    assert!(lanes.lanes.iter().all(|lane| lane.losses.is_empty()));
    lanes.interested(0, id(2), key("b"));
    let mut seen = Vec::new();
    while let entries @ [_, ..] = &take(&mut shards[0])[..] {
        seen.extend_from_slice(entries);
        lanes.advance();
    }
    assert_eq!(seen, ["+1#0", "?1", "-1", "+2#0"]);
}

/// Answers leave also when another one is given, not only when the hub looks for room.
#[test]
fn a_loss_that_waits_for_room_is_told_as_soon_as_there_is_some_whoever_finds_it() {
    let (mut lanes, mut shards) = lanes(1, 2, 1000);
    lanes.interested(0, id(1), key("a"));
    lanes.interested(0, id(2), key("b"));
    let a = lanes.wanted(BROKER, "a").unwrap();
    lanes.lost(a);
    lanes.lost(a);
    let before = ["+1#0", "+2#0"];
    assert_eq!(take(&mut shards[0]), before);
    lanes.answer(0, Down::Unavailable { topic: id(3), why: Unavailable::Late });
    assert_eq!(take(&mut shards[0]), ["?1", "!3"]);
    lanes.answer(0, Down::Unavailable { topic: id(4), why: Unavailable::Late });
    publish(&mut lanes, "a", frame(10));
    let mut seen = Vec::new();
    while let entries @ [_, ..] = &take(&mut shards[0])[..] {
        seen.extend_from_slice(entries);
        lanes.advance();
    }
    let place = |entry: &str| seen.iter().position(|seen| seen == entry);
    assert!(place("?1").is_some() && place("?1") < place("1#1:10"), "{seen:?}");
}
