//! What the hub's thread runs on: tokio with an io_uring beside it, or tokio alone. No other file
//! knows which.
//!
//! Invariants worth naming, over either:
//! - **A read gives everyone else a turn**, also where bytes are there already: a caller that never
//!   pauses, or is only listened to until it ends, keeps nobody waiting.
//! - **An operation in flight is never dropped.** Over the ring its bytes would be lost, and the
//!   runtime frees the buffer of a dropped operation too early when it ends. A socket that is given
//!   up is shut down instead, which ends its operations.

use std::future::poll_fn;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll};

use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::SockRef;
use tokio::io::Interest as Readiness;
use tokio::net::{TcpStream, UnixStream};
use tokio::task::{LocalSet, yield_now};
use tokio_uring::buf::BoundedBuf;

use crate::ring::make_patiently;

/// Entries of the ring: two operations a connection at most, and a full queue is only submitted
/// earlier.
const RING_ENTRIES: u32 = 256;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// tokio-uring: sockets are read and written by an io_uring.
    Uring,
    /// tokio alone, on epoll: for hosts that deny io_uring.
    Plain,
}

impl Runtime {
    /// Runs a future, and the tasks that it spawns, to its end on the calling thread. Fails when
    /// the runtime cannot be made.
    pub(super) fn run<T>(self, future: impl Future<Output = T>) -> io::Result<T> {
        match self {
            Self::Uring => {
                let ring = make_patiently(|| {
                    tokio_uring::Runtime::new(tokio_uring::builder().entries(RING_ENTRIES))
                })?;
                Ok(ring.block_on(future))
            }
            Self::Plain => {
                let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
                Ok(LocalSet::new().block_on(&tokio, future))
            }
        }
    }

    /// Lets all other tasks have a turn.
    pub(super) async fn give_way(self) {
        match self {
            // A turn of the ring. The runtime submits operations only when it parks, so merely
            // yielding would leave the reads and writes of all other connections unsubmitted. The
            // no-op cannot fail in a way that matters.
            Self::Uring => drop(tokio_uring::no_op().await),
            // Here the runtime looks at all sockets before it comes back to a task that yields.
            Self::Plain => yield_now().await,
        }
    }

    /// A socket that tasks of this runtime may wait for.
    pub(super) fn tcp(self, stream: TcpStream) -> io::Result<Socket> {
        match self {
            Self::Uring => {
                let stream = stream.into_std()?;
                // The ring waits for a socket that blocks, and refuses to for one that does not.
                stream.set_nonblocking(false)?;
                let same = stream.as_fd().try_clone_to_owned()?;
                Ok(Socket::Ringed(Ringed::Tcp(tokio_uring::net::TcpStream::from_std(stream)), same))
            }
            Self::Plain => Ok(Socket::Plain(Plain::Tcp(stream))),
        }
    }

    /// See [`Runtime::tcp`].
    pub(super) fn unix(self, stream: UnixStream) -> io::Result<Socket> {
        match self {
            Self::Uring => {
                let stream = stream.into_std()?;
                stream.set_nonblocking(false)?;
                let same = stream.as_fd().try_clone_to_owned()?;
                let stream = tokio_uring::net::UnixStream::from_std(stream);
                Ok(Socket::Ringed(Ringed::Unix(stream), same))
            }
            Self::Plain => Ok(Socket::Plain(Plain::Unix(stream))),
        }
    }
}

/// A connected stream socket.
pub(super) enum Socket {
    /// The ring's, and the same socket once more for what does not wait: two descriptors.
    Ringed(Ringed, OwnedFd),
    Plain(Plain),
}

/// A socket that the ring reads and writes.
pub(super) enum Ringed {
    Tcp(tokio_uring::net::TcpStream),
    Unix(tokio_uring::net::UnixStream),
}

/// A socket that tokio watches.
pub(super) enum Plain {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Ringed(_, socket) => socket.as_fd(),
            Self::Plain(socket) => socket.as_fd(),
        }
    }
}

impl Socket {
    /// Ends its operations, now and later.
    pub(super) fn shutdown(&self, how: Shutdown) {
        // Gone already is as good as ended now.
        let _ = SockRef::from(self).shutdown(how);
    }

    /// Waits for bytes and reads them into the spare capacity of a buffer, which must have some; 0
    /// at the end of the stream.
    pub(super) async fn read(&self, mut buffer: Vec<u8>) -> (io::Result<usize>, Vec<u8>) {
        let length = buffer.len();
        let (result, slice) = match self {
            Self::Ringed(Ringed::Tcp(stream), _) => stream.read(buffer.slice(length..)).await,
            Self::Ringed(Ringed::Unix(stream), _) => stream.read(buffer.slice(length..)).await,
            Self::Plain(socket) => {
                let result = socket.receive(&mut buffer).await;
                return (result, buffer);
            }
        };
        (result, slice.into_inner())
    }

    /// Waits for room and writes what fits of a buffer, from there on.
    pub(super) async fn write(&self, buffer: Vec<u8>, from: usize) -> (io::Result<usize>, Vec<u8>) {
        let (result, slice) = match self {
            Self::Ringed(Ringed::Tcp(stream), _) => {
                stream.write(buffer.slice(from..)).submit().await
            }
            Self::Ringed(Ringed::Unix(stream), _) => {
                stream.write(buffer.slice(from..)).submit().await
            }
            Self::Plain(socket) => {
                let result = socket.transmit(&buffer[from..]).await;
                return (result, buffer);
            }
        };
        (result, slice.into_inner())
    }
}

impl AsFd for Plain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(stream) => stream.as_fd(),
            Self::Unix(stream) => stream.as_fd(),
        }
    }
}

impl Plain {
    async fn receive(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        let (mut waited, mut read) = (false, None);
        while read.is_none() {
            poll_fn(|context| {
                let ready = self.poll_ready(Readiness::READABLE, context);
                waited |= ready.is_pending();
                ready
            })
            .await?;
            let tried = self.try_io(Readiness::READABLE, || {
                let (bytes, _) = recv(self, spare_capacity(buffer), RecvFlags::DONTWAIT)?;
                read = Some(bytes);
                // A short read has taken all there was. tokio is told so, as by a read that would
                // block, and waits for the event of whatever comes later.
                if bytes < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
            });
            match tried {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
                _ => {}
            }
        }
        if !waited {
            yield_now().await;
        }
        Ok(read.unwrap_or(0))
    }

    async fn transmit(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        loop {
            poll_fn(|context| self.poll_ready(Readiness::WRITABLE, context)).await?;
            match self.try_io(Readiness::WRITABLE, || Ok(send(self, bytes, flags)?)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return result,
            }
        }
    }

    fn poll_ready(&self, interest: Readiness, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match (self, interest) {
            (Self::Tcp(stream), Readiness::READABLE) => stream.poll_read_ready(context),
            (Self::Tcp(stream), _) => stream.poll_write_ready(context),
            (Self::Unix(stream), Readiness::READABLE) => stream.poll_read_ready(context),
            (Self::Unix(stream), _) => stream.poll_write_ready(context),
        }
    }

    fn try_io<T>(
        &self,
        interest: Readiness,
        operation: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::Tcp(stream) => stream.try_io(interest, operation),
            Self::Unix(stream) => stream.try_io(interest, operation),
        }
    }
}

#[cfg(test)]
mod tests;
