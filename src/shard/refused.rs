//! What a shard refuses, for the log: one line a reason at a time.

use std::time::Duration;

use super::connection::ConnId;
use super::{Report, Shard, Task};
use crate::source_limits::Exceeded;
use crate::ws::upgrade::Fault;

/// Characters of what a client sent that a line repeats.
const ECHO_CHARS: usize = 100;

/// What was refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A request, for this.
    Request(Fault),
    /// A connection past `roadcast.limits.connections`, with 503.
    Connection,
    /// A connection past a limit of its source address, with 429.
    Source(Exceeded),
    /// A join, with `#join`.
    Join(JoinRefusal),
    /// The name of a broker that there is not: the default one is taken.
    Broker,
}

/// Why a join is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRefusal {
    /// A topic is over `roadcast.limits.topic_bytes`.
    TopicTooLong,
    /// The connection would pass `roadcast.limits.topics_per_connection`.
    TopicsOfConnection,
    /// The shard would pass `roadcast.limits.topics`.
    TopicsOfShard,
    /// The connection would pass `roadcast.limits.subscriptions_bytes_per_connection`.
    BytesOfConnection,
    /// The shard would pass `roadcast.limits.subscriptions_bytes`.
    BytesOfShard,
    /// The server shuts down: nobody's fault, and not said.
    ShuttingDown,
}

impl JoinRefusal {
    /// The reason in words, with the key where there is one.
    pub fn why(self) -> &'static str {
        match self {
            Self::TopicTooLong => "a topic is over roadcast.limits.topic_bytes",
            Self::TopicsOfConnection => "the connection would be over roadcast.limits.topics_per_connection",
            Self::TopicsOfShard => "the shard would be over roadcast.limits.topics",
            Self::BytesOfConnection => {
                "the connection would be over roadcast.limits.subscriptions_bytes_per_connection"
            }
            Self::BytesOfShard => "the shard would be over roadcast.limits.subscriptions_bytes",
            Self::ShuttingDown => "the server is shutting down",
        }
    }
}

impl Shard {
    /// Says that something was refused, if this reason has not been said lately. `about` is what the client sent.
    pub(super) fn report_refused(&mut self, id: ConnId, refusal: Refusal, about: impl FnOnce() -> String) {
        let now = Duration::from_millis(self.now_ms);
        let Some(unsaid) = self.refusals.admit(refusal, now) else { return };
        let mut about = about();
        if let Some((end, _)) = about.char_indices().nth(ECHO_CHARS) {
            about.truncate(end);
            about.push('…');
        }
        self.tasks.push_back(Task::Report(id, Report::Refused { refusal, about, unsaid }));
    }
}
