//! Tries a broker's servers out, for whoever checks a configuration. What is found is told in
//! words.

use super::broker::{Probed, probe_nats, probe_redis};
use super::config::Driver;

/// Connects to each server of a broker as the broker does, and asks what it may do there. Publishes
/// nothing but to a channel of its own.
pub async fn probe(driver: &Driver) -> Probed {
    let mut probed = Probed::default();
    match driver {
        Driver::Memory => {}
        Driver::Redis(settings) => probe_redis(settings, &mut probed).await,
        Driver::Nats(settings) => probe_nats(settings, &mut probed).await,
    }
    probed
}
