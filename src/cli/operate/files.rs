//! The application's files, looked at again and again: that works where nobody is told of changes,
//! as over the network and in containers.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files, and when each was changed last, with its length.
pub type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// All PHP files below these directories, less what is hidden.
pub fn seen(below: &[PathBuf]) -> Result<Seen, (PathBuf, io::Error)> {
    let mut seen = Seen::new();
    for directory in below {
        let entries = std::fs::read_dir(directory).map_err(|why| (directory.clone(), why))?;
        look(entries, &mut seen);
    }
    Ok(seen)
}

/// What goes meanwhile is not there. Links are not followed: they may lead in circles.
fn look(entries: std::fs::ReadDir, seen: &mut Seen) {
    for entry in entries.flatten() {
        let path = entry.path();
        let Ok(data) = entry.metadata() else { continue };
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if data.is_dir() && !hidden {
            if let Ok(entries) = std::fs::read_dir(&path) {
                look(entries, seen);
            }
        } else if is_php(&path) {
            seen.insert(path, (data.modified().ok(), data.len()));
        }
    }
}

fn is_php(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "php")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_comes_or_goes_is_seen_and_other_files_are_not() {
        let site = std::env::temp_dir().join(format!("roadcast-watched-{}", std::process::id()));
        std::fs::create_dir_all(site.join("app/.git")).unwrap();
        let look = || seen(std::slice::from_ref(&site)).unwrap();
        assert!(look().is_empty());
        for path in ["app/a.php", "app/notes.txt", "app/.git/b.php"] {
            std::fs::write(site.join(path), "1").unwrap();
        }
        let first = look();
        assert_eq!(first.len(), 1);
        std::fs::write(site.join("app/a.php"), "22").unwrap();
        assert_ne!(look(), first);
        std::fs::remove_dir_all(&site).unwrap();
        assert!(seen(std::slice::from_ref(&site)).is_err(), "a directory that is not there");
    }
}
