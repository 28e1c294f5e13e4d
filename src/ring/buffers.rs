//! Provided buffers: where the kernel puts what it receives. An idle connection holds none.
//!
//! Invariants:
//! - Each buffer is either the kernel's or that of one [`Filled`], which gives it back when it is
//!   dropped. A `Filled` is made for a completion alone, and cannot be copied.
//! - The memory is allocated raw and reached by pointers only: a reference to any of it exists in a
//!   `Filled`, for as long as that is borrowed. So nothing in the process stands against what the
//!   kernel writes by the addresses that it was given.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::worst_case;

/// The group by which receive operations name these buffers.
pub const GROUP: u16 = 0;

/// Number of buffers: what one `enter` hands in at most before they come back. A power of two.
pub const BUFFERS: u16 = 256;

/// Bytes of one buffer. Commands and upgrade requests fit; longer messages come in several.
const BUFFER_BYTES: usize = 2048;

const _: () = assert!(BUFFERS as u64 * BUFFER_BYTES as u64 == worst_case::RECEIVE_BYTES);

const PAGE_BYTES: usize = 4096;

/// The ring of buffers that the kernel takes from, and the buffers.
pub struct Buffers {
    /// `BUFFERS` entries, page-aligned; the tail counter lies in the first one's spare field.
    ring: NonNull<BufRingEntry>,
    /// `BUFFERS` × `BUFFER_BYTES`.
    memory: NonNull<u8>,
    tail: Cell<u16>,
}

fn layout(bytes: usize) -> Layout {
    match Layout::from_size_align(bytes, PAGE_BYTES) {
        Ok(layout) => layout,
        Err(_) => unreachable!("a constant layout"),
    }
}

fn ring_layout() -> Layout {
    layout(usize::from(BUFFERS) * size_of::<BufRingEntry>())
}

fn memory_layout() -> Layout {
    layout(usize::from(BUFFERS) * BUFFER_BYTES)
}

fn allocate(layout: Layout) -> NonNull<u8> {
    // SAFETY: neither layout is of size zero.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}

impl Buffers {
    /// All buffers, provided.
    pub fn new() -> Rc<Self> {
        let (ring, memory) = (allocate(ring_layout()).cast(), allocate(memory_layout()));
        let buffers = Self { ring, memory, tail: Cell::new(0) };
        // The kernel gets to know the addresses in numbers; here they get to be known as given
        // away.
        buffers.memory.as_ptr().expose_provenance();
        (0..BUFFERS).for_each(|buffer| buffers.provide(buffer));
        Rc::new(buffers)
    }

    /// Where the kernel finds the ring.
    pub fn address(&self) -> u64 {
        self.ring.as_ptr().expose_provenance() as u64
    }

    fn buffer(&self, buffer: u16) -> NonNull<u8> {
        // SAFETY: the memory holds `BUFFERS` buffers, and only numbers below that are provided.
        unsafe { self.memory.add(usize::from(buffer) * BUFFER_BYTES) }
    }

    /// Hands a buffer to the kernel, which has none of this number: at the start, and when its
    /// [`Filled`] is dropped.
    fn provide(&self, buffer: u16) {
        let place = usize::from(self.tail.get() & (BUFFERS - 1));
        // SAFETY: `place` is below the number of entries allocated.
        let entry = unsafe { self.ring.add(place) };
        // SAFETY: the kernel reads an entry only once the tail has passed it, and no other
        // reference to it exists.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(self.buffer(buffer).as_ptr().addr() as u64);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail.set(self.tail.get().wrapping_add(1));
        // SAFETY: the ring's address is that of its first entry, zeroed when allocated.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: the field is two bytes, aligned, inside our allocation, and shared with the
        // kernel, so it is written atomically; the release makes the entry visible before the tail.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail.get(), Ordering::Release);
    }

    /// The buffer that a completion names, with the first `bytes` of it filled.
    ///
    /// # Safety
    /// The kernel has taken this buffer out of the ring, has said so in this one completion, and
    /// has filled so many bytes.
    pub unsafe fn filled(self: &Rc<Self>, buffer: u16, bytes: usize) -> Filled {
        debug_assert!(buffer < BUFFERS && bytes <= BUFFER_BYTES);
        Filled { buffers: self.clone(), buffer, bytes: bytes as u16 }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout; whoever registered it has seen to it
        // that the kernel lets go first.
        unsafe { dealloc(self.ring.as_ptr().cast(), ring_layout()) };
        // SAFETY: as above, and no `Filled` is left, since each holds this.
        unsafe { dealloc(self.memory.as_ptr(), memory_layout()) };
    }
}

/// What has been received: ours until it is dropped, which gives the buffer back to the kernel.
pub struct Filled {
    buffers: Rc<Buffers>,
    buffer: u16,
    bytes: u16,
}

impl Filled {
    fn slice(&self) -> NonNull<[u8]> {
        NonNull::slice_from_raw_parts(self.buffers.buffer(self.buffer), self.bytes.into())
    }
}

impl Deref for Filled {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: the buffer is ours alone, as long as this lives, and all of it has been written
        // since it was allocated.
        unsafe { self.slice().as_ref() }
    }
}

impl DerefMut for Filled {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above; and this is borrowed mutably as long as the bytes are.
        unsafe { self.slice().as_mut() }
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        self.buffers.provide(self.buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's side: it knows nothing but the address of the ring.
    struct Kernel {
        ring: *mut BufRingEntry,
        head: u16,
    }

    impl Kernel {
        fn new(buffers: &Buffers) -> Self {
            Self {
                ring: std::ptr::with_exposed_provenance_mut(buffers.address() as usize),
                head: 0,
            }
        }

        /// Takes the next buffer out of the ring and writes `bytes` to it. `None`: the ring is
        /// empty.
        fn receive(&mut self, bytes: &[u8]) -> Option<u16> {
            // SAFETY: the ring lives.
            let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(self.ring).cast_mut()) };
            if tail.load(Ordering::Acquire) == self.head {
                return None;
            }
            let place = usize::from(self.head & (BUFFERS - 1));
            self.head = self.head.wrapping_add(1);
            // SAFETY: as above, and the place is in the ring.
            let entry = unsafe { &*self.ring.add(place) };
            assert!(bytes.len() <= entry.len() as usize);
            let to: *mut u8 = std::ptr::with_exposed_provenance_mut(entry.addr() as usize);
            // SAFETY: the buffer is ours, and as long as asked.
            unsafe { to.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
            Some(entry.bid())
        }
    }

    fn received(kernel: &mut Kernel, buffers: &Rc<Buffers>, bytes: &[u8]) -> Option<Filled> {
        let buffer = kernel.receive(bytes)?;
        // SAFETY: just received.
        Some(unsafe { buffers.filled(buffer, bytes.len()) })
    }

    #[test]
    fn a_buffer_comes_back_to_the_kernel_when_what_it_held_is_dropped() {
        let buffers = Buffers::new();
        let mut kernel = Kernel::new(&buffers);
        for number in 0..2 * u32::from(BUFFERS) {
            let mut filled = received(&mut kernel, &buffers, &number.to_ne_bytes()).unwrap();
            assert_eq!(*filled, number.to_ne_bytes());
            filled[0] ^= 0xFF;
        }
        // All are with the kernel again; while they are out it has none.
        let held: Vec<_> =
            (0..BUFFERS).map(|_| received(&mut kernel, &buffers, b"held").unwrap()).collect();
        assert!(kernel.receive(b"one too many").is_none());
        assert!(held.iter().all(|filled| **filled == *b"held"));
        drop(held);
        assert!(kernel.receive(b"again").is_some());
    }

    /// What is held is not what the kernel writes to, in whatever order both happen.
    #[test]
    fn the_kernel_writes_beside_what_is_held() {
        let buffers = Buffers::new();
        let mut kernel = Kernel::new(&buffers);
        let mut first = received(&mut kernel, &buffers, b"first").unwrap();
        let second = received(&mut kernel, &buffers, b"second").unwrap();
        first.make_ascii_uppercase();
        drop(second);
        let third = received(&mut kernel, &buffers, &[7; BUFFER_BYTES]).unwrap();
        assert_eq!((&*first, third.len()), (&b"FIRST"[..], BUFFER_BYTES));
        // What is held outlives the ring's owner.
        drop(buffers);
        assert!(*first == *b"FIRST" && third.iter().all(|byte| *byte == 7));
    }
}
