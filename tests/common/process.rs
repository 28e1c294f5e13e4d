//! The server's process seen from outside: descriptors, memory, threads; and one of its threads
//! held still.

use std::fmt::Display;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::{PATIENCE, Server, skip};

/// Looks again and again until it is seen.
#[track_caller]
pub fn eventually(what: &str, mut seen: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !seen() {
        assert!(begin.elapsed() < PATIENCE, "never seen: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Prints what was measured; `scripts/system-faults` gathers these lines.
pub fn figure(what: &str, value: impl Display) {
    println!("figure: {what}: {value}");
}

impl Server {
    /// Descriptors that the process has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.pid())).expect("the process runs").count()
    }

    /// Resident memory in KiB.
    pub fn resident_kib(&self) -> u64 {
        self.status_kib("VmRSS:")
    }

    /// The most that its resident memory has been, in KiB.
    pub fn resident_peak_kib(&self) -> u64 {
        self.status_kib("VmHWM:")
    }

    fn status_kib(&self, field: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("proc(5)");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect(field);
        line.split_whitespace()
            .next()
            .and_then(|number| number.parse().ok())
            .expect("a number of kB")
    }

    /// Whether the process has a thread of this name.
    pub fn has_thread(&self, name: &str) -> bool {
        self.find_thread(name).is_some()
    }

    /// The thread of this name.
    pub fn thread(&self, name: &str) -> Thread {
        self.find_thread(name).unwrap_or_else(|| panic!("no thread is called {name}"))
    }

    fn find_thread(&self, name: &str) -> Option<Thread> {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.pid())).expect("the process runs");
        for task in tasks.map_while(Result::ok) {
            let named = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
            if named.trim() == name {
                let id = task.file_name().to_str().and_then(|id| id.parse().ok());
                return Some(Thread { process: self.pid(), id: id.expect("a thread's number") });
            }
        }
        None
    }
}

/// One thread of the server.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    process: u32,
    id: i32,
}

impl Thread {
    /// CPU time that it has used so far.
    pub fn cpu_time(&self) -> Duration {
        let path = format!("/proc/{}/task/{}/schedstat", self.process, self.id);
        let text = std::fs::read_to_string(path).expect("schedstat (CONFIG_SCHED_INFO)");
        let nanoseconds = text.split_whitespace().next().and_then(|number| number.parse().ok());
        Duration::from_nanos(nanoseconds.expect("nanoseconds"))
    }

    /// Holds it still, wherever it is, and nothing else of the process. None, and the test is
    /// skipped, where that is denied.
    pub fn stop(self) -> Option<Stopped> {
        let id = Pid::from_raw(self.id);
        if let Err(error) = ptrace::seize(id, ptrace::Options::empty()) {
            skip(format_args!("no thread of the server can be held still here (ptrace: {error})"));
            return None;
        }
        ptrace::interrupt(id).expect("a thread that is traced");
        waitpid(id, Some(WaitPidFlag::__WALL)).expect("it stops");
        Some(Stopped { id, since: Instant::now(), of_this_thread: PhantomData })
    }
}

/// A thread that stands still until this is dropped. The kernel knows the thread that stopped it:
/// no other may resume it.
pub struct Stopped {
    id: Pid,
    /// Since when.
    pub since: Instant,
    of_this_thread: PhantomData<*const ()>,
}

impl Drop for Stopped {
    fn drop(&mut self) {
        if ptrace::detach(self.id, None).is_err() {
            // It has been killed meanwhile; its process is gone for good once its tracer has seen
            // its end.
            let _ = waitpid(self.id, Some(WaitPidFlag::__WALL));
        }
    }
}
