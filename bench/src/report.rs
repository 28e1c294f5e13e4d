//! Results for people and machines.

pub mod machine;
pub mod plot;
pub mod table;
