//! The pure core against a model.
//!
//! A shard does no I/O, so a test can be its event loop: it decides what each socket takes, when
//! the hub answers and what time it is. The files named for a part of the behaviour drive one shard
//! by hand.
//!
//! `seeds` is the simulation of the whole server less the kernel: shards and hub as they are, on
//! their lanes, among clients and publishers, on one thread under a seed.
//!
//! ```text
//! seeds          many seeds, and what each must have met
//! world          one server's life: who does what, and when; world/ending: how it ends
//! host           a shard's thread: the server's own loop, stepped
//! fake           the backend that it runs on: fake sockets
//! lanes, limits  the mesh, with room for few questions; small limits
//! hub, tasks     the hub's runtime, one poll at a time
//! desk           who may connect and join: answers in any order
//! client, talk   what clients say and read, judged
//! publisher, calls, bodies   what publishers call and are answered
//! wire           both directions of a client's stream
//! pipe           a publisher's socket
//! book           each topic's one order, and who wants it; book/losses: what a broker has lost
//! bus            a broker whose server is elsewhere
//! ```

#[path = "../fuzz/checks/bodies.rs"]
mod bodies;
mod book;
mod bus;
mod calls;
mod client;
mod desk;
mod fake;
mod host;
mod hub;
mod lanes;
mod limits;
mod pipe;
mod publisher;
mod rig;
mod seeds;
mod talk;
mod tasks;
mod wire;
mod world;

mod access;
mod charges;
mod drain;
mod ends;
mod gap_closes;
mod gaps;
mod heads;
mod input;
mod joins;
mod laggards;
mod pings;
mod proxies;
mod sends;
mod skipping;
mod sources;
mod unavailable;
