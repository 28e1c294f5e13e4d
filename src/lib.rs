//! Roadcast: a WebSocket publish/subscribe server for Linux.
//!
//! The journey of one publish: a publisher's goridge frame reaches the `hub`, which decodes the
//! call (`rpc`), takes the next sequence of the topic, encodes the WebSocket frame once
//! (`publication`) and pushes it on the `lane` of each shard that is interested. The `engine` of
//! such a shard hands it to its `shard`, which appends it to the topic's log; the sweep goes round
//! the topic's subscribers and sends each what it has not had yet, in one send.
//!
//! Imports point downward only: `server` knows everything; `ring` and `epoll` know `engine`, which
//! knows `shard`; `hub` and `shard` meet only in `mesh`; codecs (`http`, `ws`, `rpc`, `command`,
//! `reply`, `publication`) know nothing of either.

// They panic, or wait, where the output cannot be written: see `cli::out` and `logs`.
#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

// Before those whose tests are made by its macro.
#[cfg(test)]
#[macro_use]
#[path = "../tests/common/both.rs"]
mod both;
#[cfg(test)]
#[allow(dead_code)]
#[path = "../tests/common/skip.rs"]
mod skip;

pub mod access;
pub mod backend;
pub mod cli;
pub mod command;
pub mod config;
pub mod demo;
pub mod desk;
mod ebb;
pub mod ending;
pub mod engine;
pub mod epoll;
mod escape;
pub mod http;
pub mod hub;
mod json_reader;
mod json_string;
pub mod lane;
pub mod limits;
pub mod log_rate;
pub mod logs;
pub mod memory;
pub mod mesh;
pub mod metrics;
pub mod nats;
mod parted;
pub mod policy;
pub mod position;
pub mod preflight;
pub mod publication;
pub mod pulse;
pub mod reply;
pub mod resp;
pub mod ring;
pub mod rpc;
mod secret;
pub mod server;
pub mod shard;
mod socket_file;
pub mod source_limits;
mod sync;
mod table;
mod threads;
mod tls;
pub mod worst_case;
pub mod ws;
