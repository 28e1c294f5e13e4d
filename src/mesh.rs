//! The mesh: all lanes between the hub and the shards, and what travels on them. Between shards and
//! the desk: [`desk`]; between the hub and the desk: [`operators`].
//!
//! Each direction of each pair is FIFO, and publications and interest answers share the down lane.
//! That order is the whole of the join guarantee: a shard completes a join when the answer comes,
//! and every publication that the hub sequences later follows it in the same lane.

pub mod desk;
pub mod operators;

use std::io;
use std::sync::Arc;

use crate::ending::Ending;
use crate::lane::{self, Receiver, Sender, Wake};
use crate::limits::Limits;
use crate::position::{Position, Since};
use crate::reply::Positions;
use desk::DeskLanes;
use operators::Orders;

/// Which configured broker, by its place in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BrokerId(pub u16);

/// A shard's own name for one of its topics. The generation tells a topic from a later one in the
/// same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TopicId {
    /// Place in the shard's topic table.
    pub index: u32,
    /// Tells this use of the place from all others.
    pub generation: u32,
}

/// A shard's own name for one of its connections. The generation tells a connection from a later
/// one in the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConnId {
    /// Place in the shard's table of connections.
    pub index: u32,
    /// Counts the uses of the place.
    pub generation: u32,
}

/// How a topic's publications are written. The hub and the shards know a topic once in each form
/// that somebody wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Form {
    /// As RoadRunner writes them.
    #[default]
    Plain,
    /// With their offsets. Topics alone have it of which something is kept.
    Positioned,
}

/// Why not all can be given that somebody has missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecovered {
    /// The position is of another epoch.
    Epoch,
    /// Some of it is not kept any more.
    Gone,
    /// It is no position, or one that lies ahead.
    Invalid,
    /// It is more than one answer may hold.
    Size,
    /// Nothing is kept of the topic.
    NoHistory,
}

/// What a frame costs in an outbox beside its bytes.
pub(crate) const FRAME_BYTES: usize = size_of::<u64>();

/// Where a topic's order stands, and what somebody has missed.
#[derive(Debug, Default)]
pub struct Positioned {
    /// What the asker is told.
    pub said: Positions,
    /// Why it is told that not all follows.
    pub why: Option<Unrecovered>,
    /// Publications that come before the next one, in order.
    pub frames: Vec<Arc<[u8]>>,
}

impl Positioned {
    /// Nothing is given, and whoever had read something is told so.
    pub fn without(position: Option<Position>, why: Option<Unrecovered>) -> Self {
        let said = Positions { position, recovered: why.map(|_| false) };
        Self { said, why, frames: Vec::new() }
    }

    /// Bytes of the publications, as an outbox counts them.
    pub fn cost(&self) -> usize {
        self.frames.iter().map(|frame| frame.len() + FRAME_BYTES).sum()
    }

    /// Leaves off the oldest publications until the others take no more than that; none is left
    /// where all were missed, and the asker is told. Says whether anybody has to be.
    pub fn fit(&mut self, bytes_max: usize) -> bool {
        let mut rest = self.cost();
        let is_over = |frame: &&Arc<[u8]>| {
            let over = rest > bytes_max;
            rest -= frame.len() + FRAME_BYTES;
            over
        };
        let over = self.frames.iter().take_while(is_over).count();
        if over == 0 {
            return true;
        }
        match &mut self.said.recovered {
            Some(recovered) => {
                *recovered = false;
                self.frames.clear();
                false
            }
            None => {
                self.frames.drain(..over);
                true
            }
        }
    }
}

/// What the hub keeps at most for one topic of one shard, beside the topic's name: one half is an
/// entry in its tables, which may be half empty, and the answer that waits for room in the lane;
/// the other what a broker with a server of its own knows of the topic.
pub const HUB_TOPIC_BYTES: usize = 512;

/// Why a broker has not subscribed a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// Its server has not confirmed it within `roadcast.broker_wait`.
    Late,
    /// Its server does not permit it.
    Forbidden,
}

/// From the hub to a shard.
#[derive(Debug)]
pub enum Down {
    /// A publication for one topic of this shard.
    Publish {
        /// The shard's name for the topic.
        topic: TopicId,
        /// Position in the topic's order, one more than that of the publication before it.
        sequence: u64,
        /// The whole WebSocket frame, encoded once for all subscribers.
        frame: Arc<[u8]>,
    },
    /// Answer to [`Up::Interest`]: every publication from here on follows in this lane.
    Interested {
        /// The topic asked for.
        topic: TopicId,
        /// Sequence of the topic's last publication so far, 0 if none.
        sequence: u64,
    },
    /// The other answer to [`Up::Interest`]: the broker has not subscribed the topic. It is as if
    /// it had never been asked for.
    Unavailable {
        /// The topic asked for.
        topic: TopicId,
        /// Why not.
        why: Unavailable,
    },
    /// Publications of a topic may be missing between those before this entry and those behind it.
    Lost {
        /// The topic.
        topic: TopicId,
    },
    /// Answer to [`Up::Positions`]: what the lane holds before it lies before these positions, what
    /// follows, behind.
    Positioned {
        /// Who asked.
        connection: ConnId,
        /// In the order of the question.
        topics: Box<[Positioned]>,
    },
    /// Answer to [`Up::Uninterest`]: no publication of this topic follows.
    Uninterested {
        /// The topic given up.
        topic: TopicId,
    },
    /// The server is about to shut down: accept nobody any more.
    StopAccepting,
    /// The last entry of a lane: deliver what is there, close every connection with 1001, end.
    Drain,
}

/// From a shard to the hub.
#[derive(Debug)]
pub enum Up {
    /// This shard has a first subscriber of a topic. Answered by [`Down::Interested`] or
    /// [`Down::Unavailable`].
    ///
    /// At most one question a topic and shard is under way.
    Interest {
        /// The shard's name for the topic, for publications and the answer.
        topic: TopicId,
        /// The broker that the topic belongs to.
        broker: BrokerId,
        /// How its publications are to be written.
        form: Form,
        /// The topic's name within the broker. The hub keeps it, too: there is one copy.
        name: Arc<str>,
    },
    /// Where topics stand that this shard has been answered about, and what somebody has missed of
    /// them. Answered by [`Down::Positioned`]. At most one question a connection is under way.
    Positions {
        /// Who asks.
        connection: ConnId,
        /// Each with what the asker has read of it.
        topics: Box<[(TopicId, Since)]>,
    },
    /// This shard has no subscriber of the topic any more. Answered by [`Down::Uninterested`].
    Uninterest {
        /// The shard's name for the topic.
        topic: TopicId,
    },
}

/// The hub's ends of all lanes; `down[i]` and `up[i]` lead to shard `i`.
#[derive(Debug)]
pub struct HubEnd {
    /// Publications and answers, to each shard.
    pub down: Vec<Sender<Down>>,
    /// Questions, from each shard.
    pub up: Vec<Receiver<Up>>,
    /// Wakes the hub.
    pub wake: Arc<Wake>,
    /// When shutting down began, for all threads.
    pub ending: Arc<Ending>,
    /// Orders of operators, to the desk; `None`: there is nobody who could carry them out.
    pub orders: Option<Orders>,
}

/// One shard's ends of its two lanes.
#[derive(Debug)]
pub struct ShardEnd {
    /// Publications and answers, from the hub.
    pub down: Receiver<Down>,
    /// Questions to the hub.
    pub up: Sender<Up>,
    /// To the desk and back, where somebody is asked about clients.
    pub desk: Option<DeskLanes>,
    /// Wakes the shard.
    pub wake: Arc<Wake>,
    /// When shutting down began, for all threads.
    pub ending: Arc<Ending>,
}

/// Entries of an up lane. What does not fit waits in the shard, one question a topic at most.
const UP_ENTRIES: usize = 1024;

/// Builds the lanes between one hub and `shards` shards.
pub fn mesh(shards: usize, limits: &Limits) -> io::Result<(HubEnd, Vec<ShardEnd>)> {
    let (hub_wake, ending) = (Wake::new()?, Arc::new(Ending::default()));
    let mut hub = HubEnd {
        down: Vec::with_capacity(shards),
        up: Vec::with_capacity(shards),
        wake: hub_wake.clone(),
        ending: ending.clone(),
        orders: None,
    };
    let mut ends = Vec::with_capacity(shards);
    for _ in 0..shards {
        let wake = Wake::new()?;
        let (down_send, down_receive) = lane::lane(
            limits.lane_entries,
            limits.lane_bytes as u64,
            wake.clone(),
            hub_wake.clone(),
        );
        // Questions are small; their count is their bound.
        let (up_send, up_receive) =
            lane::lane(UP_ENTRIES, u64::MAX, hub_wake.clone(), wake.clone());
        hub.down.push(down_send);
        hub.up.push(up_receive);
        let (down, up) = (down_receive, up_send);
        ends.push(ShardEnd { down, up, desk: None, wake, ending: ending.clone() });
    }
    Ok((hub, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_was_missed_all_fits_or_nothing_is_given_and_of_the_last_ones_the_newest() {
        let frames = || [[1; 100], [2; 100], [3; 100]].map(Arc::<[u8]>::from).to_vec();
        let answer = |recovered| {
            let said = Positions { position: None, recovered };
            Positioned { said, why: None, frames: frames() }
        };
        let all = 3 * (100 + FRAME_BYTES);
        for (bytes_max, recovered, given) in
            [(all, Some(true), 3), (all - 1, Some(false), 0), (all, None, 3), (all - 1, None, 2)]
        {
            let mut fitted = answer(recovered.map(|_| true));
            assert_eq!(fitted.fit(bytes_max), recovered != Some(false));
            assert_eq!((fitted.said.recovered, fitted.frames.len()), (recovered, given));
            assert!(fitted.frames.last().is_none_or(|newest| newest[0] == 3));
        }
    }
}
