//! What the subscriber's server says of topics, and in them, handed on to the hub.

use tokio::time::Instant;

use super::shared::Shared;
use super::topics::{Confirmed, TopicId};
use crate::hub::lanes::Patience;
use crate::hub::sequencer::{Later, PublishError, Publishing};
use crate::nats;
use crate::publication::Payload;

/// Confirms what was asked for before a PING; `wrong`: the server has said that something is, and
/// not with which.
pub(super) fn confirm(shared: &Shared, topics: &[TopicId], wrong: bool) {
    for id in topics {
        if wrong {
            shared.say(|out| nats::unsubscribe(out, id.number()));
            refuse(shared, *id);
            continue;
        }
        let confirmed = shared.topics.borrow_mut().confirm(*id);
        if let Some(Confirmed { name, gap }) = confirmed {
            if gap {
                shared.inlet.lost(&name);
            }
            shared.inlet.confirmed(&name);
        }
    }
}

/// The server does not let us have a topic.
pub(super) fn refuse(shared: &Shared, id: TopicId) {
    let refused = shared.topics.borrow_mut().refuse(id);
    let Some(Confirmed { name, gap }) = refused else { return };
    if gap {
        shared.inlet.lost(&name);
    }
    if !shared.inlet.unavailable(&name) {
        shared.topics.borrow_mut().forget(id, Instant::now());
    }
}

/// Hands a message to the shards. What is returned is to be waited for.
pub(super) fn deliver(shared: &Shared, sid: u64, payload: &[u8]) -> Option<Later> {
    shared.status.received.add(1);
    shared.status.received_bytes.add(payload.len() as u64);
    let id = TopicId::of_number(sid);
    let Confirmed { name, gap } = shared.topics.borrow_mut().arrives(id)?;
    if gap {
        shared.inlet.lost(&name);
    }
    match shared.inlet.deliver(&name, &Payload::new(payload), Patience::Caller) {
        Publishing::Later(later) => return Some(later),
        Publishing::Now(Err(PublishError::TooLarge { .. })) => too_long(shared, sid, payload.len()),
        Publishing::Now(_) | Publishing::Sent(_) | Publishing::Left(_) => {}
    }
    None
}

/// A message that clients may not have is missing.
pub(super) fn too_long(shared: &Shared, sid: u64, bytes: usize) {
    let arrived = shared.topics.borrow_mut().arrives(TopicId::of_number(sid));
    let Some(Confirmed { name, .. }) = arrived else { return };
    tracing::warn!(
        broker = shared.name,
        topic = &*name,
        bytes,
        "a message is over roadcast.limits.publication_bytes and is left out"
    );
    shared.inlet.lost(&name);
}

/// A probe has come back.
pub(super) fn come_back(shared: &Shared, payload: &[u8]) {
    let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
    if let Some(probe) = shared.probe.get().filter(|probe| Some(probe.number) == number) {
        shared.status.lag_us.set(probe.sent.elapsed().as_micros().max(1) as u64);
        shared.probe.set(None);
    }
}
