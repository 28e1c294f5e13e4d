//! What topics and those who subscribe to them cost in memory, as `subscriptions_bytes` counts it:
//! what the shard keeps, and what the hub keeps for it, with the room that their tables have to
//! spare. Measured, a topic of its own with a name of 20 bytes takes about two thirds of its
//! charge.
//!
//! Not counted: what the log of a topic holds, which has a bound of its own (`log_bytes`).

use super::connection::ConnId;
use super::memberships::Membership;
use super::subscriber::Subscriber;
use super::topic::Topic;
use crate::mesh::{HUB_TOPIC_BYTES, TopicId, Up};

/// A topic in the shard's tables, its place in the queues of questions and of the sweep, and the
/// hub's share.
const TOPIC_BYTES: usize =
    size_of::<Topic>() + 32 + 2 * size_of::<Up>() + 2 * size_of::<TopicId>() + HUB_TOPIC_BYTES;

/// A name beside its bytes: what counts its holders, and the allocator's own word.
const NAME_BYTES: usize = 24;

/// One subscription: the record in the topic and the membership in the connection. Lists have up to
/// twice the room.
pub const SUBSCRIPTION_BYTES: usize = 2 * (size_of::<Subscriber>() + size_of::<Membership>());

/// A connection whose join waits for the hub's answer about a topic.
pub(super) const WAITER_BYTES: usize = 2 * size_of::<ConnId>();

/// A topic whose name has this length. The hub may hold the name that another shard has given it.
pub const fn topic_bytes(name_len: usize) -> usize {
    TOPIC_BYTES + 2 * (NAME_BYTES + name_len)
}
