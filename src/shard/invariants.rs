//! What must hold between any two calls of a shard, written out for tests.

use super::Shard;
use super::batch::{PlannedSend, Source};
use super::commands::cost;
use super::connection::{ConnId, Phase};
use super::held::Awaited;
use super::subscriber::Mark;
use super::topic::Topic;

impl Shard {
    /// Checks what the module's head promises. For tests; costs time proportional to the whole
    /// shard.
    pub fn check_invariants(&self) {
        self.check_balance();
        let begins = |id: ConnId| {
            self.roster.connections.id(id.index) == id
                && matches!(
                    self.roster.connections.peek(id.index).phase,
                    Phase::Preface | Phase::Head
                )
        };
        self.heads.check_invariants(begins);
        let mut outbox_bytes = 0;
        for id in self.roster.connections.ids() {
            let connection = self.roster.connections.peek(id.index);
            outbox_bytes += connection.outbox_cost();
            if connection.outbox_cost() > 0 {
                let queued = connection.flush_queued && self.roster.flush.contains(&id);
                assert!(
                    queued || connection.in_batch() || connection.lagging,
                    "{id:?}: an outbox that nobody will send"
                );
            }
            if connection.is_open() && connection.lagging {
                assert!(
                    connection.deadline.is_some(),
                    "{id:?} lags without a deadline, and was not counted"
                );
            }
            if !matches!(connection.phase, Phase::Open(_)) {
                assert!(connection.topics.is_empty(), "{id:?}: an ended connection in a topic");
            }
            connection.topics.check_invariants();
            assert_eq!(
                connection
                    .topics
                    .iter()
                    .map(|of| cost(self.delivery.topics.peek(of.topic)))
                    .sum::<usize>(),
                connection.topics_bytes as usize
            );
            for (place, membership) in connection.topics.iter().enumerate() {
                let topic = self.delivery.topics.peek(membership.topic);
                let record = topic.subscribers()[membership.record as usize];
                assert_eq!((record.connection, record.place()), (id.index, place as u32));
                assert!(
                    !record.has(Mark::Owed) || (connection.parked && connection.outbox_cost() > 0),
                    "{id:?}: a gap that will never be told"
                );
                let waits = !topic.active && topic.is_behind(membership.record);
                assert!(
                    !waits || (connection.parked && connection.outbox_cost() > 0),
                    "{id:?}: parked for ever"
                );
            }
        }
        assert_eq!(outbox_bytes, self.roster.outbox_bytes);
        self.check_sessions();
        let (held, received) =
            (self.counters.input_held.value(), self.counters.bytes_received.value());
        assert!(held <= received, "{held} of {received} bytes were held: some were copied twice");
        let waiting = |id: &ConnId| self.roster.connections.peek(id.index).awaited_join();
        let replies = self
            .roster
            .connections
            .ids()
            .iter()
            .filter_map(waiting)
            .map(|join| join.cost())
            .sum::<usize>();
        assert_eq!(self.delivery.topics.recount() + replies, self.delivery.topics.charged());
        let due = |topic: &Topic| {
            topic.subscribers().iter().filter(|record| record.has(Mark::Due)).count() as u32
        };
        let due: u32 = self.delivery.topics.iter().map(|(_, topic)| due(topic)).sum();
        assert_eq!(due, self.delivery.telling.as_ref().map_or(0, |telling| telling.left));
        let (mut log_bytes, mut parked_bytes) = (0, 0);
        for (index, topic) in self.delivery.topics.iter() {
            topic.check_invariants();
            *(if topic.parked { &mut parked_bytes } else { &mut log_bytes }) += topic.log.cost();
            assert!(!(topic.parked && topic.active));
            assert!(
                topic.active || !topic.log.is_empty() || topic.log.is_bare(),
                "an empty log with memory"
            );
            assert!(topic.parked || topic.active || topic.log.is_empty() || topic.is_unused());
            assert_eq!(
                topic.active,
                self.delivery.active.contains(&self.delivery.topics.id(index))
            );
            for (record, subscriber) in topic.subscribers().iter().enumerate() {
                let connection = self.roster.connections.peek(subscriber.connection);
                let membership = connection.topics[subscriber.place() as usize];
                assert_eq!((membership.topic, membership.record), (index, record as u32));
            }
        }
        assert_eq!(
            (log_bytes, parked_bytes),
            (self.delivery.log_bytes, self.delivery.parked_bytes)
        );
    }

    /// What sessions cost is what it is said to, and whoever has ended has none.
    fn check_sessions(&self) {
        let (mut bytes, mut kept) = (0, 0);
        for id in self.roster.connections.ids() {
            let connection = self.roster.connections.peek(id.index);
            let awaits = connection.held.as_ref().and_then(|held| held.awaits.as_ref());
            if let Some(Awaited::Connect(waiting)) = awaits {
                assert!(matches!(connection.phase, Phase::Asking), "{id:?} waits for nothing");
                kept += waiting.kept;
            }
            let Some(session) = &connection.session else { continue };
            assert!(connection.is_open(), "{id:?} has ended, and its session has not");
            bytes += session.grant.cost();
        }
        assert_eq!(bytes, self.roster.sessions_bytes);
        assert!((kept..=self.config.limits.asks_bytes).contains(&self.asks.bytes()));
    }

    /// Deliveries of the batch under way.
    fn in_batch(&self) -> u64 {
        let frames = |send: &PlannedSend| match send.source {
            Source::Outbox => 0,
            Source::Log { from, to, .. } => to - from,
        };
        self.delivery.batch.iter().map(frames).sum()
    }

    /// Checks what the books say against what lies in logs and outboxes.
    fn check_balance(&self) {
        assert!(self.delivery.balance.holds(), "{:?}", self.delivery.balance);
        let ids = self.roster.connections.ids();
        let outboxes =
            ids.iter().filter_map(|id| self.roster.connections.peek(id.index).outbox.as_ref());
        let queued_outboxes: u64 = outboxes.map(|outbox| outbox.publications()).sum();
        let topics = self.delivery.topics.iter();
        let queued_logs: u64 =
            topics.map(|(_, topic)| topic.queued()).sum::<u64>() + self.in_batch();
        let queued = (queued_logs, queued_outboxes);
        assert_eq!(
            (self.delivery.balance.queued_logs, self.delivery.balance.queued_outboxes),
            queued,
            "{:?}",
            self.delivery.balance
        );
    }
}
