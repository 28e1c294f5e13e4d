//! RPC: publishers connect, call, and are answered.
//!
//! ```text
//! accept         connections are taken, and ended
//! socket         one task a connection: reading and writing
//! stream         listeners and streams, TCP or Unix
//! input          what has been read and not worked through
//! calls          calls in, answers out
//! calls/check    what is refused before anything is published
//! calls/operate  what operators call
//! said           what the log has been told lately
//! ```

mod accept;
mod calls;
mod input;
mod said;
mod socket;
mod stream;

pub(super) use self::accept::Connections;
pub use self::calls::{Caller, Calls};
pub use self::said::Said;
pub(super) use self::stream::Accepting;
pub use self::stream::Peer;
