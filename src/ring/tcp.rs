//! What the kernel says of a TCP connection, whatever watches it.
//!
//! Both backends ask here. It is in this module because two of the questions take `unsafe`, which
//! no other may have: no crate in use asks for SO_PEERNAME, or for all of TCP_INFO.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use socket2::{SockAddr, SockRef};

/// Offset of `tcpi_bytes_acked`, 64 bits, in `struct tcp_info` (linux/tcp.h; the `libc` crate stops
/// short of it).
const BYTES_ACKED: usize = 120;

/// The address of the other end, also when that has gone, so that nobody has to keep it for each
/// connection.
pub fn peer(socket: &impl AsFd) -> Option<SocketAddr> {
    let told = SockRef::from(socket).peer_addr();
    told.map_or_else(|_| remembered_peer(socket), |address| address.as_socket())
}

/// What the socket remembers of the other end though getpeername(2) tells it no more.
fn remembered_peer(socket: &impl AsFd) -> Option<SocketAddr> {
    let fd = socket.as_fd().as_raw_fd();
    // The kernel refuses a length beyond that of the address, and cuts at a shorter one.
    let lengths = [size_of::<libc::sockaddr_in6>(), size_of::<libc::sockaddr_in>()];
    lengths.into_iter().find_map(|length| {
        // SAFETY: the storage, all zeros at first, holds any address; the kernel writes at most
        // `length` bytes of it, the whole of an address, and then `told` is their number.
        let asked = unsafe {
            SockAddr::try_init(|storage, told| {
                *told = length as libc::socklen_t;
                match libc::getsockopt(
                    fd,
                    libc::SOL_SOCKET,
                    libc::SO_PEERNAME,
                    storage.cast(),
                    told,
                ) {
                    0 => Ok(()),
                    _ => Err(io::Error::last_os_error()),
                }
            })
        };
        asked.ok()?.1.as_socket()
    })
}

/// Bytes that the peer has acknowledged in all, and bytes that stand in the kernel, sent or not.
/// `None` when the socket is dead.
pub fn measure(socket: BorrowedFd<'_>) -> Option<(u64, usize)> {
    let mut info = [0u8; 256];
    let mut length = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes, which is what `info` holds, and the new
    // length.
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
    let acknowledged =
        info.get(BYTES_ACKED..BYTES_ACKED + 8).and_then(|bytes| bytes.try_into().ok())?;
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
    fn the_address_of_a_peer_is_known_also_when_it_has_gone() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(address).unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, known) = listener.accept().unwrap();
            assert_eq!((peer(&accepted), remembered_peer(&accepted)), (Some(known), Some(known)));
            // Reset: the kernel's own call knows nothing any more.
            SockRef::from(&client).set_linger(Some(std::time::Duration::ZERO)).unwrap();
            drop(client);
            while accepted.peer_addr().is_ok() {
                std::thread::yield_now();
            }
            assert_eq!(peer(&accepted), Some(known));
        }
    }

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
        assert!(
            outstanding > 0 && sum.abs_diff(written) <= 1,
            "{acknowledged} + {outstanding} of {written}"
        );
    }
}
