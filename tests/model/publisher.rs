//! One publisher: the calls that it makes, and whether the answers, and what becomes of its
//! publications, are as promised.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::rpc::{self, Answer, Codec, Decoded};

use super::book::{BUS, Book, Key, Message};
use super::bus::AWAY;
use super::pipe::{Closed, Pipe};

/// What a call is to be answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// `ok`, when all has been published.
    Ok,
    /// `ok`, at once.
    OkAtOnce,
    /// An error whose text has this in it.
    Error(&'static str),
}

/// A call that has not been answered.
#[derive(Debug)]
pub struct Sent {
    pub sequence: u32,
    pub method: String,
    pub codec: Codec,
    pub due: Due,
    pub at: u64,
    pub publications: Vec<(Key, Message)>,
}

/// A publication whose call has been answered `ok`.
struct Promise {
    key: Key,
    message: Message,
    /// When the call was sent.
    since: u64,
    /// Whether it must have come by now; of `PublishAsync` not known yet.
    wanted: Option<bool>,
}

/// What the publisher does besides publishing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    Steady,
    /// Sends all, ends its direction and reads the answers.
    EndsDirection,
    /// Breaks the protocol behind its calls.
    Violates,
    Resets,
    /// Never reads an answer.
    NeverReads,
}

pub struct Publisher {
    pub place: usize,
    pub manner: Manner,
    pub pipe: Rc<RefCell<Pipe>>,
    /// Calls under way at most.
    pub depth: usize,
    /// Bytes that it reads at a time at most.
    pub reads: usize,
    pub said_all: bool,
    /// Publications that the hub will be given, in order, each with the number of its call.
    pub offers: VecDeque<(u32, Key, Message)>,
    /// The last one that it has been given, and its call.
    given: Option<(u32, Key, Message)>,
    sequence: u32,
    messages: u32,
    stream: Vec<u8>,
    waiting: VecDeque<Sent>,
    promises: Vec<Promise>,
    /// Publications of calls that have been refused.
    refused: Vec<(Key, Message)>,
    pub answers: u64,
}

const JSON_OK: &[u8] = br#"{"ok":true}"#;
const MSGPACK_OK: &[u8] = b"\x81\xa2Ok\xc3";
const PROTO_OK: &[u8] = b"\x08\x01";

impl Publisher {
    pub fn new(place: usize, manner: Manner, pipe: Rc<RefCell<Pipe>>, rng: &mut SmallRng) -> Self {
        Self {
            place,
            manner,
            pipe,
            depth: [1, 1, 3, 20][rng.random_range(0..4)],
            reads: [30, 10_000, usize::MAX][rng.random_range(0..3)],
            said_all: false,
            offers: VecDeque::new(),
            given: None,
            // Sequence ids are the caller's business; they may come round.
            sequence: [0, u32::MAX - 3][rng.random_range(0..2)],
            messages: 0,
            stream: Vec::new(),
            waiting: VecDeque::new(),
            promises: Vec::new(),
            refused: Vec::new(),
            answers: 0,
        }
    }

    /// Whether it would make another call now.
    pub fn is_talking(&self) -> bool {
        !self.said_all && self.waiting.len() < self.depth && self.pipe.borrow().closed.is_none()
    }

    pub fn next_message(&mut self) -> Message {
        self.messages += 1;
        Message { publisher: self.place, number: self.messages }
    }

    pub fn call(
        &mut self,
        method: &str,
        codec: Codec,
        body: &[u8],
        due: Due,
        book: &Book,
        publications: Vec<(Key, Message)>,
    ) {
        self.sequence = self.sequence.wrapping_add(1);
        let mut bytes = Vec::new();
        rpc::encode_call(&mut bytes, self.sequence, method, codec, body);
        self.send(&bytes);
        match due {
            Due::Error(_) => self.refused.extend(publications.iter().cloned()),
            Due::Ok | Due::OkAtOnce => {
                let offer =
                    |(key, message): &(Key, Message)| (self.sequence, key.clone(), *message);
                self.offers.extend(publications.iter().map(offer));
            }
        }
        let (sequence, method, at) = (self.sequence, method.to_owned(), book.now());
        self.waiting.push_back(Sent { sequence, method, codec, due, at, publications });
    }

    /// The hub is given the next publication.
    pub fn next_offer(&mut self) -> Option<(Key, Message)> {
        let (call, key, message) = self.offers.pop_front()?;
        self.given = Some((call, key.clone(), message));
        Some((key, message))
    }

    /// The call of this publication has failed there, if it is the last that the hub was given:
    /// what will not be published.
    pub fn drop_rest(&mut self, key: &Key, message: Message) -> Vec<(Key, Message)> {
        let mut rest = Vec::new();
        if let Some((call, given, last)) = &self.given
            && given == key
            && *last == message
        {
            while self.offers.front().is_some_and(|(of, ..)| of == call)
                && let Some((_, key, message)) = self.offers.pop_front()
            {
                rest.push((key, message));
            }
        }
        rest
    }

    pub fn send(&mut self, bytes: &[u8]) {
        let mut pipe = self.pipe.borrow_mut();
        pipe.calls.extend_from_slice(bytes);
        pipe.wake();
    }

    /// Says goodbye in its manner.
    pub fn say_goodbye(&mut self) {
        self.said_all = true;
        match self.manner {
            Manner::Violates => self.send(b"GET / HTTP/1.1\r\n\r\n"),
            Manner::Resets => self.pipe.borrow_mut().reset = true,
            _ => self.pipe.borrow_mut().ended = true,
        }
        self.pipe.borrow_mut().wake();
    }

    /// Reads some of what has been answered and judges it.
    pub fn read(&mut self, book: &Book, stopping: bool, rng: &mut SmallRng) {
        if self.manner == Manner::NeverReads || self.pipe.borrow().reset {
            return;
        }
        {
            let mut pipe = self.pipe.borrow_mut();
            let bytes = rng.random_range(0..=self.reads).min(pipe.answers.len());
            self.stream.extend(pipe.answers.drain(..bytes));
            if bytes > 0 {
                pipe.wake();
            }
        }
        let stream = std::mem::take(&mut self.stream);
        let mut rest = &stream[..];
        while let Decoded::Whole { value, bytes } =
            rpc::decode_answer(rest, 1 << 20).expect("goridge")
        {
            self.answered(&value, book, stopping);
            rest = &rest[bytes..];
        }
        self.stream = rest.to_vec();
    }

    fn answered(&mut self, answer: &Answer<'_>, book: &Book, stopping: bool) {
        self.answers += 1;
        let call = self.waiting.pop_front().expect("an answer to a call");
        let named = (answer.sequence, answer.method, answer.codec);
        assert_eq!(
            named,
            (call.sequence, call.method.as_bytes(), Some(call.codec)),
            "one answer a call, in order"
        );
        let doubted = |(key, message): &(Key, Message)| book.losses.doubts(key, *message);
        if answer.error {
            let text = String::from_utf8_lossy(answer.body);
            let shutting_down = stopping && text == "roadcast is shutting down";
            let is_due = matches!(call.due, Due::Error(part) if text.contains(part));
            let away = text == AWAY && call.publications.iter().any(doubted);
            assert!(is_due || shutting_down || away, "{text} to {call:?}");
            return;
        }
        let doubted = call.due == Due::Ok && call.publications.iter().any(doubted);
        assert!(!doubted, "ok to {call:?}, and the broker has not taken it");
        let body = match call.codec {
            Codec::Json => JSON_OK,
            Codec::Msgpack => MSGPACK_OK,
            _ => PROTO_OK,
        };
        assert!(!matches!(call.due, Due::Error(_)) && answer.body == body, "ok to {call:?}");
        let since = call.at;
        for (key, message) in call.publications {
            let wanted = (call.due == Due::Ok).then(|| book.is_wanted_since(&key, since));
            self.promises.push(Promise { key, message, since, wanted });
        }
    }

    /// Nothing is under way in the hub and the lanes: what was answered `ok` has come to everyone
    /// who wanted it. Says how many publications of `PublishAsync` were lost, which may happen only
    /// in shutting down.
    pub fn check_promises(&mut self, book: &Book) -> u64 {
        let mut lost = 0;
        for Promise { key, message, since, wanted } in self.promises.drain(..) {
            // What was on its way back from its broker at the end is of use to nobody.
            let on_its_way = key.0 == BUS && book.drained;
            let excused = on_its_way
                || book.losses.may_miss(&key, since)
                || book.losses.doubts(&key, message);
            let missing = book.place(&key, message).is_none() && !excused;
            match wanted {
                Some(wanted) => {
                    assert!(
                        !(wanted && missing),
                        "{message:?} to {key:?} was answered ok and is lost"
                    )
                }
                None => lost += u64::from(missing && book.is_wanted_since(&key, since)),
            }
        }
        for (key, message) in &self.refused {
            assert_eq!(
                book.place(key, *message),
                None,
                "{message:?} to {key:?} was refused and is published"
            );
        }
        lost
    }

    /// Whether nothing of it is under way.
    pub fn is_quiet(&self) -> bool {
        let pipe = self.pipe.borrow();
        let (ends, never) =
            (pipe.ended || pipe.reset || self.said_all, self.manner == Manner::NeverReads);
        let idle =
            pipe.calls.is_empty() && !pipe.is_full() && !ends && (never || pipe.answers.is_empty());
        idle || (pipe.closed.is_some() && (pipe.reset || never || pipe.answers.is_empty()))
    }

    /// It has been read to its end, and answered.
    pub fn check_complete(&self) {
        let pipe = self.pipe.borrow();
        let all_read = !pipe.reset && self.manner != Manner::NeverReads;
        if all_read {
            assert!(
                self.waiting.is_empty() && self.stream.is_empty(),
                "unanswered: {:?}",
                self.waiting
            );
            assert!(self.offers.is_empty(), "not published, and nobody knows: {:?}", self.offers);
        }
        let closed = match self.manner {
            _ if pipe.reset => pipe.closed.is_none() || pipe.closed == Some(Closed::Broken),
            Manner::NeverReads => pipe.closed != Some(Closed::Violation),
            Manner::Violates if self.said_all => pipe.closed == Some(Closed::Violation),
            _ if self.said_all => pipe.closed == Some(Closed::End),
            _ => pipe.closed.is_none(),
        };
        assert!(closed, "{:?} after {:?}", pipe.closed, self.manner);
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pipe = self.pipe.borrow();
        f.debug_struct("Publisher")
            .field("place", &self.place)
            .field("manner", &self.manner)
            .field("said_all", &self.said_all)
            .field("waiting", &self.waiting.len())
            .field("offers", &self.offers.len())
            .field(
                "pipe",
                &(pipe.calls.len(), pipe.answers.len(), pipe.capacity, pipe.is_full(), pipe.closed),
            )
            .finish_non_exhaustive()
    }
}
