//! Workers that connect to a socket of ours instead of talking through their pipes
//! (`roadcast.workers.relay`). The process id in a connection's first answer says which worker it
//! is.
//!
//! Who is taken for a worker decides about clients, so a process that is none must not be:
//! - at a Unix socket the system says which process has connected: only the worker itself can say
//!   its pid there. The file is the user's that workers run as, and nobody else may open it;
//! - over TCP whoever is on this machine could say a worker's pid; nobody elsewhere is listened to.
//!
//! Whoever connects and is no worker costs one of a few places for a while, and nothing else:
//! accepting goes on whatever comes.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::settings::Relay;
use super::users::User;
use super::wire::Wire;
use crate::log_rate::LogRate;

/// Connections that have not said who they are.
const STRANGERS_MAX: usize = 64;
/// For a connection to say who it is.
const INTRODUCTION: Duration = Duration::from_secs(10);
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;
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
    /// Listens for workers that run as `user`; `None` for pipes. On the thread of a `LocalSet`.
    pub fn listen(relay: &Relay, user: Option<User>) -> io::Result<Option<Self>> {
        let (listener, name, file) = match relay {
            Relay::Pipes => return Ok(None),
            Relay::Tcp(address) => {
                let listener = tcp(*address)?;
                let name = format!("tcp://{}", listener.local_addr()?);
                (Listener::Tcp(listener), name, None)
            }
            Relay::Unix(path) => {
                let name = format!("unix://{}", path.display());
                (Listener::Unix(unix(path, user)?), name, Some(path.clone()))
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

fn unix(path: &Path, user: Option<User>) -> io::Result<UnixListener> {
    match bound(path, user) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            if std::os::unix::net::UnixStream::connect(path).is_ok() {
                let problem = format!("{} is in use by another process", path.display());
                return Err(io::Error::new(io::ErrorKind::AddrInUse, problem));
            }
            // Left behind by a process that was killed.
            std::fs::remove_file(path)?;
            bound(path, user)
        }
        bound => bound,
    }
}

fn bound(path: &Path, user: Option<User>) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Before the file is there: at no time may others open it.
    fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(User { uid, gid }) = user {
        lchown(path, Some(uid), Some(gid))?;
    }
    socket.listen(BACKLOG)?;
    UnixListener::from_std(socket.into())
}

async fn accept(listener: Listener, expected: Expected) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let mut said = LogRate::default();
    let started = tokio::time::Instant::now();
    loop {
        // The semaphore is never closed.
        let Ok(place) = strangers.clone().acquire_owned().await else { return };
        let caller = match &listener {
            Listener::Tcp(listener) => listener.accept().await.map(|(of, _)| Caller::tcp(of)),
            Listener::Unix(listener) => listener.accept().await.map(|(of, _)| Caller::unix(of)),
        };
        match caller {
            Ok(Some(caller)) => {
                let expected = expected.clone();
                tokio::task::spawn_local(async move {
                    caller.introduce(&expected).await;
                    drop(place);
                });
            }
            Ok(None) => tracing::debug!("a connection to roadcast.workers.relay of a stranger"),
            Err(error) => {
                if let Some(unsaid) = said.admit((), started.elapsed()) {
                    tracing::warn!(%error, "cannot accept a worker, trying again{unsaid}");
                }
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Who has connected, and may be a worker.
struct Caller {
    wire: Wire,
    /// Its process, where the system says so.
    pid: Option<u32>,
}

impl Caller {
    fn tcp(stream: TcpStream) -> Option<Self> {
        let (peer, own) = (stream.peer_addr().ok()?.ip(), stream.local_addr().ok()?.ip());
        is_of_this_machine(peer, own).then(|| Self { wire: Wire::tcp(stream), pid: None })
    }

    fn unix(stream: UnixStream) -> Option<Self> {
        let pid = stream.peer_cred().ok()?.pid()?;
        Some(Self { pid: Some(u32::try_from(pid).ok()?), wire: Wire::unix(stream) })
    }

    /// Finds out which worker it is, and hands the connection over. One that is none's is closed.
    async fn introduce(mut self, expected: &Expected) {
        let is_expected = |pid| expected.borrow().contains_key(&pid);
        if self.pid.is_none_or(is_expected)
            && let Ok(Ok(pid)) = timeout(INTRODUCTION, self.wire.introduce()).await
            && self.pid.is_none_or(|known| known == pid)
            && let Some(coming) = expected.borrow_mut().remove(&pid)
        {
            // Whoever waited may have given up.
            drop(coming.send(self.wire));
        } else {
            tracing::debug!(pid = self.pid, "a connection to roadcast.workers.relay of no worker");
        }
    }
}

/// Whether a peer of a connection to `own` is on the same machine.
fn is_of_this_machine(peer: IpAddr, own: IpAddr) -> bool {
    peer.to_canonical().is_loopback() || peer == own
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::LocalSet;

    use super::super::frames;
    use super::*;

    #[tokio::test]
    async fn at_a_unix_socket_only_the_process_itself_can_say_its_pid() {
        let path = std::env::temp_dir().join(format!("relay-{}.sock", std::process::id()));
        let listens = async {
            // The answer to the question who is there looks as the question does.
            let own = frames::pid_request();
            let pid = std::process::id();
            let other = if pid % 10 == 9 { pid - 1 } else { pid + 1 };
            let text = String::from_utf8_lossy(&own[12..]).into_owned();
            let forged =
                [&own[..12], text.replace(&pid.to_string(), &other.to_string()).as_bytes()]
                    .concat();
            let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
            let user = User { uid: uid.as_raw(), gid: gid.as_raw() };
            let relay = Relay::Unix(path.clone());
            let relayed = Relayed::listen(&relay, Some(user)).unwrap().unwrap();
            let file = std::fs::metadata(&path).unwrap();
            assert_eq!((file.permissions().mode() & 0o777, file.uid()), (0o600, user.uid));
            let call = async |said: &[u8]| {
                let mut stream = UnixStream::connect(&path).await.unwrap();
                let mut question = vec![0; own.len()];
                let _ = stream.read_exact(&mut question).await;
                let _ = stream.write_all(said).await;
                stream
            };
            let mut stranger = relayed.expect(other);
            // Not a worker, then a worker that says it is another.
            let mut closed = Vec::new();
            let _ = call(&forged).await.read_to_end(&mut closed).await;
            let mut worker = relayed.expect(pid);
            let _ = call(&forged).await.read_to_end(&mut closed).await;
            assert!(stranger.there.try_recv().is_err(), "nobody gets its place");
            let _stream = call(&own).await;
            assert!(worker.wire().await.is_ok());
        };
        timeout(Duration::from_secs(60), LocalSet::new().run_until(listens)).await.unwrap();
    }

    #[test]
    fn over_tcp_nobody_but_this_machine_is_listened_to() {
        for (peer, own, expected) in [
            ("127.0.0.1", "127.0.0.1", true),
            ("::ffff:127.0.0.1", "::ffff:127.0.0.1", true),
            ("::1", "::1", true),
            ("10.0.0.5", "10.0.0.5", true),
            ("10.0.0.6", "10.0.0.5", false),
            ("192.0.2.1", "10.0.0.5", false),
            ("::ffff:10.0.0.6", "::ffff:10.0.0.5", false),
        ] {
            let of = |text: &str| text.parse().unwrap();
            assert_eq!(is_of_this_machine(of(peer), of(own)), expected, "{peer} {own}");
        }
    }
}
