//! Recovery: a client that counts what it reads learns where its topics stand when it joins, and
//! gets what it has missed.
//!
//! ```text
//! join ─ subscribed ─▶ asks the hub ─ answered in the lane ─▶ @join, missed messages, live ones
//! ```
//!
//! Invariants worth naming:
//! - **The client is subscribed at the place of the answer in its lane**: what the answer holds
//!   lies before it, what is published next, behind. So there is no double and no hole.
//! - **One question for all topics of a join**, and one a connection: a client is subscribed to
//!   all of them at once, and its reply comes before any of their messages.
//! - A topic that counts is another topic of the shard than the same one that does not. A
//!   connection has one of the two.

use std::sync::Arc;

use super::Shard;
use super::connection::ConnId;
use super::held::{Awaited, Missed, PendingJoin};
use super::lengths::LENGTH_BYTES;
use crate::command::Recovery;
use crate::mesh::{BrokerId, FRAME_BYTES, Form, Positioned, Up};
use crate::reply::{self, Positions};

const _: () = assert!(FRAME_BYTES == LENGTH_BYTES);

impl Shard {
    /// The forms that a topic may have here.
    pub(super) fn forms(&self) -> &'static [Form] {
        if self.config.policies.keeps() { &[Form::Plain, Form::Positioned] } else { &[Form::Plain] }
    }

    /// How a client gets a topic that counts what it reads, or does not.
    pub(super) fn form(&self, name: &str, recovers: bool) -> Form {
        match recovers && self.config.policies.history(name).is_some() {
            true => Form::Positioned,
            false => Form::Plain,
        }
    }

    /// Whether a connection has joined one of these topics in the other form.
    pub(super) fn has_other_form<'n>(
        &self,
        id: ConnId,
        broker: BrokerId,
        mut names: impl Iterator<Item = &'n str>,
        recovers: bool,
    ) -> bool {
        let topics = &self.roster.connections.peek(id.index).topics;
        names.any(|name| {
            let other = match self.form(name, recovers) {
                Form::Plain => Form::Positioned,
                Form::Positioned => Form::Plain,
            };
            let found = self.delivery.topics.find(broker, other, name);
            found.is_some_and(|topic| topics.find(topic).is_some())
        })
    }

    /// The topics of a join that count, each once, and what the client has read of them.
    pub(super) fn missed<'n>(
        &self,
        broker: BrokerId,
        names: impl Iterator<Item = &'n str>,
        mut recovery: Recovery<'_>,
    ) -> Missed {
        recovery.sort();
        let topic = |name| {
            let form = self.form(name, true);
            let index = self.delivery.topics.find(broker, form, name)?;
            Some((index, recovery.of(name)))
        };
        let mut missed: Missed = names.filter_map(topic).collect();
        missed.sort_unstable_by_key(|(index, _)| *index);
        missed.dedup_by_key(|(index, _)| *index);
        missed
    }

    /// Asks where the topics of a join stand. They are subscribed, and pinned.
    pub(super) fn ask_positions(&mut self, id: ConnId, pending: PendingJoin) {
        let missed = pending.recovery.as_deref().unwrap_or_default();
        let topics = &self.delivery.topics;
        let topics = missed.iter().map(|(index, since)| (topics.id(*index), *since)).collect();
        self.outward.ask(Up::Positions { connection: id, topics });
        self.await_hub(id, pending, Awaited::Positions);
    }

    /// The hub's answer: from here on, what is published comes behind these positions.
    pub(super) fn positioned(&mut self, id: ConnId, mut answers: Box<[Positioned]>) {
        let Some(connection) = self.roster.connections.live(id) else { return };
        let Some(held) = connection.held.as_mut() else { return };
        let awaited = held.awaits.take();
        let Some(Awaited::Positions(mut pending)) = awaited else {
            held.awaits = awaited;
            return;
        };
        self.delivery.topics.discharge(pending.cost());
        let missed = pending.recovery.take().unwrap_or_default();
        self.keep_what_is_new(id, &missed, &mut answers);
        self.keep_what_fits(id, &mut answers);
        let topics = &self.delivery.topics;
        let named = missed.iter().map(|(index, _)| &*topics.peek(*index).name);
        let named: Vec<_> = named.zip(answers.iter().map(|answer| &answer.said)).collect();
        pending.reply = reply::with_positions(&pending.reply, &named);
        self.complete_join(id, &pending);
        let frames: Vec<Arc<[u8]>> =
            answers.iter_mut().flat_map(|answer| std::mem::take(&mut answer.frames)).collect();
        let owed = frames.len() as u64;
        self.delivery.balance.owed += owed;
        self.delivery.balance.queued_outboxes += owed;
        self.counters.recovered.add(owed);
        if owed > 0 {
            self.roster.send_publications(id, &frames);
        }
        self.resume(id);
    }

    /// What a client had joined before it gets anyway; and it may not have read so far.
    fn keep_what_is_new(&self, id: ConnId, missed: &Missed, answers: &mut [Positioned]) {
        let topics = &self.roster.connections.peek(id.index).topics;
        for ((index, _), answer) in missed.iter().zip(answers) {
            if topics.find(*index).is_some() {
                answer.frames.clear();
                answer.said = Positions::default();
            }
        }
    }

    /// What does not fit into the outbox by now is left off, and the client is told.
    fn keep_what_fits(&mut self, id: ConnId, answers: &mut [Positioned]) {
        let limits = &self.config.limits;
        let own = limits
            .outbox_bytes
            .saturating_sub(self.roster.connections.peek(id.index).outbox_cost());
        let all = limits.outboxes_bytes.saturating_sub(self.roster.outbox_bytes);
        let mut room = own.min(all);
        for answer in answers {
            let before = answer.frames.len();
            answer.fit(room);
            room -= answer.cost();
            self.counters.recoveries_cut.add(u64::from(answer.frames.len() < before));
        }
    }
}
