//! Standard output and standard error as an [`Outlet`](super::Outlet) writes to them: without the
//! locks and buffers of `std::io`, which the end of the process would have to wait for.

use std::io::{self, Write};
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Standard error.
pub struct Stderr;

/// Standard output. That it cannot be written is said in the log.
pub struct Stdout;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(rustix::stdio::stderr(), bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = write(rustix::stdio::stdout(), bytes);
        if let Err(error) = &written
            && error.kind() != io::ErrorKind::BrokenPipe
        {
            tracing::warn!(%error, "standard output cannot be written");
        }
        written
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(to: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    loop {
        match rustix::io::write(to, bytes) {
            // Another process that shares the descriptor has made it so.
            Err(Errno::AGAIN) => {
                poll(&mut [PollFd::from_borrowed_fd(to, PollFlags::OUT)], None)?;
            }
            written => return Ok(written?),
        }
    }
}
