//! Provided buffers: where the kernel puts what it receives. An idle connection holds none.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

/// The group by which receive operations name these buffers.
pub const GROUP: u16 = 0;

/// Number of buffers: what one `enter` hands in at most before they come back. A power of two.
const BUFFERS: u16 = 256;

/// Bytes of one buffer. Commands and upgrade requests fit; longer messages come in several.
const BUFFER_BYTES: usize = 2048;

const PAGE_BYTES: usize = 4096;

/// The ring of buffers that the kernel takes from, and the buffers.
pub struct Buffers {
    /// `BUFFERS` entries, page-aligned; the tail counter lies in the first one's spare field.
    ring: NonNull<BufRingEntry>,
    memory: Box<[u8]>,
    tail: u16,
    /// Who holds each buffer: `true` is the kernel.
    lent: Box<[bool]>,
}

fn layout() -> Layout {
    let bytes = usize::from(BUFFERS) * size_of::<BufRingEntry>();
    match Layout::from_size_align(bytes, PAGE_BYTES) {
        Ok(layout) => layout,
        Err(_) => unreachable!("a constant layout"),
    }
}

impl Buffers {
    /// All buffers, provided.
    pub fn new() -> Self {
        // SAFETY: the layout is not of size zero.
        let memory = unsafe { alloc_zeroed(layout()) };
        let Some(ring) = NonNull::new(memory.cast::<BufRingEntry>()) else { handle_alloc_error(layout()) };
        let mut buffers = Self {
            ring,
            memory: vec![0; usize::from(BUFFERS) * BUFFER_BYTES].into_boxed_slice(),
            tail: 0,
            lent: vec![false; usize::from(BUFFERS)].into_boxed_slice(),
        };
        for buffer in 0..BUFFERS {
            buffers.provide(buffer);
        }
        buffers
    }

    /// Where the kernel finds the ring.
    pub fn address(&self) -> u64 {
        self.ring.as_ptr() as u64
    }

    /// Number of entries of the ring.
    pub fn entries(&self) -> u16 {
        BUFFERS
    }

    /// Hands a buffer to the kernel. It must not be the kernel's already.
    pub fn provide(&mut self, buffer: u16) {
        let index = usize::from(buffer);
        assert!(!std::mem::replace(&mut self.lent[index], true), "a buffer is provided once");
        let address = self.memory[index * BUFFER_BYTES..].as_mut_ptr() as u64;
        let place = usize::from(self.tail & (BUFFERS - 1));
        // SAFETY: `place` is below the number of entries allocated; the kernel reads an entry only once the tail has
        // passed it, and no other reference to the entry exists.
        let entry = unsafe { &mut *self.ring.as_ptr().add(place) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the ring's address is that of its first entry, zeroed when allocated.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: the field is two bytes, aligned, inside our allocation, and shared with the kernel, so it is written
        // atomically; the release makes the entry visible before the tail.
        unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.store(self.tail, Ordering::Release);
    }

    /// The first `bytes` of a buffer that the kernel has filled. It is ours until it is provided again.
    pub fn bytes(&mut self, buffer: u16, bytes: usize) -> &mut [u8] {
        let index = usize::from(buffer);
        assert!(bytes <= BUFFER_BYTES);
        self.lent[index] = false;
        &mut self.memory[index * BUFFER_BYTES..][..bytes]
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with the same layout; the kernel has let go of it with the ring, dropped before.
        unsafe { dealloc(self.ring.as_ptr().cast(), layout()) };
    }
}
