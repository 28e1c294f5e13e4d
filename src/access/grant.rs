//! What lets a client in.

use std::time::Duration;

use super::{AccessRequest, Identity};

/// What a connection has been let in with. Its joins are judged by it, and asked about with it.
#[derive(Debug, Default)]
pub struct Grant {
    /// Who the client is.
    pub identity: Identity,
    /// The `sub` of its token. Another token must have the same.
    pub subject: Option<Box<str>>,
    /// What it came with, where joins may have to be asked about.
    pub request: Option<AccessRequest>,
    /// How long from now on it is good; `None`: for ever.
    pub expires_in: Option<Duration>,
}

/// What a grant costs beyond what it names.
const GRANT_BYTES: usize = 256;

impl Grant {
    /// What it holds of memory, as the bound counts it.
    pub fn cost(&self) -> usize {
        let head = self.request.as_ref().map_or(0, |request| request.head.len());
        let subject = self.subject.as_ref().map_or(0, |subject| subject.len());
        GRANT_BYTES + head + subject + self.identity.cost()
    }
}
