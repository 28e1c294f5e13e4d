//! The real server, started by each test and talked to from outside: what it says to clients,
//! publishers, proxies and operators, and what its command line does.
//!
//! One binary for all of these files, since each would link the whole of them again. A file alone:
//! `cargo test --test server laggards::`.

#[path = "../common/mod.rs"]
mod common;

mod access;
mod access_words;
mod brokers;
mod check;
mod cli;
mod commands;
mod delivery;
mod demo;
mod examples;
mod http;
mod laggards;
mod locked_memory;
mod log;
mod metrics;
mod operators;
mod output;
mod proxies;
mod recovery;
mod rpc_socket;
mod seccomp;
mod secrets;
mod source_limits;
mod subscribe;
mod veth;
mod websocket;
