//! Which operations are under way on each socket.
//!
//! A descriptor is closed only when its last operation has come back and nothing is queued: the
//! descriptor table is shared by all threads, so a queued operation could otherwise reach another
//! shard's new client.

use crate::engine;

/// All sockets.
pub type Sockets = engine::Sockets<State>;

/// What an idle connection costs here.
const _: () = assert!(Sockets::PLACE_BYTES == 16);

/// Of one connection's socket.
#[derive(Debug, Default)]
pub struct State {
    /// A receive is under way.
    pub receiving: bool,
    /// It should be.
    pub wants_receive: bool,
    /// A look-out for room is under way.
    pub watching: bool,
    /// It has been shut down; closed once nothing is under way.
    pub ending: bool,
    /// It is in line to be closed.
    pub closing: bool,
}

impl State {
    /// Whether nothing is under way.
    pub fn is_quiet(&self) -> bool {
        !self.receiving && !self.watching
    }
}
