//! What clients ask for: joins and leaves.
//!
//! A join subscribes first and is answered then: whoever has read `@join` misses nothing published
//! later. Its topics are subscribed to all at once, when the hub has confirmed the last of them, so
//! a refused join subscribes to none.

use std::borrow::Cow;

use smallvec::SmallVec;

use super::balance::Dropped;
use super::charge::{SUBSCRIPTION_BYTES, WAITER_BYTES, topic_bytes};
use super::connection::ConnId;
use super::held::{Awaited, MISSED_BYTES, PendingJoin};
use super::memberships::Membership;
use super::subscriber::Mark;
use super::topic::Topic;
use super::{About, JoinRefusal, Lifecycle, Reason, Refusal, Shard};
use crate::command::{Command, Recovery};
use crate::mesh::{BrokerId, Form, Unavailable, Up};
use crate::reply::{self, Reply};

/// What a subscription to this topic costs, as if nobody else had one.
pub(super) fn cost(topic: &Topic) -> usize {
    topic_bytes(topic.name.len()) + SUBSCRIPTION_BYTES
}

/// The topics that a command names: an empty name is none.
fn named<'n>(names: &'n [Cow<'_, str>]) -> impl Iterator<Item = &'n str> {
    names.iter().map(AsRef::as_ref).filter(|name| !name.is_empty())
}

impl Shard {
    /// Carries out one command.
    pub(super) fn command(&mut self, id: ConnId, message: &[u8]) {
        match crate::command::parse(message, &mut Vec::new()) {
            Ok(Command::Join { broker, topics, gaps, recovery }) => {
                self.counters.commands.add(1);
                let recovers = recovery.is_some();
                if self.may_join(id, message, &broker, topics.as_deref(), recovers) {
                    self.join(id, &broker, topics.as_deref(), gaps, recovery);
                }
            }
            Ok(Command::Leave { broker, topics }) => self.leave(id, &broker, topics.as_deref()),
            Ok(Command::Headers) => self.counters.commands.add(1),
            Ok(Command::Token { token }) if self.takes_tokens() => self.renew(id, &token),
            Ok(Command::Token { .. }) => self.unknown_command(id, "token"),
            Ok(Command::Other { name }) => self.unknown_command(id, &name),
            Err(malformed) => {
                self.counters.malformed.add(1);
                self.report(id, Reason::MalformedCommand(malformed), || About::Nothing);
            }
        }
    }

    fn unknown_command(&mut self, id: ConnId, name: &str) {
        self.counters.malformed.add(1);
        self.report(id, Reason::UnknownCommand, || About::sent(name));
    }

    /// The broker that a command names. Clients of RoadRunner name any, since it does not look: the
    /// default one, said once a connection.
    pub(super) fn broker(&mut self, id: ConnId, name: &str) -> BrokerId {
        if let Some(broker) = self.config.broker(name) {
            return broker;
        }
        if !std::mem::replace(&mut self.roster.connections.at(id.index).broker_logged, true) {
            self.report_refused(id, Refusal::Broker, || name.to_owned());
        }
        self.config.default_broker
    }

    /// Carries out a join that is allowed, as far as limits go.
    pub(super) fn join(
        &mut self,
        id: ConnId,
        broker: &str,
        asked: Option<&[Cow<'_, str>]>,
        gaps: bool,
        recovery: Option<Box<Recovery<'_>>>,
    ) {
        let broker = self.broker(id, broker);
        let names = asked.unwrap_or_default();
        let joined = match gaps {
            true => self.joined(id, broker, names),
            false => SmallVec::new(),
        };
        let recovers = recovery.is_some();
        let mut topics = match self.wanted_topics(id, broker, names, recovers) {
            Ok(topics) => topics,
            Err(refusal) => return self.join_refused(id, refusal, asked),
        };
        for name in named(names) {
            let form = self.form(name, recovers);
            if self.delivery.topics.find(broker, form, name).is_none() {
                topics.push(self.create_topic(broker, form, name));
            }
        }
        let (waiting, reply, refused) = (0, Vec::new(), None);
        let recovery = recovery.map(|recovery| self.missed(broker, named(names), *recovery));
        let mut pending = PendingJoin { topics, waiting, reply, gaps, joined, recovery, refused };
        reply::encode(&mut pending.reply, Reply::Joined, asked);
        for &index in &pending.topics {
            pending.waiting += u32::from(self.delivery.topics.pin(index, id));
        }
        if pending.waiting == 0 {
            self.subscribed(id, pending);
        } else {
            self.await_hub(id, pending, Awaited::Interest);
        }
    }

    /// Has a join wait for the hub.
    pub(super) fn await_hub(
        &mut self,
        id: ConnId,
        pending: PendingJoin,
        awaited: impl Fn(PendingJoin) -> Awaited,
    ) {
        self.delivery.topics.charge(pending.cost());
        let held = self.roster.connections.at(id.index).held.get_or_insert_default();
        held.awaits = Some(awaited(pending));
    }

    /// All topics of a join are subscribed here: it is complete, unless the client has to be told
    /// where they stand.
    fn subscribed(&mut self, id: ConnId, pending: PendingJoin) {
        match pending.recovery {
            Some(_) => self.ask_positions(id, pending),
            None => self.complete_join(id, &pending),
        }
    }

    pub(super) fn join_refused(
        &mut self,
        id: ConnId,
        why: JoinRefusal,
        asked: Option<&[Cow<'_, str>]>,
    ) {
        self.counters.joins_refused.add(1);
        if let (JoinRefusal::Rules | JoinRefusal::Desk(_), Some(access)) =
            (why, self.config.clone().access.as_ref())
        {
            let session = self.roster.connections.peek(id.index).session.as_ref();
            let grant = session.map(|session| session.grant.clone());
            let identity = grant.as_ref().map(|grant| &grant.identity);
            self.report(id, Reason::Refused(Refusal::Join(why)), || {
                About::join(&access.rules, identity, asked.unwrap_or_default())
            });
        } else if why != JoinRefusal::ShuttingDown {
            let bytes_max = self.config.limits.topic_bytes;
            self.report_refused(id, Refusal::Join(why), || {
                let mut names = asked.unwrap_or_default().iter().map(AsRef::as_ref);
                let about = match why {
                    JoinRefusal::TopicTooLong => names.find(|name: &&str| name.len() > bytes_max),
                    _ => names.next(),
                };
                about.unwrap_or_default().to_owned()
            });
        }
        self.roster.send_private(id, |out| reply::encode(out, Reply::JoinRefused, asked));
    }

    /// The topics that a join would newly subscribe to, each once, as far as they are there. An
    /// error: the limit that it would pass with all of them.
    pub(super) fn wanted_topics(
        &self,
        id: ConnId,
        broker: BrokerId,
        names: &[Cow<'_, str>],
        recovers: bool,
    ) -> Result<SmallVec<[u32; 4]>, JoinRefusal> {
        let limits = &self.config.limits;
        if self.lifecycle == Lifecycle::Draining || self.lifecycle == Lifecycle::Closing {
            return Err(JoinRefusal::ShuttingDown);
        }
        if names.iter().any(|name| name.len() > limits.topic_bytes) {
            return Err(JoinRefusal::TopicTooLong);
        }
        let mut wanted = SmallVec::new();
        // A new topic that is named twice counts twice: a bound on the work, checked before any is
        // done.
        let (mut created, mut created_bytes) = (0, 0);
        for name in named(names) {
            let form = self.form(name, recovers);
            match self.delivery.topics.find(broker, form, name) {
                Some(topic) => wanted.push(topic),
                None => {
                    created += 1;
                    created_bytes += topic_bytes(name.len());
                }
            }
        }
        if self.config.policies.keeps() && self.has_other_form(id, broker, named(names), recovers) {
            return Err(JoinRefusal::OtherForm);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let connection = self.roster.connections.peek(id.index);
        wanted.retain(|topic| connection.topics.find(*topic).is_none());
        let subscriptions = wanted.len() + created;
        if connection.topics.len() + subscriptions > limits.topics_per_connection {
            return Err(JoinRefusal::TopicsOfConnection);
        }
        if self.delivery.topics.len() + created > limits.topics {
            return Err(JoinRefusal::TopicsOfShard);
        }
        let own = wanted.iter().map(|&topic| cost(self.delivery.topics.peek(topic))).sum::<usize>()
            + created_bytes
            + created * SUBSCRIPTION_BYTES;
        if connection.topics_bytes as usize + own > limits.subscriptions_bytes_per_connection {
            return Err(JoinRefusal::BytesOfConnection);
        }
        let missed = if recovers { names.len() * MISSED_BYTES } else { 0 };
        let more = created_bytes + subscriptions * (SUBSCRIPTION_BYTES + WAITER_BYTES) + missed;
        if more > 0 && self.delivery.topics.charged() + more > limits.subscriptions_bytes {
            return Err(JoinRefusal::BytesOfShard);
        }
        Ok(wanted)
    }

    /// The topics of these names that a connection has joined, each once.
    fn joined(&self, id: ConnId, broker: BrokerId, names: &[Cow<'_, str>]) -> SmallVec<[u32; 4]> {
        let topics = &self.roster.connections.peek(id.index).topics;
        let mut joined = self.find_all(broker, named(names));
        joined.retain(|topic| topics.find(*topic).is_some());
        joined.sort_unstable();
        joined.dedup();
        joined
    }

    /// The topics of these names that exist, one for each time it is named.
    fn find_all<'a>(
        &self,
        broker: BrokerId,
        names: impl Iterator<Item = &'a str>,
    ) -> SmallVec<[u32; 4]> {
        let find = |form, name| self.delivery.topics.find(broker, form, name);
        let names = names.flat_map(|name| self.forms().iter().map(move |form| (*form, name)));
        names.filter_map(|(form, name)| find(form, name)).collect()
    }

    fn create_topic(&mut self, broker: BrokerId, form: Form, name: &str) -> u32 {
        let overflow = self.config.policies.overflow(name);
        let index = self.delivery.topics.insert(broker, form, name, overflow);
        self.counters.topics.set(self.delivery.topics.len() as u64);
        let topic = self.delivery.topics.id(index);
        let name = self.delivery.topics.peek(index).name.clone();
        self.outward.ask(Up::Interest { topic, broker, form, name });
        index
    }

    /// One of the answers that a join waits for has come; `unavailable`: the topic that cannot be
    /// had, and why.
    pub(super) fn join_answered(&mut self, id: ConnId, unavailable: Option<(u32, Unavailable)>) {
        let Some(connection) = self.roster.connections.live(id) else { return };
        let Some(held) = connection.held.as_mut() else { return };
        let Some(Awaited::Interest(pending)) = held.awaits.as_mut() else { return };
        pending.waiting -= 1;
        if let Some((topic, why)) = unavailable {
            pending.refused = Some((self.delivery.topics.peek(topic).name.clone(), why));
            pending.topics.retain(|pinned| *pinned != topic);
            self.delivery.topics.unpin(topic);
        }
        if pending.waiting == 0
            && let Some(Awaited::Interest(pending)) = held.awaits.take()
        {
            self.delivery.topics.discharge(pending.cost());
            match &pending.refused {
                None => self.subscribed(id, pending),
                Some((topic, why)) => self.refuse_join(id, &topic.clone(), *why, pending),
            }
            self.resume(id);
        }
    }

    /// Refuses a join whose topics its broker has not all subscribed.
    fn refuse_join(&mut self, id: ConnId, topic: &str, why: Unavailable, mut pending: PendingJoin) {
        for &topic in &pending.topics {
            self.unpin(topic);
        }
        self.counters.joins_refused.add(1);
        match why {
            Unavailable::Late => self.counters.joins_unavailable.add(1),
            Unavailable::Forbidden => self.counters.joins_forbidden.add(1),
        }
        self.report_refused(id, Refusal::Join(JoinRefusal::Broker(why)), || topic.to_owned());
        reply::refuse(&mut pending.reply);
        self.roster.send_private(id, |out| out.extend_from_slice(&pending.reply));
    }

    /// Subscribes a client to the topics of a join, and says so.
    pub(super) fn complete_join(&mut self, id: ConnId, pending: &PendingJoin) {
        // Subscribe before replying: a publication behind the reply must not be missed.
        for &index in &pending.topics {
            let connection = self.roster.connections.at(id.index);
            let place = connection.topics.len() as u32;
            let record = self.delivery.topics.subscribe(index, id.index, place);
            connection.topics.push(Membership { topic: index, record });
            connection.topics_bytes += cost(self.delivery.topics.peek(index)) as u32;
            if pending.gaps {
                self.delivery.topics.at(index).heed(record);
            }
        }
        for &index in &pending.joined {
            let topics = &self.roster.connections.peek(id.index).topics;
            if let Some(place) = topics.find(index) {
                let record = topics[place as usize].record;
                self.delivery.topics.at(index).heed(record);
            }
        }
        self.counters.joins.add(1);
        self.roster.send_private(id, |out| out.extend_from_slice(&pending.reply));
    }

    fn leave(&mut self, id: ConnId, broker: &str, asked: Option<&[Cow<'_, str>]>) {
        self.counters.commands.add(1);
        let broker = self.broker(id, broker);
        for topic in self.find_all(broker, asked.unwrap_or_default().iter().map(AsRef::as_ref)) {
            if let Some(place) = self.roster.connections.peek(id.index).topics.find(topic) {
                self.unsubscribe(id.index, place, Dropped::Left);
            }
        }
        self.counters.leaves.add(1);
        self.roster.send_private(id, |out| reply::encode(out, Reply::Left, asked));
    }

    /// Takes a connection out of the topic at `place` of its list. What the log holds for it is
    /// dropped.
    pub(super) fn unsubscribe(&mut self, connection: u32, place: u32, dropped: Dropped) {
        let connection = self.roster.connections.at(connection);
        let topics = &mut connection.topics;
        let left = topics.swap_remove(place);
        connection.topics_bytes -= cost(self.delivery.topics.peek(left.topic)) as u32;
        if let Some(moved) = topics.get(place as usize) {
            let (topic, record) = (moved.topic, moved.record);
            self.delivery.topics.at(topic).moved_membership(record, place);
        }
        let record =
            self.delivery.topics.unsubscribe(left.topic, left.record, &mut self.roster.connections);
        let topic = self.delivery.topics.at(left.topic);
        let behind = topic.log.head() - record.position;
        if behind > 0 && !topic.active {
            // A round finds out what the others still wait for.
            self.delivery.activate(self.delivery.topics.id(left.topic));
        }
        self.delivery.balance.drop_from_logs(behind, dropped);
        if record.has(Mark::Due) {
            self.gone_while_due();
        }
        self.give_up_if_unused(left.topic);
    }

    /// A join that named this topic has ended without subscribing.
    pub(super) fn unpin(&mut self, topic: u32) {
        self.delivery.topics.unpin(topic);
        self.give_up_if_unused(topic);
    }
}
