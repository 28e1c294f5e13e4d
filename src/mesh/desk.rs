//! The lanes between the shards and the desk, which exist only where somebody is to be asked who
//! may connect or join: a shard asks, the desk answers each question once.
//!
//! What is under way is bounded by the shard that asks, in bytes (`roadcast.limits.asks_bytes`):
//! each question says what it costs, and its answer gives that back. A shard's questions are taken
//! in their order; answers come in any.

use std::io;
use std::sync::{Arc, Weak};

use super::{ConnId, ShardEnd};
use crate::access::{AccessRequest, Grant};
use crate::lane::{self, Receiver, Sender, Wake};
use crate::ws::close::CloseCode;

/// Which question of which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Who waits for the answer, one question at a time.
    pub connection: ConnId,
    /// What the question holds of memory, in bytes, until it is answered.
    pub cost: usize,
}

/// A question to the desk. It is always answered, by [`Word::Answer`], also when its connection has
/// gone meanwhile.
#[derive(Debug)]
pub struct Ask {
    /// Goes into the answer.
    pub ticket: Ticket,
    /// Dead as soon as the connection has gone: nobody need be troubled for it any more.
    pub waits: Weak<()>,
    /// What is asked.
    pub about: About,
}

/// What is asked about a client.
#[derive(Debug)]
pub enum About {
    /// May it connect?
    Connect(AccessRequest),
    /// May it join these topics, all of them?
    Join {
        /// What it was let in with.
        grant: Arc<Grant>,
        /// At least one.
        topics: Box<[Box<str>]>,
    },
    /// It has sent another token.
    Token {
        /// What it was let in with.
        grant: Arc<Grant>,
        /// As it was sent.
        token: Box<str>,
    },
}

/// From the desk to a shard.
#[derive(Debug)]
pub enum Word {
    /// The answer to a question.
    Answer(Ticket, Answer),
    /// Close a connection that has lost its place.
    Close {
        /// Whose; it may have gone by now.
        connection: ConnId,
        /// With this code.
        code: CloseCode,
        /// And these words.
        reason: &'static str,
    },
}

/// The answer to a question.
#[derive(Debug)]
pub enum Answer {
    /// It may connect, with this, or its new token is good, which makes this of it.
    Granted(Arc<Grant>),
    /// It may not connect: the whole HTTP response.
    Denied(Denial),
    /// It may join all that was asked.
    Allowed,
    /// It may not, or the token is not good.
    Refused(Why),
}

/// Why somebody may not connect, and what it is told.
#[derive(Debug)]
pub struct Denial {
    /// For the log.
    pub why: Why,
    /// Who it was, where that is known: for the log, too.
    pub user: Option<Box<str>>,
    /// The whole HTTP response.
    pub response: Vec<u8>,
}

/// Who said no, for counts and the log: a closed set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// A worker or the callback has answered so.
    Judged,
    /// There was no answer from a worker or the callback, or none that makes sense.
    NoAnswer,
    /// All who could judge were busy with others.
    Busy,
    /// There is nobody who could judge: for this.
    Down(&'static str),
    /// Its token is missing, or is not good: for this.
    Token(&'static str),
    /// Its user has as many connections as it may.
    User,
    /// It had gone before it was asked about.
    Gone,
}

impl Why {
    /// Whether something has failed; otherwise it is what is to be expected.
    pub fn is_fault(self) -> bool {
        matches!(self, Self::NoAnswer | Self::Busy | Self::Down(_))
    }

    /// The reason in words, with the key where there is one.
    pub fn why(self) -> &'static str {
        match self {
            Self::Judged => "who was asked has said no",
            Self::NoAnswer => "who was asked has given no answer, or none that makes sense",
            Self::Busy => {
                "all workers, or the callback, are busy: none was free to be asked in time"
            }
            Self::Down(why) => why,
            Self::Token(why) => why,
            Self::User => "roadcast.limits.connections_per_user is reached",
            Self::Gone => "it had gone before it was asked about",
        }
    }
}

/// A shard's ends of its lanes to and from the desk.
#[derive(Debug)]
pub struct DeskLanes {
    /// Questions.
    pub asks: Sender<Ask>,
    /// Answers.
    pub words: Receiver<Word>,
}

/// The desk's ends of all lanes; the place is the shard.
#[derive(Debug)]
pub struct DeskEnd {
    /// Questions, from each shard.
    pub asks: Vec<Receiver<Ask>>,
    /// Answers, to each shard.
    pub words: Vec<Sender<Word>>,
    /// Wakes the desk.
    pub wake: Arc<Wake>,
}

/// Entries of a lane, each way. What does not fit waits where it comes from.
const ENTRIES: usize = 1024;

/// Builds the lanes between the desk and all shards.
pub fn lanes(shards: &mut [ShardEnd]) -> io::Result<DeskEnd> {
    let wake = Wake::new()?;
    let (mut asks, mut words) = (Vec::new(), Vec::new());
    for shard in shards {
        // What is under way is bounded by the shard.
        let (ask, asked) = lane::lane(ENTRIES, u64::MAX, wake.clone(), shard.wake.clone());
        let (say, said) = lane::lane(ENTRIES, u64::MAX, shard.wake.clone(), wake.clone());
        shard.desk = Some(DeskLanes { asks: ask, words: said });
        asks.push(asked);
        words.push(say);
    }
    Ok(DeskEnd { asks, words, wake })
}
