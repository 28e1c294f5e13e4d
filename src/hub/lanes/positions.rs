//! Positions: answers to those who ask where topics stand and what they have missed.
//!
//! Invariants worth naming:
//! - **An answer is made when it enters its lane**: what it says is true between the entries around
//!   it, so that nobody gets a publication twice or misses one.
//! - **It costs what it carries**: it waits for room as a publication does. Some find it ahead of
//!   publications that wait, the rest behind them, so neither holds the other up for ever.

use std::time::Duration;

use super::Lanes;
use super::lane::Question;
use crate::hub::channels::Key;
use crate::hub::history::unknown;
use crate::mesh::{ConnId, Down, Positioned, TopicId, Unrecovered};
use crate::position::Since;
use crate::reply::Positions;

/// Questions of a lane that are answered ahead of publications that wait, in one go; and behind.
const FIRST: usize = 4;
const REST: usize = 256;

impl Lanes {
    /// A connection of a shard asks where its topics stand.
    pub(in crate::hub) fn asked(
        &mut self,
        shard: usize,
        connection: ConnId,
        topics: Box<[(TopicId, Since)]>,
    ) {
        if self.ended {
            return;
        }
        self.lanes[shard].questions.push_back(Question { connection, topics });
        while self.answer_rest() {}
        let lane = &self.lanes[shard];
        if !lane.questions.is_empty() {
            // As for an answer that finds no room: ask, then look again.
            lane.down.want_room();
            self.answer_rest();
        }
    }

    /// Answers a few, ahead of publications that wait.
    pub(super) fn answer_first(&mut self) -> bool {
        (0..self.lanes.len()).fold(false, |any, shard| any | self.answer_some(shard, FIRST))
    }

    /// Answers those that there is room for beside publications that wait.
    pub(super) fn answer_rest(&mut self) -> bool {
        let mut progress = false;
        for shard in 0..self.lanes.len() {
            let lane = &self.lanes[shard];
            progress |= !lane.blocked && lane.held.is_none() && self.answer_some(shard, REST);
        }
        progress
    }

    fn answer_some(&mut self, shard: usize, count: usize) -> bool {
        let mut progress = false;
        for _ in 0..count {
            let lane = &mut self.lanes[shard];
            if lane.down.is_abandoned() {
                lane.questions.clear();
            }
            let Some(question) = lane.questions.front().filter(|_| lane.has_room(0)) else { break };
            let topics = question.topics.clone();
            let answer = self.positions(shard, &topics);
            let cost = answer.iter().map(Positioned::cost).sum::<usize>() as u64;
            let lane = &mut self.lanes[shard];
            if !lane.has_room(cost) {
                break;
            }
            let Some(Question { connection, .. }) = lane.questions.pop_front() else { break };
            for answer in &answer {
                self.counters.recovered.add(u64::from(answer.said.recovered == Some(true)));
                if let Some(why) = answer.why {
                    self.counters.unrecovered(why).add(1);
                }
            }
            lane.push(cost, Down::Positioned { connection, topics: answer });
            progress = true;
        }
        progress
    }

    /// What is answered now. Publications past the bound of one answer are not in it: their topic
    /// is not recovered.
    fn positions(&mut self, shard: usize, topics: &[(TopicId, Since)]) -> Box<[Positioned]> {
        let mut room = self.answer_bytes;
        let mut position = |(topic, since): &(TopicId, Since)| {
            let id = self.channels.of_shard(shard, *topic);
            let (Some(id), Some(histories)) = (id, &mut self.histories) else {
                return unknown(since);
            };
            let answer = histories.position(&mut self.channels, id, since);
            let Positions { position, recovered } = answer.said;
            match room.checked_sub(answer.cost()) {
                Some(left) => room = left,
                None => return Positioned::without(position, recovered.map(|_| Unrecovered::Size)),
            }
            answer
        };
        topics.iter().map(&mut position).collect()
    }

    /// Nobody wants a topic any more: it is kept for a while.
    pub(super) fn unwanted(&mut self, key: &Key) {
        let id = self.channels.find(key.broker, key.form, &key.name);
        if let (Some(histories), Some(id)) = (&mut self.histories, id) {
            histories.unwanted(&mut self.channels, id);
        }
    }

    /// Time has passed, since the hub's start: what is too old is let go of.
    pub(in crate::hub) fn set_now(&mut self, now: Duration) {
        if let Some(histories) = &mut self.histories {
            histories.set_now(&mut self.channels, now);
        }
    }
}
