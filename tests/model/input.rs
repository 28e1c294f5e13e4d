//! What arrives from clients: order, holding, pausing.

use roadcast::shard::Task;
use roadcast::ws::frame::Opcode;

use super::rig::{Rig, Taken, quiet};
use super::wire;

#[test]
fn what_arrives_behind_held_input_stays_behind_it() {
    let mut rig = Rig::new(quiet());
    let id = rig.connect_to("/echo");
    let message = |n: u8| wire::masked(Opcode::Binary, &vec![n; 50_000]);
    let sent: Vec<u8> = (0..5).collect();
    // The third echo passes the mark; the fourth message is held, and the fifth was on its way already.
    rig.bytes(id, &[message(0), message(1), message(2), message(3)].concat());
    assert!(rig.tasks().contains(&Task::PauseReceive(id)));
    rig.batch(|_, _| Taken::All);
    rig.bytes(id, &message(4));
    rig.sweep();
    let echoed: Vec<u8> = wire::frames(&rig.taken(id)).iter().map(|(_, payload)| payload[0]).collect();
    assert_eq!(echoed, sent);
}
