//! The desk: a thread for whatever strangers or slow services can hold up, so that it holds up
//! neither a shard nor the hub. It exists only where it has something to do.
//!
//! ```text
//! access  who may connect and who may join
//! http    metrics, health and readiness
//! ```

pub mod access;
pub mod http;

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use http::{AdminEndpoint, Telemetry};

/// Serves the listeners on the calling thread for as long as the process lives. Fails where no
/// runtime can be had.
pub fn run(
    listeners: Vec<(TcpListener, AdminEndpoint)>,
    telemetry: &Arc<Telemetry>,
) -> io::Result<()> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    runtime.block_on(http::serve_all(listeners, telemetry))
}
