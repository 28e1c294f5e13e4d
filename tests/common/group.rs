//! A control group of the memory controller, version 1: a limit that the kernel holds the server
//! to.
//!
//! Needs root and `/sys/fs/cgroup/memory`; a test that finds these missing is skipped.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Server, eventually, roadcast_after, skip};

/// A control group; deleted when dropped, which must be after its server.
pub struct Group(PathBuf);

impl Group {
    /// A group with these settings. None, and the test is skipped, where none can be made.
    pub fn create(settings: &[(&str, u64)]) -> Option<Self> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let group =
            Self(format!("/sys/fs/cgroup/memory/roadcast-{}-{number}", std::process::id()).into());
        let set =
            |(name, value): &(&str, u64)| std::fs::write(group.0.join(name), value.to_string());
        match std::fs::create_dir(&group.0).and_then(|()| settings.iter().try_for_each(set)) {
            Ok(()) => Some(group),
            Err(error) => {
                skip(format_args!(
                    "no control group of the memory controller, version 1, can be made ({}: {error}); it takes root and a \
                     machine where it is mounted",
                    group.0.display()
                ));
                None
            }
        }
    }

    /// A server in it.
    pub fn server(&self, overrides: &[&str]) -> Server {
        let mut command = roadcast_after(&format!("echo $$ >{}/cgroup.procs", self.0.display()));
        command.arg("serve");
        Server::start_by(command, overrides)
    }

    /// One of its numbers.
    pub fn number(&self, name: &str) -> u64 {
        let text = std::fs::read_to_string(self.0.join(name)).expect("a file of the controller");
        // memory.oom_control has several, by name; what counts is how often somebody was killed.
        let number = text.lines().last().and_then(|line| line.split_whitespace().last());
        number.and_then(|number| number.parse().ok()).expect("a number")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // Its last process may be gone a moment later than its parent has seen.
            eventually("an empty control group", || {
                !self.0.exists() || std::fs::remove_dir(&self.0).is_ok()
            });
        } else {
            let _ = std::fs::remove_dir(&self.0);
        }
    }
}
