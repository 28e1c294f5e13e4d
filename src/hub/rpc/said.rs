//! What RPC has told the log lately, of what publishers can cause at will.

use std::cell::RefCell;
use std::time::Instant;

use super::stream::Peer;
use crate::log_rate::{LogRate, Unsaid};

/// See the module; one for all connections.
pub struct Said {
    /// The line, and what kind of it.
    rate: RefCell<LogRate<(&'static str, &'static str)>>,
    started: Instant,
}

impl Default for Said {
    fn default() -> Self {
        Self { rate: RefCell::default(), started: Instant::now() }
    }
}

impl Said {
    /// Whether a line that publishers can cause is due, and how many of its `kind` were left out
    /// before it.
    pub(super) fn due(&self, line: &'static str, kind: &'static str) -> Option<Unsaid> {
        self.rate.borrow_mut().admit((line, kind), self.started.elapsed())
    }

    /// Says that a call is answered with an error, if this kind has not been said lately.
    pub(super) fn say_error(&self, kind: &'static str, peer: Peer, error: &str) {
        const LINE: &str = "RPC call answered with an error";
        if let Some(unsaid) = self.due(LINE, kind) {
            tracing::warn!(%peer, kind, error, "{LINE}{unsaid}");
        }
    }

    /// Says at the end what happened since it was last said.
    pub(super) fn say_left_out(&self) {
        for ((line, kind), left_out) in self.rate.borrow_mut().left_out() {
            // As loud as the line itself.
            match kind {
                "broken" => tracing::debug!(kind, unsaid = left_out.0, "{line}: {left_out}"),
                _ => tracing::warn!(kind, unsaid = left_out.0, "{line}: {left_out}"),
            }
        }
    }
}
