//! One client: what it sends, how it reads, and whether what it reads is what the contract
//! promises.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use roadcast::limits::Limits;
use roadcast::shard::ConnId;
use roadcast::shard::charge::{SUBSCRIPTION_BYTES, topic_bytes};
use roadcast::ws::frame::Opcode;

use super::book::{Book, Key, Message, Position};
use super::wire;

/// A command that is answered, as the client has sent it.
#[derive(Clone, Debug)]
pub struct Command {
    pub join: bool,
    pub broker: String,
    pub topics: Vec<String>,
}

/// What the client waits for, in order.
#[derive(Debug)]
pub enum Expected {
    Reply(Command),
    Echo(Opcode, Vec<u8>),
}

/// How the client has ended its side, or broken the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goodbye {
    /// A Close frame with this payload, which comes back.
    Close(Option<u16>),
    /// Something that is answered by a Close of this code.
    Violation(u16),
    /// The end of its stream.
    End,
    /// A reset.
    Reset,
}

/// A topic that the client has read `@join` for.
#[derive(Debug)]
struct Subscription {
    /// When it read `@join`: all that is published from then on must come.
    since: u64,
    /// The next one, once there has been a first.
    next: Option<Position>,
}

/// How the server has ended the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    Close(Option<u16>),
    Refused,
}

pub struct Client {
    pub host: usize,
    /// Once it has been accepted.
    pub id: Option<ConnId>,
    /// Speaks to the echo path.
    pub echo: bool,
    /// Its request is one that is refused.
    pub refused: bool,
    /// Bytes that the kernel holds for it at most.
    pub capacity: usize,
    /// Bytes it reads at a time at most; 0: it never reads.
    pub reads: usize,
    /// How often its socket takes less than it has room for.
    pub short: f64,
    pub answers_pings: bool,
    /// What it has sent and the server has not received.
    pub outgoing: Vec<u8>,
    pub goodbye: Option<Goodbye>,
    /// Taken by its socket, not read.
    pub kernel: Vec<u8>,
    /// Bytes that it has read in all.
    pub read_in_all: usize,
    stream: Vec<u8>,
    upgraded: bool,
    expected: VecDeque<Expected>,
    subscriptions: BTreeMap<Key, Subscription>,
    /// Of each topic, the publication behind the last one read.
    behind: BTreeMap<Key, Position>,
    pings: u32,
    pongs: u32,
    pub ended: Option<Ended>,
    /// The server has ended its direction.
    pub finished: bool,
    /// It may be told goodbye while others are served.
    pub drained: bool,
    /// The socket is gone.
    pub gone: bool,
    /// The server has reported it as too slow or silent.
    pub given_up: bool,
    /// Publications read.
    pub publications: u64,
    /// Publications that topics have skipped, as it can tell.
    pub missed: u64,
}

impl Client {
    pub fn new(host: usize) -> Self {
        Self {
            host,
            id: None,
            echo: false,
            refused: false,
            capacity: usize::MAX,
            reads: usize::MAX,
            short: 0.0,
            answers_pings: true,
            outgoing: Vec::new(),
            goodbye: None,
            kernel: Vec::new(),
            read_in_all: 0,
            stream: Vec::new(),
            upgraded: false,
            expected: VecDeque::new(),
            subscriptions: BTreeMap::new(),
            behind: BTreeMap::new(),
            pings: 0,
            pongs: 0,
            ended: None,
            finished: false,
            drained: false,
            gone: false,
            given_up: false,
            publications: 0,
            missed: 0,
        }
    }

    /// Whether it takes and reads everything at once: it must never be closed for what it did not
    /// do.
    pub fn is_steady(&self) -> bool {
        self.capacity == usize::MAX
            && self.reads == usize::MAX
            && self.short == 0.0
            && self.answers_pings
    }

    pub fn is_upgraded(&self) -> bool {
        self.upgraded
    }

    /// Whether commands that it sends now will be answered, as far as it knows.
    pub fn is_talking(&self) -> bool {
        self.upgraded && self.goodbye.is_none() && self.ended.is_none() && !self.gone
    }

    pub fn topics(&self) -> impl Iterator<Item = &Key> {
        self.subscriptions.keys()
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.outgoing.extend_from_slice(bytes);
    }

    pub fn expect(&mut self, expected: Expected) {
        self.expected.push_back(expected);
    }

    /// The frame of its next ping.
    pub fn ping(&mut self) -> Vec<u8> {
        self.pings += 1;
        wire::masked(Opcode::Ping, &self.pings.to_be_bytes())
    }

    /// Reads up to `bytes` and judges every whole frame among what it has.
    pub fn read(&mut self, bytes: usize, book: &Book, limits: &Limits) {
        let bytes = bytes.min(self.kernel.len());
        self.stream.extend_from_slice(&self.kernel[..bytes]);
        self.kernel.drain(..bytes);
        self.read_in_all += bytes;
        let stream = std::mem::take(&mut self.stream);
        let mut rest = &stream[..];
        if !self.upgraded && self.ended.is_none() {
            let Some(head) = rest.windows(4).position(|end| end == b"\r\n\r\n") else {
                self.stream = stream;
                return;
            };
            if rest.starts_with(b"HTTP/1.1 101 ") {
                assert!(!self.refused, "{self:?} should have been refused");
                self.upgraded = true;
                rest = &rest[head + 4..];
            } else {
                self.ended = Some(Ended::Refused);
            }
        }
        while self.upgraded
            && let Some(frame) = wire::front(rest)
        {
            assert_eq!(self.ended, None, "a frame behind the last: {frame:?}");
            self.frame(
                frame.opcode,
                &rest[frame.payload..frame.end],
                &rest[..frame.end],
                book,
                limits,
            );
            rest = &rest[frame.end..];
        }
        self.stream = rest.to_vec();
    }

    fn frame(
        &mut self,
        opcode: Opcode,
        payload: &[u8],
        frame: &[u8],
        book: &Book,
        limits: &Limits,
    ) {
        match opcode {
            Opcode::Ping if self.answers_pings && self.goodbye.is_none() => {
                self.send(&wire::masked(Opcode::Pong, payload));
            }
            Opcode::Ping => {}
            Opcode::Pong => {
                let pong = u32::from_be_bytes(payload.try_into().expect("the payload of a ping"));
                assert!(
                    pong > self.pongs && pong <= self.pings,
                    "pong {pong} behind {}",
                    self.pongs
                );
                self.pongs = pong;
            }
            Opcode::Close => self.closed(payload, book),
            Opcode::Text | Opcode::Binary if self.echo => {
                let Some(Expected::Echo(sent, bytes)) = self.expected.pop_front() else {
                    panic!("an echo of nothing")
                };
                assert!(sent == opcode && bytes == payload, "the message as it was sent");
            }
            Opcode::Text if payload.starts_with(b"{\"topic\":\"@") => {
                self.reply(payload, book, limits)
            }
            Opcode::Text if payload.starts_with(b"{\"topic\":\"#") => {
                self.reply(payload, book, limits)
            }
            Opcode::Text => self.publication(payload, frame, book),
            Opcode::Binary | Opcode::Continuation => panic!("{opcode:?} from the server"),
        }
    }

    fn closed(&mut self, payload: &[u8], book: &Book) {
        let code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
        // A Close does not wait for a join that waits for the hub.
        let answered = match self.expected.front() {
            Some(Expected::Reply(command)) => command.join,
            Some(Expected::Echo(..)) => false,
            None => true,
        };
        match (code, self.goodbye) {
            (Some(1001), _) if book.goodbyes => {}
            (Some(1013), _) if !self.is_steady() => {}
            (code, Some(Goodbye::Close(sent))) if code == sent => {
                assert!(answered, "{:?}", self.expected)
            }
            (Some(code), Some(Goodbye::Violation(due))) if code == due => {
                assert!(answered, "{:?}", self.expected)
            }
            _ => panic!("Close {code:?} without a reason: {self:?}"),
        }
        self.ended = Some(Ended::Close(code));
    }

    fn reply(&mut self, payload: &[u8], book: &Book, limits: &Limits) {
        let text = std::str::from_utf8(payload).expect("JSON");
        let Some(Expected::Reply(command)) = self.expected.pop_front() else {
            panic!("unasked: {text}")
        };
        let broker = match command.broker.as_str() {
            "bus" => 1,
            // One that there is not means the default one.
            _ => 0,
        };
        let (done, refused) = if command.join { ("@join", "#join") } else { ("@leave", "#leave") };
        let is = |topic| text == wire::reply(topic, &command.topics);
        assert!(is(done) || is(refused), "{text} to {command:?}");
        let mut keys: Vec<Key> =
            command.topics.iter().map(|topic| (broker, topic.clone())).collect();
        if !command.join {
            assert!(is(done), "{text}");
            self.subscriptions.retain(|key, _| !keys.contains(key));
            return;
        }
        keys.retain(|key| !self.subscriptions.contains_key(key));
        let cost = |key: &Key| topic_bytes(key.1.len()) + SUBSCRIPTION_BYTES;
        let (asked, asked_bytes) = (keys.len(), keys.iter().map(cost).sum::<usize>());
        keys.sort();
        keys.dedup();
        keys.retain(|(_, topic)| !topic.is_empty());
        let too_long = command.topics.iter().any(|topic| topic.len() > limits.topic_bytes);
        let room = limits.topics_per_connection - self.subscriptions.len();
        let bytes =
            limits.subscriptions_bytes_per_connection - self.topics().map(cost).sum::<usize>();
        let shard_has_room =
            limits.topics == usize::MAX && limits.subscriptions_bytes == usize::MAX;
        if too_long || keys.len() > room || keys.iter().map(cost).sum::<usize>() > bytes {
            assert!(is(refused), "over a limit: {text}");
        } else if asked <= room && asked_bytes <= bytes && shard_has_room && !book.drained {
            // Topics named twice may count twice.
            assert!(is(done), "within the limits: {text}");
        }
        if is(done) {
            for key in keys {
                self.subscriptions.insert(key, Subscription { since: book.now(), next: None });
            }
        }
    }

    fn publication(&mut self, payload: &[u8], frame: &[u8], book: &Book) {
        let (key, message) = Message::of(payload);
        let Some(place) = book.place(&key, message) else {
            panic!("{key:?} {message:?} from nowhere")
        };
        assert!(
            book.at(&key, place).unwrap().1[..] == *frame,
            "{key:?} {message:?} as it was published"
        );
        self.publications += 1;
        let may_skip = book.skips(&key) && !self.is_steady();
        let Some(subscription) = self.subscriptions.get_mut(&key) else {
            panic!("{key:?} {message:?} to somebody who has not joined")
        };
        let behind = self.behind.entry(key.clone()).or_default();
        match subscription.next {
            Some(next) if may_skip => {
                assert!(
                    place.0 == next.0 && place >= next,
                    "{key:?} {place:?}: {next:?} or a later one"
                );
                self.missed += place.1 - next.1;
            }
            Some(next) => assert_eq!(place, next, "{key:?}: the next one"),
            None if may_skip => {
                assert!(place >= *behind, "{key:?} {place:?}: not before {behind:?}")
            }
            None => assert!(
                place >= *behind && book.may_begin(&key, place, subscription.since),
                "{key:?} {place:?}: the first since @join, not before {behind:?}",
            ),
        }
        subscription.next = Some((place.0, place.1 + 1));
        *behind = (place.0, place.1 + 1);
    }

    /// Everything that it was promised has come.
    pub fn check_complete(&self, book: &Book, newest_dropped: bool) {
        assert!(self.stream.is_empty() && self.kernel.is_empty(), "half a frame: {self:?}");
        for (key, subscription) in &self.subscriptions {
            let end = book.end(self.host, key);
            // Also where older ones were skipped the newest comes, unless the server shuts down
            // first or keeps too many.
            if (self.ended.is_some() || newest_dropped) && book.skips(key) && !self.is_steady() {
                assert!(subscription.next.is_none_or(|next| next <= end));
                continue;
            }
            let complete = match subscription.next {
                Some(next) => next == end,
                None => book.may_begin(key, end, subscription.since),
            };
            assert!(
                complete,
                "{key:?} up to {end:?}: {subscription:?} of {:?} on shard {}",
                self.id, self.host
            );
        }
        if self.ended.is_none() {
            assert!(self.expected.is_empty(), "unanswered: {:?}", self.expected);
            assert_eq!(self.pongs, self.pings, "the last ping is answered");
        }
    }

    /// The server has ended its direction and all has been read: the last was a whole Close, or an
    /// HTTP answer.
    pub fn check_finished(&self) {
        assert!(self.ended.is_some(), "finished without a last word: {self:?}");
        assert!(self.stream.is_empty() || self.ended == Some(Ended::Refused));
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("at", &(self.host, self.id))
            .field("echo", &self.echo)
            .field("capacity", &self.capacity)
            .field("reads", &self.reads)
            .field("unread", &(self.kernel.len(), self.stream.len()))
            .field("unsent", &self.outgoing.len())
            .field("expected", &self.expected.len())
            .field("goodbye", &self.goodbye)
            .field("ended", &self.ended)
            .field("steady", &self.is_steady())
            .finish_non_exhaustive()
    }
}
