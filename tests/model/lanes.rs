//! The lanes between hub and shards, as `mesh` builds them but for two things: questions find a
//! full lane often, and time begins where the test says.

use std::sync::Arc;
use std::time::Instant;

use roadcast::ending::Ending;
use roadcast::lane::{Wake, lane};
use roadcast::limits::Limits;
use roadcast::mesh::desk::{DeskEnd, DeskLanes};
use roadcast::mesh::{HubEnd, ShardEnd};

/// `questions` is how many of them a lane has room for.
pub fn mesh(
    shards: usize,
    limits: &Limits,
    questions: usize,
    epoch: Instant,
) -> (HubEnd, Vec<ShardEnd>) {
    let hub_wake = Wake::new().expect("an eventfd");
    let ending = Arc::new(Ending::since(epoch));
    let (mut hub_down, mut hub_up, mut ends) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..shards {
        let wake = Wake::new().expect("an eventfd");
        let cost_max = limits.lane_bytes as u64;
        let (to_shard, down) = lane(limits.lane_entries, cost_max, wake.clone(), hub_wake.clone());
        let (up, from_shard) = lane(questions, u64::MAX, hub_wake.clone(), wake.clone());
        hub_down.push(to_shard);
        hub_up.push(from_shard);
        ends.push(ShardEnd { down, up, desk: None, wake, ending: ending.clone() });
    }
    (HubEnd { down: hub_down, up: hub_up, wake: hub_wake, ending, orders: None }, ends)
}

/// The lanes between these shards and the desk, with room for so many entries each way.
pub fn desk(shards: &mut [ShardEnd], entries: usize) -> DeskEnd {
    let wake = Wake::new().expect("an eventfd");
    let (mut asks, mut words) = (Vec::new(), Vec::new());
    for shard in shards {
        let (ask, asked) = lane(entries, u64::MAX, wake.clone(), shard.wake.clone());
        let (say, said) = lane(entries, u64::MAX, shard.wake.clone(), wake.clone());
        shard.desk = Some(DeskLanes { asks: ask, words: said });
        asks.push(asked);
        words.push(say);
    }
    DeskEnd { asks, words, wake }
}
