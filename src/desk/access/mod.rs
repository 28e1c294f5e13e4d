//! Whoever is asked who may connect and who may join.
//!
//! ```text
//! workers   the pool of PHP workers
//! ```

pub mod workers;
