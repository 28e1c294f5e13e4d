//! What the log says of connections.

use std::fmt::Display;
use std::net::SocketAddr;

use crate::http::Fault;
use crate::log_rate::{LeftOut, Unsaid};
use crate::shard::{About, JoinRefusal, Reason, Refusal, RefusedJoin, Report};

/// Writes one line about the connection of `peer`.
pub fn say(peer: Option<SocketAddr>, report: &Report) {
    let peer = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string());
    let peer = peer.as_str();
    let Report { reason, about, unsaid } = report;
    let (sent, dropped) = match about {
        About::Nothing => ("", 0),
        About::Sent(text) => (text.as_str(), 0),
        About::Dropped(frames) => ("", *frames),
        About::Join(join) => return say_join(peer, reason, join, *unsaid),
    };
    match *reason {
        Reason::MalformedCommand(_) => tracing::info!(peer, "{reason}{unsaid}"),
        Reason::UnknownCommand => tracing::info!(peer, command = sent, "{reason}{unsaid}"),
        Reason::Violation(code, _) => tracing::info!(peer, code = code.0, "{reason}{unsaid}"),
        Reason::Overflow { bytes_max, .. } => {
            tracing::warn!(peer, bytes_max, dropped, "{reason}{unsaid}")
        }
        Reason::TooSlow(_) => tracing::warn!(peer, "{reason}{unsaid}"),
        Reason::RoomDenied => tracing::error!(peer, "{reason}{unsaid}"),
        Reason::PongMissing | Reason::TokenExpired | Reason::Gap => {
            tracing::info!(peer, "{reason}{unsaid}")
        }
        Reason::Refused(refusal) => match refusal {
            Refusal::Request(Fault::Origin) => {
                tracing::warn!(peer, origin = sent, "{reason}{unsaid}")
            }
            Refusal::Request(_) if sent.is_empty() => tracing::info!(peer, "{reason}{unsaid}"),
            Refusal::Request(_) => tracing::info!(peer, about = sent, "{reason}{unsaid}"),
            Refusal::Denied(why) if why.is_fault() => {
                tracing::warn!(peer, user = sent, "{reason}{unsaid}")
            }
            Refusal::Denied(_) => tracing::info!(peer, user = sent, "{reason}{unsaid}"),
            Refusal::Token(_) => tracing::info!(peer, "{reason}{unsaid}"),
            Refusal::Connection | Refusal::Asks | Refusal::Sessions => {
                tracing::warn!(peer, "{reason}{unsaid}")
            }
            Refusal::Source(_) => tracing::warn!(peer, address = sent, "{reason}{unsaid}"),
            Refusal::Broker => tracing::info!(peer, broker = sent, "{reason}{unsaid}"),
            Refusal::Join(_) => tracing::warn!(peer, about = sent, "{reason}{unsaid}"),
        },
    }
}

/// Of joins that were not allowed. That rules or an application refuse one is everyday.
fn say_join(peer: &str, reason: &Reason, join: &RefusedJoin, unsaid: Unsaid) {
    let RefusedJoin { topic, rule, user } = join;
    let is_fault = match reason {
        Reason::Refused(Refusal::Join(JoinRefusal::Desk(why))) => why.is_fault(),
        _ => false,
    };
    if is_fault {
        tracing::warn!(peer, topic, rule, user, "{reason}{unsaid}");
    } else {
        tracing::info!(peer, topic, rule, user, "{reason}{unsaid}");
    }
}

/// Writes what happened since it was last said, at the end.
pub fn say_left_out(reason: &dyn Display, left_out: LeftOut) {
    tracing::info!(unsaid = left_out.0, "{reason}: {left_out}");
}
