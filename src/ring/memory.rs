//! What the allocator keeps. The memory of outboxes, logs and large frames must go back when they are gone, or the worst
//! minute of a server would be its size for ever.

/// From this size on an allocation is a mapping of its own: it grows without a copy and goes back when it is freed.
#[cfg(target_env = "gnu")]
const OWN_MAPPING_BYTES: libc::c_int = 256 * 1024;

/// Fixes two thresholds of glibc's allocator. Left alone they follow what has been freed, up to 32 MiB; from then on
/// outboxes come from heaps, and one small allocation between them keeps all of their memory.
///
/// Call before there are threads. Other allocators have no such thresholds.
pub fn give_back_what_is_freed() {
    #[cfg(target_env = "gnu")]
    for threshold in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: `mallopt` takes two numbers and no memory of ours; it changes how the allocator works from now on, and
        // the allocator's own lock keeps it apart from other threads.
        unsafe { libc::mallopt(threshold, OWN_MAPPING_BYTES) };
    }
}
