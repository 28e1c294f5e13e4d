//! One connection's state, and the table of all connections of a shard.
//!
//! What every connection needs is a few dozen bytes; all else is allocated while it is used. Slots
//! are reused, so a [`ConnId`] carries the slot's generation and what comes late for an ended
//! connection, from the backend or the hub, finds nobody.

use std::cmp::Reverse;

use super::held::{Awaited, Held, PendingJoin};
use super::memberships::Memberships;
use super::outbox::Outbox;
use super::session::Session;
use super::timers::Tick;
pub use crate::mesh::ConnId;
use crate::source_limits::Exceeded;
use crate::table::Table;
use crate::ws::reader::Reader;
use crate::ws::upgrade::Endpoint;

/// Where a connection is in its life.
///
/// `Head → Open → Closing → Ended`, behind a proxy that says so `Preface` first, where somebody is
/// asked `Asking` before `Open`; a refusal goes from `Head` or `Asking` to `Closing`, a dead socket
/// from anywhere to `Ended`.
#[derive(Debug)]
pub enum Phase {
    /// A header of the PROXY protocol is arriving; pieces of it are in
    /// [`Heads`](super::heads::Heads).
    Preface,
    /// The upgrade request is arriving; pieces of it are in [`Heads`](super::heads::Heads).
    Head,
    /// The desk is asked whether it may connect; what waits for that is in [`Held`].
    Asking,
    /// A WebSocket.
    Open(Endpoint),
    /// Our last bytes (Close, or an HTTP answer) are in the outbox or sent. Input but a Close is
    /// discarded until the peer ends or the deadline passes, since closing with input unread would
    /// reset the connection and destroy what was sent.
    Closing {
        /// Whether the sending direction has been ended.
        finished: bool,
        /// Whether the peer has ended its own.
        peer_ended: bool,
        /// Whether the peer's Close has come, or is not listened for: behind an HTTP answer, or
        /// what broke the protocol.
        answered: bool,
    },
    /// The socket is being ended; the slot is freed when it is closed.
    Ended,
}

/// Whether a connection may be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Yes: it counts against the limit of connections.
    Admitted,
    /// No: there are as many as there may be.
    OverLimit,
    /// No: its source has as much as it may.
    OverSource(Exceeded),
}

/// Marks a connection that is not in the batch.
pub(super) const NO_SEND: u8 = u8::MAX;

/// One connection.
#[derive(Debug)]
pub struct Connection {
    /// Where it is in its life.
    pub phase: Phase,
    /// Frames that are arriving in pieces.
    pub reader: Reader,
    /// What waits to be sent to it alone.
    pub outbox: Option<Box<Outbox>>,
    /// What waits to be served by us.
    pub held: Option<Box<Held>>,
    /// What it has been let in with, where somebody was asked.
    pub session: Option<Box<Session>>,
    /// Its topics.
    pub topics: Memberships,
    /// What they cost, each as if nobody else were subscribed to it: see the module `charge`.
    pub topics_bytes: u32,
    /// The next ping, or, while one is awaited, the pong's deadline.
    pub keepalive: Option<Tick>,
    /// The deadline of its phase, or of its outbox while it lags.
    pub deadline: Option<Tick>,
    /// A ping is out.
    pub awaits_pong: bool,
    /// The pong's time is over; what the peer has acknowledged meanwhile decides.
    pub pong_overdue: bool,
    /// Bytes that the peer had acknowledged when the ping went out, in their lowest 32 bits.
    pub acknowledged: u32,
    /// Something came from it, or left for it, since the last ping.
    pub heard: bool,
    /// Its send in the batch under way, or [`NO_SEND`].
    pub send: u8,
    /// In the queue of outboxes to flush.
    pub flush_queued: bool,
    /// Lagging: its socket is full and is watched for room; nothing is sent before it has some.
    pub lagging: bool,
    /// Its socket has said that it has room, and has not been sent anything since.
    pub promised: bool,
    /// A topic has parked it: see the module `parking`.
    pub parked: bool,
    /// Its receiving has been stopped.
    pub read_paused: bool,
    /// Whether it may be served.
    pub admission: Admission,
    /// It will be closed, since it may have missed something.
    pub gap_close: bool,
    /// A command that named an unknown broker has been logged, or counted as one that was not.
    pub broker_logged: bool,
}

impl Connection {
    /// A connection just accepted.
    pub fn new(admission: Admission) -> Self {
        Self {
            phase: Phase::Head,
            reader: Reader::default(),
            outbox: None,
            held: None,
            session: None,
            topics: Memberships::default(),
            topics_bytes: 0,
            keepalive: None,
            deadline: None,
            awaits_pong: false,
            pong_overdue: false,
            acknowledged: 0,
            heard: false,
            send: NO_SEND,
            flush_queued: false,
            lagging: false,
            promised: false,
            parked: false,
            read_paused: false,
            admission,
            gap_close: false,
            broker_logged: false,
        }
    }

    /// Whether a send is in the batch under way.
    #[inline]
    pub fn in_batch(&self) -> bool {
        self.send != NO_SEND
    }

    /// Whether it is a WebSocket that has not begun to close.
    #[inline]
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open(_))
    }

    /// Whether a command of it waits for an answer.
    #[inline]
    pub fn awaits_answer(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.awaits.is_some())
    }

    /// A join of it that waits for the hub.
    pub fn awaited_join(&self) -> Option<&PendingJoin> {
        match self.held.as_ref()?.awaits.as_ref()? {
            Awaited::Interest(join) | Awaited::Positions(join) => Some(join),
            Awaited::Connect(_) | Awaited::Verdict(_) | Awaited::Token(_) => None,
        }
    }

    /// Whether messages of it wait.
    #[inline]
    pub fn holds_messages(&self) -> bool {
        self.held.as_ref().is_some_and(|held| !held.messages.is_empty())
    }

    /// When its token runs out.
    #[inline]
    pub fn expires(&self) -> Option<Tick> {
        self.session.as_ref().and_then(|session| session.expires)
    }

    /// What its outbox holds, as bounds count it.
    #[inline]
    pub fn outbox_cost(&self) -> usize {
        self.outbox.as_ref().map_or(0, |outbox| outbox.cost())
    }
}

/// All connections of a shard.
#[derive(Debug, Default)]
pub struct Connections {
    table: Table<Connection>,
}

/// A connection's state, and the use of its place.
const _: () = assert!(Table::<Connection>::PLACE_BYTES == size_of::<Connection>() + 8);

impl Connections {
    /// Takes a slot.
    pub fn insert(&mut self, connection: Connection) -> ConnId {
        let (index, generation) = self.table.insert(connection);
        ConnId { index, generation }
    }

    /// Frees a slot; its generation is used up.
    pub fn remove(&mut self, id: ConnId) -> Connection {
        assert_eq!(self.id(id.index), id, "a slot is freed by its own connection");
        self.table.remove(id.index)
    }

    /// The connection, if it is still the same one.
    #[inline]
    pub fn live(&mut self, id: ConnId) -> Option<&mut Connection> {
        self.table.live(id.index, id.generation)
    }

    /// The id of the connection in a slot that is in use.
    #[inline]
    pub fn id(&self, index: u32) -> ConnId {
        ConnId { index, generation: self.table.generation(index) }
    }

    /// The connection in a slot that is known to be in use: by a topic's record, or by the caller's
    /// own check.
    #[inline]
    pub fn at(&mut self, index: u32) -> &mut Connection {
        self.table.at_mut(index)
    }

    /// As [`Connections::at`], to look only.
    #[inline]
    pub fn peek(&self, index: u32) -> &Connection {
        self.table.at(index)
    }

    /// Whether the slot is in use.
    pub fn contains(&self, index: u32) -> bool {
        self.table.get(index).is_some()
    }

    /// Slots in use.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether no slot is in use.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Every slot in use.
    pub fn ids(&self) -> Vec<ConnId> {
        let ids = self.table.iter().map(|(index, generation, _)| ConnId { index, generation });
        ids.collect()
    }

    /// Every slot in use, the oldest connection first.
    pub fn by_age(&self) -> Vec<ConnId> {
        let mut ids = self.ids();
        ids.sort_unstable_by_key(|id| Reverse(self.table.age(id.generation)));
        ids
    }

    /// A topic has moved the record of one of its subscribers.
    pub fn moved_record(&mut self, index: u32, place: u32, record: u32) {
        self.at(index).topics.moved_record(place, record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reused_slot_is_another_connection() {
        let mut connections = Connections::default();
        let first = connections.insert(Connection::new(Admission::Admitted));
        connections.remove(first);
        let second = connections.insert(Connection::new(Admission::Admitted));
        assert_eq!(first.index, second.index);
        assert!(connections.live(first).is_none());
        assert!(connections.live(second).is_some());
    }

    #[test]
    fn an_idle_connection_takes_at_most_96_bytes() {
        assert!(size_of::<Connection>() <= 96, "{}", size_of::<Connection>());
    }
}
