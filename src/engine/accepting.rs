//! How a shard comes by its connections, and how accepting rests: when descriptors or memory run
//! out it ends by itself, and to ask again at once would spin.

use std::io;
use std::time::Duration;

use super::{Backend, Loop, report};
use crate::log_rate::LogRate;

/// How long accepting rests when descriptors have run out, unless one is freed before.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// What the log says when it rests.
const ACCEPTING_RESTS: &str = "accepting rests: for \"too many open files\" raise the limit \
    (ulimit -n), for \"no space left on device\" the sysctl fs.epoll.max_user_watches";

/// How accepting rests.
#[derive(Debug, Default)]
pub(super) struct Rest {
    /// When it goes on, since the loop's start.
    pub until: Option<Duration>,
    said: LogRate<()>,
}

impl Rest {
    pub fn say_left_out(&mut self) {
        self.said.left_out().for_each(|((), times)| report::say_left_out(&ACCEPTING_RESTS, times));
    }
}

impl<B: Backend> Loop<B> {
    pub(super) fn accepted(&mut self, incoming: B::Incoming) {
        let peer = match self.shard.wants_addresses() {
            true => self.backend.address(&incoming),
            false => None,
        };
        // Without room even for a refusal it is closed here.
        if let Some(id) = self.shard.accepted_from(peer.map(|peer| peer.ip())) {
            self.backend.adopt(id, incoming);
        }
    }

    /// Descriptors or memory have run out, or something that trying at once again would not change.
    pub(super) fn rest_accepting(&mut self, error: &io::Error) {
        let now = self.since_start();
        if let Some(unsaid) = self.accept_rest.said.admit((), now) {
            tracing::error!(%error, "{ACCEPTING_RESTS}{unsaid}");
        }
        self.counters.accept_rests.add(1);
        self.accept_rest.until = Some(now + ACCEPT_REST);
    }

    /// Goes on after a rest: at once when a descriptor has been freed.
    pub(super) fn accept_after_rest(&mut self, freed: bool) -> io::Result<()> {
        if let Some(at) = self.accept_rest.until
            && (freed || at <= self.since_start())
        {
            self.accept_rest.until = None;
            self.backend.accept()?;
        }
        Ok(())
    }

    /// Whoever waited to be accepted is told now: this may be the last turn.
    pub(super) fn stop_accepting(&mut self) -> io::Result<()> {
        self.accept_rest.until = None;
        self.backend.stop_accepting()?;
        self.take_in()
    }
}
