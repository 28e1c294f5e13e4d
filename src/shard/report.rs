//! What a shard has to say in the log, of connections: one line a reason at a time.

use std::borrow::Cow;
use std::fmt;

use super::Shard;
use super::connection::ConnId;
use crate::access::{Identity, Rules};
use crate::command::Malformed;
use crate::http::Fault;
use crate::log_rate::{LeftOut, LogRate, Unsaid};
use crate::mesh::Unavailable;
use crate::mesh::desk::Why;
use crate::source_limits::Exceeded;
use crate::ws::close::CloseCode;

/// Characters of what a client sent that a line repeats.
const ECHO_CHARS: usize = 100;

/// What happened to a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// What, and why.
    pub reason: Reason,
    /// What of it is this connection's alone.
    pub about: About,
    /// How often the same has happened since it was last said.
    pub unsaid: Unsaid,
}

/// What is particular to one event of a reason.
#[derive(Debug, PartialEq, Eq)]
pub enum About {
    /// Nothing.
    Nothing,
    /// What the client sent, or what is wrong with it; cut.
    Sent(String),
    /// Frames dropped.
    Dropped(u64),
    /// A join that was not allowed.
    Join(Box<RefusedJoin>),
}

/// A join that was not allowed.
#[derive(Debug, PartialEq, Eq)]
pub struct RefusedJoin {
    /// The topic that decided; cut.
    pub topic: String,
    /// Where the rule stands that decided, or had somebody asked.
    pub rule: String,
    /// Who it was; empty: nobody in particular.
    pub user: String,
}

/// Why a line is written: a closed set, each said for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A message that is no command, for this.
    MalformedCommand(Malformed),
    /// A command that is not known.
    UnknownCommand,
    /// It broke the WebSocket protocol and is closed.
    Violation(CloseCode, &'static str),
    /// It did not keep up: what waited for it passed a bound. It is closed with 1013.
    Overflow {
        /// The bound's key.
        key: &'static str,
        /// Its value.
        bytes_max: usize,
    },
    /// What waited for it did not leave in time, or its closing handshake did not end. It is
    /// terminated.
    TooSlow(&'static str),
    /// The kernel promises room in its socket and takes nothing.
    RoomDenied,
    /// No sign of life since a ping. It is terminated.
    PongMissing,
    /// It may have missed something. It is closed with 1012.
    Gap,
    /// Its token has run out. It is closed with 4401.
    TokenExpired,
    /// It, or what it asked for, was refused.
    Refused(Refusal),
}

/// What was refused, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A request, for this.
    Request(Fault),
    /// A connection past `roadcast.limits.connections`, with 503.
    Connection,
    /// A connection past a limit of its source address, with 429.
    Source(Exceeded),
    /// A join, with `#join`.
    Join(JoinRefusal),
    /// Somebody who may not connect.
    Denied(Why),
    /// Another token, with `#token`.
    Token(TokenRefusal),
    /// An upgrade, since as many questions are under way as may be, with 503.
    Asks,
    /// An upgrade, since sessions hold what they may, with 503.
    Sessions,
    /// The name of a broker that there is not: the default one is taken.
    Broker,
}

/// Why a join is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinRefusal {
    /// A topic is over `roadcast.limits.topic_bytes`.
    TopicTooLong,
    /// The connection would pass `roadcast.limits.topics_per_connection`.
    TopicsOfConnection,
    /// The shard would pass `roadcast.limits.topics`.
    TopicsOfShard,
    /// The connection would pass `roadcast.limits.subscriptions_bytes_per_connection`.
    BytesOfConnection,
    /// The shard would pass `roadcast.limits.subscriptions_bytes`.
    BytesOfShard,
    /// The connection has a topic already, and counts what it reads of it, or does not: this join
    /// is the other way.
    OtherForm,
    /// The broker has not subscribed a topic.
    Broker(Unavailable),
    /// A rule says so.
    Rules,
    /// Who was asked says so.
    Desk(Why),
    /// As many questions are under way as may be.
    Asks,
    /// The server shuts down: nobody's fault, and not said.
    ShuttingDown,
}

/// Why another token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenRefusal {
    /// It is not good.
    Desk(Why),
    /// The connection sends them faster than they are checked.
    Rate,
    /// As many questions are under way as may be.
    Asks,
    /// Sessions hold what they may.
    Sessions,
}

const ASKS: &str = "roadcast.limits.asks_bytes is reached";
const SESSIONS: &str = "roadcast.limits.sessions_bytes is reached";

impl TokenRefusal {
    fn why(self) -> &'static str {
        match self {
            Self::Desk(why) => why.why(),
            Self::Rate => "the connection sends tokens faster than one a second",
            Self::Asks => ASKS,
            Self::Sessions => SESSIONS,
        }
    }
}

impl JoinRefusal {
    /// The reason in words, with the key where there is one.
    pub fn why(self) -> &'static str {
        match self {
            Self::TopicTooLong => "a topic is over roadcast.limits.topic_bytes",
            Self::TopicsOfConnection => {
                "the connection would be over roadcast.limits.topics_per_connection"
            }
            Self::TopicsOfShard => "the shard would be over roadcast.limits.topics",
            Self::BytesOfConnection => {
                "the connection would be over roadcast.limits.subscriptions_bytes_per_connection"
            }
            Self::BytesOfShard => "the shard would be over roadcast.limits.subscriptions_bytes",
            Self::OtherForm => {
                "it has joined a topic with `recover`, `since` or `history`, and joins it without, \
                 or the other way round; leave it first"
            }
            Self::Broker(Unavailable::Late) => {
                "the broker has not subscribed a topic within roadcast.broker_wait"
            }
            Self::Broker(Unavailable::Forbidden) => {
                "the broker's server does not permit it: see the line of its broker"
            }
            Self::Rules => "roadcast.access.rules",
            Self::Desk(why) => why.why(),
            Self::Asks => ASKS,
            Self::ShuttingDown => "the server is shutting down",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MalformedCommand(why) => write!(f, "a malformed command is ignored: {why}"),
            Self::UnknownCommand => f.write_str("an unknown command is ignored"),
            Self::Violation(_, why) => write!(f, "closed: it broke the WebSocket protocol: {why}"),
            Self::Overflow { key, .. } => write!(f, "closed with 1013: it does not keep up: {key}"),
            Self::TooSlow(why) => write!(f, "terminated: {why}"),
            Self::RoomDenied => f.write_str(
                "the kernel has no memory for what clients are sent, and slows them down: raise the memory limit of the \
                 container or service, or net.ipv4.tcp_mem",
            ),
            Self::Gap => {
                f.write_str("closed with 1012: it may have missed messages: roadcast.on_gap")
            }
            Self::TokenExpired => f.write_str("closed with 4401: its token has expired"),
            Self::PongMissing => f.write_str("terminated: no sign of life since a ping"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(Fault::Origin) => {
                f.write_str("refused with 403: websockets.allowed_origin")
            }
            Self::Request(fault) => {
                write!(f, "request refused with {}: {}", fault.status(), fault.why())
            }
            Self::Connection => {
                f.write_str("refused with 503: roadcast.limits.connections is reached")
            }
            Self::Source(exceeded) => write!(f, "refused with 429: {} is reached", exceeded.key()),
            Self::Join(why) => write!(f, "join refused: {}", why.why()),
            Self::Denied(why) => write!(f, "may not connect: {}", why.why()),
            Self::Token(why) => write!(f, "token refused: {}", why.why()),
            Self::Asks => write!(f, "refused with 503: {ASKS}"),
            Self::Sessions => write!(f, "refused with 503: {SESSIONS}"),
            Self::Broker => f.write_str(
                "a command names a broker that `broadcast` does not have: the default one is taken",
            ),
        }
    }
}

impl Shard {
    /// The same shard without a limit on its reports: for a simulation that goes by them.
    pub fn reporting_all(mut self) -> Self {
        self.outward.said = LogRate::everything();
        self
    }

    /// Says what has happened to a connection, if this reason has not been said lately.
    pub(super) fn report(&mut self, id: ConnId, reason: Reason, about: impl FnOnce() -> About) {
        self.outward.report(self.now_ms, id, reason, about);
    }

    /// Says that something was refused, if this reason has not been said lately. `sent` is what the
    /// client sent.
    pub(super) fn report_refused(
        &mut self,
        id: ConnId,
        refusal: Refusal,
        sent: impl FnOnce() -> String,
    ) {
        self.report(id, Reason::Refused(refusal), || About::sent(&sent()));
    }

    /// What happened and was not said, to be said at the end: each reason once, with how often.
    pub fn left_out(&mut self) -> impl Iterator<Item = (Reason, LeftOut)> + '_ {
        self.outward.said.left_out()
    }
}

impl About {
    /// What a client sent, as much of it as a line repeats.
    pub(super) fn sent(text: &str) -> Self {
        Self::Sent(cut(text))
    }

    /// A join of these topics by somebody, which these rules have not allowed.
    pub(super) fn join(
        rules: &Rules,
        identity: Option<&Identity>,
        topics: &[Cow<'_, str>],
    ) -> Self {
        let (topic, rule) = rules.not_allowed(identity, topics).unwrap_or_default();
        let user = identity.and_then(|identity| identity.user.as_deref()).unwrap_or_default();
        let rule = rule.map_or("default", |rule| &rule.place).to_owned();
        Self::Join(Box::new(RefusedJoin { topic: cut(topic), rule, user: cut(user) }))
    }
}

/// As much of a text as a line repeats.
fn cut(text: &str) -> String {
    match text.char_indices().nth(ECHO_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
