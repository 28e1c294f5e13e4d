//! Access: who may connect, and who may join. Pure: no I/O, no clock of its own, no runtime; what
//! must be asked elsewhere the desk asks.
//!
//! ```text
//! grant      what lets a client in: who it is, and until when
//! identity   who a client is
//! request    what it came with, for those who are asked about it
//! token      signed tokens: what they say of a client, and whether they are believed
//! pattern    patterns of topics' names
//! rules      who may join what, as rules say
//! settings   who is asked, as the operator has set it
//! context    the same as the JSON that workers and the HTTP callback get
//! verdict    what they answer, and what of it goes to the client
//! ```

pub mod context;
mod grant;
mod identity;
mod pattern;
mod request;
mod rules;
mod settings;
pub mod token;
pub mod verdict;

pub use context::About;
pub use grant::Grant;
pub use identity::Identity;
pub use pattern::{PATTERN_BYTES_MAX, Pattern, Values};
pub use request::AccessRequest;
pub use rules::{Join, Judgement, Rule, Rules};
pub use settings::{
    AccessSettings, Asked, CallbackSettings, KeySource, OnInit, PerUser, PoolSettings, Relay,
    Supervisor, TokenSettings, WorkersSettings,
};
pub use verdict::{AskFailed, Judged};
