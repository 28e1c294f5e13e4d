//! How a shard comes by its connections, and how it stops to.
//!
//! One multishot accept is under way while the listener is there. It ends by itself when
//! descriptors or memory run out, and rests then: to ask again at once would spin.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::time::Duration;

use super::uring::Completion;
use super::{EventLoop, event, tcp};

/// How long accepting rests when descriptors have run out, unless one is freed before.
const ACCEPT_REST: Duration = Duration::from_millis(500);

/// What the log says when it rests.
pub(super) const ACCEPTING_RESTS: &str =
    "accepting rests: for \"too many open files\" raise the limit (ulimit -n)";

impl EventLoop {
    pub(super) fn accepted(&mut self, completion: Completion) -> io::Result<()> {
        self.accepting = completion.more();
        match completion.result {
            fd if fd >= 0 => {
                // SAFETY: the kernel has just handed this descriptor to us, and nobody else knows
                // it.
                let fd = unsafe { OwnedFd::from_raw_fd(fd) };
                // Without room even for a refusal the descriptor is closed here.
                let peer = if self.shard.wants_addresses() {
                    tcp::peer(&fd).map(|peer| peer.ip())
                } else {
                    None
                };
                if let Some(id) = self.shard.accepted_from(peer) {
                    self.sockets.insert(id, fd);
                }
            }
            // Whoever gave up before it was accepted is no reason to stop; nor is a cancellation,
            // which has no listener.
            errno
                if [libc::ECONNABORTED, libc::EPROTO, libc::EINTR, libc::ECANCELED]
                    .contains(&-errno) => {}
            errno => return self.rest_accepting(&io::Error::from_raw_os_error(-errno)),
        }
        if self.accepting {
            return Ok(());
        }
        self.accept()
    }

    /// Descriptors or memory have run out, or something that trying at once again would not change.
    fn rest_accepting(&mut self, error: &io::Error) -> io::Result<()> {
        let now = self.started.elapsed();
        if self.listener.is_some()
            && let Some(unsaid) = self.rest_said.admit((), now)
        {
            tracing::error!(%error, "{ACCEPTING_RESTS}{unsaid}");
        }
        if !self.accepting {
            self.counters.accept_rests.add(1);
            self.accept_again = Some(now + ACCEPT_REST);
        }
        Ok(())
    }

    pub(super) fn accept(&mut self) -> io::Result<()> {
        self.accept_again = None;
        if let Some(listener) = &self.listener {
            self.uring.accept(listener.as_fd(), event::accept())?;
            self.accepting = true;
        }
        Ok(())
    }

    pub(super) fn accept_after_rest(&mut self) -> io::Result<()> {
        match self.accept_again {
            Some(at) if at <= self.started.elapsed() => self.accept(),
            _ => Ok(()),
        }
    }

    /// What was accepted already comes as completions still; the listener closes when accepting has
    /// ended.
    pub(super) fn stop_accepting(&mut self) -> io::Result<()> {
        self.accept_again = None;
        if self.accepting {
            self.uring.cancel(event::accept(), event::ignored())?;
        }
        if let Some(listener) = self.listener.take() {
            self.uring.enter_until_empty()?;
            drop(listener);
        }
        Ok(())
    }
}
