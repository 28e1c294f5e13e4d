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
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{LocalSet, spawn_local};

use access::AccessPlan;
use http::{AdminEndpoint, Telemetry};

use crate::mesh::operators::Inbox;

/// What the desk has to do.
pub struct Desk {
    /// The admin endpoints.
    pub listeners: Vec<(TcpListener, AdminEndpoint)>,
    /// What they tell of.
    pub telemetry: Arc<Telemetry>,
    /// Who may connect and join, where that is to be asked, and what operators order about it.
    pub access: Option<(AccessPlan, Inbox)>,
}

/// Does it on the calling thread until `stop` is told, or dropped; then ends the workers, those
/// that are being asked within the time that it was told. `ready` is called once it has begun.
///
/// Fails where no runtime can be had, a listener cannot be watched, or keys are none.
pub fn run(desk: Desk, ready: impl FnOnce(), stop: oneshot::Receiver<Duration>) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let served = LocalSet::new().block_on(&runtime, serve(desk, ready, stop));
    // A name that is being looked up takes a thread until the resolver gives up.
    runtime.shutdown_background();
    served
}

async fn serve(
    desk: Desk,
    ready: impl FnOnce(),
    stop: oneshot::Receiver<Duration>,
) -> io::Result<()> {
    let Desk { listeners, telemetry, access } = desk;
    let (mut workers, mut operators) = (None, None);
    if let Some((plan, orders)) = access {
        let (access, asks) = access::open(plan)?;
        workers = access.workers().cloned();
        if let Some(pool) = &workers {
            telemetry.watch_workers(pool.telemetry());
        }
        if let Some(callback) = access.callback() {
            telemetry.watch_callback(callback.telemetry());
        }
        if let Some(keys) = access.keys() {
            telemetry.watch_keys(keys);
        }
        operators = Some(spawn_local(access::carry_out(access.clone(), orders)));
        spawn_local(access.serve(asks));
    }
    http::serve_all(listeners, &telemetry)?;
    ready();
    let grace = stop.await.unwrap_or_default();
    // Workers that a reset is starting end with it.
    if let Some(operators) = operators {
        operators.abort();
        let _ = operators.await;
    }
    if let Some(pool) = workers {
        pool.stop(grace).await;
    }
    Ok(())
}
