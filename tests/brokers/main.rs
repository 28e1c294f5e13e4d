//! Goal: nodes that share a Redis or a NATS deliver every publication once, in order, to everybody,
//! and say so where they may have missed one. Method: the real server before real brokers, which
//! are killed, held still, cut off and reconfigured. Where a broker's server is not installed, its
//! tests are skipped.
//!
//! | file | what |
//! |---|---|
//! | `check_connect` | `roadcast check --connect` |
//! | `fault` | what must hold in every fault, whatever it is |
//! | `links` | packets that vanish, answers that take long |
//! | `many` | very many topics |
//! | `nats` | NATS: restarts, limits, permissions, lame ducks, logins |
//! | `nodes` | several nodes at random: delivered sets and their order |
//! | `operators` | `roadcast brokers`, readiness and metrics, in an outage |
//! | `plain` | another program at a broker's server |
//! | `redis` | one Redis: what travels, and its faults |
//! | `relay` | a way to a server that can be cut, slow or silent |
//! | `servers` | redis-server and nats-server, started on free ports |

#[path = "../common/mod.rs"]
mod common;

mod check_connect;
mod fault;
mod links;
mod many;
mod nats;
mod nodes;
mod operators;
mod plain;
mod redis;
mod relay;
mod servers;
