//! RESP2, the protocol of Redis: commands out, answers in. Pure: bytes in, values out.
//!
//! ```text
//! PUBLISH foo hello   *3\r\n$7\r\nPUBLISH\r\n$3\r\nfoo\r\n$5\r\nhello\r\n
//! an integer          :1\r\n
//! a message           *3\r\n$7\r\nmessage\r\n$3\r\nfoo\r\n$5\r\nhello\r\n
//! ```
//!
//! | module | what |
//! |---|---|
//! | `command` | encodes commands |
//! | `token` | the parts that an answer is made of |
//! | `value` | whole answers |
//! | `pushed` | what comes on a connection that subscribes |
//!
//! Invariants worth naming:
//! - **Nothing is allocated that has not come.** A count that a server claims is not believed.
//! - Answers are nested [`DEPTH_MAX`] deep at most. A line has [`LINE_BYTES_MAX`] at most.
//! - A message that is too long is told by its head, so that it need not be held.
//!
//! RESP3 is deliberately absent: HELLO 3 fails on Redis 5 and on proxies, and brings nothing here.

mod command;
mod pushed;
mod token;
mod value;

pub use self::command::{channels, command, publish};
pub use self::pushed::{Pushed, pushed};
pub use self::token::{LINE_BYTES_MAX, Violation};
pub use self::value::{DEPTH_MAX, Value, value};
