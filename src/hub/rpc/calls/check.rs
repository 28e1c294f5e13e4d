//! What has to be known of a call before anything of it is published: whether it can be read,
//! whether all of it may be published, and whether its account has room for what may have to wait.

use super::{Caller, Calls, LOOK_WORK, TURN_WORK};
use crate::hub::brokers::Brokers;
use crate::hub::lanes::WAITING_BYTES;
use crate::hub::sequencer::PublishError;
use crate::limits::Limits;
use crate::publication::{self, Payload, TooLarge};
use crate::rpc::{Call, CallError, Codec, Layout, Message, Method, Publish, Request};

/// Bytes of an unknown broker's name that an error repeats.
const NAME_ECHO_BYTES: usize = 128;

/// The brokers that a message goes to, by their places.
pub(super) fn targets<'a>(
    brokers: &'a Brokers,
    layout: Layout,
    message: &Message<'_>,
) -> Result<&'a [usize], PublishError> {
    if layout == Layout::Broadcast {
        return Ok(brokers.all());
    }
    let place = brokers.named(message.broker).ok_or_else(|| PublishError::UnknownBroker {
        name: message.broker.chars().take(NAME_ECHO_BYTES).collect(),
        known: brokers.names(),
    })?;
    Ok(brokers.only(place))
}

impl<C: Caller> Calls<C> {
    /// What is called; the error is the answer's text.
    pub(super) fn method(&self, call: &Call<'_>, refused: bool) -> Result<Method, String> {
        match refused {
            true => Err(self.say(&PublishError::ShuttingDown)),
            false => call.method().map_err(|error| self.say_wrong(&error)),
        }
    }

    /// Everything that can be wrong with a request before anything of it is published.
    pub(super) async fn admit(
        &mut self,
        publish: Publish,
        request: &Request<'_>,
    ) -> Result<(), PublishError> {
        let measure =
            publish.asynchronous && self.core.sequencer.lanes.borrow_mut().accounts().bytes() > 0;
        if !measure && !must_check(&self.core.limits, publish.layout, request) {
            return Ok(());
        }
        let bytes = self.check(publish, request, measure).await?;
        self.reserve(bytes)
    }

    /// Counts what is wrong with a call, and says it.
    pub(super) fn say_wrong(&self, error: &CallError<'_>) -> String {
        let counters = &self.core.counters;
        let (counter, kind) = match error {
            CallError::Service(_) | CallError::Method(_) | CallError::IllFormed(_) => {
                (&counters.errors_method, "method")
            }
            CallError::Codec(_) | CallError::Form(_) => (&counters.errors_codec, "codec"),
            CallError::Body { .. } => (&counters.errors_body, "body"),
        };
        counter.add(1);
        let text = error.to_string();
        self.said.say_error(kind, self.peer, &text);
        text
    }

    /// Reads a long body, piece by piece.
    pub(super) async fn read<'a>(
        &mut self,
        call: &Call<'a>,
        publish: Publish,
    ) -> Result<Request<'a>, CallError<'static>> {
        let mut checking = call.checking(publish.layout)?;
        let rewritten = matches!(call.codec, Some(Codec::Json | Codec::Msgpack));
        if rewritten && self.spend(call.body.len()) {
            self.give_way().await;
        }
        while !checking.step(TURN_WORK)? {
            if self.spend(TURN_WORK) {
                self.give_way().await;
            }
        }
        Ok(checking.request())
    }

    /// Finds what can be wrong with a request without publishing half of it first. To `measure` it
    /// is to say with how many bytes it would wait, if all of it had to.
    async fn check(
        &mut self,
        publish: Publish,
        request: &Request<'_>,
        measure: bool,
    ) -> Result<Option<usize>, PublishError> {
        let core = self.core.clone();
        let mut all: usize = 0;
        for step in request.walk() {
            if self.spend(LOOK_WORK + step.bytes) {
                self.give_way().await;
            }
            let Some(message) = step.found else { continue };
            let targets = targets(&core.brokers, publish.layout, &message)?;
            let payload = Payload::new(message.payload);
            let mut measured = false;
            for step in message.topics().walk() {
                if self.spend(LOOK_WORK + step.bytes + step.found.map_or(0, str::len)) {
                    self.give_way().await;
                }
                let Some(topic) = step.found else { continue };
                let bytes = check_topic(&core.limits, topic, &payload, measure)? + WAITING_BYTES;
                if measure {
                    let forms = core.sequencer.lanes.borrow().forms(topic);
                    all = all.saturating_add(bytes.saturating_mul(targets.len() * forms));
                }
                if !std::mem::replace(&mut measured, true) && self.spend(message.payload.len()) {
                    self.give_way().await;
                }
            }
        }
        Ok(measure.then_some(all))
    }

    /// Reserves what a call may leave waiting on its account, if others wait already.
    fn reserve(&mut self, bytes: Option<usize>) -> Result<(), PublishError> {
        let Some(wanted) = bytes else { return Ok(()) };
        let bytes_max = self.core.limits.rpc_async_bytes;
        let mut lanes = self.core.sequencer.lanes.borrow_mut();
        let accounts = lanes.accounts();
        let bytes = accounts.bytes();
        if !accounts.admits(self.account, wanted, bytes_max) {
            return Err(PublishError::NoRoom { bytes, bytes_max });
        }
        // One that is too large for any account waits for its own room as it goes.
        if wanted > 0 && bytes + wanted <= bytes_max {
            accounts.add(self.account, wanted);
            self.reserved = wanted;
        }
        Ok(())
    }
}

/// Whether anything in a request could be refused, so that all of it has to be looked at before
/// any of it is published.
fn must_check(limits: &Limits, layout: Layout, request: &Request<'_>) -> bool {
    let all = request.bytes();
    let fits =
        all <= limits.topic_bytes && publication::bytes_bound(all) <= limits.publication_bytes;
    !fits || layout != Layout::Broadcast
}

/// Whether a message may be published to a topic; says the bytes of its frame, or, unless
/// `exactly`, a bound of them.
fn check_topic(
    limits: &Limits,
    topic: &str,
    payload: &Payload<'_>,
    exactly: bool,
) -> Result<usize, PublishError> {
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
