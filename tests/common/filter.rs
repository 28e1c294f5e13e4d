//! seccomp filters on a child alone.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// `io_uring_setup` fails with `errno`, all else is allowed: a container engine's default profile,
/// as far as the server is concerned.
pub fn io_uring_denied(errno: i32) -> BpfProgram {
    let deny = SeccompAction::Errno(errno as u32);
    let calls = [(libc::SYS_io_uring_setup, vec![])].into();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(calls, SeccompAction::Allow, deny, arch).unwrap().try_into().unwrap()
}

/// Runs `start` under a filter, which binds its thread and what that thread starts: the child, and
/// not this test.
pub fn under<T: Send + 'static>(
    filter: BpfProgram,
    start: impl FnOnce() -> T + Send + 'static,
) -> T {
    let start = std::thread::spawn(move || {
        seccompiler::apply_filter(&filter).unwrap();
        start()
    });
    start.join().unwrap()
}
