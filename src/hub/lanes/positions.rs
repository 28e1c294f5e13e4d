//! Positions: answers to those who ask where topics stand and what they have missed.
//!
//! Invariants worth naming:
//! - **An answer is made when it enters its lane**: what it says is true between the entries around
//!   it, so that nobody gets a publication twice or misses one.
//! - **It costs what it carries**, and waits for room as a publication does.
//! - **By turns**: a question that waits goes ahead of publications that wait, and then not again
//!   before one of them has entered its lane. While it is its turn, nothing else enters.

use super::Lanes;
use super::lane::Question;
use crate::hub::history::unknown;
use crate::mesh::{ConnId, Down, Positioned, TopicId};
use crate::position::Since;

/// Questions of a lane that are answered in one go where no publication waits.
const REST: usize = 64;
/// Room for questions that is kept while there are none.
const QUESTIONS_KEPT: usize = 1024;

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

    /// Answers those whose turn it is ahead of publications; where there is no room for one yet,
    /// publications wait.
    pub(super) fn answer_first(&mut self) -> bool {
        let mut progress = false;
        for shard in 0..self.lanes.len() {
            let lane = &self.lanes[shard];
            if lane.questions.is_empty() || !lane.question_due {
                continue;
            }
            let answered = self.answer_some(shard, 1);
            let lane = &mut self.lanes[shard];
            lane.question_due = !answered;
            lane.blocked |= !answered && !lane.questions.is_empty();
            progress |= answered;
        }
        progress
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
            // What the last look found to be too little is not looked at again.
            if !lane.answers.is_empty() || !lane.down.has_room(lane.question_cost) {
                break;
            }
            let Some(question) = lane.questions.pop_front() else { break };
            let answer = self.positions(shard, &question.topics);
            let cost = answer.iter().map(Positioned::cost).sum::<usize>() as u64;
            let lane = &mut self.lanes[shard];
            if !lane.down.has_room(cost) {
                lane.question_cost = cost;
                lane.questions.push_front(question);
                break;
            }
            for answer in &answer {
                self.counters.recovered.add(u64::from(answer.said.recovered == Some(true)));
                if let Some(why) = answer.why {
                    self.counters.unrecovered(why).add(1);
                }
            }
            lane.push(cost, Down::Positioned { connection: question.connection, topics: answer });
            lane.question_cost = 0;
            progress = true;
        }
        let questions = &mut self.lanes[shard].questions;
        if questions.is_empty() && questions.capacity() > QUESTIONS_KEPT {
            questions.shrink_to(0);
        }
        progress
    }

    /// What is answered now, within the bound of one answer.
    fn positions(&mut self, shard: usize, topics: &[(TopicId, Since)]) -> Box<[Positioned]> {
        let mut room = self.answer_bytes;
        let mut position = |(topic, since): &(TopicId, Since)| {
            let id = self.channels.of_shard(shard, *topic);
            let (Some(id), Some(histories)) = (id, &mut self.histories) else {
                return unknown(since);
            };
            let answer = histories.position(&mut self.channels, id, since, room);
            room -= answer.cost();
            answer
        };
        topics.iter().map(&mut position).collect()
    }
}
