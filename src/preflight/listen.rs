//! Listeners: one per shard on the client address, one for RPC.
//!
//! `SO_REUSEPORT` would let a second server of the same user share the address and take half of the clients, so the
//! address is bound once without it first: that fails while anyone listens there.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use socket2::{Domain, Socket, Type};

use super::StartError;
use crate::config::RpcListen;
use crate::hub::RpcListener;

/// Connections that wait to be accepted, per listener (listen(2)); the kernel's own bound is `net.core.somaxconn`.
///
/// All of them are accepted in one go, which the shard's other connections wait for: about 15 µs each, measured with 4,000.
pub const BACKLOG: i32 = 1024;

/// `shards` listeners that share `address` (`key` named it). `TCP_NODELAY` and, unless 0, `SO_SNDBUF` are set on them,
/// and accepted connections inherit both. Port 0 is any free one, the same for all; `[::]` takes IPv4 too.
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
        bound(address, false).map_err(error)?;
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

/// The listener for RPC (`key` named its address). A Unix socket that nobody listens on any more is replaced.
pub fn rpc_listener(listen: &RpcListen, key: &'static str) -> Result<RpcListener, StartError> {
    match listen {
        RpcListen::Tcp(address) => {
            let listening = || {
                let socket = bound(usable(*address), false)?;
                socket.set_tcp_nodelay(true)?;
                socket.listen(BACKLOG)?;
                Ok(RpcListener::Tcp(socket.into()))
            };
            listening().map_err(|error| refused(key, listen.to_string(), &error))
        }
        RpcListen::Unix(path) => unix(path, key, listen.to_string()).map(RpcListener::Unix),
    }
}

/// A listener for metrics or health (`key` named its address).
pub fn admin_listener(address: SocketAddr, key: &'static str) -> Result<TcpListener, StartError> {
    let listening = || {
        let socket = bound(usable(address), false)?;
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

fn unix(path: &Path, key: &'static str, address: String) -> Result<UnixListener, StartError> {
    let error = |reason: String| StartError::Listen { key, address: address.clone(), reason };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(error(format!("the directory {} does not exist; create it", parent.display())));
    }
    if let Ok(found) = path.symlink_metadata() {
        if !found.file_type().is_socket() {
            return Err(error(
                "a file of that name is there and is no socket; remove it or use another path".to_owned(),
            ));
        }
        match UnixStream::connect(path) {
            Err(refusal) if refusal.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(|failure| {
                    error(format!("is left from an earlier run and cannot be removed: {failure}"))
                })?;
            }
            Err(failure) if failure.kind() == io::ErrorKind::NotFound => {}
            Err(failure) if failure.kind() == io::ErrorKind::PermissionDenied => {
                return Err(error("a socket of another user is there; use another path".to_owned()));
            }
            _ => return Err(refused(key, address, &io::Error::from(io::ErrorKind::AddrInUse))),
        }
    }
    UnixListener::bind(path).map_err(|failure| refused(key, address, &failure))
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
            "permission denied; ports below 1024 need CAP_NET_BIND_SERVICE, a Unix socket a directory that this user \
             may write"
                .to_owned()
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

    /// A free port of a loopback address that is this test's own: a port that it gives up is taken by no other test.
    fn local(test: u8) -> SocketAddr {
        (Ipv4Addr::new(127, 0, 1, test), 0).into()
    }

    #[test]
    fn shards_share_one_address_and_connections_inherit_its_options() {
        let listeners = listeners(local(1), KEY, 3, 64 * 1024).unwrap();
        let addresses: Vec<_> = listeners.iter().map(|listener| listener.local_addr().unwrap()).collect();
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
        assert_eq!(rustix::net::sockopt::socket_send_buffer_size(accepted.as_fd()).unwrap(), 128 * 1024);
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
    fn an_address_of_another_machine_is_named() {
        let error = listeners("192.0.2.1:8080".parse().unwrap(), KEY, 1, 0).unwrap_err().to_string();
        assert!(error.contains("192.0.2.1:8080: is no address of this machine"), "{error}");
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
        let error = rpc_listener(&RpcListen::Tcp(address), "rpc.listen").unwrap_err().to_string();
        assert!(error.starts_with(&format!("rpc.listen: tcp://{address}: is in use")), "{error}");
    }

    #[test]
    fn a_unix_socket_is_replaced_only_when_nobody_listens_on_it() {
        let directory = std::env::temp_dir().join(format!("roadcast-listen-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("rpc.sock");
        let listen = RpcListen::Unix(path.clone());
        let first = rpc_listener(&listen, "rpc.listen").unwrap();
        let error = rpc_listener(&listen, "rpc.listen").unwrap_err().to_string();
        assert!(error.contains("is in use"), "{error}");
        drop(first);
        assert!(path.exists());
        rpc_listener(&listen, "rpc.listen").unwrap();

        let file = directory.join("file");
        std::fs::write(&file, "precious").unwrap();
        let error = rpc_listener(&RpcListen::Unix(file.clone()), "rpc.listen").unwrap_err().to_string();
        assert!(error.contains("is no socket"), "{error}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");

        let error =
            rpc_listener(&RpcListen::Unix(directory.join("none/rpc.sock")), "rpc.listen").unwrap_err();
        assert!(error.to_string().contains("none does not exist"), "{error}");
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
