//! How publications and outboxes leave: the sweep, batches, short sends.

use roadcast::limits::Limits;

use super::rig::{Rig, quiet};

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
