//! Brokers that share a server.
//!
//! Two brokers with the same channels on one server would both publish what `broadcast.Publish` is
//! given, and both hear it twice. RoadRunner opens the one broker alone that `websockets.broker`
//! names, so such files exist and work there. They work here, too: of the brokers that share their
//! channels one publishes, and every one of them hears it once.

use super::BrokerConfig;
use crate::hub::{Address, Driver, RedisSettings, Sharded};

/// Tells each broker of the first one before it that has its channels.
pub fn find_shared(brokers: &mut [BrokerConfig]) {
    for place in 0..brokers.len() {
        let (before, behind) = brokers.split_at(place);
        let shares =
            before.iter().position(|other| same_channels(&other.driver, &behind[0].driver));
        brokers[place].shares = shares;
    }
}

/// Of those, two that share their channels or do not by what `sharded: auto` finds at the start, so
/// that messages would be doubled or missed: the later one, and the other.
pub fn undecided(brokers: &[BrokerConfig]) -> Option<(&BrokerConfig, &BrokerConfig)> {
    brokers.iter().find_map(|broker| {
        let other = &brokers[broker.shares?];
        let (Driver::Redis(one), Driver::Redis(two)) = (&other.driver, &broker.driver) else {
            return None;
        };
        (is_plain(one) != is_plain(two) || is_sharded(one) != is_sharded(two))
            .then_some((broker, other))
    })
}

/// Whether what one publishes is heard by the other. Redis knows no databases there.
fn same_channels(one: &Driver, other: &Driver) -> bool {
    match (one, other) {
        (Driver::Redis(one), Driver::Redis(other)) => {
            one.prefix == other.prefix
                && one.master_name == other.master_name
                && meet(&one.addrs, &other.addrs)
                && !(is_sharded(one) && is_plain(other) || is_plain(one) && is_sharded(other))
        }
        (Driver::Nats(one), Driver::Nats(other)) => {
            let addresses = |servers: &[crate::hub::NatsServer]| -> Vec<Address> {
                servers.iter().map(|server| server.address.clone()).collect()
            };
            one.prefix == other.prefix && meet(&addresses(&one.servers), &addresses(&other.servers))
        }
        _ => false,
    }
}

/// Whether its channels are certainly sharded ones of a Cluster, which PUBLISH does not reach.
fn is_sharded(settings: &RedisSettings) -> bool {
    is_cluster(settings) && settings.sharded == Sharded::Yes
}

/// Whether SPUBLISH certainly does not reach its channels.
fn is_plain(settings: &RedisSettings) -> bool {
    !is_cluster(settings) || settings.sharded == Sharded::No
}

fn is_cluster(settings: &RedisSettings) -> bool {
    settings.addrs.len() > 1 && settings.master_name.is_empty()
}

/// Whether an address of one is an address of the other, as far as their texts say so.
fn meet(one: &[Address], other: &[Address]) -> bool {
    one.iter().any(|one| other.iter().any(|other| plain(one) == plain(other)))
}

fn plain(address: &Address) -> Address {
    match address {
        Address::Tcp { host, port } => {
            let host = host.to_ascii_lowercase();
            let local = matches!(host.as_str(), "localhost" | "::1");
            let host = if local { "127.0.0.1".to_owned() } else { host };
            Address::Tcp { host, port: *port }
        }
        Address::Unix(_) => address.clone(),
    }
}
