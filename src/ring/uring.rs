//! One io_uring with its provided buffers: the safe face of the kernel interface.
//!
//! Invariants:
//! - Memory named in a queued entry outlives the entry: the provided buffers live as long as the ring, and bytes to send
//!   are borrowed for the whole of [`Uring::send_batch`], which does not return before every send has ended.
//! - Every `enter` asks for events: under `DEFER_TASKRUN` one that does not never runs receive completions.
//! - The ring is made, and used, on one thread alone (`SINGLE_ISSUER`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, GROUP};

/// Entries of the submission queue: a batch of sends and as many other operations again, several times over.
const SQ_ENTRIES: u32 = 256;

/// Entries of the completion queue. One that overflows loses nothing, but ends multishot operations.
const CQ_ENTRIES: u32 = 4096;

/// Threads that the kernel may start for a ring. Nothing we ask for needs one; a safety net.
const KERNEL_WORKERS_MAX: [u32; 2] = [2, 2];

const GETEVENTS: u32 = 1;

/// One completion.
#[derive(Clone, Copy, Debug)]
pub struct Completion {
    /// What was given with the operation.
    pub user_data: u64,
    /// The operation's result, or a negative errno.
    pub result: i32,
    flags: u32,
}

impl Completion {
    /// Whether a multishot operation goes on.
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }

    /// The provided buffer that holds what was received.
    pub fn buffer(&self) -> Option<u16> {
        cqueue::buffer_select(self.flags)
    }
}

/// The ring of one thread.
pub struct Uring {
    // Dropped first: the kernel lets go of the buffers before they are freed.
    ring: IoUring,
    buffers: Buffers,
}

impl Uring {
    /// A ring for the calling thread. Fails where the kernel is too old or forbids io_uring.
    pub fn new() -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            // One entry that fails to prepare must not stop a batch: the rest would go out later, from changed bytes.
            .setup_submit_all()
            .setup_cqsize(CQ_ENTRIES)
            .build(SQ_ENTRIES)?;
        ring.submitter().register_iowq_max_workers(&mut KERNEL_WORKERS_MAX.clone())?;
        let buffers = Buffers::new();
        // SAFETY: the memory is page-aligned, holds the number of entries named, and lives until `ring`, which is
        // declared and so dropped before it, is closed.
        unsafe {
            ring.submitter().register_buf_ring_with_flags(buffers.address(), buffers.entries(), GROUP, 0)?;
        }
        Ok(Self { ring, buffers })
    }

    /// Accepts connections again and again.
    pub fn accept(&mut self, listener: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        // Accepted descriptors do not have close-on-exec by themselves.
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
        self.queue(entry.user_data(user_data))
    }

    /// Receives into provided buffers again and again.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(socket.as_raw_fd()), GROUP).build();
        self.queue(entry.user_data(user_data))
    }

    /// Completes once when the socket has room, or is dead.
    pub fn watch_writable(&mut self, socket: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), libc::POLLOUT as u32).build();
        self.queue(entry.user_data(user_data))
    }

    /// Completes each time that the descriptor becomes readable.
    pub fn watch_readable(&mut self, fd: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        let entry = opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.queue(entry.user_data(user_data))
    }

    /// Cancels the operation that was given `target`.
    pub fn cancel(&mut self, target: u64, user_data: u64) -> io::Result<()> {
        self.queue(opcode::AsyncCancel::new(target).build().user_data(user_data))
    }

    fn queue(&mut self, entry: squeue::Entry) -> io::Result<()> {
        if self.ring.submission().is_full() {
            self.enter_until_empty()?;
        }
        // SAFETY: none of the entries above names memory: descriptors and provided buffers only.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::other("the submission queue is full after it was submitted"))
    }

    /// Sends each of `sends` (`user_data`, socket, bytes) without waiting. When it returns, all have ended: one that was
    /// sent whole has no completion, any other has one that [`Uring::reap`] yields.
    pub fn send_batch<'a>(
        &mut self,
        sends: impl ExactSizeIterator<Item = (u64, BorrowedFd<'a>, &'a [u8])>,
    ) -> io::Result<()> {
        if self.ring.submission().len() + sends.len() > SQ_ENTRIES as usize {
            self.enter_until_empty()?;
        }
        let mut queue = self.ring.submission();
        for (user_data, socket, bytes) in sends {
            // Both flags are needed. Without WAITALL a short send posts no completion under SKIP_SUCCESS; without
            // DONTWAIT it would be finished later, from bytes that have changed.
            let entry = opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
                .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(user_data);
            // SAFETY: `bytes` is borrowed until this function returns, and it returns only after `enter` has emptied the
            // queue; a send that may not wait has ended by then, so the kernel holds no reference any more.
            let pushed = unsafe { queue.push(&entry) };
            if pushed.is_err() {
                // The room was made above; going on would lose a send without a trace.
                unreachable!("the submission queue has room for a batch");
            }
        }
        drop(queue);
        self.enter_until_empty()
    }

    /// Submits all that is queued and runs what has completed, without waiting.
    pub fn enter_until_empty(&mut self) -> io::Result<()> {
        loop {
            self.enter(0)?;
            if self.ring.submission().is_empty() {
                return Ok(());
            }
        }
    }

    /// Submits all that is queued and waits for a completion, at most for `timeout`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let Some(timeout) = timeout else { return self.enter(1) };
        let timespec = Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
        let waited = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec));
        Self::passed(waited)
    }

    fn enter(&mut self, min_complete: u32) -> io::Result<()> {
        let to_submit = self.ring.submission().len() as u32;
        let submitter = self.ring.submitter();
        // SAFETY: every entry in the queue was pushed by a function above, which says why its memory is valid.
        let entered = unsafe { submitter.enter::<libc::sigset_t>(to_submit, min_complete, GETEVENTS, None) };
        Self::passed(entered)
    }

    /// What only says "look at your completions, then come again" is no error.
    fn passed(entered: io::Result<usize>) -> io::Result<()> {
        match entered.map_err(|error| (error.raw_os_error(), error)) {
            Ok(_) => Ok(()),
            Err((Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY), _)) => Ok(()),
            Err((_, error)) => Err(error),
        }
    }

    /// Moves all completions into `completions`, those of an overflown queue included. Returns how often it was found
    /// overflown.
    pub fn reap(&mut self, completions: &mut Vec<Completion>) -> io::Result<u64> {
        let mut overflows = 0;
        loop {
            completions.extend(self.ring.completion().map(|entry| Completion {
                user_data: entry.user_data(),
                result: entry.result(),
                flags: entry.flags(),
            }));
            if !self.ring.submission().cq_overflow() {
                return Ok(overflows);
            }
            overflows += 1;
            self.enter(0)?;
        }
    }

    /// What a receive completion of `bytes` has put into a provided buffer.
    pub fn received(&mut self, buffer: u16, bytes: usize) -> &mut [u8] {
        self.buffers.bytes(buffer, bytes)
    }

    /// Gives a buffer back to the kernel.
    pub fn give_back(&mut self, buffer: u16) {
        self.buffers.provide(buffer);
    }
}
