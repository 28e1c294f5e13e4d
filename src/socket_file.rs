//! The file of a Unix socket, as it was when it was bound: removed at the end, and never another
//! server's.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// See the module.
pub struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    /// The file that stands at this path by now.
    pub fn of(path: &Path) -> Option<Self> {
        Some(Self { path: path.to_owned(), identity: Self::identity(path)? })
    }

    fn identity(path: &Path) -> Option<(u64, u64)> {
        let file = std::fs::symlink_metadata(path).ok()?;
        Some((file.dev(), file.ino()))
    }

    /// Removes the file, unless another server has put its own there while this one was draining.
    pub fn remove(self) {
        if Self::identity(&self.path) == Some(self.identity) {
            // One that stays is replaced by the next start all the same.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
