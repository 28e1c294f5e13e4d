//! What a machine does to the real server: threads that stand still, peers that vanish,
//! descriptors and memory that run out, a clock that jumps, signals and restarts.
//!
//! `cargo test` runs them small; `scripts/system-faults` runs them at full size, one at a time. A
//! file alone: `cargo test --test system_faults churn::`.

#[path = "../common/mod.rs"]
mod common;

mod churn;
mod clock;
mod dead_links;
mod drain;
mod exhaustion;
mod kernel;
mod memory;
mod restart;
mod shutdown;
mod stalls;
mod watches;
