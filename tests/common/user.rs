//! A user of its own for a server: what the kernel counts for each user (locked memory, watches of
//! epoll) is then this server's alone, and no test beside it notices.
//!
//! Needs root; a test that finds that missing is skipped.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::{self, JoinHandle};

use rustix::process::{Uid, geteuid};
use rustix::thread::set_thread_uid;

use super::{server, skip};

/// A user that nobody else is, and a copy of the binary under test where it may run it.
pub struct User {
    id: u32,
    binary: PathBuf,
}

impl User {
    /// None, and the test is skipped, where this process is not root.
    pub fn create() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !geteuid().is_root() {
            skip("a server as another user takes root");
            return None;
        }
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        // Below 65,536, which is all that many containers have.
        let id = 20_000 + (process * 16 + number) % 40_000;
        let binary = std::env::temp_dir().join(format!("roadcast-user-{process}-{number}"));
        // By another process: what this one writes, a child that is forked meanwhile holds open,
        // and then it cannot be run.
        let mut copy = Command::new("install");
        let copied = copy.args(["-m", "755"]).arg(server::binary()).arg(&binary).status();
        let copied = copied.expect("coreutils");
        assert!(copied.success(), "{}", binary.display());
        Some(Self { id, binary })
    }

    /// As `roadcast_after`, by this user.
    pub fn roadcast_after(&self, before: &str) -> Command {
        let mut command = server::after(before, self.binary.as_os_str());
        // It need not be allowed into the directory of the tests.
        command.current_dir("/").uid(self.id).gid(self.id);
        command
    }

    /// A thread of this process that is this user.
    pub fn thread<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        let id = Uid::from_raw(self.id);
        thread::spawn(move || {
            // Of this thread alone, which ends here.
            set_thread_uid(id).expect("root may become anybody");
            run()
        })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.binary);
    }
}
