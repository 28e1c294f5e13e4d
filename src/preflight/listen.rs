//! Listeners: one per shard on the client address, one for RPC.
//!
//! `SO_REUSEPORT` would let a second server of the same user share the address and take half of the
//! clients, so the address is bound once without it first: that fails while anyone listens there.
//!
//! A server that was killed leaves its listeners to the kernel, which lets go of an io_uring's
//! files a moment after the process is gone. Until then the address is taken by nobody: whoever
//! connects is accepted by the kernel and reset. So an address in use is tried again, unless
//! somebody lives there.

use std::fs::Permissions;
use std::io::{self, Read};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, SockAddr, Socket, Type};

use super::StartError;
use crate::config::RpcListen;
use crate::hub::RpcListener;

/// Connections that wait to be accepted, per listener (listen(2)); the kernel's own bound is
/// `net.core.somaxconn`.
///
/// All of them are accepted in one go, which the shard's other connections wait for: about 15 µs
/// each, measured with 4,000.
pub const BACKLOG: i32 = 1024;

/// How long an address may stay in use by nobody. Seen: 20 ms.
const LET_GO_TIMEOUT: Duration = Duration::from_secs(2);
/// Between two attempts to bind it.
const LET_GO_INTERVAL: Duration = Duration::from_millis(50);
/// A listener that has kept a new connection for so long is somebody's.
const SIGN_OF_LIFE: Duration = Duration::from_millis(200);

/// `shards` listeners that share `address` (`key` named it). `TCP_NODELAY` and, unless 0,
/// `SO_SNDBUF` are set on them, and accepted connections inherit both. Port 0 is any free one, the
/// same for all; `[::]` takes IPv4 too.
pub fn listeners(
    address: SocketAddr,
    key: &'static str,
    shards: usize,
    socket_send_bytes: usize,
) -> Result<Vec<TcpListener>, StartError> {
    let error = |error: io::Error| refused(key, address.to_string(), &error);
    let mut address = usable(address);
    if address.port() != 0 {
        // Dropped at once: only its success counts.
        once_let_go(|| bound(address, false), || tcp_lives(address)).map_err(error)?;
    }
    let mut listeners = Vec::with_capacity(shards);
    for _ in 0..shards.max(1) {
        let socket = bound(address, true).map_err(error)?;
        socket.set_tcp_nodelay(true).map_err(error)?;
        if socket_send_bytes > 0 {
            socket.set_send_buffer_size(socket_send_bytes).map_err(error)?;
        }
        socket.listen(BACKLOG).map_err(error)?;
        let listener = TcpListener::from(socket);
        address = listener.local_addr().map_err(error)?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// The listener for RPC (`key` named its address). A Unix socket that nobody listens on any more is
/// replaced; `mode` is that of the new one, without it the umask decides.
pub fn rpc_listener(
    listen: &RpcListen,
    key: &'static str,
    mode: Option<u32>,
) -> Result<RpcListener, StartError> {
    match listen {
        RpcListen::Tcp(address) => {
            let listening = || {
                let address = usable(*address);
                let socket = once_let_go(|| bound(address, false), || tcp_lives(address))?;
                socket.set_tcp_nodelay(true)?;
                socket.listen(BACKLOG)?;
                Ok(RpcListener::Tcp(socket.into()))
            };
            listening().map_err(|error| refused(key, listen.to_string(), &error))
        }
        RpcListen::Unix(path) => unix(path, key, listen.to_string(), mode).map(RpcListener::Unix),
    }
}

/// A listener for metrics or health (`key` named its address).
pub fn admin_listener(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    let listening = || {
        let address = usable(address);
        let socket = once_let_go(|| bound(address, false), || tcp_lives(address))?;
        socket.listen(BACKLOG)?;
        Ok(socket.into())
    };
    listening().map_err(|error: io::Error| refused(key, address.to_string(), &error))
}

/// A host without IPv6 still has all its IPv4 interfaces.
fn usable(address: SocketAddr) -> SocketAddr {
    let every = address.is_ipv6() && address.ip().is_unspecified();
    if every && bound(SocketAddr::new(address.ip(), 0), false).is_err() {
        return SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
    }
    address
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    // Connections of an earlier run in TIME_WAIT must not keep the address; a listener still does.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        // As Go does; the default of the host (net.ipv6.bindv6only) may differ.
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Binds, again and again while the address is in use by nobody who `lives`.
fn once_let_go<T>(bind: impl Fn() -> io::Result<T>, lives: impl Fn() -> bool) -> io::Result<T> {
    let deadline = Instant::now() + LET_GO_TIMEOUT;
    loop {
        match bind() {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && Instant::now() < deadline
                    && !lives() =>
            {
                thread::sleep(LET_GO_INTERVAL);
            }
            other => return other,
        }
    }
}

fn tcp_lives(address: SocketAddr) -> bool {
    let ip = match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other.ip(),
    };
    match TcpStream::connect_timeout(&SocketAddr::new(ip, address.port()), SIGN_OF_LIFE) {
        Ok(stream) => stream.set_read_timeout(Some(SIGN_OF_LIFE)).is_err() || keeps(stream),
        // Neither taken nor refused: a full queue is somebody's.
        Err(error) => error.kind() == io::ErrorKind::TimedOut,
    }
}

fn unix_lives(path: &Path) -> bool {
    match UnixStream::connect(path) {
        Ok(stream) => stream.set_read_timeout(Some(SIGN_OF_LIFE)).is_err() || keeps(stream),
        Err(error) => {
            !matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound)
        }
    }
}

/// Whether whoever took the connection keeps it, or says something.
fn keeps(mut stream: impl Read) -> bool {
    match stream.read(&mut [0]) {
        Ok(bytes) => bytes > 0,
        Err(error) => matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut),
    }
}

fn unix(
    path: &Path,
    key: &'static str,
    address: String,
    mode: Option<u32>,
) -> Result<UnixListener, StartError> {
    let error = |reason: String| StartError::Listen { key, address: address.clone(), reason };
    let parent =
        path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(error(format!("the directory {} does not exist; create it", parent.display())));
    }
    if let Ok(found) = path.symlink_metadata() {
        if !found.file_type().is_socket() {
            return Err(error(
                "a file of that name is there and is no socket; remove it or use another path"
                    .to_owned(),
            ));
        }
        let refusal = || match UnixStream::connect(path) {
            Ok(_) => Err(io::ErrorKind::AddrInUse.into()),
            Err(refusal) => Ok(refusal.kind()),
        };
        let gone = once_let_go(refusal, || unix_lives(path));
        match gone {
            Ok(io::ErrorKind::ConnectionRefused) => {
                std::fs::remove_file(path).map_err(|failure| {
                    error(format!("is left from an earlier run and cannot be removed: {failure}"))
                })?
            }
            Ok(io::ErrorKind::NotFound) => {}
            Ok(io::ErrorKind::PermissionDenied) => {
                return Err(error(
                    "a socket of another user is there; use another path".to_owned(),
                ));
            }
            _ => return Err(refused(key, address, &io::ErrorKind::AddrInUse.into())),
        }
    }
    bound_unix(path, mode).map_err(|failure| refused(key, address, &failure))
}

fn bound_unix(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    if let Some(mode) = mode {
        // Before the file is there: at no time may it be open to more than these. The umask may
        // still narrow it.
        rustix::fs::fchmod(&socket, rustix::fs::Mode::from_raw_mode(mode))?;
    }
    socket.bind(&SockAddr::unix(path)?)?;
    if let Some(mode) = mode {
        std::fs::set_permissions(path, Permissions::from_mode(mode))?;
    }
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn refused(key: &'static str, address: String, error: &io::Error) -> StartError {
    let reason = match error.kind() {
        io::ErrorKind::AddrInUse => {
            "is in use: another server listens there (`ss -ltnxp` shows which); stop it, or give Roadcast another \
             address"
                .to_owned()
        }
        io::ErrorKind::AddrNotAvailable => {
            "is no address of this machine (`ip addr` lists them); `:PORT` means all of them".to_owned()
        }
        io::ErrorKind::PermissionDenied => {
            if address.starts_with("unix://") {
                "permission denied: this user may not write its directory".to_owned()
            } else {
                "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE (`AmbientCapabilities=` of a systemd \
                 unit) or the sysctl net.ipv4.ip_unprivileged_port_start"
                    .to_owned()
            }
        }
        _ => error.to_string(),
    };
    StartError::Listen { key, address, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    const KEY: &str = "http.address";

    /// A free port of a loopback address that is this test's own: a port that it gives up is taken
    /// by no other test.
    fn local(test: u8) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 1, test), 0).into()
    }

    #[test]
    fn shards_share_one_address_and_connections_inherit_its_options() {
        let listeners = listeners(local(1), KEY, 3, 64 * 1024).unwrap();
        let addresses: Vec<_> =
            listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
        assert!(
            addresses.iter().all(|address| *address == addresses[0] && address.port() != 0),
            "{addresses:?}"
        );
        // One listener is enough to know whose connection it is.
        let mut listeners = listeners;
        listeners.truncate(1);
        let _client = std::net::TcpStream::connect(addresses[0]).unwrap();
        let (accepted, _) = listeners[0].accept().unwrap();
        assert!(accepted.nodelay().unwrap());
        // The kernel doubles what it is asked for (socket(7)).
        assert_eq!(
            rustix::net::sockopt::socket_send_buffer_size(accepted.as_fd()).unwrap(),
            128 * 1024
        );
    }

    #[test]
    fn a_second_server_is_refused_although_both_would_share_the_port() {
        let first = listeners(local(2), KEY, 2, 0).unwrap();
        let address = first[0].local_addr().unwrap();
        let error = listeners(address, KEY, 2, 0).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{KEY}: {address}: is in use")), "{error}");
        drop(first);
        listeners(address, KEY, 2, 0).unwrap();
    }

    #[test]
    fn a_restart_is_not_refused_for_connections_in_time_wait() {
        let first = listeners(local(3), KEY, 1, 0).unwrap();
        let address = first[0].local_addr().unwrap();
        let client = std::net::TcpStream::connect(address).unwrap();
        let (accepted, _) = first[0].accept().unwrap();
        // The server closes first, so TIME_WAIT is on its side.
        drop(accepted);
        assert_eq!(std::io::Read::read(&mut &client, &mut [0]).unwrap(), 0);
        drop((client, first));
        listeners(address, KEY, 1, 0).unwrap();
    }

    #[test]
    fn an_address_that_its_last_owner_lets_go_of_late_is_waited_for() {
        // As the kernel holds it for a killed server: connections are taken and reset.
        let late = bound(local(5), false).unwrap();
        late.listen(1).unwrap();
        let address = late.local_addr().unwrap().as_socket().unwrap();
        let late: TcpListener = late.into();
        let dying = thread::spawn(move || {
            let (connection, _) = late.accept().unwrap();
            socket2::SockRef::from(&connection).set_linger(Some(Duration::ZERO)).unwrap();
        });
        listeners(address, KEY, 1, 0).unwrap();
        dying.join().unwrap();

        let path = std::env::temp_dir().join(format!("roadcast-late-{}.sock", std::process::id()));
        let late = UnixListener::bind(&path).unwrap();
        let dying = thread::spawn(move || drop((late.accept().unwrap(), late.accept().unwrap())));
        rpc_listener(&RpcListen::Unix(path.clone()), "rpc.listen", None).unwrap();
        dying.join().unwrap();
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let error =
            listeners("192.0.2.1:8080".parse().unwrap(), KEY, 1, 0).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:8080: is no address of this machine"), "{error}");
    }

    #[test]
    fn a_denied_address_is_explained_by_its_kind() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let tcp = refused(KEY, "127.0.0.1:80".to_owned(), &denied).to_string();
        assert!(tcp.contains("below 1024") && !tcp.contains("directory"), "{tcp}");
        let unix = refused(KEY, "unix:///run/a.sock".to_owned(), &denied).to_string();
        assert!(unix.contains("directory") && !unix.contains("1024"), "{unix}");
    }

    #[test]
    fn all_interfaces_take_ipv4_too() {
        let listeners = listeners("[::]:0".parse().unwrap(), KEY, 2, 0).unwrap();
        let port = listeners[0].local_addr().unwrap().port();
        std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn a_tcp_port_in_use_is_refused_for_rpc() {
        let taken = TcpListener::bind(local(4)).unwrap();
        let address = taken.local_addr().unwrap();
        let error =
            rpc_listener(&RpcListen::Tcp(address), "rpc.listen", None).unwrap_err().to_string();
        assert!(error.starts_with(&format!("rpc.listen: tcp://{address}: is in use")), "{error}");
    }

    #[test]
    fn a_unix_socket_is_replaced_only_when_nobody_listens_on_it() {
        let directory =
            std::env::temp_dir().join(format!("roadcast-listen-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("rpc.sock");
        let listen = RpcListen::Unix(path.clone());
        let first = rpc_listener(&listen, "rpc.listen", None).unwrap();
        let error = rpc_listener(&listen, "rpc.listen", None).unwrap_err().to_string();
        assert!(error.contains("is in use"), "{error}");
        drop(first);
        assert!(path.exists());
        rpc_listener(&listen, "rpc.listen", None).unwrap();

        for mode in [0o600, 0o666] {
            rpc_listener(&listen, "rpc.listen", Some(mode)).unwrap();
            assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, mode);
        }

        let file = directory.join("file");
        std::fs::write(&file, "precious").unwrap();
        let error = rpc_listener(&RpcListen::Unix(file.clone()), "rpc.listen", None)
            .unwrap_err()
            .to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

        let error =
            rpc_listener(&RpcListen::Unix(directory.join("none/rpc.sock")), "rpc.listen", None)
                .unwrap_err();
        assert!(error.to_string().contains("none does not exist"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
