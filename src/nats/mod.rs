//! The client protocol of NATS, pure: bytes in, values out.

mod nkey;
mod subject;

pub use self::nkey::{Credentials, NkeyError, Seed};
pub use self::subject::{SUBJECT_BYTES_MAX, SubjectTooLong, is_prefix, subject};
