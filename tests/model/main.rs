//! The pure core against a model.
//!
//! A shard does no I/O, so a test can be its event loop: it decides what each socket takes, when the hub answers and what
//! time it is. The files named for a part of the behaviour drive one shard by hand; `world` lets a few shards, a hub and
//! many clients run under a seed, and compares every stream with what a naive model expects.

mod client;
mod host;
mod hub;
mod rig;
mod talk;
mod wire;
mod world;

mod ends;
mod input;
mod joins;
mod laggards;
mod pings;
mod sends;
mod skipping;
mod sources;
