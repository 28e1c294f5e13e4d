//! Access: who may connect, and who may join. Pure: no I/O, no clock of its own, no runtime; what
//! must be asked elsewhere the desk asks.
//!
//! ```text
//! identity   who a client is
//! request    what it came with, for those who are asked about it
//! ```

mod identity;
mod request;

pub use identity::Identity;
pub use request::AccessRequest;
