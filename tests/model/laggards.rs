//! Connections whose sockets do not take what they are given.

use roadcast::limits::Limits;
use roadcast::mesh::Down;
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, frame_of, quiet};

#[test]
fn a_laggard_alone_in_its_topic_does_not_hold_the_log() {
    let limits = Limits { publication_bytes: 2_000, log_bytes: 4_000, ..quiet() };
    let mut rig = Rig::new(limits);
    let id = rig.member(&["foo"]);
    rig.make_laggard(id, "foo", 5);
    for _ in 0..20 {
        assert!(rig.shard.wants_entries(), "what the laggard is owed is its outbox's business");
        while rig.shard.wants_entries() {
            rig.publish("foo", &[b'x'; 1_000]);
        }
        rig.batch(|_, _| Taken::All);
    }
}

#[test]
fn a_shard_whose_last_work_was_no_send_drains() {
    let mut rig = Rig::new(quiet());
    let slow = rig.member(&["foo"]);
    let idle = rig.member(&["bar"]);
    rig.make_laggard(slow, "foo", 5);
    rig.publish("foo", b"copied, not sent");
    rig.take(Down::Drain);
    rig.sweep();
    assert_eq!(rig.taken(idle), frame_of(Opcode::Close, b"\x03\xE9the server is shutting down"));
}
