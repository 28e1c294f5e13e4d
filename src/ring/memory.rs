//! What the allocator keeps. The memory of outboxes, logs and large frames must go back when they
//! are gone, or the worst minute of a server would be its size for ever.

/// From this size on an allocation is a mapping of its own: it grows without a copy and goes back
/// when it is freed.
#[cfg(target_env = "gnu")]
const OWN_MAPPING_BYTES: libc::c_int = 256 * 1024;

/// Fixes two thresholds of glibc's allocator. Left alone they follow what has been freed, up to 32
/// MiB; from then on outboxes come from heaps, and one small allocation between them keeps all of
/// their memory.
///
/// Call before there is much to free: what has come from a heap stays in it. Other allocators have
/// no such thresholds.
pub fn give_back_what_is_freed() {
    #[cfg(target_env = "gnu")]
    for threshold in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: `mallopt` takes two numbers and no memory of ours; it changes how the allocator
        // works from now on, and the allocator's own lock keeps it apart from other threads.
        unsafe { libc::mallopt(threshold, OWN_MAPPING_BYTES) };
    }
}

/// Gives back whatever pages of the allocator's heaps are free. Each heap is locked meanwhile: for
/// some 0.1 ms a MiB that goes back. Without it glibc gives back the end of a heap alone, and one
/// small allocation there keeps all that is free before it.
pub fn give_back_free_pages() {
    #[cfg(target_env = "gnu")]
    // SAFETY: `malloc_trim` takes a number and no memory of ours; it touches free memory alone,
    // under the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}
