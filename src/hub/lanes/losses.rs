//! Losses: what a broker may have missed of a topic, told to each shard that has the topic.
//!
//! A loss stands in a lane like an answer, in its topic's order. It waits while answers do, once a
//! topic, at the first lane that has some; so there are no more of them than topics.

use super::Lanes;
use crate::hub::channels::{ChannelId, Key};
use crate::mesh::{Down, TopicId};

impl Lanes {
    /// Something of a topic may be missing: tells each shard that wants it, before the topic's next
    /// publication. Told once, however often it is said before there is room to tell it.
    pub(in crate::hub) fn lost(&mut self, id: ChannelId) {
        if self.lanes.iter().all(|lane| !lane.losses.contains(&id)) {
            self.tell_loss(id);
        }
    }

    /// Tells a loss, or lets it wait for the answers in a lane of its topic. While it does, no
    /// publication of the topic enters that lane either. Says whether it is told.
    fn tell_loss(&mut self, id: ChannelId) -> bool {
        let wants = &self.channels.at(id).wants;
        if let Some((shard, _)) =
            wants.iter().find(|(shard, _)| !self.lanes[*shard].answers.is_empty())
        {
            self.lanes[*shard].losses.insert(id);
            return false;
        }
        for (shard, topic) in wants {
            self.lanes[*shard].answer(Down::Lost { topic: *topic });
        }
        true
    }

    /// Tells all losses that there is room for. Due wherever answers may have left: a publication
    /// could pass a loss that only waits. Looks at those alone whose lane has no answers any more.
    pub(super) fn tell_losses(&mut self) -> bool {
        let mut told = false;
        for shard in 0..self.lanes.len() {
            while self.lanes[shard].answers.is_empty()
                && let Some(id) = self.lanes[shard].losses.pop_first()
            {
                told |= self.tell_loss(id);
            }
        }
        told
    }

    /// Drops a shard's interest; says the topic's key if nobody wants it any more.
    pub(super) fn remove(&mut self, shard: usize, topic: TopicId) -> Option<Key> {
        if self.lanes.iter().all(|lane| lane.losses.is_empty()) {
            return self.channels.remove(shard, topic);
        }
        let id = self.channels.of_shard(shard, topic);
        let last = self.channels.remove(shard, topic);
        let Some(id) = id else { return last };
        let waited = self.lanes.iter_mut().any(|lane| lane.losses.remove(&id));
        if waited && last.is_none() {
            self.tell_loss(id);
        }
        last
    }
}
