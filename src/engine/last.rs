//! The last who are accepted: those who have connected, as far as they know, and whom nobody has
//! taken out of the listener's queue. Closing it would reset them.

use std::net::TcpListener;
use std::os::fd::OwnedFd;

/// Some more than a listener's queue holds. Whoever connects meanwhile takes a place that has
/// become free; that must come to an end.
const LAST_MAX: usize = 4096;

/// Accepts whoever waits, as far as there are descriptors, and closes the listener. Nothing may be
/// under way on it.
pub fn accept_last(listener: TcpListener) -> Vec<OwnedFd> {
    // In one that blocks, the look behind the last would wait for another.
    if listener.set_nonblocking(true).is_err() {
        return Vec::new();
    }
    let accepted = std::iter::from_fn(|| listener.accept().ok());
    accepted.take(LAST_MAX).map(|(socket, _)| socket.into()).collect()
}
