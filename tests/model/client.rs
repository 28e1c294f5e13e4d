//! One client: what it sends and how it reads. Module `judging`: whether what it reads is what the
//! contract promises.

mod judging;
mod recovering;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use roadcast::limits::Limits;
use roadcast::position;
use roadcast::shard::ConnId;
use roadcast::ws::frame::Opcode;

use super::book::{Book, Key, Position};
use super::wire;

/// A command that is answered, as the client has sent it.
#[derive(Clone, Debug)]
pub struct Command {
    pub join: bool,
    /// Of a join: to be told of gaps.
    pub gaps: bool,
    /// Of a join whose client counts what it reads.
    pub recovery: Option<Recovery>,
    /// When it was sent.
    pub sent: u64,
    pub broker: String,
    pub topics: Vec<String>,
}

/// What a client has read before it joins.
#[derive(Clone, Debug, Default)]
pub struct Recovery {
    pub since: BTreeMap<String, position::Position>,
    pub last: Option<u64>,
}

/// What the client waits for, in order.
#[derive(Debug)]
pub enum Expected {
    Reply(Command),
    /// The answer to a token that is good, or is not.
    Token(bool),
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
    /// Of one that counts: between which two sequences the first lies.
    first: Option<(u64, u64)>,
    /// `None`: it has not asked for gaps.
    heard: Option<Heard>,
}

/// Of the gaps that a client's shard hears of, how many are behind the client.
#[derive(Debug)]
struct Heard {
    least: usize,
    most: usize,
    /// So many may have been there before it asked.
    before_asked: usize,
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
    /// Its token may run out.
    pub expiring: bool,
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
    /// Positions that it has been told.
    pub seen: Vec<(String, position::Position)>,
    pings: u32,
    pongs: u32,
    /// Answers to tokens.
    tokens: u32,
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
            expiring: false,
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
            seen: Vec::new(),
            pings: 0,
            pongs: 0,
            tokens: 0,
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
                self.pongs += 1;
                assert!(pong == self.pongs && pong <= self.pings, "pong {pong}: the next one");
            }
            Opcode::Close => self.closed(payload, book),
            Opcode::Text | Opcode::Binary if self.echo => {
                let Some(Expected::Echo(sent, bytes)) = self.expected.pop_front() else {
                    panic!("an echo of nothing")
                };
                assert!(sent == opcode && bytes == payload, "the message as it was sent");
            }
            Opcode::Text if payload.starts_with(b"{\"topic\":\"@gap") => self.gap(payload, book),
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
