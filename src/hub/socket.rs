//! The RPC socket: one task a connection, which reads calls, works through them in order and writes their answers.
//!
//! Invariants worth naming:
//! - **Answers of one read leave in one write**, but an answer never waits for something that may take long: they are
//!   flushed before a publication that waits for room, and in between a call of many publications.
//! - **A connection holds what it reads, bounded**: one buffer (at most a frame and a read), the answers of that
//!   buffer (at most [`ANSWERS_BYTES`] and one more). Who does not read answers is not read from.
//! - **What has been read is worked through** even if the caller has gone: a fire-and-forget caller loses nothing.
//! - A task gives way by a turn of the ring (a no-op): the runtime submits operations only when it parks, so merely
//!   yielding would leave the reads and writes of all other connections unsubmitted.

use std::io;
use std::net::Shutdown;
use std::rc::Rc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use super::broker::Publishing;
use super::publish::Hub;
use super::sequencer::{PublishError, Stage};
use super::stream::{Accepting, Peer, Stream};
use crate::rpc::{self, Call, CallError, Decoded, Layout, Method, Request, Violation};

/// Bytes asked for in one read, at least.
const READ_BYTES: usize = 64 * 1024;
/// Answers are written at the latest when this many bytes are due.
const ANSWERS_BYTES: usize = 256 * 1024;
/// Publications after which other connections get their turn: about the work of one read of small calls.
const TURN_PUBLICATIONS: u32 = 64;
/// How long accepting pauses when descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a violator may go on sending before its connection is closed with its input unread.
const LINGER: Duration = Duration::from_secs(1);

/// Accepts connections for ever; the listener is closed when this future is dropped.
pub(super) async fn accept(hub: Rc<Hub>, listener: Accepting) {
    let counters = &hub.sequencer.counters;
    // Each is said once until it is over.
    let (mut full, mut failing) = (false, false);
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_the_peers(&error) => continue,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    warn!(%error, "cannot accept RPC connections, trying again");
                }
                sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let mut streams = hub.sequencer.streams.borrow_mut();
        let limit = hub.sequencer.limits.rpc_connections;
        if streams.len() >= limit {
            counters.rpc_refused.add(1);
            if !full {
                warn!(%peer, limit, "RPC connection refused: roadcast.limits.rpc_connections reached");
            }
            full = true;
            continue;
        }
        (full, failing) = (false, false);
        counters.rpc_accepted.add(1);
        let stream = Rc::new(stream);
        let place = streams.insert(stream.clone());
        counters.rpc_open.set(streams.len() as u64);
        drop(streams);
        counters.spawn(serve(hub.clone(), stream, peer, place));
    }
}

/// Whether an accept failed for the connection that it was about, and only for that.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, InvalidInput, NotConnected};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted | InvalidInput | NotConnected)
}

async fn serve(hub: Rc<Hub>, stream: Rc<Stream>, peer: Peer, place: usize) {
    let mut connection = Connection {
        hub: hub.clone(),
        stream,
        answers: Vec::new(),
        turn: 0,
        broken: None,
        empty_topic_seen: false,
        peer,
    };
    let counters = &hub.sequencer.counters;
    match connection.run().await {
        End::Closed => {}
        End::Violation(violation) => {
            counters.rpc_violations.add(1);
            warn!(%peer, %violation, "RPC connection closed");
            connection.linger().await;
        }
        End::Broken(error) if error.kind() == io::ErrorKind::TimedOut => {
            counters.rpc_timeouts.add(1);
            warn!(%peer, "RPC connection closed: a frame or the reading of answers took longer than roadcast.limits.rpc_timeout");
        }
        End::Broken(error) => debug!(%peer, %error, "RPC connection broke"),
    }
    let mut streams = hub.sequencer.streams.borrow_mut();
    streams.remove(place);
    counters.rpc_open.set(streams.len() as u64);
    hub.sequencer.ended.notify_one();
}

/// Why a connection ends.
enum End {
    /// The peer has said all, or the server closes.
    Closed,
    Violation(Violation),
    Broken(io::Error),
}

struct Connection {
    hub: Rc<Hub>,
    stream: Rc<Stream>,
    /// Due to the caller.
    answers: Vec<u8>,
    /// Publications since other connections last had their turn.
    turn: u32,
    /// Why answers can be written no more.
    broken: Option<io::Error>,
    empty_topic_seen: bool,
    peer: Peer,
}

impl Connection {
    async fn run(&mut self) -> End {
        let mut input: Vec<u8> = Vec::with_capacity(READ_BYTES);
        // Bytes of the frame under way, and when it must be there.
        let mut frame_bytes = 0;
        let mut deadline = None;
        loop {
            // Twice what has come, never what a header claims.
            let spare = frame_bytes.min(2 * input.len()).saturating_sub(input.len()).max(READ_BYTES);
            if input.is_empty() && input.capacity() > 4 * READ_BYTES {
                input = Vec::new();
            }
            input.reserve_exact(spare);
            let result;
            (result, input) = self.stream.read(input, deadline).await;
            match result {
                Ok(0) => return End::Closed,
                Ok(_) => {}
                Err(error) => return End::Broken(error),
            }

            let hub = self.hub.clone();
            let in_flight = hub.sequencer.in_flight();
            let refused = hub.sequencer.stage.get() > Stage::Serving;
            let (consumed, decoded) = self.work(&input, refused).await;
            self.flush().await;
            drop(in_flight);
            if let Some(error) = self.broken.take() {
                return End::Broken(error);
            }
            match decoded {
                Ok(bytes) => frame_bytes = bytes,
                Err(violation) => return End::Violation(violation),
            }
            input.drain(..consumed);
            if input.is_empty() {
                deadline = None;
            } else if consumed > 0 || deadline.is_none() {
                deadline = Some(Instant::now() + self.hub.sequencer.limits.rpc_timeout);
            }
        }
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
            rpc::encode_ok(&mut self.answers, call, true);
        }
        let result = self.publish(method.layout, &request).await;
        if let Err(error) = &result {
            self.count(error);
        }
        match result {
            Ok(()) if method.asynchronous => {}
            Ok(()) => rpc::encode_ok(&mut self.answers, call, true),
            Err(error) if method.asynchronous => {
                self.hub.sequencer.counters.failures_after_ok.add(1);
                warn!(peer = %self.peer, %error, "publication lost after PublishAsync was answered");
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
            PublishError::ShuttingDown => (&counters.errors_shutdown, "shutdown"),
        };
        counter.add(1);
        self.hub.sequencer.say_error(kind, self.peer, &error.to_string());
    }

    async fn publish(&mut self, layout: Layout, request: &Request<'_>) -> Result<(), PublishError> {
        let hub = self.hub.clone();
        let mut published = 0;
        for message in request.messages() {
            let targets = hub.targets(layout, &message)?;
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

    fn skip_empty_topic(&mut self) {
        self.hub.sequencer.counters.empty_topics.add(1);
        if !std::mem::replace(&mut self.empty_topic_seen, true) {
            warn!(peer = %self.peer, "a message names an empty topic: skipped, and not said again for this connection");
        }
    }

    async fn give_way(&mut self) {
        self.turn = 0;
        self.hub.sequencer.wake_shards();
        // It cannot fail in a way that matters: its turn is all that is wanted of it.
        let _ = tokio_uring::no_op().await;
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
                self.stream.write_all(answers, self.hub.sequencer.limits.rpc_timeout).await;
            self.broken = result.err();
            self.answers = answers;
        }
        self.answers.clear();
        self.answers.shrink_to(ANSWERS_BYTES);
    }

    /// Closing while input is unread would reset the connection and destroy answers that are under way.
    async fn linger(&mut self) {
        self.stream.shutdown(Shutdown::Write);
        let deadline = Instant::now() + LINGER;
        let mut discarded = Vec::with_capacity(READ_BYTES);
        while Instant::now() < deadline {
            let result;
            (result, discarded) = self.stream.read(discarded, Some(deadline)).await;
            if !matches!(result, Ok(bytes) if bytes > 0) {
                return;
            }
            discarded.clear();
        }
    }
}
