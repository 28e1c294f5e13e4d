//! What is wrong with a call, as its caller is told.

use std::borrow::Cow;
use std::fmt;

use super::{Codec, shortened};

/// Bytes of a method name or of a reason that an answer repeats.
pub(super) const ECHO_BYTES_MAX: usize = 1024;

/// How the error answer ends where nobody knows whether a publication was published.
pub const IN_DOUBT: &str = "may or may not have been published";

/// What is wrong with a call; its text is the error answer. The connection lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError<'a> {
    /// No such service.
    Service(Cow<'a, str>),
    /// No such method of a known service.
    Method(Cow<'a, str>),
    /// A name without a dot.
    IllFormed(Cow<'a, str>),
    /// GOB, or no codec at all.
    Codec(Option<Codec>),
    /// Another codec than those of the method, in the words of the Go server.
    Form(&'static str),
    /// A body that its codec cannot decode.
    Body {
        /// That codec.
        codec: Codec,
        /// What it says.
        reason: String,
    },
}

impl fmt::Display for CallError<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => {
                write!(f, "rpc: can't find service {}", shortened(name, ECHO_BYTES_MAX))
            }
            Self::Method(name) => {
                write!(f, "rpc: can't find method {}", shortened(name, ECHO_BYTES_MAX))
            }
            Self::IllFormed(name) => {
                write!(
                    f,
                    "rpc: service/method request ill-formed: {}",
                    shortened(name, ECHO_BYTES_MAX)
                )
            }
            Self::Codec(codec) => {
                let named = codec.map_or("no codec", Codec::name);
                write!(
                    f,
                    "rpc: the call's flags name {named}, served are PROTO, JSON, MSGPACK and RAW"
                )
            }
            Self::Form(words) => f.write_str(words),
            Self::Body { codec, reason } => {
                write!(
                    f,
                    "rpc: can't decode {} body: {}",
                    codec.name(),
                    shortened(reason, ECHO_BYTES_MAX)
                )
            }
        }
    }
}

impl std::error::Error for CallError<'_> {}
