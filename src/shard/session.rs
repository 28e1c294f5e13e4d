//! What a connection has been let in with, and until when. Connections of a server that asks nobody
//! have none.

use std::sync::Arc;

use super::balance::Dropped;
use super::held::Awaited;
use super::timers::Tick;
use super::{About, Reason, Shard};
use crate::access::Grant;
use crate::mesh::ConnId;
use crate::ws::close::CloseCode;

/// The reason in the Close of a connection whose token has run out.
const EXPIRED: &str = "token expired";

/// See the module.
#[derive(Debug)]
pub struct Session {
    /// Its joins are judged by this.
    pub grant: Arc<Grant>,
    /// Then its token runs out.
    pub expires: Option<Tick>,
    /// How often it may send another.
    pub renewals: Renewals,
}

/// New tokens of one connection: each has the desk check a signature, so they are at most
/// [`RENEWALS`] at once, and one in [`RENEWAL_MS`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Renewals {
    /// Then all of them may be sent at once again.
    full_ms: u64,
}

const RENEWALS: u64 = 4;
const RENEWAL_MS: u64 = 1_000;

impl Renewals {
    /// Whether one more may be checked now.
    pub fn admit(&mut self, now_ms: u64) -> bool {
        let full_ms = self.full_ms.max(now_ms) + RENEWAL_MS;
        let admits = full_ms <= now_ms + RENEWALS * RENEWAL_MS;
        if admits {
            self.full_ms = full_ms;
        }
        admits
    }
}

impl Shard {
    /// Whether what these connections have been let in with has room for as much more.
    pub(super) fn has_room_for_session(&self, cost: usize) -> bool {
        self.roster.sessions_bytes + cost <= self.config.limits.sessions_bytes
    }

    /// A connection is let in with this, or goes on with it.
    pub(super) fn begin_session(&mut self, id: ConnId, grant: Arc<Grant>) {
        let before = self.roster.connections.peek(id.index).session.as_ref();
        let renewals = before.map(|session| session.renewals).unwrap_or_default();
        self.end_session(id);
        self.roster.sessions_bytes += grant.cost();
        let expires =
            grant.expires_in.map(|after| Tick::after(self.now_ms, after.as_millis() as u64));
        let session = Some(Box::new(Session { grant, expires, renewals }));
        self.roster.connections.at(id.index).session = session;
        self.roster.reschedule(id);
    }

    /// What it was let in with is of no use any more.
    pub(super) fn end_session(&mut self, id: ConnId) {
        if let Some(session) = self.roster.connections.at(id.index).session.take() {
            self.roster.sessions_bytes -= session.grant.cost();
        }
    }

    /// The token of a connection has run out. One that has sent another is given the answer first.
    pub(super) fn session_expired(&mut self, id: ConnId) {
        let connection = self.roster.connections.at(id.index);
        let Some(session) = connection.session.as_mut() else { return };
        session.expires = None;
        if let Some(Awaited::Token(token)) =
            connection.held.as_mut().and_then(|held| held.awaits.as_mut())
        {
            token.expired = true;
            return;
        }
        self.expire_session(id);
    }

    /// Closes a connection whose token has run out.
    pub(super) fn expire_session(&mut self, id: ConnId) {
        self.report(id, Reason::TokenExpired, || About::Nothing);
        self.close(id, CloseCode::TOKEN_EXPIRED, EXPIRED, Dropped::Closed);
    }
}
