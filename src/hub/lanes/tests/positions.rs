//! Questions of where topics stand: their answers in the lanes' order.

use super::*;
use crate::access::Pattern;
use crate::hub::sequencer::{Publishing, Sequencer};
use crate::mesh::ConnId;
use crate::policy::{History, TopicRule};
use crate::position::{Position, Since};
use crate::publication::Payload;

fn keeping(lane_entries: usize, lane_bytes: usize) -> (Lanes, Vec<ShardEnd>) {
    with_limits(&Limits { lane_entries, lane_bytes, ..Limits::default() })
}

fn with_limits(limits: &Limits) -> (Lanes, Vec<ShardEnd>) {
    let (end, shards) = mesh(1, limits).unwrap();
    let time = std::time::Duration::from_secs(60);
    let history = Some(History { size: 5, ttl: time, idle: time });
    let rule = TopicRule { pattern: Pattern::parse("*").unwrap(), overflow: None, history };
    let policies = Policies { topics: vec![rule], ..Policies::default() };
    (Lanes::new(end.down, limits, &policies, Arc::default()), shards)
}

fn positioned(name: &str) -> Key {
    Key { form: Form::Positioned, ..key(name) }
}

/// A publication of the topic, `payload` bytes long.
fn keep(lanes: &mut Lanes, name: &str, payload: usize) -> Offer {
    let frame = publication::encode(name, &vec![b'x'; payload], usize::MAX).unwrap();
    let id = lanes.keeping(BROKER, name).unwrap();
    lanes.publish(id, frame, Patience::Caller)
}

fn ask(lanes: &mut Lanes, connection: u32, since: Since) {
    let connection = ConnId { index: connection, generation: 0 };
    lanes.asked(0, connection, Box::new([(id(7), since)]));
}

/// What is in the lane, short: offsets of publications, and of each answer its offset and how many
/// publications it has.
fn take_short(end: &mut ShardEnd) -> Vec<String> {
    std::iter::from_fn(|| end.down.pop())
        .map(|entry| match entry {
            Down::Publish { sequence, .. } => format!("{sequence}"),
            Down::Interested { sequence, .. } => format!("+{sequence}"),
            Down::Positioned { connection, topics } => {
                let offset = topics[0].said.position.unwrap().offset;
                format!("@{}:{offset}/{}", connection.index, topics[0].frames.len())
            }
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn an_answer_stands_between_what_it_holds_and_what_follows() {
    let (mut lanes, mut shards) = keeping(16, 1 << 20);
    keep(&mut lanes, "foo", 1);
    keep(&mut lanes, "foo", 1);
    lanes.interested(0, id(7), positioned("foo"));
    ask(&mut lanes, 1, Since::Last(9));
    keep(&mut lanes, "foo", 1);
    ask(&mut lanes, 2, Since::Last(9));
    keep(&mut lanes, "foo", 1);
    assert_eq!(take_short(&mut shards[0]), ["+2", "@1:2/2", "3", "@2:3/3", "4"]);
}

#[test]
fn an_answer_waits_for_room_and_says_what_is_true_when_it_finds_some() {
    let (mut lanes, mut shards) = keeping(16, 1_000);
    lanes.interested(0, id(7), positioned("foo"));
    keep(&mut lanes, "foo", 700);
    ask(&mut lanes, 1, Since::Last(9));
    let mut waits = keep(&mut lanes, "foo", 600);
    assert!(!is_pushed(&mut waits));
    ask(&mut lanes, 2, Since::Last(1));
    assert_eq!(take_short(&mut shards[0]), ["+0", "1"]);
    // The first asker comes ahead of the publication that waits, which then waits no longer than
    // for it.
    assert!(lanes.advance());
    assert_eq!(take_short(&mut shards[0]), ["@1:1/1"]);
    while lanes.advance() {}
    let mut rest = take_short(&mut shards[0]);
    while lanes.advance() {
        rest.extend(take_short(&mut shards[0]));
    }
    rest.sort();
    assert!(is_pushed(&mut waits));
    assert!(rest == ["2", "@2:2/1"] || rest == ["2", "@2:1/1"], "{rest:?}");
}

#[test]
fn what_waits_when_the_last_one_leaves_is_kept_all_the_same() {
    let (mut lanes, _shards) = keeping(16, 1_000);
    lanes.interested(0, id(7), positioned("foo"));
    keep(&mut lanes, "foo", 900);
    let mut waits = keep(&mut lanes, "foo", 800);
    assert!(!is_pushed(&mut waits));
    assert_eq!(lanes.uninterested(0, id(7)), Some(positioned("foo")));
    assert!(is_pushed(&mut waits));
    let channel = lanes.keeping(BROKER, "foo").unwrap();
    assert_eq!(lanes.channels.at(channel).sequence, 2);
}

/// Publishing in one form may push what waits, and so keep it, and so forget a topic that nobody
/// has with offsets.
#[test]
fn a_topic_may_be_forgotten_by_what_its_own_publication_sets_going() {
    let limits = Limits { lane_bytes: 1_000, history_bytes: 700, ..Limits::default() };
    let (lanes, mut shards) = with_limits(&limits);
    let sequencer = Sequencer::new(lanes, limits.publication_bytes);
    let deliver = |topic, bytes| {
        let payload = vec![b'x'; bytes];
        sequencer.deliver(BROKER, topic, &Payload::new(&payload), Patience::Caller)
    };
    sequencer.lanes.borrow_mut().interested(0, id(1), key("k"));
    assert!(matches!(deliver("k", 10), Publishing::Now(Ok(()))));
    sequencer.lanes.borrow_mut().interested(0, id(2), positioned("x"));
    assert!(matches!(deliver("x", 600), Publishing::Now(Ok(()))));
    assert!(matches!(deliver("x", 600), Publishing::Later(_)));
    assert_eq!(take_short(&mut shards[0]), ["+0", "1", "+0", "1"]);
    sequencer.lanes.borrow_mut().set_now(std::time::Duration::from_secs(1));
    drop(deliver("k", 10));
    let mut lanes = sequencer.lanes.borrow_mut();
    while lanes.advance() {}
    assert_eq!(take_short(&mut shards[0]), ["2", "2"]);
}

#[test]
fn questions_and_publications_that_wait_go_by_turns() {
    let (mut lanes, mut shards) = keeping(1_000, 2_000);
    lanes.interested(0, id(7), positioned("foo"));
    keep(&mut lanes, "foo", 1_000);
    take_short(&mut shards[0]);
    let mut waits: Vec<Offer> = (0..4).map(|_| keep(&mut lanes, "foo", 1_000)).collect();
    (0..4).for_each(|n| ask(&mut lanes, n, Since::Last(1)));
    let mut seen = Vec::new();
    // Each free place is taken at once: whose turn it is not waits for its own.
    for _ in 0..20 {
        if let Some(entry) = shards[0].down.pop() {
            seen.push(if matches!(entry, Down::Publish { .. }) { 'p' } else { '@' });
        }
        while lanes.advance() {}
    }
    assert!(waits.iter_mut().all(is_pushed));
    let seen: String = seen.into_iter().collect();
    assert_eq!(seen.matches('@').count(), 4, "{seen}");
    assert!(!seen[..6].contains("ppp") && !seen[..6].contains("@@@"), "{seen}");
}

#[test]
fn more_than_an_outbox_holds_is_not_recovered() {
    let (mut lanes, mut shards) = keeping(16, 8 << 20);
    lanes.interested(0, id(7), positioned("foo"));
    (0..3).for_each(|_| drop(keep(&mut lanes, "foo", 900 << 10)));
    take_short(&mut shards[0]);
    ask(&mut lanes, 1, Since::Last(2));
    ask(&mut lanes, 2, Since::Last(3));
    // As many of the newest as fit; of what was missed, all or nothing.
    let epoch = lanes.position(BROKER, "foo").unwrap().epoch;
    ask(&mut lanes, 3, Since::Position(Position { offset: 0, epoch }));
    ask(&mut lanes, 4, Since::Position(Position { offset: 1, epoch }));
    assert_eq!(take_short(&mut shards[0]), ["@1:3/2", "@2:3/2", "@3:3/0", "@4:3/2"]);
}
