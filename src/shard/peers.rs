//! The address of each connection from its acceptance to its request, where somebody is asked about
//! it. 20 bytes for each place in the table of connections; otherwise none is kept.

use std::net::IpAddr;

use super::Shard;
use super::connection::ConnId;
use crate::http::Head;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_slot: Vec<Option<IpAddr>>,
}

impl Peers {
    /// A connection comes from this address, or speaks for it.
    pub fn set(&mut self, id: ConnId, peer: Option<IpAddr>) {
        let index = id.index as usize;
        if index >= self.by_slot.len() {
            self.by_slot.resize(index + 1, None);
        }
        self.by_slot[index] = peer;
    }

    fn of(&self, id: ConnId) -> Option<IpAddr> {
        self.by_slot.get(id.index as usize).copied().flatten()
    }
}

impl Shard {
    /// The address of the client whose request this is, by a trusted proxy's word where there is
    /// one.
    pub(super) fn client_of(&self, id: ConnId, head: &Head<'_>) -> Option<IpAddr> {
        let peer = self.peers.as_ref()?.of(id)?;
        let proxies = &self.config.proxies;
        let named = proxies.trusts(peer).then(|| proxies.client(head)).flatten();
        Some(named.unwrap_or(peer).to_canonical())
    }
}
