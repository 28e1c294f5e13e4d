//! A directory with a configuration, in which the binary under test runs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{roadcast, roadcast_after};

/// A working directory with a `.rr.yaml`; it goes with the value.
pub struct Site(PathBuf);

impl Site {
    pub fn new(configuration: &str) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let unique = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(format!("roadcast-site-{}-{}", unique.0, unique.1));
        std::fs::create_dir_all(&path).expect("a directory of its own");
        std::fs::write(path.join(".rr.yaml"), configuration).expect("a file in it");
        Self(path)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// As [`roadcast`], here.
    pub fn roadcast(&self, arguments: &[&str]) -> Command {
        let mut command = roadcast();
        command.current_dir(&self.0).args(arguments);
        command
    }

    /// As [`roadcast_after`], here.
    pub fn roadcast_after(&self, before: &str, arguments: &[&str]) -> Command {
        let mut command = roadcast_after(before);
        command.current_dir(&self.0).args(arguments);
        command
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
