//! The servers of a broker: those of the configuration, and those that a server tells of.

use super::settings::NatsServer;
use crate::hub::broker::link::Address;

/// Servers that are known, besides those of the configuration.
const LEARNT_MAX: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Servers {
    configured: Vec<NatsServer>,
    learnt: Vec<NatsServer>,
    /// Where to try next.
    at: usize,
}

impl Servers {
    pub(super) fn new(configured: &[NatsServer]) -> Self {
        Self { configured: configured.to_vec(), learnt: Vec::new(), at: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.configured.len() + self.learnt.len()
    }

    /// The one to try.
    pub(super) fn current(&self) -> &NatsServer {
        let all = self.configured.iter().chain(&self.learnt);
        let current = all.clone().nth(self.at).or_else(|| all.clone().next());
        current.expect("at least one is configured")
    }

    /// That one is of no use for now: the next is to be tried.
    pub(super) fn advance(&mut self) {
        self.at = (self.at + 1) % self.len();
    }

    /// A server tells of others of its cluster, as `host:port`. They are spoken to as the first
    /// that is configured.
    pub(super) fn learn<'a>(&mut self, urls: impl Iterator<Item = &'a str>) {
        let current = self.current().address.clone();
        let first = &self.configured[0];
        let known =
            |address: &Address| self.configured.iter().any(|server| server.address == *address);
        let mut learnt: Vec<NatsServer> = urls
            .filter_map(|url| Address::parse(url, None).ok())
            .filter(|address| matches!(address, Address::Tcp { .. }) && !known(address))
            .map(|address| NatsServer { address, tls: first.tls, login: first.login.clone() })
            .take(LEARNT_MAX)
            .collect();
        // The one that we are at may have been forgotten by the others, but not by us.
        if !known(&current) && !learnt.iter().any(|server| server.address == current) {
            learnt.extend(self.learnt.iter().find(|server| server.address == current).cloned());
        }
        self.learnt = learnt;
        let mut all = self.configured.iter().chain(&self.learnt);
        self.at = all.position(|server| server.address == current).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(addresses: &[&str]) -> Servers {
        let all: Vec<_> = addresses.iter().map(|text| NatsServer::parse(text).unwrap()).collect();
        Servers::new(&all)
    }

    fn round(servers: &mut Servers) -> Vec<String> {
        (0..servers.len())
            .map(|_| {
                let address = servers.current().address.to_string();
                servers.advance();
                address
            })
            .collect()
    }

    #[test]
    fn servers_are_tried_in_turn_also_those_that_are_learnt() {
        let mut all = servers(&["tls://u:p@a:1", "b:2"]);
        assert_eq!(round(&mut all), ["a:1", "b:2"]);
        all.advance();
        all.learn(["b:2", "c:3", "nonsense", "/run/x", "[::1]:4"].into_iter());
        assert_eq!(all.current().address.to_string(), "b:2", "it stays where it is");
        assert_eq!(round(&mut all), ["b:2", "c:3", "[::1]:4", "a:1"]);
        all.advance();
        let learnt = all.current();
        assert!(learnt.tls && learnt.login.is_some());
        // Gone from the cluster, but we are there.
        all.learn(["b:2"].into_iter());
        assert_eq!(round(&mut all), ["c:3", "a:1", "b:2"]);
    }

    #[test]
    fn no_more_servers_are_learnt_than_are_kept() {
        let mut all = servers(&["a:1"]);
        let many: Vec<String> = (1..1_000).map(|port| format!("h:{port}")).collect();
        all.learn(many.iter().map(String::as_str));
        assert_eq!(all.len(), 1 + LEARNT_MAX);
    }
}
