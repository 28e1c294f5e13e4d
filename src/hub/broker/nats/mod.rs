//! The NATS broker.

mod settings;

pub use self::settings::{NatsLogin, NatsServer, NatsSettings};
