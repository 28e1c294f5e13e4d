//! Connecting to a server, with errors that say what to do.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use socket2::Socket;

/// For a connection to be made. A guess: long for any network that a person waits for.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// No one listens there.
    #[error(
        "nobody listens at {0}. Is roadcast running? `roadcast serve` prints the addresses it listens at"
    )]
    Nobody(String),
    /// A host that drops packets, or a server that does not accept.
    #[error("{0} does not answer within {seconds} seconds", seconds = CONNECT_TIMEOUT.as_secs())]
    Silent(String),
    /// A name without an address.
    #[error("cannot find the host of {0}: {1}")]
    Unknown(String, io::Error),
    /// No address of an RPC socket.
    #[error("`{0}` is not an address of a publish socket: tcp://HOST:PORT or unix:///PATH")]
    Address(String),
    /// Anything else.
    #[error("cannot connect to {0}: {1}")]
    Failed(String, io::Error),
}

/// Connects to the first of a host's addresses that takes it. `address` is what the user wrote, for
/// the error.
pub fn tcp(host: &str, port: u16, address: &str) -> Result<TcpStream, DialError> {
    // An address without a host is one to listen at; whoever connects to it means this machine.
    let host = if host.is_empty() {
        "127.0.0.1"
    } else {
        host.trim_start_matches('[').trim_end_matches(']')
    };
    let found = (host, port)
        .to_socket_addrs()
        .map_err(|error| DialError::Unknown(address.to_owned(), error))?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for candidate in found {
        match TcpStream::connect_timeout(&candidate, CONNECT_TIMEOUT) {
            Ok(stream) => {
                // Without: the next message waits for the acknowledgement of the one before.
                stream
                    .set_nodelay(true)
                    .map_err(|error| DialError::Failed(address.to_owned(), error))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(failed(address, last))
}

/// Connects to a Unix socket.
pub fn unix(path: &str, address: &str) -> Result<UnixStream, DialError> {
    UnixStream::connect(path).map_err(|error| failed(address, error))
}

/// Connects to an RPC socket.
pub fn rpc(address: &str) -> Result<Socket, DialError> {
    if let Some(path) = address.strip_prefix("unix://") {
        return Ok(unix(path, address)?.into());
    }
    let parts = address.strip_prefix("tcp://").unwrap_or(address).rsplit_once(':');
    match parts.map(|(host, port)| (host, port.parse())) {
        Some((host, Ok(port))) if !host.contains('/') => Ok(tcp(host, port, address)?.into()),
        _ => Err(DialError::Address(address.to_owned())),
    }
}

fn failed(address: &str, error: io::Error) -> DialError {
    let address = address.to_owned();
    match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => DialError::Nobody(address),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => DialError::Silent(address),
        _ => DialError::Failed(address, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_listener_is_named() {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = tcp("127.0.0.1", port, "tcp://here").unwrap_err().to_string();
        assert!(error.starts_with("nobody listens at tcp://here. Is roadcast running?"), "{error}");
        let error = unix("/nowhere/at.sock", "unix:///nowhere/at.sock").unwrap_err().to_string();
        assert!(error.starts_with("nobody listens at unix:///nowhere/at.sock."), "{error}");
    }

    #[test]
    fn no_host_means_this_machine_and_brackets_belong_to_the_address() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(tcp("", port, "").is_ok());
        assert!(tcp("[127.0.0.1]", port, "").is_ok());
    }
}
