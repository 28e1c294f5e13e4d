//! What all shards of a server share: configuration, and the count of connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::access;
use crate::http::proxies::Proxies;
use crate::limits::Limits;
use crate::mesh::BrokerId;
use crate::policy::{OnGap, Policies};
use crate::ws::upgrade::Rules;

/// What a shard needs to know of the configuration. One value, shared, fixed at start.
#[derive(Debug)]
pub struct ShardConfig {
    /// Bounds.
    pub limits: Arc<Limits>,
    /// What becomes of those who do not keep up.
    pub policies: Policies,
    /// What becomes of those who may have missed something and did not ask to be told.
    pub on_gap: OnGap,
    /// Who may upgrade, and where.
    pub rules: Rules,
    /// Who may join what, and whom to ask; `None`: everyone may connect and join.
    pub access: Option<AccessConfig>,
    /// Who is believed about for whom it speaks.
    pub proxies: Proxies,
    /// Names of the brokers; the place is the [`BrokerId`].
    pub brokers: Vec<String>,
    /// The broker of commands that name none.
    pub default_broker: BrokerId,
    /// The demo page, where it is served.
    pub demo_page: Option<Page>,
    /// Over which everyone is told goodbye, from the signal on, before the grace begins; zero: all
    /// at once.
    pub drain: Duration,
    /// Whether newcomers are answered meanwhile; otherwise the port is closed.
    pub drain_accept: bool,
    /// From then on until whoever is still connected is terminated.
    pub shutdown_grace: Duration,
}

/// Who may join what, and whom to ask.
#[derive(Debug)]
pub struct AccessConfig {
    /// Whether the desk is asked about everyone who connects.
    pub asks_to_connect: bool,
    /// Whether clients may send tokens.
    pub takes_tokens: bool,
    /// Who may join what.
    pub rules: access::Rules,
}

impl ShardConfig {
    /// The broker that a command names; an empty name is the default one. `None`: there is none of
    /// this name.
    pub fn broker(&self, name: &str) -> Option<BrokerId> {
        if name.is_empty() {
            return Some(self.default_broker);
        }
        self.brokers.iter().position(|broker| broker == name).map(|place| BrokerId(place as u16))
    }
}

/// A page as a whole HTTP answer.
#[derive(Debug)]
pub struct Page {
    answer: Vec<u8>,
    head_len: usize,
}

impl Page {
    /// A page from its answer: head, empty line, body.
    pub fn new(answer: Vec<u8>) -> Self {
        let head_len =
            answer.windows(4).position(|end| end == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
        Self { answer, head_len }
    }

    /// What to send: all of it, or the head alone.
    pub fn answer(&self, head_only: bool) -> &[u8] {
        if head_only { &self.answer[..self.head_len] } else { &self.answer }
    }
}

/// The connections of all shards against their common limit.
#[derive(Debug)]
pub struct ConnectionBudget {
    open: AtomicUsize,
    max: usize,
}

impl ConnectionBudget {
    /// A budget of `max` connections.
    pub fn new(max: usize) -> Self {
        Self { open: AtomicUsize::new(0), max }
    }

    /// Connections counted by now.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Counts one more connection, if the limit allows it.
    pub fn take(&self) -> bool {
        // Shards race here, so the count is taken first and given back when it was too much.
        if self.open.fetch_add(1, Ordering::Relaxed) < self.max {
            return true;
        }
        self.open.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Counts one connection less.
    pub fn give_back(&self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_head_alone_is_the_answer_without_its_body() {
        let page = Page::new(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n<p>".to_vec());
        assert_eq!(page.answer(false).strip_prefix(page.answer(true)), Some(&b"<p>"[..]));
    }
}
