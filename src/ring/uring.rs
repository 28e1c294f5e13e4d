//! One io_uring with its provided buffers: the safe face of the kernel interface.
//!
//! Invariants:
//! - Memory named in a queued entry outlives the entry: bytes to send are borrowed for the whole of
//!   [`Uring::send_batch`], which returns when every send has ended, or closes the ring with all
//!   that it could not submit.
//! - The provided buffers outlive the ring, and what is received is one [`Filled`] for one
//!   completion (see `buffers`).
//! - Every `enter` asks for events: under `DEFER_TASKRUN` one that does not never runs receive
//!   completions.
//! - The ring is made, and used, on one thread alone (`SINGLE_ISSUER`).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::rc::Rc;
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{Builder, IoUring, cqueue, opcode, squeue};

use super::buffers::{BUFFERS, Buffers, Filled, GROUP};
use super::locked::make_patiently;

/// Entries of the submission queue: a batch of sends and as many other operations again, several
/// times over.
const SQ_ENTRIES: u32 = 256;

/// Entries of the completion queue. One that overflows loses nothing, but ends multishot
/// operations.
const CQ_ENTRIES: u32 = 4096;

/// Threads that the kernel may start for a ring. Nothing we ask for needs one; a safety net.
const KERNEL_WORKERS_MAX: [u32; 2] = [2, 2];

const GETEVENTS: u32 = 1;

/// One completion.
pub struct Completion {
    /// What was given with the operation.
    pub user_data: u64,
    /// The operation's result, or a negative errno.
    pub result: i32,
    flags: u32,
    /// What was received.
    pub filled: Option<Filled>,
}

impl Completion {
    /// Whether a multishot operation goes on.
    pub fn more(&self) -> bool {
        cqueue::more(self.flags)
    }
}

/// A ring, and the buffers that are registered with it.
struct Ring {
    uring: IoUring,
    buffers: Rc<Buffers>,
}

impl Drop for Ring {
    fn drop(&mut self) {
        // Closing alone does not say when the kernel has let go of the buffers. If it will not,
        // they stay for ever.
        if self.uring.submitter().unregister_buf_ring(GROUP).is_err() {
            std::mem::forget(self.buffers.clone());
        }
    }
}

/// The ring of one thread.
pub struct Uring {
    /// `None` once a batch has not come to its end. What it left in the queue names memory that is
    /// not borrowed any more, and went with the ring: nothing can submit it.
    ring: Option<Box<Ring>>,
}

fn builder() -> Builder {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_coop_taskrun()
        // One entry that fails to prepare must not stop a batch: the rest would go out later, from
        // changed bytes.
        .setup_submit_all()
        .setup_cqsize(CQ_ENTRIES);
    builder
}

fn given_up() -> io::Error {
    io::Error::other("the ring is closed, since a batch of sends did not come to its end")
}

/// Whether io_uring can be used here, by so many threads: makes a ring for each as a shard does,
/// all at once, since there may be memory for some of them only; enters each, and drops them.
pub fn probe(rings: usize) -> io::Result<()> {
    let rings: Vec<Uring> = (0..rings).map(|_| Uring::new()).collect::<io::Result<_>>()?;
    rings.into_iter().try_for_each(|mut ring| ring.enter_until_empty())
}

impl Uring {
    /// A ring for the calling thread. Fails where the kernel is too old or forbids io_uring.
    pub fn new() -> io::Result<Self> {
        make_patiently(|| Self::of(&builder()))
    }

    fn of(builder: &Builder) -> io::Result<Self> {
        let uring = builder.build(SQ_ENTRIES)?;
        uring.submitter().register_iowq_max_workers(&mut KERNEL_WORKERS_MAX.clone())?;
        let buffers = Buffers::new();
        // SAFETY: the memory is page-aligned, holds the number of entries named, and lives until
        // the kernel has let go of it: `Ring` sees to that when it is dropped.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(buffers.address(), BUFFERS, GROUP, 0)?
        };
        Ok(Self { ring: Some(Box::new(Ring { uring, buffers })) })
    }

    #[inline]
    fn ring(&mut self) -> io::Result<&mut Ring> {
        self.ring.as_deref_mut().ok_or_else(given_up)
    }

    /// Accepts connections again and again.
    pub fn accept(&mut self, listener: BorrowedFd<'_>, user_data: u64) -> io::Result<()> {
        // Accepted descriptors do not have close-on-exec by themselves.
        let entry =
            opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).flags(libc::SOCK_CLOEXEC).build();
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
        let entry =
            opcode::PollAdd::new(Fd(fd.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.queue(entry.user_data(user_data))
    }

    /// Cancels the operation that was given `target`.
    pub fn cancel(&mut self, target: u64, user_data: u64) -> io::Result<()> {
        self.queue(opcode::AsyncCancel::new(target).build().user_data(user_data))
    }

    fn queue(&mut self, entry: squeue::Entry) -> io::Result<()> {
        let ring = self.ring()?;
        if ring.uring.submission().is_full() {
            ring.enter_until_empty()?;
        }
        // SAFETY: none of the entries above names memory: descriptors and provided buffers only.
        let pushed = unsafe { ring.uring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::other("the submission queue is full after it was submitted"))
    }

    /// Sends each of `sends` (`user_data`, socket, bytes) without waiting. When it returns, all
    /// have ended: one that was sent whole has no completion, any other has one that
    /// [`Uring::reap`] yields. After an error the ring is closed.
    pub fn send_batch<'a>(
        &mut self,
        sends: impl ExactSizeIterator<Item = (u64, BorrowedFd<'a>, &'a [u8])>,
    ) -> io::Result<()> {
        // Held here alone: any other way out than the last, an error's or a panic's, closes it.
        let mut ring = self.ring.take().ok_or_else(given_up)?;
        if ring.uring.submission().len() + sends.len() > SQ_ENTRIES as usize {
            ring.enter_until_empty()?;
        }
        let mut queue = ring.uring.submission();
        for (user_data, socket, bytes) in sends {
            // Both flags are needed. Without WAITALL a short send posts no completion under
            // SKIP_SUCCESS; without DONTWAIT it would be finished later, from bytes that have
            // changed.
            let entry =
                opcode::Send::new(Fd(socket.as_raw_fd()), bytes.as_ptr(), bytes.len() as u32)
                    .flags(libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
                    .build()
                    .flags(squeue::Flags::SKIP_SUCCESS)
                    .user_data(user_data);
            // SAFETY: `bytes` is borrowed until this function ends. It ends either after `enter`
            // has emptied the queue, and a send that may not wait has ended by then; or with the
            // ring, whose queue nobody submits any more.
            let pushed = unsafe { queue.push(&entry) };
            if pushed.is_err() {
                // The room was made above; going on would lose a send without a trace.
                unreachable!("the submission queue has room for a batch");
            }
        }
        drop(queue);
        ring.enter_until_empty()?;
        self.ring = Some(ring);
        Ok(())
    }

    /// Submits all that is queued and runs what has completed, without waiting.
    pub fn enter_until_empty(&mut self) -> io::Result<()> {
        self.ring()?.enter_until_empty()
    }

    /// Submits all that is queued and waits for a completion, at most for `timeout`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let ring = self.ring()?;
        let Some(timeout) = timeout else { return ring.enter(1) };
        let timespec = Timespec::new().sec(timeout.as_secs()).nsec(timeout.subsec_nanos());
        let waited =
            ring.uring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec));
        passed(waited)
    }

    /// Moves all completions into `completions`, those of an overflown queue included. Returns how
    /// often it was found overflown.
    pub fn reap(&mut self, completions: &mut impl Extend<Completion>) -> io::Result<u64> {
        let ring = self.ring()?;
        let mut overflows = 0;
        loop {
            let buffers = &ring.buffers;
            completions.extend(ring.uring.completion().map(|entry| {
                let (result, flags) = (entry.result(), entry.flags());
                // SAFETY: only receives select buffers, all of this group, and this is the one
                // completion for this one.
                let filled = |buffer| unsafe { buffers.filled(buffer, result.max(0) as usize) };
                let filled = cqueue::buffer_select(flags).map(filled);
                Completion { user_data: entry.user_data(), result, flags, filled }
            }));
            if !ring.uring.submission().cq_overflow() {
                return Ok(overflows);
            }
            overflows += 1;
            ring.enter(0)?;
        }
    }
}

impl Ring {
    fn enter_until_empty(&mut self) -> io::Result<()> {
        loop {
            self.enter(0)?;
            if self.uring.submission().is_empty() {
                return Ok(());
            }
        }
    }

    fn enter(&mut self, min_complete: u32) -> io::Result<()> {
        let to_submit = self.uring.submission().len() as u32;
        let submitter = self.uring.submitter();
        // SAFETY: every entry in the queue was pushed by a function above, which says why its
        // memory is valid.
        let entered =
            unsafe { submitter.enter::<libc::sigset_t>(to_submit, min_complete, GETEVENTS, None) };
        passed(entered)
    }
}

/// What only says "look at your completions, then come again" is no error.
fn passed(entered: io::Result<usize>) -> io::Result<()> {
    match entered.map_err(|error| (error.raw_os_error(), error)) {
        Ok(_) => Ok(()),
        Err((Some(libc::EINTR | libc::ETIME | libc::EAGAIN | libc::EBUSY), _)) => Ok(()),
        Err((_, error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::*;
    use crate::both::io_uring_allowed;

    fn reaped(uring: &mut Uring) -> Vec<Completion> {
        let mut completions = Vec::new();
        uring.wait(None).unwrap();
        uring.reap(&mut completions).unwrap();
        completions
    }

    #[test]
    fn what_is_received_is_there_once_and_its_buffer_goes_back() {
        if !io_uring_allowed() {
            return;
        }
        let mut uring = Uring::new().unwrap();
        let (mut sender, receiver) = UnixStream::pair().unwrap();
        uring.receive(receiver.as_fd(), 7).unwrap();
        for number in 0..2 * u32::from(BUFFERS) {
            sender.write_all(&number.to_ne_bytes()).unwrap();
            let mut completions = reaped(&mut uring);
            let completion = completions.pop().unwrap();
            assert!(completions.is_empty() && completion.more(), "the receiving goes on");
            assert_eq!((completion.user_data, completion.result), (7, 4));
            // Every other one is not even looked at.
            let read = || **completion.filled.as_ref().unwrap() == number.to_ne_bytes();
            assert!(number % 2 == 0 || read(), "message {number}");
        }
    }

    /// What the peer reads of a batch that `fail` keeps from its end, and whether the ring can be
    /// used again.
    fn sent_by_a_batch_that_fails(
        builder: &Builder,
        fail: impl FnOnce(&mut Uring, BorrowedFd<'_>),
    ) -> (Vec<u8>, bool) {
        let mut uring = Uring::of(builder).unwrap();
        let (sender, mut peer) = UnixStream::pair().unwrap();
        fail(&mut uring, sender.as_fd());
        let usable = uring.enter_until_empty().is_ok()
            || uring.wait(Some(Duration::ZERO)).is_ok()
            || uring.reap(&mut Vec::<Completion>::new()).is_ok()
            || uring.receive(sender.as_fd(), 1).is_ok()
            || uring.send_batch([(0, sender.as_fd(), &b"more"[..])].into_iter()).is_ok();
        drop((uring, sender));
        let mut read = Vec::new();
        peer.read_to_end(&mut read).unwrap();
        (read, usable)
    }

    #[test]
    fn nothing_of_a_batch_that_cannot_be_submitted_is_submitted_later() {
        if !io_uring_allowed() {
            return;
        }
        let mut builder = builder();
        // A ring that takes no entries before it is enabled.
        let outcome = sent_by_a_batch_that_fails(builder.setup_r_disabled(), |uring, socket| {
            let bytes = b"borrowed no longer".to_vec();
            uring.send_batch([(0, socket, &bytes[..])].into_iter()).unwrap_err();
            drop(bytes);
            if let Some(ring) = &uring.ring {
                ring.uring.submitter().register_enable_rings().unwrap();
            }
        });
        assert_eq!(outcome, (Vec::new(), false));
    }

    #[test]
    fn nothing_of_a_batch_that_panics_half_way_is_submitted_later() {
        if !io_uring_allowed() {
            return;
        }
        let outcome = sent_by_a_batch_that_fails(&builder(), |uring, socket| {
            let sends = (0..3u32).map(|number| {
                assert!(number < 2, "half way");
                (number.into(), socket, &b"borrowed no longer"[..])
            });
            catch_unwind(AssertUnwindSafe(|| uring.send_batch(sends))).unwrap_err();
        });
        assert_eq!(outcome, (Vec::new(), false));
    }
}
