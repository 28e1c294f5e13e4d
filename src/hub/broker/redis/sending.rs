//! The connection that publishes, as long as there is a broker.

use std::rc::Rc;

use tokio::time::{Instant, sleep};

use super::connect::Connected;
use super::health::Phase;
use super::node::{MOVED, Node, ticks};
use super::publisher::{Answered, is_elsewhere};
use crate::hub::broker::backoff::{Backoff, random_fraction};
use crate::hub::broker::link::{Address, Link};
use crate::hub::broker::terms::PROBE;
use crate::resp::{self, Value};

/// Of an answer to a publication: a number or an error.
const ANSWER_BYTES_MAX: usize = 128 * 1024;

/// Connects again and again.
pub(super) async fn send(node: Rc<Node>) {
    let settings = &node.common.settings;
    let mut backoff = Backoff::new(settings.min_retry_backoff, settings.max_retry_backoff);
    let mut known = false;
    loop {
        let why = match node.connect().await {
            Ok(Connected { link, address, .. }) => {
                backoff.connected(Instant::now());
                if std::mem::replace(&mut known, true) {
                    node.common.status.reconnects.add(1);
                }
                node.stands(node.sending, Phase::Resubscribing);
                node.subscribed(&address).await;
                node.publisher.connected(link.out(), Instant::now());
                node.stands(node.sending, Phase::Up);
                session(&node, link, &address).await
            }
            Err(trouble) => trouble.why(),
        };
        node.publisher.disconnected(&why, Instant::now());
        node.stands(node.sending, Phase::Down(why));
        sleep(backoff.pause(Instant::now(), random_fraction())).await;
    }
}

/// One connection's life. Says why it ended.
async fn session(node: &Node, mut link: Link, address: &Address) -> String {
    let mut ticks = ticks();
    let mut probed: Option<Instant> = None;
    loop {
        tokio::select! {
            read = link.read(ANSWER_BYTES_MAX) => {
                if let Err(error) = read {
                    return error.to_string();
                }
                if let Err(why) = answers(node, &mut link) {
                    return why;
                }
                node.common.terms.runtime.give_way().await;
            }
            _ = ticks.tick() => {
                let now = Instant::now();
                if node.has_left(address) {
                    return MOVED.to_owned();
                }
                if let Some(why) = node.common.is_dead(&link, node.publisher.oldest(), now) {
                    return why;
                }
                if probed.is_none_or(|at| now.saturating_duration_since(at) >= PROBE) {
                    probed = Some(now);
                    let since = now.saturating_duration_since(node.common.epoch).as_micros();
                    let channel = &node.common.own_channel;
                    node.publisher.probe(channel, since.to_string().as_bytes(), now);
                }
            }
        }
    }
}

/// Works through the answers that have come. Fails with why the connection cannot go on.
fn answers(node: &Node, link: &mut Link) -> Result<(), String> {
    let now = Instant::now();
    loop {
        let (value, bytes) = match resp::value(link.bytes(), ANSWER_BYTES_MAX) {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(()),
            Err(problem) => return Err(problem.to_string()),
        };
        let answered = match value {
            Value::Error(why) => {
                let why = String::from_utf8_lossy(why);
                let answered = node.publisher.answered(Some(&why), now);
                if answered == Answered::Elsewhere || is_elsewhere(&why) {
                    node.is_stale();
                }
                answered
            }
            _ => node.publisher.answered(None, now),
        };
        link.consume(bytes);
        if answered == Answered::Unasked {
            return Err("an answer that nobody asked for".to_owned());
        }
    }
}
