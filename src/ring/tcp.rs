//! What the kernel says of a TCP connection.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// Offset of `tcpi_bytes_acked`, 64 bits, in `struct tcp_info` (linux/tcp.h; the `libc` crate stops short of it).
const BYTES_ACKED: usize = 120;

/// The address of the other end; `None` when it has gone already.
pub fn peer(socket: &impl AsFd) -> Option<IpAddr> {
    let address = socket2::SockRef::from(socket).peer_addr().ok()?;
    address.as_socket().map(|address| address.ip())
}

/// Bytes that the peer has acknowledged in all, and bytes that stand in the kernel, sent or not. `None` when the socket
/// is dead.
pub fn measure(socket: BorrowedFd<'_>) -> Option<(u64, usize)> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is what `info` holds, and the new length.
    let asked = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        )
    };
    if asked != 0 {
        return None;
    }
    let acknowledged = info.get(BYTES_ACKED..BYTES_ACKED + 8).and_then(|bytes| bytes.try_into().ok())?;
    let mut outstanding: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int.
    let asked = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut outstanding) };
    (asked == 0).then(|| (u64::from_ne_bytes(acknowledged), outstanding.max(0) as usize))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn what_the_peer_has_not_taken_is_outstanding_and_the_rest_acknowledged() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut sender = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (_peer, _) = listener.accept().unwrap();
        sender.set_nonblocking(true).unwrap();
        let mut written = 0;
        while let Ok(bytes) = sender.write(&[0; 65536]) {
            written += bytes;
        }
        let (acknowledged, outstanding) = measure(sender.as_fd()).unwrap();
        // The SYN counts as one byte.
        let sum = acknowledged as usize + outstanding;
        assert!(outstanding > 0 && sum.abs_diff(written) <= 1, "{acknowledged} + {outstanding} of {written}");
    }
}
