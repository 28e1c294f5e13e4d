//! The client protocol of NATS, pure: bytes in, values out.
//!
//! ```text
//! subject   topics as subjects, and back
//! decode    what a server says
//! info      what it says of itself
//! refusal   what it means by an error
//! encode    what we say
//! nkey      who we are, by a key
//! ```

mod decode;
mod encode;
mod info;
mod nkey;
mod refusal;
mod subject;

pub use self::decode::{Decoder, LINE_BYTES_MAX, ProtocolError, Said};
pub use self::encode::{Connect, PING, PONG, publish, subscribe, unsubscribe};
pub use self::info::Info;
pub use self::nkey::{Credentials, NkeyError, Seed};
pub use self::refusal::Refusal;
pub use self::subject::{SUBJECT_BYTES_MAX, SubjectTooLong, is_prefix, subject, topic};
