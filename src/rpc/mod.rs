//! The RPC publish socket's codecs: goridge v3 frames, calls, their bodies, answers. Pure: bytes
//! in, bytes out.
//!
//! ```text
//! frame    12-byte header, options, payload                        any goridge peer
//! call     a frame with the options [sequence, method length];     RPC
//!          its payload is the method's name and a body
//! request  the body: messages, each with topics and one payload    broadcast.*, websockets.*
//! answer   the call's sequence, method and codec; a body or an error text
//! operator the calls informer.*, resetter.* and roadcast.*, and their answers
//! ```
//!
//! Invariants worth naming:
//! - **Memory is proportional to what has arrived**, never to a length that bytes claim: PROTO and
//!   RAW bodies are walked in place, JSON and MSGPACK bodies are rewritten once into the protobuf
//!   layout, at most about twice as long.
//! - **A request is never expanded**: messages and topics are iterators over the body.
//! - Recursion is bounded whatever the nesting of unknown fields.
//!
//! Deliberately absent: publishing in GOB; of a call, the stream bits (byte 10, for frames to and
//! from workers) and the flags CONTROL and ERROR, which the Go server does not look at either.

mod answer;
mod call;
mod error;
mod frame;
mod gob;
mod layout;
mod operator;
mod request;
mod rewrite;

pub use answer::{Answer, decode_answer, encode_call, encode_error, encode_ok, publish_body};
pub use call::{Call, Method, Operation, Publish, decode};
pub use error::{CallError, IN_DOUBT};
pub use frame::{
    Decoded, FRAME_BYTES_MIN, Frame, FrameError, decode as decode_frame, encode as encode_frame,
    flag, stream,
};
pub use layout::Layout;
pub use operator::{
    BrokerTold, PLUGIN, PLUGINS, Worker, WorkerStatus, encode_brokers, encode_done, encode_no_jobs,
    encode_plugins, encode_workers, plugin,
};
pub use request::{Checking, Message, Request, Step, Topics};

/// The published messages, generated from `proto/`.
pub mod proto {
    /// `broadcast.proto`: a message goes to every broker in use.
    #[allow(missing_docs)]
    pub mod broadcast {
        include!(concat!(env!("OUT_DIR"), "/broadcast.rs"));
    }
    /// `websockets.proto`: a message names its broker.
    #[allow(missing_docs)]
    pub mod websockets {
        include!(concat!(env!("OUT_DIR"), "/websockets.rs"));
    }
}

/// How a body is encoded, as the flags of a frame say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Protobuf.
    Proto,
    /// JSON as Go encodes it: byte strings are base64.
    Json,
    /// Protobuf bytes under another flag.
    Raw,
    /// MessagePack with Go's field names.
    Msgpack,
    /// Go's own; served to operators alone.
    Gob,
}

impl Codec {
    /// The codec that flags name; of several, the one that Go's server takes.
    pub fn of(flags: u8) -> Option<Self> {
        [Self::Proto, Self::Json, Self::Raw, Self::Msgpack, Self::Gob]
            .into_iter()
            .find(|codec| flags & codec.flag() != 0)
    }

    /// The flag of this codec.
    pub fn flag(self) -> u8 {
        match self {
            Self::Proto => flag::PROTO,
            Self::Json => flag::JSON,
            Self::Raw => flag::RAW,
            Self::Msgpack => flag::MSGPACK,
            Self::Gob => flag::GOB,
        }
    }

    /// Its name, as errors show it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proto => "PROTO",
            Self::Json => "JSON",
            Self::Raw => "RAW",
            Self::Msgpack => "MSGPACK",
            Self::Gob => "GOB",
        }
    }
}

/// The beginning of a text, at most `bytes_max` bytes: what peers sent is never echoed without
/// bound.
fn shortened(text: &str, bytes_max: usize) -> &str {
    let end = (0..=bytes_max.min(text.len())).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
    &text[..end]
}
