//! Brokers that share a server.
//!
//! Two brokers with the same channels on one server would both publish what `broadcast.Publish` is
//! given, and both hear it twice. RoadRunner opens the one broker alone that `websockets.broker`
//! names, so such files exist and work there. They work here, too: of the brokers that share their
//! channels one publishes, and every one of them hears it once.

use super::BrokerConfig;
use crate::hub::{Address, Driver};

/// Tells each broker of the first one before it that has its channels.
pub fn find_shared(brokers: &mut [BrokerConfig]) {
    for place in 0..brokers.len() {
        let (before, behind) = brokers.split_at(place);
        let shares =
            before.iter().position(|other| same_channels(&other.driver, &behind[0].driver));
        brokers[place].shares = shares;
    }
}

/// Whether what one publishes is heard by the other. Redis knows no databases there.
fn same_channels(one: &Driver, other: &Driver) -> bool {
    match (one, other) {
        (Driver::Redis(one), Driver::Redis(other)) => {
            one.prefix == other.prefix
                && one.master_name == other.master_name
                && meet(&one.addrs, &other.addrs)
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
