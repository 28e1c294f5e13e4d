//! What the loop runs on: sockets, a clock, and a way to wait.
//!
//! The loop asks for operations and takes in what has happened. It calls a backend like this, turn
//! by turn:
//!
//! ```text
//! receive, pause_receive, watch_writable, measure, finish_sending, end …    as the shard asks
//! send                          one batch; or, when there is nothing to send,
//! poll, or is_idle and wait     what has happened by now; or sleep until something does
//! next, next, … until None      hand it in
//! ```
//!
//! The contract, beyond what stands at each method:
//! - **One send a connection and batch.** A batch names a connection at most once, and every send
//!   of it has ended when [`Backend::send`] returns: nothing is sent later, from bytes that may
//!   have changed by then. What did not go out whole is the shard's business, which never sends to
//!   that connection again before [`Happened::Writable`] has come.
//! - **Nothing comes between the planning of a batch and its settlement** but that one call. The
//!   bytes of a batch are borrowed, so they keep still, and may be read in place.
//! - The loop names a connection from [`Backend::adopt`] until [`Happened::Released`], and not
//!   afterwards: its number may be given to another one then. A backend may name it a last time or
//!   two all the same. Shard and loop know by its generation that it has gone.
//! - **A socket is closed when it has been ended ([`Backend::end`]) and nothing is under way on
//!   it**, and only then is `Released` handed in, once. Descriptors are shared by all threads: an
//!   operation that is still queued could reach another shard's new client.
//! - What is under way when something is taken back may still come: input after a pause, anything
//!   after the end. The shard takes it, and knows what to do with it.
//! - All of this happens on one thread. Only [`Backend::wait`] may sleep.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::mesh::{Down, Up};
use crate::shard::{ConnId, Report};

/// What has happened, to be handed in.
#[derive(Debug)]
pub enum Happened<'a, I> {
    /// A connection has come in. It has no name yet; dropped, it is closed.
    Accepted(I),
    /// Accepting has ended for this reason, and goes on when it is asked for again. Whoever gave up
    /// before it was accepted is no reason; that somebody who was accepted cannot be watched is.
    AcceptingFailed(io::Error),
    /// Input. The bytes may be changed where they are; they are gone with the next call.
    Received(ConnId, &'a mut [u8]),
    /// The peer sends no more, or the socket is dead. Input that came before has been handed in.
    Ended(ConnId),
    /// The look-out has ended: the socket has room, or is dead.
    Writable(ConnId),
    /// The socket is closed, and its descriptor is free.
    Released(ConnId),
    /// Another thread has called this one.
    Woken,
}

/// A send that did not end whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Short {
    /// Its place in the batch.
    pub place: usize,
    /// Bytes sent, or a negative errno.
    pub result: i32,
}

/// See the module. An error ends the loop, and with it the server: what can go wrong with a single
/// connection is told of that connection.
pub trait Backend {
    /// A connection that has come in and has no name yet.
    type Incoming;

    /// What time it is.
    fn now(&self) -> Instant;

    /// Accepts connections, again and again, until it fails or is told to stop. Changes nothing
    /// when it does already, and after it has been stopped.
    fn accept(&mut self) -> io::Result<()>;

    /// Closes the listener. Whoever waits to be accepted by now is handed in, at once or with what
    /// has happened, and then nobody any more.
    fn stop_accepting(&mut self) -> io::Result<()>;

    /// The address of a connection that has no name yet.
    fn address(&self, incoming: &Self::Incoming) -> Option<SocketAddr>;

    /// Gives a connection its name. Nothing is received yet. One that the system will not watch
    /// ends at once, by [`Happened::Ended`].
    fn adopt(&mut self, id: ConnId, incoming: Self::Incoming);

    /// The address of a connection's peer, also when that has gone.
    fn peer(&self, id: ConnId) -> Option<SocketAddr>;

    /// Hands in what arrives, and what has arrived before, until told otherwise.
    fn receive(&mut self, id: ConnId) -> io::Result<()>;

    /// Receives no more. What was under way may still be handed in; what is not taken stays in the
    /// socket, for the next [`Backend::receive`].
    fn pause_receive(&mut self, id: ConnId) -> io::Result<()>;

    /// Hands in [`Happened::Writable`] once, when the socket has room or is dead: also when it has
    /// had room since before this call. It is not asked for while it is under way.
    fn watch_writable(&mut self, id: ConnId) -> io::Result<()>;

    /// Bytes that the peer has acknowledged in all, and bytes that stand in the kernel, sent or
    /// not. `None` when the socket is dead.
    fn measure(&self, id: ConnId) -> Option<(u64, usize)>;

    /// Ends the sending direction, behind what the kernel still holds.
    fn finish_sending(&mut self, id: ConnId);

    /// Ends a connection both ways; [`Happened::Released`] follows once it is closed. `abort`
    /// throws away what the kernel holds for it, and resets: it would otherwise live for minutes.
    /// Whatever is under way on it comes to its end, a look-out by [`Happened::Writable`].
    fn end(&mut self, id: ConnId, abort: bool);

    /// Sends each of `sends` (place in the batch, connection, bytes) without waiting, in one piece
    /// as far as the socket takes it, and adds to `short` what did not end whole, in any order.
    ///
    /// What has happened meanwhile is handed in afterwards as after [`Backend::poll`], as far as
    /// the backend has seen it. A loop that always has something to send does not poll, so it must
    /// look here: behind each batch while a connection waits for room, since that one is owed more
    /// with every turn, and else now and then.
    fn send<'a>(
        &mut self,
        sends: impl ExactSizeIterator<Item = (usize, ConnId, &'a [u8])>,
        short: &mut Vec<Short>,
    ) -> io::Result<()>;

    /// Sees what has happened by now, without waiting.
    fn poll(&mut self) -> io::Result<()>;

    /// Whether the loop may sleep: nothing has been seen that has not been handed in, and nothing
    /// is left to do that would not wake it.
    fn is_idle(&self) -> bool;

    /// Waits until something happens, another thread's call included, for `timeout` at most. May
    /// return earlier.
    fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Hands in the next of what has been seen; `None` when that was all. The loop asks until then
    /// in each turn, so one turn's share must come to an end whatever peers send meanwhile.
    fn next(&mut self) -> io::Result<Option<Happened<'_, Self::Incoming>>>;

    /// Says in the log what happened to a connection.
    fn report(&mut self, id: ConnId, report: &Report) {
        super::report::say(self.peer(id), report);
    }

    /// The shard is about to take this from its lane. For a backend that looks on.
    fn taking(&mut self, _: &Down) {}

    /// The shard is about to ask this. For a backend that looks on.
    fn asking(&mut self, _: &Up) {}
}
