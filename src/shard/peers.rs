//! The address of each connection from its acceptance to its request, where somebody is asked about
//! it. 18 bytes for each place in the table of connections; otherwise none is kept.

use std::net::IpAddr;

use super::Shard;
use super::connection::ConnId;
use crate::http::Head;

/// The address that a connection comes from, or that a trusted proxy has named for it.
#[derive(Clone, Copy, Debug)]
struct Peer {
    address: IpAddr,
    /// Whether its request may name the client: it is a trusted proxy that has not done so before.
    forwards: bool,
}

/// What is kept for each place in the table of connections.
const _: () = assert!(size_of::<Option<Peer>>() == 18);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Peers {
    by_slot: Vec<Option<Peer>>,
}

impl Peers {
    /// A connection has been accepted from this address.
    pub fn accepted(&mut self, id: ConnId, address: Option<IpAddr>, forwards: bool) {
        let index = id.index as usize;
        if index >= self.by_slot.len() {
            self.by_slot.resize(index + 1, None);
        }
        self.by_slot[index] = address.map(|address| Peer { address, forwards });
    }

    /// A trusted proxy has said for whom a connection is. `None`: for itself.
    pub fn announced(&mut self, id: ConnId, client: Option<IpAddr>, forwards: bool) {
        if let Some(Some(peer)) = self.by_slot.get_mut(id.index as usize) {
            *peer = Peer { address: client.unwrap_or(peer.address), forwards };
        }
    }

    fn of(&self, id: ConnId) -> Option<Peer> {
        self.by_slot.get(id.index as usize).copied().flatten()
    }
}

impl Shard {
    /// The address of the client whose request this is, by a trusted proxy's word where there is
    /// one.
    pub(super) fn client_of(&self, id: ConnId, head: &Head<'_>) -> Option<IpAddr> {
        let Peer { address, forwards } = self.peers.as_ref()?.of(id)?;
        let named = forwards.then(|| self.config.proxies.client(head)).flatten();
        Some(named.unwrap_or(address).to_canonical())
    }
}
