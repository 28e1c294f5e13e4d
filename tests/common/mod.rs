//! What the end-to-end tests share: the real server on free ports, a WebSocket client, a publisher,
//! raw bytes.
//!
//! Nothing here uses the library: both ends of every protocol are written a second time, from its
//! description, so that a mistake in one is not hidden by the same mistake in the other.
//!
//! Every wait has a bound ([`PATIENCE`]) so that a hang fails with a message; no assertion measures
//! time.

// Each test binary uses its own part of this module.
#![allow(dead_code, unused_imports, unused_macros)]

#[macro_use]
mod both;
mod browser;
pub mod cli;
mod client;
mod filter;
mod group;
mod namespace;
mod numbered;
mod process;
mod publisher;
mod raw;
mod said;
mod scrape;
mod server;
mod site;
mod skip;
mod user;

pub use both::io_uring_allowed;
pub use browser::Browser;
pub use client::{Client, Received, Refusal};
pub use filter::{io_uring_denied, under};
pub use group::Group;
pub use namespace::Namespace;
pub use numbered::Numbered;
pub use process::{Stopped, Thread, eventually, figure};
pub use publisher::{
    Answer, ERROR, GOB, JSON, MSGPACK, PROTO, Publisher, RAW, field, frame as goridge_frame,
    messages,
};
pub use raw::{HttpAnswer, RawClient, get, http, masked, read_http, upgrade_request};
pub use said::assert_said;
pub use scrape::Scrape;
pub use server::{Server, on_epoll, only_epoll, roadcast, roadcast_after};
pub use site::Site;
pub use skip::{installed, skip};
pub use user::User;

use std::time::Duration;

/// How long a test waits for something that must happen. Generous: a machine under load is not a
/// failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A size of a test: `name` of the environment if set, else a modest one. `scripts/system-faults`
/// sets larger ones.
pub fn size(name: &str, modest: usize) -> usize {
    std::env::var(name)
        .map_or(modest, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The seed of a randomised test: `ROADCAST_SEED` if set, else one from the operating system.
/// Printed, so that a failure can be repeated.
pub fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let seed = match std::env::var("ROADCAST_SEED") {
        Ok(text) => text.parse().expect("ROADCAST_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0u8),
    };
    println!("ROADCAST_SEED={seed}");
    seed
}
