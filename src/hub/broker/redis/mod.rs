//! The Redis broker.

mod settings;

pub use self::settings::{RedisSettings, Sharded};
