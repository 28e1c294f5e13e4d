//! How to talk to a kind of server: join a topic, publish, read the answers. All else is the same
//! for all.

mod centrifugo;
pub mod goridge;
mod letters;

use anyhow::Result;

pub use centrifugo::Centrifugo;
pub use goridge::Goridge;
pub use letters::{Floor, JOINED, LEFT, Letters};

/// A topic of a workload.
#[derive(Clone, Debug)]
pub struct TopicName {
    /// Its place among the workload's topics.
    pub index: u32,
    /// Its name.
    pub name: String,
}

impl TopicName {
    /// The topic at a place.
    pub fn at(index: u32) -> Self {
        Self { index, name: format!("t{index:05}") }
    }

    /// The place that a name stands for.
    pub fn index_of(name: &[u8]) -> Option<u32> {
        std::str::from_utf8(name).ok()?.strip_prefix('t')?.parse().ok()
    }
}

/// How publishes travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// A plain TCP connection to the server's publish socket.
    Socket,
    /// A WebSocket connection of its own: a client publishes.
    WebSocket,
}

/// One kind of server's language.
pub trait Dialect {
    /// Path of the upgrade request.
    fn path(&self) -> &'static str;

    /// Appends the frames that join `topic` on a connection just upgraded.
    fn join(&self, topic: &TopicName, out: &mut Vec<u8>);

    /// Appends the frames that join `topic` once more, after a leave.
    fn join_again(&self, topic: &TopicName, out: &mut Vec<u8>) {
        self.join(topic, out);
    }

    /// Whether a message to a subscriber says that its join is done, or refused; `None` if it says
    /// neither.
    fn joined(&self, message: &[u8]) -> Option<bool>;

    /// Appends the frames that leave `topic`.
    fn leave(&self, topic: &TopicName, out: &mut Vec<u8>);

    /// Whether a message to a subscriber says that its leave is done.
    fn left(&self, message: &[u8]) -> bool;

    /// How publishes travel.
    fn link(&self) -> Link;

    /// Appends what a publishing connection sends once, before its first publish.
    fn greet(&self, _out: &mut Vec<u8>) {}

    /// Appends one publish.
    fn publish(&mut self, topic: &TopicName, payload: &[u8], out: &mut Vec<u8>);

    /// Whether each publish is answered.
    fn answers(&self) -> bool;

    /// The publications whose calls were refused for want of room, since this was last asked: by
    /// their place among all that were published, from 0 on.
    fn take_refused(&mut self) -> Vec<u32> {
        Vec::new()
    }

    /// Reads the whole answers at the head of `bytes`: bytes read, answers among them. An answer
    /// that is an error is an error here.
    fn read_answers(&mut self, bytes: &[u8]) -> Result<(usize, u64)>;
}
