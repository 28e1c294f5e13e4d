//! What the backend knows of each socket.

use crate::engine;

/// All sockets.
pub type Sockets = engine::Sockets<State>;

/// What an idle connection costs here.
const _: () = assert!(Sockets::PLACE_BYTES == 16);

/// Of one connection's socket.
#[derive(Debug, Default)]
pub struct State {
    /// The shard wants what it receives.
    pub wanted: bool,
    /// An edge has told of input, and not all of it has been read.
    pub readable: bool,
    /// An edge has told of what a read stops short of: urgent data, the stream's end, an error. It
    /// is read on until there is nothing.
    pub reads_on: bool,
    /// The end has come: nothing is read any more.
    pub ended: bool,
    /// It is in line to be read.
    pub in_line: bool,
    /// The shard wants to know when it has room.
    pub watched: bool,
    /// It has been ended, and is in line to be closed.
    pub closing: bool,
}

impl State {
    /// Whether it may be put in line to be read.
    pub fn is_due(&self) -> bool {
        self.wanted && self.readable && !self.ended && !self.in_line
    }
}
