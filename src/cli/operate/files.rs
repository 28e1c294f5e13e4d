//! The application's files, looked at again and again: that works where nobody is told of changes,
//! as over the network and in containers.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Files and directories that are looked at, all told. A guess: far more than an application has
/// of its own, and no more than can be looked at each second.
pub const ENTRIES_MAX: usize = 50_000;

/// Directories of others' code, which changes by a deploy alone, and is most of what there is.
const LIBRARIES: [&str; 2] = ["vendor", "node_modules"];

/// Files, and when each was changed last, with its length.
pub type Seen = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

/// Why files cannot be watched.
#[derive(Debug, thiserror::Error)]
pub enum Unwatchable {
    #[error("cannot watch {}: {why}", .path.display())]
    Unreadable { path: PathBuf, why: io::Error },
    #[error(
        "cannot watch {}: that would be more than {most} files and directories; name those with \
         your own PHP files: `roadcast reset --watch DIRECTORY…`",
        .path.display()
    )]
    Many { path: PathBuf, most: usize },
}

/// All PHP files below these directories, less what is hidden or a library. At most `most` entries
/// of directories are looked at.
pub fn seen(below: &[PathBuf], most: usize) -> Result<Seen, Unwatchable> {
    let (mut seen, mut looked) = (Seen::new(), 0);
    for path in below {
        let entries = std::fs::read_dir(path)
            .map_err(|why| Unwatchable::Unreadable { path: path.clone(), why })?;
        let mut directories = Vec::new();
        let mut next = Some(entries);
        while let Some(entries) = next {
            for entry in entries.flatten() {
                looked += 1;
                if looked > most {
                    return Err(Unwatchable::Many { path: path.clone(), most });
                }
                look(&entry, &mut directories, &mut seen);
            }
            // What goes meanwhile is not there.
            next = std::iter::from_fn(|| directories.pop())
                .find_map(|directory| std::fs::read_dir(directory).ok());
        }
    }
    Ok(seen)
}

/// What is different between two looks, in words: a file, and how many others.
pub fn changed(before: &Seen, now: &Seen) -> String {
    let all = before.keys().chain(now.keys());
    let paths: BTreeSet<_> = all.filter(|path| before.get(*path) != now.get(*path)).collect();
    let Some(first) = paths.first().map(|path| path.display()) else {
        return "files have changed".to_owned();
    };
    match paths.len() - 1 {
        0 => format!("{first} has changed"),
        1 => format!("{first} and another file have changed"),
        others => format!("{first} and {others} other files have changed"),
    }
}

/// Links are not followed: they may lead in circles.
fn look(entry: &std::fs::DirEntry, directories: &mut Vec<PathBuf>, seen: &mut Seen) {
    let name = entry.file_name();
    let Ok(kind) = entry.file_type() else { return };
    if name.as_encoded_bytes().starts_with(b".") {
        return;
    }
    if kind.is_dir() {
        if !LIBRARIES.iter().any(|library| name == *library) {
            directories.push(entry.path());
        }
    } else if Path::new(&name).extension() == Some(OsStr::new("php"))
        && let Ok(data) = entry.metadata()
    {
        seen.insert(entry.path(), (data.modified().ok(), data.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory with these files; it goes with the value.
    struct Site(PathBuf);

    impl Site {
        fn new(name: &str, files: &[&str]) -> Self {
            let path = format!("roadcast-watched-{name}-{}", std::process::id());
            let site = Self(std::env::temp_dir().join(path));
            std::fs::create_dir_all(&site.0).unwrap();
            files.iter().for_each(|file| site.write(file, "1"));
            site
        }

        fn write(&self, file: &str, text: &str) {
            let path = self.0.join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }

        fn seen(&self, most: usize) -> Result<Seen, Unwatchable> {
            seen(std::slice::from_ref(&self.0), most)
        }
    }

    impl Drop for Site {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn what_changes_comes_or_goes_is_seen() {
        let site = Site::new("changes", &["app/a.php"]);
        let first = site.seen(100).unwrap();
        assert_eq!(first.keys().collect::<Vec<_>>(), [&site.0.join("app/a.php")]);
        assert_eq!(site.seen(100).unwrap(), first);
        site.write("app/a.php", "22");
        let changed = site.seen(100).unwrap();
        assert_ne!(changed, first);
        let a = site.0.join("app/a.php");
        assert_eq!(super::changed(&first, &changed), format!("{} has changed", a.display()));
        site.write("app/deep/b.php", "1");
        let second = site.seen(100).unwrap();
        assert_eq!(second.len(), 2);
        let told = format!("{} and another file have changed", a.display());
        assert_eq!(super::changed(&first, &second), told);
        std::fs::remove_dir_all(site.0.join("app/deep")).unwrap();
        assert_eq!(site.seen(100).unwrap(), changed);
        std::fs::remove_dir_all(&site.0).unwrap();
        let error = site.seen(100).unwrap_err().to_string();
        assert!(error.starts_with(&format!("cannot watch {}: ", site.0.display())), "{error}");
    }

    #[test]
    fn libraries_hidden_files_links_and_what_is_no_php_are_left_out() {
        let others = [
            "vendor/a.php",
            "app/vendor/b/c.php",
            "node_modules/d.php",
            ".git/e.php",
            "app/.f.php",
            "app/notes.txt",
        ];
        let site = Site::new("others", &others);
        std::os::unix::fs::symlink(&site.0, site.0.join("app/circle")).unwrap();
        assert!(site.seen(100).unwrap().is_empty());
        // Whoever names one means it.
        assert_eq!(seen(&[site.0.join("vendor")], 100).unwrap().len(), 1);
    }

    #[test]
    fn no_more_than_so_many_files_and_directories_are_looked_at() {
        let site = Site::new("many", &["a.php", "b/c.php", "b/d.txt"]);
        assert_eq!(site.seen(4).unwrap().len(), 2);
        let error = site.seen(3).unwrap_err().to_string();
        assert!(error.contains("more than 3 files and directories"), "{error}");
        assert!(error.contains("roadcast reset --watch DIRECTORY"), "{error}");
        let twice = [site.0.clone(), site.0.clone()];
        assert!(seen(&twice, 7).is_err(), "the bound is for all of them together");
    }
}
