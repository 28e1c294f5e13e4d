//! Who is let in: the limit of connections in all, and the limits per source address.
//!
//! A connection over a limit is held just long enough to answer its request with 503 or 429,
//! [`OVER_LIMIT_MAX`] of them at a time; further ones are closed at once. Without limits per
//! address nothing is kept here and no address is asked for.

use std::net::IpAddr;
use std::sync::Arc;

use super::connection::{Admission, ConnId, Connection, Phase};
use super::{Grace, Lifecycle, OVER_LIMIT_MAX, Refusal, Shard, Task};
use crate::http::Head;
use crate::source_limits::{Exceeded, Source, SourceLimits};

/// The source of a connection.
#[derive(Clone, Copy, Debug)]
enum Sourced {
    /// The connection counts for it.
    Counted(Source),
    /// A trusted proxy's: the head of the request will say for whom it counts.
    Forwarding(Source),
    /// A trusted proxy's that has named its client, or itself, before the request.
    Named(Source),
}

/// What a connection costs more where there are limits per source.
const _: () = assert!(size_of::<Option<Sourced>>() == 16);

/// Limits per source, and what each connection of the shard counts for.
#[derive(Debug)]
pub(super) struct Sources {
    limits: Arc<SourceLimits>,
    by_slot: Vec<Option<Sourced>>,
}

impl Sources {
    fn at(&mut self, id: ConnId) -> &mut Option<Sourced> {
        let index = id.index as usize;
        if index >= self.by_slot.len() {
            self.by_slot.resize(index + 1, None);
        }
        &mut self.by_slot[index]
    }
}

impl Shard {
    /// The same shard with limits per source address, which all shards share.
    pub fn with_source_limits(mut self, limits: Option<Arc<SourceLimits>>) -> Self {
        self.sources = limits.map(|limits| Box::new(Sources { limits, by_slot: Vec::new() }));
        self
    }

    /// Whether connections should be handed in with their address.
    #[inline]
    pub fn wants_addresses(&self) -> bool {
        self.sources.is_some() || self.config.proxies.protocol || self.peers.is_some()
    }

    /// A connection has been accepted, from an address that need not be known. `None`: there is no
    /// room even to refuse it; close it.
    pub fn accepted(&mut self) -> Option<ConnId> {
        self.accepted_from(None)
    }

    /// As [`Shard::accepted`], with the peer's address. Without one (it has gone already) it counts
    /// for nobody.
    pub fn accepted_from(&mut self, peer: Option<IpAddr>) -> Option<ConnId> {
        if self.grace == Grace::Over {
            return None;
        }
        let (admission, sourced) = self.admit(peer);
        if admission != Admission::Admitted {
            if self.over_limit == OVER_LIMIT_MAX {
                return None;
            }
            self.over_limit += 1;
        }
        self.counters.accepted.add(1);
        let mut connection = Connection::new(admission);
        let proxies = &self.config.proxies;
        if proxies.protocol && peer.is_some_and(|peer| proxies.trusts(peer)) {
            connection.phase = Phase::Preface;
        }
        let id = self.roster.connections.insert(connection);
        self.counters.open.set(self.roster.connections.len() as u64);
        if let Some(sources) = &mut self.sources {
            *sources.at(id) = sourced;
        }
        if let Some(peers) = &mut self.peers {
            peers.accepted(id, peer, peer.is_some_and(|peer| proxies.trusts(peer)));
        }
        if let (Admission::OverSource(exceeded), Some(peer)) = (admission, peer) {
            self.report_refused(id, Refusal::Source(exceeded), || Source::of(peer).to_string());
        }
        self.set_deadline(id, self.config.limits.head_timeout);
        self.outward.push(Task::Receive(id));
        // Everyone has been told goodbye already.
        if self.lifecycle == Lifecycle::Closing {
            self.refuse_at_the_end(id);
        }
        Some(id)
    }

    fn admit(&mut self, peer: Option<IpAddr>) -> (Admission, Option<Sourced>) {
        if !self.budget.take() {
            self.counters.refused_limit.add(1);
            return (Admission::OverLimit, None);
        }
        let (Some(sources), Some(peer)) = (&self.sources, peer) else {
            return (Admission::Admitted, None);
        };
        let source = Source::of(peer);
        if self.config.proxies.trusts(peer) {
            return (Admission::Admitted, Some(Sourced::Forwarding(source)));
        }
        match sources.limits.admit(source, self.now_ms) {
            Ok(()) => (Admission::Admitted, Some(Sourced::Counted(source))),
            Err(exceeded) => {
                self.budget.give_back();
                self.count_exceeded(exceeded);
                (Admission::OverSource(exceeded), None)
            }
        }
    }

    /// Counts a trusted proxy's connection for the client that its request names, or for the proxy
    /// where it names none. An error: what that source has too many of.
    /// A request that could not be read names nobody.
    pub(super) fn admit_forwarded(
        &mut self,
        id: ConnId,
        head: Option<&Head<'_>>,
    ) -> Result<(), Exceeded> {
        let Some(sources) = &mut self.sources else { return Ok(()) };
        let source = match *sources.at(id) {
            Some(Sourced::Forwarding(proxy)) => {
                let client = head.and_then(|head| self.config.proxies.client(head));
                self.counters.forwarded_missing.add(u64::from(client.is_none()));
                client.map_or(proxy, Source::of)
            }
            Some(Sourced::Named(source)) => source,
            Some(Sourced::Counted(_)) | None => return Ok(()),
        };
        if let Err(exceeded) = sources.limits.admit(source, self.now_ms) {
            self.count_exceeded(exceeded);
            self.report_refused(id, Refusal::Source(exceeded), || source.to_string());
            return Err(exceeded);
        }
        *sources.at(id) = Some(Sourced::Counted(source));
        Ok(())
    }

    /// A trusted proxy has said by the PROXY protocol for whom the connection is. What such a
    /// client's request says of others is its own word, unless it is a trusted proxy itself.
    /// `None`: the proxy speaks for itself.
    pub(super) fn speaks_for(&mut self, id: ConnId, client: Option<IpAddr>) {
        let forwards = client.is_some_and(|client| self.config.proxies.trusts(client));
        if let Some(peers) = &mut self.peers {
            peers.announced(id, client, forwards);
        }
        let Some(sources) = &mut self.sources else { return };
        let sourced = sources.at(id);
        if let Some(Sourced::Forwarding(proxy)) = *sourced {
            let source = client.map_or(proxy, Source::of);
            *sourced = Some(match forwards {
                true => Sourced::Forwarding(source),
                false => Sourced::Named(source),
            });
        }
    }

    fn count_exceeded(&self, exceeded: Exceeded) {
        let counter = match exceeded {
            Exceeded::Connections => &self.counters.refused_address_connections,
            Exceeded::Handshakes => &self.counters.refused_address_handshakes,
        };
        counter.add(1);
    }

    /// The socket of a terminated connection is closed and nothing of it is under way: the slot is
    /// free.
    pub fn released(&mut self, id: ConnId) {
        let connection = self.roster.connections.remove(id);
        debug_assert!(matches!(connection.phase, Phase::Ended));
        match connection.admission {
            Admission::Admitted => self.budget.give_back(),
            Admission::OverLimit | Admission::OverSource(_) => self.over_limit -= 1,
        }
        if let Some(sources) = &mut self.sources
            && let Some(Sourced::Counted(source)) = sources.at(id).take()
            && !sources.limits.ended(source, self.now_ms)
        {
            self.counters.sources_forgotten.add(1);
        }
        self.counters.open.set(self.roster.connections.len() as u64);
    }
}
