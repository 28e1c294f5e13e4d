//! Access: who may connect, and who may join. Pure: no I/O, no clock of its own, no runtime; what
//! must be asked elsewhere the desk asks.
//!
//! ```text
//! identity   who a client is
//! request    what it came with, for those who are asked about it
//! token      signed tokens: what they say of a client, and whether they are believed
//! ```

mod identity;
mod request;
pub mod token;

pub use identity::Identity;
pub use request::AccessRequest;
