//! The desk's thread: when there is one, its start and its end.

use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::{fail, starting};
use crate::backend::BackendName;
use crate::desk::access::AccessPlan;
use crate::desk::http::{AdminEndpoint, Telemetry};
use crate::desk::{self, Desk};
use crate::logs::Outlet;
use crate::mesh::operators::Inbox;
use crate::preflight::StartError;

/// For workers to end when all clients have gone; those that have not are killed.
const WORKERS_GRACE: Duration = Duration::from_secs(5);

/// The thread, while it runs.
pub struct DeskThread {
    stop: oneshot::Sender<Duration>,
    thread: JoinHandle<()>,
}

impl DeskThread {
    /// Starts it, where it has something to do, and waits until it does.
    pub fn start(
        listeners: Vec<(TcpListener, AdminEndpoint)>,
        telemetry: Arc<Telemetry>,
        access: Option<(AccessPlan, Inbox)>,
        backend: BackendName,
        log: &Outlet,
    ) -> Result<Option<Self>, StartError> {
        if listeners.is_empty() && access.is_none() {
            return Ok(None);
        }
        let (desk, log) = (Desk { listeners, telemetry, access }, log.clone());
        let (stop, stopped) = oneshot::channel();
        let (started, starts) = mpsc::channel();
        let run = move || {
            let ran =
                starting::run(&started, "the desk", |serving| desk::run(desk, serving, stopped));
            if let Err(error) = ran {
                fail("the desk", &error, &log);
            }
        };
        let thread = Builder::new().name("desk".into()).spawn(run);
        let thread = thread.map_err(|source| StartError::System {
            what: "a thread for the desk".to_owned(),
            source,
        })?;
        starting::wait(&starts, 1, backend)?;
        Ok(Some(Self { stop, thread }))
    }

    /// Ends it, and the workers with it.
    pub fn stop(self) -> io::Result<()> {
        // It may have gone already, which has ended the process.
        let _ = self.stop.send(WORKERS_GRACE);
        self.thread.join().map_err(|_| io::Error::other("it has panicked"))
    }
}
