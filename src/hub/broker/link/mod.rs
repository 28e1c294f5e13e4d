//! A connection to a broker's server.

mod address;

pub use self::address::Address;
