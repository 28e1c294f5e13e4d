//! What has to be known of a call before anything of it is published: whether it can be read,
//! whether all of it may be published, and whether its account has room for what may have to wait.

use super::{Caller, Calls, LOOK_WORK, TURN_WORK};
use crate::hub::room::WAITING_BYTES;
use crate::hub::sequencer::PublishError;
use crate::publication::Payload;
use crate::rpc::{Call, CallError, Codec, Method, Publish, Request};

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
            publish.asynchronous && self.hub.sequencer.room.borrow_mut().accounts().bytes() > 0;
        if !measure && !self.hub.must_check(publish.layout, request) {
            return Ok(());
        }
        let bytes = self.check(publish, request, measure).await?;
        self.reserve(bytes)
    }

    /// Counts what is wrong with a call, and says it.
    pub(super) fn say_wrong(&self, error: &CallError<'_>) -> String {
        let counters = &self.hub.sequencer.counters;
        let (counter, kind) = match error {
            CallError::Service(_) | CallError::Method(_) | CallError::IllFormed(_) => {
                (&counters.errors_method, "method")
            }
            CallError::Codec(_) => (&counters.errors_codec, "codec"),
            CallError::Body { .. } => (&counters.errors_body, "body"),
        };
        counter.add(1);
        let text = error.to_string();
        self.hub.sequencer.say_error(kind, self.peer, &text);
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
        let hub = self.hub.clone();
        let mut all: usize = 0;
        for step in request.walk() {
            if self.spend(LOOK_WORK + step.bytes) {
                self.give_way().await;
            }
            let Some(message) = step.found else { continue };
            let targets = hub.targets(publish.layout, &message)?;
            let payload = Payload::new(message.payload);
            let mut measured = false;
            for step in message.topics().walk() {
                if self.spend(LOOK_WORK + step.bytes + step.found.map_or(0, str::len)) {
                    self.give_way().await;
                }
                let Some(topic) = step.found else { continue };
                let bytes = hub.check(topic, &payload, measure)? + WAITING_BYTES;
                all = all.saturating_add(bytes.saturating_mul(targets.len()));
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
        let bytes_max = self.hub.sequencer.limits.rpc_async_bytes;
        let mut room = self.hub.sequencer.room.borrow_mut();
        let accounts = room.accounts();
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
