//! What rings take of the memory that may be locked (`ulimit -l`).
//!
//! Some kernels count a ring's queues against that limit: those before 5.12, and newer ones again
//! (seen on 6.18). All processes of a user share it, and those with CAP_IPC_LOCK are exempt. What a
//! ring took is given back a moment after it was closed.

use std::io;
use std::time::{Duration, Instant};

/// What a shard's ring is counted with: its queues and the ring of its buffers, measured on Linux
/// 6.18, rounded up.
pub const RING_KIB: usize = 96;

/// How long memory that somebody has just given back may take to be there.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(10);

/// Makes a ring, and tries again for a while where there is no memory for it: the rings of a probe,
/// or of a server that has just ended, may still be counted.
pub fn make_patiently<T>(make: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let deadline = Instant::now() + PATIENCE;
    try_while(make, || {
        std::thread::sleep(PAUSE);
        Instant::now() < deadline
    })
}

fn try_while<T>(
    mut make: impl FnMut() -> io::Result<T>,
    mut paused: impl FnMut() -> bool,
) -> io::Result<T> {
    loop {
        match make() {
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && paused() => {}
            made => return made,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How often it was tried until this came of it.
    fn tries(errors: &[i32], pauses: usize) -> (usize, Option<i32>) {
        let (mut tried, mut paused) = (0, 0);
        let make = || {
            tried += 1;
            errors.get(tried - 1).map_or(Ok(()), |errno| Err(io::Error::from_raw_os_error(*errno)))
        };
        let made = try_while(make, || {
            paused += 1;
            paused <= pauses
        });
        (tried, made.err().and_then(|error| error.raw_os_error()))
    }

    #[test]
    fn only_missing_memory_is_waited_for_and_not_for_ever() {
        const NONE: i32 = libc::ENOMEM;
        assert_eq!(tries(&[], 3), (1, None));
        assert_eq!(tries(&[NONE, NONE], 3), (3, None));
        assert_eq!(tries(&[NONE; 9], 3), (4, Some(NONE)));
        assert_eq!(tries(&[libc::EPERM], 3), (1, Some(libc::EPERM)));
        assert_eq!(tries(&[NONE, libc::EPERM], 3), (2, Some(libc::EPERM)));
    }
}
