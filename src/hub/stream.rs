//! RPC listeners and streams, TCP or Unix.
//!
//! An operation in flight is never dropped: its bytes would be lost, and the runtime frees the buffer of a dropped
//! operation too early when it ends. A stream that is given up is shut down instead, which ends its operations.

use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tokio_uring::buf::{BoundedBuf, Slice};

/// A bound listener for RPC.
#[derive(Debug)]
pub enum RpcListener {
    /// `tcp://…`
    Tcp(TcpListener),
    /// `unix://…`
    Unix(UnixListener),
}

/// Between two questions whether a silent host is still there; a guess.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub(super) enum Peer {
    Tcp(SocketAddr),
    Unix,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix => f.write_str("a Unix socket"),
        }
    }
}

/// A listener that the runtime watches. Streams are accepted by it, and then read and written by the ring: a waiting
/// accept can be dropped here, there it could not.
pub(super) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Unix(tokio::net::UnixListener),
}

impl Accepting {
    pub(super) fn new(listener: RpcListener) -> io::Result<Self> {
        match listener {
            RpcListener::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::TcpListener::from_std(listener).map(Self::Tcp)
            }
            RpcListener::Unix(listener) => {
                listener.set_nonblocking(true)?;
                tokio::net::UnixListener::from_std(listener).map(Self::Unix)
            }
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // An idle connection never times out, so only this finds out that its host has gone.
                socket2::SockRef::from(&stream).set_tcp_keepalive(
                    &socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE),
                )?;
                let stream = stream.into_std()?;
                // The ring waits for a socket that blocks, and refuses to for one that does not.
                stream.set_nonblocking(false)?;
                Ok((Stream::Tcp(tokio_uring::net::TcpStream::from_std(stream)), Peer::Tcp(address)))
            }
            Self::Unix(listener) => {
                let stream = listener.accept().await?.0.into_std()?;
                stream.set_nonblocking(false)?;
                Ok((Stream::Unix(tokio_uring::net::UnixStream::from_std(stream)), Peer::Unix))
            }
        }
    }
}

/// An accepted RPC connection.
pub(super) enum Stream {
    Tcp(tokio_uring::net::TcpStream),
    Unix(tokio_uring::net::UnixStream),
}

type Outcome = (io::Result<usize>, Slice<Vec<u8>>);

impl Stream {
    pub(super) fn shutdown(&self, how: Shutdown) {
        // Gone already is as good as ended now.
        let _ = match self {
            Self::Tcp(stream) => stream.shutdown(how),
            Self::Unix(stream) => stream.shutdown(how),
        };
    }

    async fn submit_read(&self, buffer: Slice<Vec<u8>>) -> Outcome {
        match self {
            Self::Tcp(stream) => stream.read(buffer).await,
            Self::Unix(stream) => stream.read(buffer).await,
        }
    }

    async fn submit_write(&self, buffer: Slice<Vec<u8>>) -> Outcome {
        match self {
            Self::Tcp(stream) => stream.write(buffer).submit().await,
            Self::Unix(stream) => stream.write(buffer).submit().await,
        }
    }

    /// Ends an operation at its deadline by shutting the stream down.
    async fn until(&self, deadline: Option<Instant>, operation: impl Future<Output = Outcome>) -> Outcome {
        let Some(deadline) = deadline else { return operation.await };
        let mut operation = std::pin::pin!(operation);
        tokio::select! {
            biased;
            outcome = &mut operation => outcome,
            () = sleep_until(deadline) => {
                self.shutdown(Shutdown::Both);
                let (_, buffer) = operation.await;
                (Err(io::ErrorKind::TimedOut.into()), buffer)
            }
        }
    }

    /// Reads into the spare capacity of a buffer, which must have some; 0 at the end of the stream.
    pub(super) async fn read(
        &self,
        buffer: Vec<u8>,
        deadline: Option<Instant>,
    ) -> (io::Result<usize>, Vec<u8>) {
        let length = buffer.len();
        let (result, slice) = self.until(deadline, self.submit_read(buffer.slice(length..))).await;
        (result, slice.into_inner())
    }

    /// Writes all of a buffer; every bit of progress gets the timeout anew.
    pub(super) async fn write_all(
        &self,
        mut buffer: Vec<u8>,
        timeout: Duration,
    ) -> (io::Result<()>, Vec<u8>) {
        let mut written = 0;
        while written < buffer.len() {
            let deadline = Instant::now() + timeout;
            let (result, slice) =
                self.until(Some(deadline), self.submit_write(buffer.slice(written..))).await;
            buffer = slice.into_inner();
            match result {
                Ok(0) => return (Err(io::ErrorKind::WriteZero.into()), buffer),
                Ok(bytes) => written += bytes,
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
    }
}
