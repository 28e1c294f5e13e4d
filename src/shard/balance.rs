//! The balance of deliveries. A delivery is one publication to one subscriber: it is owed from the
//! moment at which the publication enters the topic's log, and from then on it is queued until it
//! is delivered or dropped for a named reason.
//!
//! Invariant, after each step of a shard: `owed = delivered + dropped + queued`. All five parts are
//! counted where the thing happens, none is derived from the others.

/// Why a delivery was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// The subscriber did not keep up and its bound was passed: it is closed with 1013.
    Overflow,
    /// The subscriber did not keep up, and the topic's policy is to skip to the newest.
    Skipped,
    /// The subscriber left the topic before its turn came.
    Left,
    /// The closing handshake began before its turn came: by the client, or because it broke the
    /// protocol.
    Closed,
    /// The client ended or reset its connection.
    Gone,
    /// What was queued did not leave in time, or a closing handshake did not end.
    TooSlow,
    /// No sign of life since a ping.
    Silent,
    /// The grace of the shutdown was over.
    Shutdown,
}

impl Dropped {
    /// Every reason, in the order of [`Balance::dropped`].
    pub const ALL: [Self; 8] = [
        Self::Overflow,
        Self::Skipped,
        Self::Left,
        Self::Closed,
        Self::Gone,
        Self::TooSlow,
        Self::Silent,
        Self::Shutdown,
    ];

    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Overflow => "overflow",
            Self::Skipped => "skipped",
            Self::Left => "left",
            Self::Closed => "closed",
            Self::Gone => "gone",
            Self::TooSlow => "too_slow",
            Self::Silent => "silent",
            Self::Shutdown => "shutdown",
        }
    }
}

/// What has become of all deliveries of a shard. See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    /// Grows by the number of subscribers when a publication enters its topic's log.
    pub owed: u64,
    /// Frames that the kernel has taken whole, from a log or through an outbox.
    pub delivered: u64,
    /// By reason, in the order of [`Dropped::ALL`].
    pub dropped: [u64; Dropped::ALL.len()],
    /// Waiting in a log, or in the batch under way.
    pub queued_logs: u64,
    /// Waiting in an outbox, the one cut in the middle included.
    pub queued_outboxes: u64,
}

impl Balance {
    /// Whether every delivery is accounted for.
    pub fn holds(&self) -> bool {
        let dropped: u64 = self.dropped.iter().sum();
        self.owed == self.delivered + dropped + self.queued_logs + self.queued_outboxes
    }

    /// Deliveries dropped for this reason.
    pub fn dropped(&self, reason: Dropped) -> u64 {
        self.dropped[reason as usize]
    }

    pub(super) fn drop_from_logs(&mut self, deliveries: u64, reason: Dropped) {
        self.queued_logs -= deliveries;
        self.dropped[reason as usize] += deliveries;
    }

    pub(super) fn drop_from_outboxes(&mut self, deliveries: u64, reason: Dropped) {
        self.queued_outboxes -= deliveries;
        self.dropped[reason as usize] += deliveries;
    }
}

/// How a shard stands: what it publishes once a turn, as one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Its deliveries.
    pub balance: Balance,
    /// Bytes of the logs of active topics.
    pub log_bytes: u64,
    /// Bytes of the frames that parked subscribers of topics that skip wait for.
    pub parked_bytes: u64,
    /// Bytes of all outboxes.
    pub outbox_bytes: u64,
    /// What topics and subscriptions cost, as `subscriptions_bytes` counts it.
    pub subscriptions_bytes: u64,
    /// Topics with somebody behind the head.
    pub topics_active: u64,
}

/// Numbers of a [`Standing`].
pub(super) const STANDING_NUMBERS: usize = 9 + Dropped::ALL.len();

impl Standing {
    #[inline]
    pub(super) fn to_numbers(self) -> [u64; STANDING_NUMBERS] {
        let Balance { owed, delivered, dropped, queued_logs, queued_outboxes } = self.balance;
        let mut numbers = [0; STANDING_NUMBERS];
        let (first, rest) = numbers.split_at_mut(STANDING_NUMBERS - Dropped::ALL.len());
        first.copy_from_slice(&[
            owed,
            delivered,
            queued_logs,
            queued_outboxes,
            self.log_bytes,
            self.parked_bytes,
            self.outbox_bytes,
            self.subscriptions_bytes,
            self.topics_active,
        ]);
        rest.copy_from_slice(&dropped);
        numbers
    }

    pub(super) fn of_numbers(numbers: [u64; STANDING_NUMBERS]) -> Self {
        let [
            owed,
            delivered,
            queued_logs,
            queued_outboxes,
            log_bytes,
            parked_bytes,
            outbox_bytes,
            subscriptions_bytes,
            topics_active,
            dropped @ ..,
        ] = numbers;
        let balance = Balance { owed, delivered, dropped, queued_logs, queued_outboxes };
        Self { balance, log_bytes, parked_bytes, outbox_bytes, subscriptions_bytes, topics_active }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_comes_out_where_it_went_in() {
        let numbers: [u64; STANDING_NUMBERS] = std::array::from_fn(|place| place as u64);
        assert_eq!(Standing::of_numbers(numbers).to_numbers(), numbers);
    }

    #[test]
    fn reasons_stand_in_the_order_of_their_places() {
        for (place, reason) in Dropped::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place);
        }
    }
}
