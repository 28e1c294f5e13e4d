//! What the log says of connections.

use crate::log_rate::INTERVAL;
use crate::shard::{Refusal, Report};
use crate::ws::upgrade::Fault;

/// Writes one line about the connection of `peer`.
pub fn say(peer: &str, report: &Report) {
    match report {
        Report::MalformedCommand(reason) => tracing::info!(peer, reason, "a malformed command is ignored"),
        Report::UnknownCommand(command) => tracing::info!(peer, command, "an unknown command is ignored"),
        Report::Violation(code, reason) => {
            tracing::info!(peer, code = code.0, reason, "closed: it broke the WebSocket protocol");
        }
        Report::Overflow { key, bytes_max, dropped } => {
            tracing::warn!(peer, key, bytes_max, dropped, "closed with 1013: it does not keep up");
        }
        Report::TooSlow(why) => tracing::warn!(peer, why, "terminated"),
        Report::RoomDenied => tracing::error!(
            peer,
            "the kernel has no memory for what clients are sent, and slows them down: raise the memory limit of the \
             container or service, or net.ipv4.tcp_mem"
        ),
        Report::PongMissing => tracing::info!(peer, "terminated: no sign of life since a ping"),
        Report::Refused { refusal, about, unsaid } => refused(peer, *refusal, about, *unsaid),
    }
}

fn refused(peer: &str, refusal: Refusal, about: &str, unsaid: u64) {
    let more = if unsaid == 0 {
        String::new()
    } else {
        format!("; {unsaid} more of these since this was last said, {} s ago or more", INTERVAL.as_secs())
    };
    match refusal {
        Refusal::Request(Fault::Origin) => {
            tracing::warn!(peer, origin = about, "refused with 403: websockets.allowed_origin{more}");
        }
        Refusal::Request(fault) => {
            let (status, why) = (fault.status(), fault.why());
            match about {
                "" => tracing::info!(peer, "request refused with {status}: {why}{more}"),
                _ => tracing::info!(peer, about, "request refused with {status}: {why}{more}"),
            }
        }
        Refusal::Connection => {
            tracing::warn!(peer, "refused with 503: roadcast.limits.connections is reached{more}");
        }
        Refusal::Source(exceeded) => {
            tracing::warn!(peer, address = about, "refused with 429: {} is reached{more}", exceeded.key());
        }
        Refusal::Broker => tracing::info!(
            peer,
            broker = about,
            "a command names a broker that `broadcast` does not have: the default one is taken{more}"
        ),
        Refusal::Join(why) => tracing::warn!(peer, about, "join refused: {}{more}", why.why()),
    }
}
