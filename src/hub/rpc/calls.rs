//! Calls: what has been read from an RPC connection is decoded, checked, published and answered, in
//! order.
//!
//! There is no I/O here: how answers leave and how a task gives way is its [`Caller`]'s. So whoever
//! polls these futures may be the runtime of the hub, or a test on one thread.
//!
//! Invariants worth naming:
//! - **Answers of one read leave in one write**, but an answer never waits for something that may
//!   take long: they are flushed before a publication that waits for room, and in between a call of
//!   many publications.
//! - **A broker that takes its time has many calls at once.** All calls of one read are given to
//!   their brokers before the first answer is waited for; the answers leave in order.
//! - **Answers held are bounded**: at most [`ANSWERS_BYTES`] and one more. Who does not read
//!   answers is not read from.
//! - **What has been read is worked through** even if the caller has gone: a fire-and-forget caller
//!   loses nothing.
//! - **An asynchronous call does not wait, and is not lost in silence.** What of it meets a full
//!   lane waits for room by itself, in its place in the order, on an account
//!   ([`crate::hub::accounts`]). A call for which its account has no room is refused as a whole,
//!   before anything of it is published. A connection keeps nothing of it: its place is free when
//!   its socket ends.
//! - **Work is divided by its size**, not by calls: bytes looked at, topics and bytes encoded are
//!   counted, and after [`TURN_WORK`] of it other connections, and shards, have their turn. Bytes
//!   count each time that they are gone over, whatever they hold. A payload is measured once,
//!   however many topics it goes to. Only the rewriting of a JSON or MSGPACK body is done at once.

mod check;
mod operate;
mod sent;

use std::io;
use std::rc::Rc;
use std::time::Duration;

use tracing::warn;

use self::sent::Unanswered;
use super::said::Said;
use super::stream::Peer;
use crate::hub::accounts::Account;
use crate::hub::core::Core;
use crate::hub::lanes::Patience;
use crate::hub::sequencer::{Later, PublishError, Publishing};
use crate::publication::Payload;
use crate::rpc::{self, Call, Decoded, FrameError, Method, Publish, Request};

/// Answers are written at the latest when this many bytes are due.
const ANSWERS_BYTES: usize = 256 * 1024;
/// Work after which other connections get their turn, in bytes that are looked at or encoded: some
/// 100 µs.
const TURN_WORK: usize = 256 * 1024;
/// What a publication costs beside its bytes: 256 of small calls, about one read, fit a turn. With
/// a turn between them a caller that has 256 in flight is answered twice for each read, at 1.2 ×
/// the CPU.
const PUBLICATION_WORK: usize = 960;
/// Bytes of a call that its publication or answer pays for.
const PAID_BYTES: usize = 256;
/// What a message costs, and a topic that is only looked at.
const LOOK_WORK: usize = 32;
/// What an answer costs that is an error, or an operator's.
const ANSWER_WORK: usize = 320;
/// Bytes of answers for which room is kept while a connection pauses.
const IDLE_ANSWERS_BYTES: usize = 16 * 1024;

/// What the log says of publications that are not published after all.
const LOST: &str = "publications lost after PublishAsync was answered";

/// The other end of an RPC connection, as far as working through its calls needs it.
pub trait Caller {
    /// Writes all answers, each bit of progress within `timeout`; hands the buffer back.
    fn write_answers(
        &self,
        answers: Vec<u8>,
        timeout: Duration,
    ) -> impl Future<Output = (io::Result<()>, Vec<u8>)>;

    /// Lets all other tasks have a turn.
    fn give_way(&self) -> impl Future<Output = ()>;
}

/// The calls of one connection.
pub struct Calls<C> {
    core: Rc<Core>,
    said: Rc<Said>,
    caller: C,
    /// Due to the caller.
    answers: Vec<u8>,
    account: Account,
    /// What brokers have yet to say of publications.
    sent: Unanswered,
    /// Reserved on the account for the call under way.
    reserved: usize,
    /// Since other connections last had their turn.
    work: usize,
    /// The call under way has taken a turn or more.
    long: bool,
    /// Why answers can be written no more.
    broken: Option<io::Error>,
    peer: Peer,
}

impl<C: Caller> Calls<C> {
    /// The calls of another connection. `said` is of all connections.
    pub fn new(core: Rc<Core>, said: Rc<Said>, caller: C, peer: Peer) -> Self {
        Self {
            core,
            said,
            caller,
            answers: Vec::new(),
            sent: Unanswered::default(),
            account: Account::of(peer.address()),
            reserved: 0,
            work: 0,
            long: false,
            broken: None,
            peer,
        }
    }

    /// Works through all whole calls of what has been read, and writes their answers. Says how many
    /// bytes they were, and how many the next one needs; an error when answers can be written no
    /// more.
    pub async fn take(&mut self, input: &[u8]) -> io::Result<(usize, Result<usize, FrameError>)> {
        let core = self.core.clone();
        let _in_flight = core.in_flight();
        let refused = core.refuses();
        let outcome = self.work_through(input, refused).await;
        self.flush().await;
        self.broken.take().map_or(Ok(outcome), Err)
    }

    /// Works through all whole calls of a buffer; says how many bytes they were, and how many the
    /// next one needs.
    async fn work_through(
        &mut self,
        input: &[u8],
        refused: bool,
    ) -> (usize, Result<usize, FrameError>) {
        let mut consumed = 0;
        loop {
            match rpc::decode(&input[consumed..], self.core.limits.rpc_frame_bytes) {
                Ok(Decoded::Whole { value, bytes }) => {
                    self.core.counters.calls.add(1);
                    self.call(&value, refused).await;
                    consumed += bytes;
                    // Once for reading it, whatever came of it.
                    if self.spend(bytes.saturating_sub(PAID_BYTES)) {
                        self.give_way().await;
                    }
                    if self.answers.len() > ANSWERS_BYTES {
                        self.flush().await;
                    }
                }
                Ok(Decoded::Partial { bytes }) => return (consumed, Ok(bytes)),
                Err(violation) => return (consumed, Err(violation)),
            }
        }
    }

    async fn call(&mut self, call: &Call<'_>, refused: bool) {
        self.long = false;
        if let Err(text) = self.answered(call, refused).await {
            self.work += ANSWER_WORK;
            rpc::encode_error(&mut self.answers, call, &text);
        }
    }

    /// Does what a call asks for and says so to its caller, or what is wrong, in the words of the
    /// answer.
    async fn answered(&mut self, call: &Call<'_>, refused: bool) -> Result<(), String> {
        let publish = match self.method(call, refused)? {
            Method::Publish(publish) => publish,
            Method::Operate(operation) => {
                self.work += ANSWER_WORK;
                return self.operate(call, operation).await;
            }
        };
        let read = match call.body.len() {
            ..=TURN_WORK => call.request(publish.layout),
            _ => self.read(call, publish).await,
        };
        let request = match read {
            Ok(request) => request,
            Err(error) => return Err(self.say_wrong(&error)),
        };
        self.admit(publish, &request).await.map_err(|error| self.say(&error))?;
        if publish.asynchronous {
            rpc::encode_ok(&mut self.answers, call, true);
        }
        let result = self.publish(publish, &request).await;
        self.give_back(usize::MAX);
        let from = self.answers.len();
        if result.is_ok() && !publish.asynchronous {
            rpc::encode_ok(&mut self.answers, call, true);
        }
        let answer = from..self.answers.len();
        match &result {
            // One reason is enough.
            Err(_) if !publish.asynchronous => self.sent.forget_call(),
            _ => self.sent.end_call(answer),
        }
        let Err(error) = result else { return Ok(()) };
        let error = self.say(&error);
        if !publish.asynchronous {
            return Err(error);
        }
        self.say_lost(&error);
        Ok(())
    }

    /// Counts that publications were answered ok and are not published after all, and says it.
    fn say_lost(&self, error: &str) {
        self.core.counters.failures_after_ok.add(1);
        if let Some(unsaid) = self.said.due(LOST, "async") {
            warn!(peer = %self.peer, error, "{LOST}{unsaid}");
        }
    }

    /// Counts why something is not published, and says it.
    fn say(&self, error: &PublishError) -> String {
        let counters = &self.core.counters;
        let (counter, kind) = match error {
            PublishError::TooLarge { .. }
            | PublishError::TopicTooLong { .. }
            | PublishError::OverBroker(_) => (&counters.errors_size, "size"),
            PublishError::UnknownBroker { .. } => (&counters.errors_broker, "broker"),
            PublishError::NoRoom { .. } => (&counters.errors_async, "async"),
            PublishError::Broker(_) => (&counters.errors_outage, "outage"),
            PublishError::ShuttingDown => (&counters.errors_shutdown, "shutdown"),
        };
        counter.add(1);
        let text = error.to_string();
        self.said.say_error(kind, self.peer, &text);
        text
    }

    async fn publish(
        &mut self,
        publish: Publish,
        request: &Request<'_>,
    ) -> Result<(), PublishError> {
        let core = self.core.clone();
        for step in request.walk() {
            if self.spend(LOOK_WORK + step.bytes) {
                self.give_way().await;
            }
            let Some(message) = step.found else { continue };
            let targets = check::targets(&core.brokers, publish.layout, &message)?;
            let payload = Payload::new(message.payload);
            for step in message.topics().walk() {
                match step.found {
                    None => {}
                    Some("") => self.skip_empty_topic(),
                    Some(topic) => {
                        for &place in targets {
                            if let Some(result) =
                                self.publish_to(place, publish, topic, &payload)?
                            {
                                self.flush().await;
                                let ended = Err(PublishError::ShuttingDown);
                                core.unless_ended(result).await.unwrap_or(ended)?;
                            }
                        }
                    }
                }
                if self.sent.is_full() {
                    self.keep_up().await;
                }
                let encoded = core.sequencer.take_encoded();
                if self.spend(PUBLICATION_WORK + step.bytes + encoded) {
                    self.give_way().await;
                }
            }
        }
        Ok(())
    }

    /// Publishes to the broker at a place. What is returned is to be waited for.
    fn publish_to(
        &mut self,
        place: usize,
        publish: Publish,
        topic: &str,
        payload: &Payload<'_>,
    ) -> Result<Option<Later>, PublishError> {
        let Core { brokers, counters, .. } = &*self.core;
        counters.publications.add(1);
        if let Some(status) = counters.by_broker.get(place) {
            status.publications.add(1);
        }
        match brokers.publish(place, topic, payload, self.patience(publish)) {
            Publishing::Now(result) => result.map(|()| None),
            Publishing::Later(result) => Ok(Some(result)),
            Publishing::Sent(sent) => {
                self.sent.add(sent);
                Ok(None)
            }
            Publishing::Left(bytes) => {
                self.give_back(bytes);
                Ok(None)
            }
        }
    }

    /// Whether a publication that meets a full lane is left there, or waited for: of a call that
    /// comes to more than its account may have, the rest is waited for, and its connection goes on
    /// afterwards.
    fn patience(&self, publish: Publish) -> Patience {
        match publish.asynchronous {
            false => Patience::Caller,
            true if self.reserved > 0 => Patience::Reserved(self.account),
            true => Patience::Account(self.account, self.core.limits.rpc_async_bytes),
        }
    }

    fn skip_empty_topic(&mut self) {
        self.core.counters.empty_topics.add(1);
        const LINE: &str = "a message names an empty topic: skipped";
        if let Some(unsaid) = self.said.due(LINE, "topic") {
            warn!(peer = %self.peer, "{LINE}{unsaid}");
        }
    }

    /// Counts work, and says whether it is others' turn.
    #[inline]
    fn spend(&mut self, work: usize) -> bool {
        self.work += work;
        self.work >= TURN_WORK
    }

    /// Lets others have their turn. What is due to the caller goes before, once the call under way
    /// takes long.
    async fn give_way(&mut self) {
        self.work = 0;
        if std::mem::replace(&mut self.long, true) {
            self.flush().await;
        }
        self.core.sequencer.wake_shards();
        self.caller.give_way().await;
    }

    /// Writes the answers that are due, once brokers have said what they depend on.
    async fn flush(&mut self) {
        self.core.sequencer.wake_shards();
        if self.sent.are_there() {
            self.hear_brokers().await;
        }
        if self.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        if self.broken.is_none() {
            let (result, answers) =
                self.caller.write_answers(answers, self.core.limits.rpc_timeout).await;
            self.broken = result.err();
            self.answers = answers;
        }
        self.answers.clear();
        self.answers.shrink_to(ANSWERS_BYTES);
    }

    /// Nothing is to be done until more has been read: little memory is kept meanwhile.
    pub fn rest(&mut self) {
        if self.answers.capacity() > IDLE_ANSWERS_BYTES {
            self.answers = Vec::new();
        }
    }
}

impl<C> Calls<C> {
    /// Gives back so much of what was reserved on the account, if so much is left of it.
    fn give_back(&mut self, bytes: usize) {
        let bytes = bytes.min(self.reserved);
        if bytes > 0 {
            self.reserved -= bytes;
            self.core.sequencer.lanes.borrow_mut().accounts().remove(self.account, bytes);
        }
    }
}

impl<C> Drop for Calls<C> {
    fn drop(&mut self) {
        // Only where a runtime ends with calls under way.
        self.give_back(usize::MAX);
    }
}
