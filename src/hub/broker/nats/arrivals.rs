//! What the subscriber's server says of topics, and in them, handed on to the hub.

use tokio::time::Instant;

use super::shared::Shared;
use super::topics::{Confirmed, TopicId};
use crate::hub::lanes::Patience;
use crate::hub::sequencer::{Later, PublishError, Publishing};
use crate::mesh::Unavailable;
use crate::nats;
use crate::publication::Payload;

/// Confirms what was asked for before a PING, but for the last `too_many`: the server has said so
/// often that it makes no more subscriptions, in the words `why`, and not of which. Once it makes
/// none it makes none behind that either.
pub(super) fn confirm(shared: &Shared, topics: &[TopicId], too_many: usize, why: &str) {
    let (made, refused) = topics.split_at(topics.len().saturating_sub(too_many));
    refused.iter().for_each(|id| refuse(shared, *id, why));
    for id in made {
        let confirmed = shared.topics.borrow_mut().confirm(*id);
        if let Some(Confirmed { name, gap }) = confirmed {
            if gap {
                shared.inlet.lost(&name);
            }
            shared.inlet.confirmed(&name);
        }
    }
}

/// The server does not let us have a topic, and why.
pub(super) fn refuse(shared: &Shared, id: TopicId, why: &str) {
    let now = Instant::now();
    let refused = shared.topics.borrow_mut().refuse(id, now);
    let Some(Confirmed { name, gap }) = refused else { return };
    // One that is too long has none.
    let subject = nats::subject(&shared.settings.prefix, &name).unwrap_or_default();
    shared.remarks.refused(&name, &subject, why);
    if gap {
        shared.inlet.lost(&name);
    }
    if !shared.inlet.unavailable(&name, Unavailable::Forbidden) {
        shared.topics.borrow_mut().forget(id, now);
    }
    shared.timers.notify_one();
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
    if shared.inlet.lost(&name) {
        shared.remarks.too_long(&name, bytes as u64, shared.terms.publication_bytes);
    }
}

/// A probe has come back.
pub(super) fn come_back(shared: &Shared, payload: &[u8]) {
    let number = std::str::from_utf8(payload).ok().and_then(|text| text.parse().ok());
    if let Some(probe) = shared.probe.get().filter(|probe| Some(probe.number) == number) {
        shared.status.lag_us.set(probe.sent.elapsed().as_micros().max(1) as u64);
        shared.probe.set(None);
    }
}
