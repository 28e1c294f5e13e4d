//! Tests that run twice: over io_uring, and over what takes its place where that is denied.

use super::skip::skip;

/// Makes two tests of one function, which is given what stands for the backend: what `io_uring()`
/// and `epoll()` return, functions beside it. `io_uring()` has none where this machine denies it.
macro_rules! over_both {
    ($name:ident) => {
        mod $name {
            #[test]
            fn io_uring() {
                if let Some(on) = super::io_uring() {
                    super::$name(on);
                }
            }

            #[test]
            fn epoll() {
                super::$name(super::epoll());
            }
        }
    };
}

/// Whether this process may make an io_uring as a shard does; if not, the test is skipped.
pub fn io_uring_allowed() -> bool {
    let probe = || {
        let mut builder: io_uring::Builder = io_uring::IoUring::builder();
        builder.setup_single_issuer().setup_defer_taskrun().build(8).map(drop)
    };
    // The kernel's clearing up after a ring interrupts what its thread waits for.
    let made = std::thread::spawn(probe).join().expect("it does not panic");
    made.map_err(|error| skip(format_args!("io_uring cannot be used here: {error}"))).is_ok()
}
