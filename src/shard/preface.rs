//! What a trusted proxy sends before its client's first byte, where the PROXY protocol is on.

use super::Shard;
use super::connection::{ConnId, Phase};
use crate::http::Fault;
use crate::http::proxy_protocol::{self, Preface};
use crate::ws::upgrade;

impl Shard {
    /// Bytes of a connection whose header has not been read yet.
    pub(super) fn preface(&mut self, id: ConnId, bytes: &mut [u8]) {
        let parsed = match self.heads.extend(id, bytes) {
            Some((header, _)) => proxy_protocol::parse(header),
            None => proxy_protocol::parse(bytes),
        };
        let fault = match parsed {
            Preface::Incomplete => return self.keep_head(id, bytes),
            Preface::Header { len, client } => {
                let mut whole = self.heads.take(id);
                let request = &mut whole.as_deref_mut().unwrap_or(bytes)[len..];
                self.roster.connections.at(id.index).phase = Phase::Head;
                self.speaks_for(id, client);
                if !request.is_empty() {
                    self.head(id, request);
                }
                return;
            }
            Preface::Malformed => Fault::MalformedProxyHeader,
            Preface::Absent => Fault::NoProxyHeader,
        };
        self.refuse_request(id, fault, &upgrade::refuse_preface(fault), String::new);
    }
}
