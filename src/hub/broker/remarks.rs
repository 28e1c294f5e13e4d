//! What a broker has to say in the log of single topics. Clients and publishers cause it as often
//! as they like, so not each of them is a line.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Instant;

use super::BrokerStatus;
use crate::log_rate::{LogRate, Unsaid};

const REFUSED: &str = "the server refuses a topic";
const TOO_LONG: &str =
    "a message is over roadcast.limits.publication_bytes: clients are told of a gap in its place";

/// See the module.
pub(super) struct Remarks {
    status: Arc<BrokerStatus>,
    /// By line.
    rate: RefCell<LogRate<&'static str>>,
    started: Instant,
}

impl Remarks {
    pub(super) fn new(status: Arc<BrokerStatus>) -> Self {
        Self { status, rate: RefCell::default(), started: Instant::now() }
    }

    /// The server does not permit a topic, which it knows as `channel`, and says why.
    pub(super) fn refused(&self, topic: &str, channel: &str, why: &str) {
        self.status.goes_wrong(&format!("channel {channel:?}: {why}"));
        if let Some(unsaid) = self.due(REFUSED) {
            let broker = self.status.name();
            tracing::warn!(broker, topic, channel, why, "{REFUSED}{unsaid}");
        }
    }

    /// A message that has come is longer than clients may have.
    pub(super) fn too_long(&self, topic: &str, bytes: u64, bytes_max: usize) {
        if let Some(unsaid) = self.due(TOO_LONG) {
            let broker = self.status.name();
            tracing::warn!(broker, topic, bytes, bytes_max, "{TOO_LONG}{unsaid}");
        }
    }

    fn due(&self, line: &'static str) -> Option<Unsaid> {
        self.rate.borrow_mut().admit(line, self.started.elapsed())
    }

    /// Says at the end what has happened since it was last said.
    pub(super) fn say_left_out(&self) {
        for (line, left_out) in self.rate.borrow_mut().left_out() {
            tracing::warn!(broker = self.status.name(), unsaid = left_out.0, "{line}: {left_out}");
        }
    }
}
