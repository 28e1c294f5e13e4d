//! Calls: what has been read from an RPC connection is decoded, checked, published and answered, in order.
//!
//! There is no I/O here: how answers leave and how a task gives way is its [`Caller`]'s. So whoever polls these futures may be
//! the runtime of the hub, or a test on one thread.
//!
//! Invariants worth naming:
//! - **Answers of one read leave in one write**, but an answer never waits for something that may take long: they are
//!   flushed before a publication that waits for room, and in between a call of many publications.
//! - **Answers held are bounded**: at most [`ANSWERS_BYTES`] and one more. Who does not read answers is not read from.
//! - **What has been read is worked through** even if the caller has gone: a fire-and-forget caller loses nothing.
//! - **An asynchronous call does not wait, and is not lost in silence.** What of it meets a full lane waits in the room by
//!   itself, in its place in the order. Past `rpc_async_bytes` a call is refused as a whole, before anything of it is
//!   published; a connection of which nothing waits may always let one publication wait.

use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tracing::warn;

use super::broker::{Later, Publishing};
use super::publish::Hub;
use super::room::WAITING_BYTES;
use super::sequencer::{PublishError, Stage};
use super::stream::Peer;
use crate::rpc::{self, Call, CallError, Decoded, Method, Request, Violation};

/// Answers are written at the latest when this many bytes are due.
const ANSWERS_BYTES: usize = 256 * 1024;
/// Publications after which other connections get their turn: about the work of one read of small calls.
const TURN_PUBLICATIONS: u32 = 256;
/// Waiting publications that need no looking through; places for so many are kept while none waits.
const KEPT: usize = 64;

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
    hub: Rc<Hub>,
    caller: C,
    /// Due to the caller.
    answers: Vec<u8>,
    /// Publications of calls that have been answered, as they wait for room, in order.
    waiting: VecDeque<Later>,
    /// How many must be there until all of them are looked through.
    look_through_at: usize,
    /// Those that were refused room after all.
    lost: u64,
    /// Publications since other connections last had their turn.
    turn: u32,
    /// Why answers can be written no more.
    broken: Option<io::Error>,
    peer: Peer,
}

impl<C: Caller> Calls<C> {
    pub(super) fn new(hub: Rc<Hub>, caller: C, peer: Peer) -> Self {
        Self {
            hub,
            caller,
            answers: Vec::new(),
            waiting: VecDeque::new(),
            look_through_at: KEPT,
            lost: 0,
            turn: 0,
            broken: None,
            peer,
        }
    }

    /// Works through all whole calls of what has been read, and writes their answers. Says how many bytes they were, and
    /// how many the next one needs; an error when answers can be written no more.
    pub async fn take(&mut self, input: &[u8]) -> io::Result<(usize, Result<usize, Violation>)> {
        let hub = self.hub.clone();
        let _in_flight = hub.sequencer.in_flight();
        let refused = hub.sequencer.stage.get() > Stage::Serving;
        let outcome = self.work(input, refused).await;
        self.flush().await;
        self.broken.take().map_or(Ok(outcome), Err)
    }

    /// Works through all whole calls of a buffer; says how many bytes they were, and how many the next one needs.
    async fn work(&mut self, input: &[u8], refused: bool) -> (usize, Result<usize, Violation>) {
        let mut consumed = 0;
        loop {
            match rpc::decode(&input[consumed..], self.hub.sequencer.limits.rpc_frame_bytes) {
                Ok(Decoded::Whole { value, bytes }) => {
                    self.hub.sequencer.counters.calls.add(1);
                    self.call(&value, refused).await;
                    consumed += bytes;
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
        let (method, request) = match self.accepted(call, refused) {
            Ok(accepted) => accepted,
            Err(text) => return rpc::encode_error(&mut self.answers, call, &text),
        };
        if method.asynchronous {
            if let Err(error) = self.has_room(&request) {
                self.count(&error);
                return rpc::encode_error(&mut self.answers, call, &error.to_string());
            }
            rpc::encode_ok(&mut self.answers, call, true);
        }
        let result = self.publish(method, &request).await;
        if let Err(error) = &result {
            self.count(error);
        }
        match result {
            Ok(()) if method.asynchronous => {}
            Ok(()) => rpc::encode_ok(&mut self.answers, call, true),
            Err(error) if method.asynchronous => {
                self.hub.sequencer.counters.failures_after_ok.add(1);
                if let Some(unsaid) = self.hub.sequencer.due(LOST, "async") {
                    warn!(peer = %self.peer, %error, "{LOST}{unsaid}");
                }
            }
            Err(error) => rpc::encode_error(&mut self.answers, call, &error.to_string()),
        }
    }

    /// Everything that can be wrong with a call before anything of it is published; the error is the answer's text.
    fn accepted<'a>(&self, call: &Call<'a>, refused: bool) -> Result<(Method, Request<'a>), String> {
        let counters = &self.hub.sequencer.counters;
        if refused {
            self.count(&PublishError::ShuttingDown);
            return Err(PublishError::ShuttingDown.to_string());
        }
        let read = || {
            let method = call.method()?;
            Ok((method, call.request(method.layout)?))
        };
        let (method, request) = read().map_err(|error: CallError<'_>| {
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
        })?;
        self.hub.check(method.layout, &request).map_err(|error| {
            self.count(&error);
            error.to_string()
        })?;
        Ok((method, request))
    }

    fn count(&self, error: &PublishError) {
        let counters = &self.hub.sequencer.counters;
        let (counter, kind) = match error {
            PublishError::TooLarge { .. } | PublishError::TopicTooLong { .. } => {
                (&counters.errors_size, "size")
            }
            PublishError::UnknownBroker { .. } => (&counters.errors_broker, "broker"),
            PublishError::NoRoom { .. } => (&counters.errors_async, "async"),
            PublishError::ShuttingDown => (&counters.errors_shutdown, "shutdown"),
        };
        counter.add(1);
        self.hub.sequencer.say_error(kind, self.peer, &error.to_string());
    }

    async fn publish(&mut self, method: Method, request: &Request<'_>) -> Result<(), PublishError> {
        let hub = self.hub.clone();
        let mut published = 0;
        for message in request.messages() {
            let targets = hub.targets(method.layout, &message)?;
            for topic in message.topics() {
                if topic.is_empty() {
                    self.skip_empty_topic();
                } else {
                    for (place, (_, broker)) in
                        hub.brokers.iter().enumerate().take(targets.end).skip(targets.start)
                    {
                        hub.sequencer.counters.publications.add(1);
                        if let Some(counter) = hub.sequencer.counters.by_broker.get(place) {
                            counter.add(1);
                        }
                        match broker.publish(topic, message.payload) {
                            Publishing::Now(result) => result?,
                            Publishing::Later(result) if method.asynchronous && self.may_wait() => {
                                self.waiting.push_back(result);
                            }
                            Publishing::Later(result) => {
                                self.flush().await;
                                result.await?;
                            }
                        }
                    }
                }
                published += 1;
                self.turn += 1;
                if self.turn >= TURN_PUBLICATIONS {
                    if published >= TURN_PUBLICATIONS {
                        self.flush().await;
                    }
                    self.give_way().await;
                }
            }
        }
        Ok(())
    }

    /// Whether an asynchronous call may be taken.
    fn has_room(&mut self, request: &Request<'_>) -> Result<(), PublishError> {
        self.settle();
        let bytes_max = self.hub.sequencer.limits.rpc_async_bytes;
        let bytes = self.hub.sequencer.room.borrow().waiting_bytes();
        if self.waiting.is_empty() || bytes + request.bytes() + WAITING_BYTES <= bytes_max {
            return Ok(());
        }
        Err(PublishError::NoRoom { bytes, bytes_max })
    }

    /// Whether a publication that has just met a full lane may be left to wait by itself. Of a call that comes to more than
    /// its bytes allow, the rest is waited for: its connection goes on afterwards.
    fn may_wait(&self) -> bool {
        let bytes = self.hub.sequencer.room.borrow().waiting_bytes();
        self.waiting.is_empty() || bytes <= self.hub.sequencer.limits.rpc_async_bytes
    }

    /// Forgets those that wait no more.
    fn settle(&mut self) {
        let mut context = Context::from_waker(Waker::noop());
        let (mut lost, mut look) = (0, |waits: &mut Later| waits.as_mut().poll(&mut context));
        while let Some(Poll::Ready(result)) = self.waiting.front_mut().map(&mut look) {
            self.waiting.pop_front();
            lost += u64::from(result.is_err());
        }
        // Those of other lanes may be done behind one that is not.
        if self.waiting.len() >= self.look_through_at {
            self.waiting.retain_mut(|waits| match look(waits) {
                Poll::Ready(result) => {
                    lost += u64::from(result.is_err());
                    false
                }
                Poll::Pending => true,
            });
            self.look_through_at = KEPT.max(2 * self.waiting.len());
        }
        if self.waiting.is_empty() && self.waiting.capacity() > KEPT {
            self.waiting = VecDeque::new();
        }
        self.lost += lost;
    }

    /// Ends when nothing of an answered call waits any more, and says what was lost.
    pub async fn published(&mut self) {
        while let Some(oldest) = self.waiting.pop_front() {
            self.lost += u64::from(oldest.await.is_err());
        }
        if self.lost > 0 {
            self.hub.sequencer.counters.failures_after_ok.add(self.lost);
            if let Some(unsaid) = self.hub.sequencer.due(LOST, "async") {
                warn!(peer = %self.peer, lost = self.lost, "{LOST}{unsaid}");
            }
        }
    }

    fn skip_empty_topic(&mut self) {
        self.hub.sequencer.counters.empty_topics.add(1);
        const LINE: &str = "a message names an empty topic: skipped";
        if let Some(unsaid) = self.hub.sequencer.due(LINE, "topic") {
            warn!(peer = %self.peer, "{LINE}{unsaid}");
        }
    }

    async fn give_way(&mut self) {
        self.turn = 0;
        self.hub.sequencer.wake_shards();
        self.caller.give_way().await;
    }

    /// Writes the answers that are due.
    async fn flush(&mut self) {
        self.hub.sequencer.wake_shards();
        if self.answers.is_empty() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        if self.broken.is_none() {
            let (result, answers) =
                self.caller.write_answers(answers, self.hub.sequencer.limits.rpc_timeout).await;
            self.broken = result.err();
            self.answers = answers;
        }
        self.answers.clear();
        self.answers.shrink_to(ANSWERS_BYTES);
    }
}
