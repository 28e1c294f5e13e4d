//! From a request to brokers: which ones a message goes to, and what is refused before anything is
//! published.

use std::ops::Range;
use std::rc::Rc;

use super::broker::Broker;
use super::sequencer::{PublishError, Sequencer};
use crate::mesh::BrokerId;
use crate::publication::{self, Payload, TooLarge};
use crate::rpc::{Layout, Message, Request};

/// The hub's tasks, and the brokers that publications go through.
pub(super) struct Hub {
    pub(super) sequencer: Rc<Sequencer>,
    /// Every opened broker by name; its place is its [`BrokerId`].
    pub(super) brokers: Vec<(String, Box<dyn Broker>)>,
    pub(super) default_broker: BrokerId,
}

/// Bytes of an unknown broker's name that an error repeats.
const NAME_ECHO_BYTES: usize = 128;

impl Hub {
    /// The brokers that a message goes to.
    pub(super) fn targets(
        &self,
        layout: Layout,
        message: &Message<'_>,
    ) -> Result<Range<usize>, PublishError> {
        let place = match (layout, message.broker) {
            (Layout::Broadcast, _) => return Ok(0..self.brokers.len()),
            (Layout::Websockets, "") => Some(usize::from(self.default_broker.0)),
            (Layout::Websockets, name) => self.brokers.iter().position(|(known, _)| known == name),
        };
        let place = place.ok_or_else(|| PublishError::UnknownBroker {
            name: message.broker.chars().take(NAME_ECHO_BYTES).collect(),
            known: self
                .brokers
                .iter()
                .map(|(name, _)| name.as_str())
                .collect::<Vec<_>>()
                .join(", "),
        })?;
        Ok(place..place + 1)
    }

    /// Tells a broker that this process begins or ceases to want a topic.
    pub(super) fn tell_broker(&self, broker: BrokerId, topic: &str, wanted: bool) {
        if let Some((_, broker)) = self.brokers.get(usize::from(broker.0)) {
            broker.interest(topic, wanted);
        }
    }

    /// Whether anything in a request could be refused, so that all of it has to be looked at before
    /// any of it is published.
    pub(super) fn must_check(&self, layout: Layout, request: &Request<'_>) -> bool {
        let (limits, all) = (&self.sequencer.limits, request.bytes());
        let fits =
            all <= limits.topic_bytes && publication::bytes_bound(all) <= limits.publication_bytes;
        !fits || layout != Layout::Broadcast
    }

    /// Whether a message may be published to a topic; says the bytes of its frame, or, unless
    /// `exactly`, a bound of them.
    pub(super) fn check(
        &self,
        topic: &str,
        payload: &Payload<'_>,
        exactly: bool,
    ) -> Result<usize, PublishError> {
        let limits = &self.sequencer.limits;
        let (bytes, bytes_max) = (topic.len(), limits.topic_bytes);
        if bytes > bytes_max {
            return Err(PublishError::TopicTooLong { bytes, bytes_max });
        }
        let bytes_max = limits.publication_bytes;
        let bound = publication::bytes_bound(topic.len().saturating_add(payload.bytes().len()));
        if bound <= bytes_max && !exactly {
            return Ok(bound);
        }
        payload
            .frame_len(topic, bytes_max)
            .map_err(|TooLarge { bytes }| PublishError::TooLarge { bytes, bytes_max })
    }
}
