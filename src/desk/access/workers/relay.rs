//! Workers that connect to a socket of ours instead of talking through their pipes
//! (`roadcast.workers.relay`). The process id in a connection's first answer says which worker it
//! is.
//!
//! Whoever connects and is no worker costs one of a few places for a while, and nothing else:
//! accepting goes on whatever comes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::settings::Relay;
use super::wire::Wire;
use crate::log_rate::LogRate;

/// Connections that have not said who they are.
const STRANGERS_MAX: usize = 64;
/// For a connection to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// How long accepting pauses when it fails.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The workers that have not connected yet, by process id.
type Expected = Rc<RefCell<HashMap<u32, oneshot::Sender<Wire>>>>;

/// A socket that workers connect to. Ends with the value.
#[derive(Debug)]
pub struct Relayed {
    /// What `RR_RELAY` says.
    pub name: String,
    expected: Expected,
    accepting: tokio::task::JoinHandle<()>,
    /// To be removed.
    file: Option<PathBuf>,
}

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Relayed {
    /// Listens; `None` for pipes. On the thread of a `LocalSet`.
    pub fn listen(relay: &Relay) -> io::Result<Option<Self>> {
        let (listener, name, file) = match relay {
            Relay::Pipes => return Ok(None),
            Relay::Tcp(address) => {
                let listener = tcp(*address)?;
                let name = format!("tcp://{}", listener.local_addr()?);
                (Listener::Tcp(listener), name, None)
            }
            Relay::Unix(path) => {
                let name = format!("unix://{}", path.display());
                (Listener::Unix(unix(path)?), name, Some(path.clone()))
            }
        };
        let expected = Expected::default();
        let accepting = tokio::task::spawn_local(accept(listener, expected.clone()));
        Ok(Some(Self { name, expected, accepting, file }))
    }

    /// Where the connection of this worker will come. To be called before the worker can connect.
    pub fn expect(&self, pid: u32) -> Coming<'_> {
        let (here, there) = oneshot::channel();
        self.expected.borrow_mut().insert(pid, here);
        Coming { of: self, pid, there }
    }
}

impl Drop for Relayed {
    fn drop(&mut self) {
        self.accepting.abort();
        if let Some(file) = &self.file {
            let _ = std::fs::remove_file(file);
        }
    }
}

/// A worker whose connection is to come.
pub struct Coming<'a> {
    of: &'a Relayed,
    pid: u32,
    there: oneshot::Receiver<Wire>,
}

impl Coming<'_> {
    /// The connection, once it is there.
    pub async fn wire(&mut self) -> io::Result<Wire> {
        (&mut self.there).await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.of.expected.borrow_mut().remove(&self.pid);
    }
}

fn tcp(address: SocketAddr) -> io::Result<TcpListener> {
    // Without SO_REUSEPORT: a RoadRunner on the same file would share our workers' connections.
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

fn unix(path: &Path) -> io::Result<UnixListener> {
    let listener = match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                let problem = format!("{} is in use by another process", path.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
            }
            // Left behind by a process that was killed.
            std::fs::remove_file(path)?;
            UnixListener::bind(path)?
        }
        bound => bound?,
    };
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn accept(listener: Listener, expected: Expected) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let mut said = LogRate::default();
    let started = tokio::time::Instant::now();
    loop {
        // The semaphore is never closed.
        let Ok(place) = strangers.clone().acquire_owned().await else { return };
        let wire = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(s, _)| Wire::tcp(s)),
            Listener::Unix(listener) => listener.accept().await.map(|(s, _)| Wire::unix(s)),
        };
        match wire {
            Ok(wire) => {
                let expected = expected.clone();
                tokio::task::spawn_local(async move {
                    introduce(wire, &expected).await;
                    drop(place);
                });
            }
            Err(error) => {
                if let Some(unsaid) = said.admit((), started.elapsed()) {
                    tracing::warn!(%error, "cannot accept a worker, trying again{unsaid}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Finds out whose connection it is, and hands it over. One that is nobody's is closed.
async fn introduce(mut wire: Wire, expected: &Expected) {
    if let Ok(Ok(pid)) = timeout(INTRODUCTION, wire.introduce()).await {
        let coming = expected.borrow_mut().remove(&pid);
        match coming {
            // Whoever waited may have given up.
            Some(coming) => drop(coming.send(wire)),
            None => tracing::debug!(pid, "a connection to roadcast.workers.relay of no worker"),
        }
    }
}
