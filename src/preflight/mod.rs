//! What must hold before anything starts: the kernel, io_uring, file descriptors, the addresses,
//! the user of workers, certificates to trust by.
//!
//! Each failure says what is missing, where it was asked for and how to allow it.

mod certificates;
mod kernel;
mod listen;
mod workers;

use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::access::Asked;
use crate::backend::{BackendName, BackendWish, ChosenBackend};
use crate::config::Config;
use crate::shard::OVER_LIMIT_MAX;
pub use kernel::{KERNEL_MIN, io_uring_denied, supported};
pub use listen::{BACKLOG, admin_listener, listeners, rpc_listener};
pub use workers::check_program;

/// Why the server does not start: the fault is in the machine, or in a setting that does not fit
/// it.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// io_uring was asked for and cannot be used: why not.
    #[error("roadcast.backend: {0}; or set `auto`, which runs on epoll then")]
    IoUring(String),
    /// The limit of file descriptors is below what the configuration needs.
    #[error("{0}")]
    Descriptors(String),
    /// An address cannot be listened on.
    #[error("{key}: {address}: {reason}")]
    Listen {
        /// The key that named the address.
        key: &'static str,
        /// The address.
        address: String,
        /// Why not, and what to do.
        reason: String,
    },
    /// Workers cannot be run.
    #[error("{key}: {problem}")]
    Workers {
        /// The key that says how.
        key: &'static str,
        /// Why not, and what to do.
        problem: String,
    },
    /// A server that is asked over TLS could not be trusted.
    #[error("{key}: {problem}")]
    Certificates {
        /// The key that names the server.
        key: &'static str,
        /// What is missing, and what to do.
        problem: String,
    },
    /// A broker cannot be opened.
    #[error("{place}: {problem}")]
    Broker {
        /// Where its options stand.
        place: String,
        /// Why not, and what to do.
        problem: String,
    },
    /// Anything else that the system refused.
    #[error("{what}: {source}")]
    System {
        /// What was asked of it.
        what: String,
        /// Its answer.
        source: std::io::Error,
    },
}

/// What the machine offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The kernel's release, as `uname -r` says it.
    pub kernel: String,
    /// What the shards and the hub run on.
    pub backend: ChosenBackend,
    /// File descriptors that this process may have open.
    pub descriptors: u64,
}

/// Descriptors of one shard besides its connections: listener, ring, wake-up, some to spare, and
/// the clients beyond the limit who are told so.
const DESCRIPTORS_PER_SHARD: u64 = 8 + OVER_LIMIT_MAX as u64;
/// Descriptors of the process besides: standard streams, the hub's ring and epoll, signals, RPC
/// listener, files.
const DESCRIPTORS_ELSEWHERE: u64 = 64;
/// The fewest connections that are worth starting for, when their number is left to the
/// descriptors.
const CONNECTIONS_MIN: u64 = 64;

/// The fewest RPC connections that are worth starting for, when their number is not set.
const RPC_CONNECTIONS_MIN: usize = 16;

/// Checks the machine against the configuration; binds nothing. Raises the soft limit of
/// descriptors to the hard one, and where `limits.connections` is 0 puts the number that
/// descriptors allow in its place.
pub fn check(config: &mut Config) -> Result<Machine, StartError> {
    let machine = check_kernel(config.backend, config.shards)?;
    workers::check_user(&config.access)?;
    certificates::check_roots(&config.access)?;
    certificates::check_broker_roots(&config.brokers)?;
    let mut aside = Aside::of(machine.backend.name, config.shards);
    if let Asked::Callback(callback) = &config.access.asked {
        aside.callback = callback.concurrency as u64;
    }
    let limits = Arc::make_mut(&mut config.limits);
    if !config.rpc_connections_given {
        limits.rpc_connections =
            rpc_connections(machine.descriptors, limits.connections, limits.rpc_connections, aside);
    }
    limits.connections =
        connections(machine.descriptors, limits.connections, limits.rpc_connections, aside)?;
    Ok(machine)
}

/// What holds of the machine whatever else the configuration says than these. Raises the soft limit
/// of descriptors to the hard one.
pub fn check_kernel(wish: BackendWish, shards: usize) -> Result<Machine, StartError> {
    let kernel = rustix::system::uname().release().to_string_lossy().into_owned();
    let probe = || kernel::probe_io_uring(&kernel, shards + 1);
    let backend = wish.choose(probe).map_err(StartError::IoUring)?;
    Ok(Machine { kernel, backend, descriptors: raise_descriptors() })
}

/// Raises the soft limit of open files to the hard one and answers with the limit in force. A
/// refusal is no error: what counts is whether the limit in force suffices.
fn raise_descriptors() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// What descriptors go to besides clients.
#[derive(Clone, Copy)]
struct Aside {
    /// To all shards.
    shards: u64,
    /// To one RPC connection.
    per_rpc: u64,
    /// To the callback that is asked.
    callback: u64,
}

impl Aside {
    fn of(backend: BackendName, shards: usize) -> Self {
        let per_rpc = match backend {
            // One that waits on the ring, one for what does not wait (`hub/runtime.rs`).
            BackendName::IoUring => 2,
            BackendName::Epoll => 1,
        };
        Self { shards: shards as u64 * DESCRIPTORS_PER_SHARD, per_rpc, callback: 0 }
    }

    fn besides_rpc(self) -> u64 {
        DESCRIPTORS_ELSEWHERE + self.shards + self.callback
    }
}

/// The RPC connections in force where nobody has set their number: fewer than by default if that
/// makes the rest fit.
fn rpc_connections(limit: u64, configured: usize, default: usize, aside: Aside) -> usize {
    let wanted = if configured == 0 { CONNECTIONS_MIN } else { configured as u64 };
    let left = limit.saturating_sub(wanted + aside.besides_rpc());
    // Left to the descriptors, connections get three quarters of them.
    let share = if configured == 0 { left / 4 } else { left } / aside.per_rpc;
    usize::try_from(share).unwrap_or(usize::MAX).clamp(RPC_CONNECTIONS_MIN, default)
}

/// The connections in force for what is configured (0: as many as descriptors allow).
fn connections(
    limit: u64,
    configured: usize,
    rpc: usize,
    aside: Aside,
) -> Result<usize, StartError> {
    let rpc = rpc as u64 * aside.per_rpc;
    let elsewhere = aside.besides_rpc();
    let wanted = if configured == 0 { CONNECTIONS_MIN } else { configured as u64 };
    let needed = wanted + rpc + elsewhere;
    if limit < needed {
        let at_least = if configured == 0 { "at least " } else { "" };
        let Aside { shards, per_rpc, callback } = aside;
        let callback = match callback {
            0 => String::new(),
            some => format!("{some} for roadcast.access.http.concurrency, "),
        };
        return Err(StartError::Descriptors(format!(
            "the limit of open files is {limit}, and {needed} are needed: {at_least}{wanted} for \
             roadcast.limits.connections, {rpc} for roadcast.limits.rpc_connections ({per_rpc} each), {shards} for \
             roadcast.shards ({DESCRIPTORS_PER_SHARD} each), {callback}{DESCRIPTORS_ELSEWHERE} for the server itself; raise the hard \
             limit (`ulimit -n {needed}` as root, `LimitNOFILE={needed}` in a systemd unit, `--ulimit nofile={needed}` of \
             a container) or lower these keys"
        )));
    }
    if configured != 0 {
        return Ok(configured);
    }
    // The bound of the key itself: descriptors may be practically unlimited.
    Ok(usize::try_from(limit - rpc - elsewhere).unwrap_or(usize::MAX).min(16_000_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of two shards.
    fn ringed() -> Aside {
        Aside::of(BackendName::IoUring, 2)
    }

    #[test]
    fn connections_left_open_are_what_descriptors_allow() {
        assert_eq!(
            connections(20_000, 0, 1024, ringed()).unwrap(),
            20_000 - 2 * 1024 - 64 - 2 * (8 + 64)
        );
        assert_eq!(connections(20_000, 500, 1024, ringed()).unwrap(), 500);
        assert_eq!(connections(u64::MAX, 0, 1024, ringed()).unwrap(), 16_000_000);
    }

    #[test]
    fn whom_a_callback_is_asked_about_does_not_take_the_descriptors_to_ask_by() {
        let aside = Aside { callback: 64, ..ringed() };
        let left = 20_000 - 2 * 1024 - 64 - 2 * (8 + 64) - 64;
        assert_eq!(connections(20_000, 0, 1024, aside).unwrap(), left);
        let refused = connections(300, 100, 16, aside).unwrap_err().to_string();
        assert!(refused.contains(" 64 for roadcast.access.http.concurrency, "), "{refused}");
    }

    #[test]
    fn on_epoll_an_rpc_connection_takes_one_descriptor() {
        let aside = Aside::of(BackendName::Epoll, 2);
        let left = 20_000 - 1024 - 64 - 2 * (8 + 64);
        assert_eq!(connections(20_000, 0, 1024, aside).unwrap(), left);
        assert_eq!(rpc_connections(1024, 0, 1024, aside), (1024 - 64 - 64 - 144) / 4);
    }

    #[test]
    fn rpc_connections_that_nobody_set_make_room() {
        let shrunk = |limit, configured| rpc_connections(limit, configured, 1024, ringed());
        assert_eq!(shrunk(20_000, 0), 1024);
        assert_eq!(shrunk(1024, 0), (1024 - 64 - 64 - 144) / 8);
        assert!(connections(1024, 0, shrunk(1024, 0), ringed()).is_ok());
        assert_eq!(shrunk(1024, 500), (1024 - 500 - 64 - 144) / 2);
        // Not below what is worth starting for.
        assert_eq!((shrunk(300, 0), shrunk(1024, 10_000)), (16, 16));
    }

    #[test]
    fn the_number_that_is_said_to_be_needed_is_accepted_and_one_less_is_not() {
        let shapes = [(0, None), (500, None), (0, Some(100)), (500, Some(1024))];
        let backends = [BackendName::IoUring, BackendName::Epoll];
        for (backend, (configured, given)) in
            backends.into_iter().flat_map(|backend| shapes.map(|shape| (backend, shape)))
        {
            let aside = Aside::of(backend, 2);
            let tried = |limit| {
                let rpc = given.unwrap_or_else(|| rpc_connections(limit, configured, 1024, aside));
                connections(limit, configured, rpc, aside).map_err(|error| error.to_string())
            };
            let told = tried(10).unwrap_err();
            let (_, needed) = told.split_once("is 10, and ").unwrap();
            let needed: u64 = needed.split(' ').next().unwrap().parse().unwrap();
            assert!(tried(needed).is_ok(), "{configured} {given:?}: {told}");
            assert!(
                tried(needed - 1).unwrap_err().contains(&format!("{needed} are needed")),
                "{told}"
            );
        }
    }

    #[test]
    fn too_few_descriptors_name_the_numbers_and_what_to_do() {
        let error = connections(4096, 10_000, 1024, ringed()).unwrap_err().to_string();
        for part in [
            "is 4096",
            "12256 are needed",
            "10000 for roadcast.limits.connections",
            "2048 for roadcast.limits.rpc_connections (2 each)",
            "144 for roadcast.shards (72 each)",
            "LimitNOFILE=12256",
        ] {
            assert!(error.contains(part), "{error}");
        }
        assert!(connections(1024, 0, 1024, ringed()).is_err());
        assert!(connections(1024, 0, 100, ringed()).is_ok());
    }
}
