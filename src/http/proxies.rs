//! Which proxies are believed when they say for whom they speak, and how they say it.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Head;
use super::forwarded::{self, ClientHeader};

/// The proxies in front. By default there are none.
#[derive(Clone, Debug, PartialEq)]
pub struct Proxies {
    /// Their addresses.
    pub subnets: Vec<IpNet>,
    /// The headers that they set or add to, in the order in which they are read.
    pub headers: Vec<ClientHeader>,
    /// Whether their connections begin with a header of the PROXY protocol.
    pub protocol: bool,
}

impl Default for Proxies {
    fn default() -> Self {
        let headers = vec![ClientHeader::XForwardedFor, ClientHeader::One("X-Real-IP".into())];
        Self { subnets: Vec::new(), headers, protocol: false }
    }
}

impl Proxies {
    /// Whether a peer's word about its client's address is taken.
    pub fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.subnets.iter().any(|subnet| subnet.contains(&peer))
    }

    /// The client's address in the head of a request that came from one of them.
    pub fn client(&self, head: &Head<'_>) -> Option<IpAddr> {
        forwarded::client(head, &self.headers, |address| self.trusts(address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_trusted_by_subnet_also_when_they_come_over_an_ipv6_listener() {
        let subnets = ["10.0.0.0/8", "2001:db8::/32"].map(|text| text.parse().unwrap()).to_vec();
        let proxies = Proxies { subnets, ..Proxies::default() };
        let trusts = |text: &str| proxies.trusts(text.parse().unwrap());
        assert_eq!(["10.1.2.3", "::ffff:10.1.2.3", "2001:db8:5::1"].map(trusts), [true; 3]);
        assert_eq!(["11.1.2.3", "::ffff:11.1.2.3", "2001:db9::1", "::1"].map(trusts), [false; 4]);
    }
}
