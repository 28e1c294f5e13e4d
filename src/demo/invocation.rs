//! The words that run this program again, for a shell beside the server: they are shown to people,
//! who copy them.
//!
//! `roadcast` where that leads to this very file, else the file's whole path. Where a container
//! runs the server and nothing else, its file is of no use to those outside: there the words begin
//! with what runs a program inside.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// A container that runs the server starts little else before it; one in which people work has had
/// more processes. A guess.
const FIRST_PROCESSES: u32 = 100;

/// What tells how this process was started, and where.
struct Start {
    /// What it was called by: the first word of its command line.
    called: OsString,
    /// The file that it runs.
    file: Option<PathBuf>,
    /// Where programs are looked up.
    path: OsString,
    /// Its number as a process.
    process: u32,
    /// The root of the file system.
    root: PathBuf,
    /// The machine's name; in a container its short id, in a pod the pod's name, unless somebody
    /// has set another.
    host: String,
}

/// The words for this process.
pub(super) fn words() -> Vec<String> {
    let start = Start {
        called: std::env::args_os().next().unwrap_or_default(),
        file: std::env::current_exe().ok(),
        path: std::env::var_os("PATH").unwrap_or_default(),
        process: std::process::id(),
        root: PathBuf::from("/"),
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    let mut words = start.entry();
    words.push(start.program());
    words
}

impl Start {
    fn program(&self) -> String {
        let same = |directory: PathBuf| {
            let found = fs::canonicalize(directory.join(&self.called)).ok();
            found.is_some() && found == self.file
        };
        let by_name = !self.called.is_empty() && !self.called.as_bytes().contains(&b'/');
        if by_name && std::env::split_paths(&self.path).any(same) {
            return self.called.to_string_lossy().into_owned();
        }
        // Not text, or gone since: no word would lead there.
        let file = self.file.as_deref().filter(|file| file.exists()).and_then(Path::to_str);
        file.unwrap_or("roadcast").to_owned()
    }

    /// The words that run a program in this container, with their standard input as its own; none
    /// where this is no container, or one in which people work.
    fn entry(&self) -> Vec<String> {
        if self.process > FIRST_PROCESSES {
            return Vec::new();
        }
        let there = |file| self.root.join(file).exists();
        let namespace = self.root.join("var/run/secrets/kubernetes.io/serviceaccount/namespace");
        let engine = match fs::read_to_string(namespace) {
            Ok(namespace) => {
                return words_of(&[
                    "kubectl",
                    "exec",
                    "-i",
                    "-n",
                    namespace.trim(),
                    &self.host,
                    "--",
                ]);
            }
            Err(_) if there("run/.containerenv") => "podman",
            Err(_) if there(".dockerenv") => "docker",
            Err(_) => return Vec::new(),
        };
        let is_id = self.host.len() == 12 && self.host.bytes().all(|byte| byte.is_ascii_hexdigit());
        words_of(&[engine, "exec", "-i", if is_id { &self.host } else { "CONTAINER" }])
    }
}

fn words_of(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    /// A root of its own with these files; deleted when dropped.
    struct Root(PathBuf);

    impl Root {
        fn with(name: &str, files: &[(&str, &str)]) -> Self {
            // As the system says where a program's file is: without links.
            let temporary = fs::canonicalize(std::env::temp_dir()).unwrap();
            let root = temporary.join(format!("roadcast-invocation-{}-{name}", std::process::id()));
            for (file, text) in files {
                let path = root.join(file);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            Self(root)
        }

        fn start(&self, called: &str, file: &str, host: &str) -> Start {
            Start {
                called: called.into(),
                file: Some(self.0.join(file)),
                path: std::env::join_paths([self.0.join("none"), self.0.join("bin")]).unwrap(),
                process: 1,
                root: self.0.clone(),
                host: host.to_owned(),
            }
        }
    }

    impl Drop for Root {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_program_of_the_path_goes_by_its_name_and_any_other_by_its_whole_path() {
        let root = Root::with("path", &[("bin/roadcast", ""), ("target/release/roadcast", "")]);
        let program = |called, file| root.start(called, file, "").program();
        let whole = |file| root.0.join(file).to_str().unwrap().to_owned();
        assert_eq!(program("roadcast", "bin/roadcast"), "roadcast");
        let built = "target/release/roadcast";
        assert_eq!(program("target/release/roadcast", built), whole(built));
        assert_eq!(program("./roadcast", "bin/roadcast"), whole("bin/roadcast"));
        // Another file of that name is in the path, or none; or the name is made up.
        assert_eq!(program("roadcast", built), whole(built));
        assert_eq!(program("server", built), whole(built));
        assert_eq!(program("", built), whole(built));
    }

    #[test]
    fn a_file_that_is_gone_or_is_no_text_leaves_the_name() {
        let root = Root::with("gone", &[("bin/other", "")]);
        assert_eq!(root.start("./roadcast", "bin/roadcast (deleted)", "").program(), "roadcast");
        let name = OsStr::from_bytes(b"bin/\xff");
        fs::write(root.0.join(name), "").unwrap();
        let start = Start { file: Some(root.0.join(name)), ..root.start("./x", "", "") };
        assert_eq!(start.program(), "roadcast");
        assert_eq!(Start { file: None, ..start }.program(), "roadcast");
    }

    #[test]
    fn in_a_container_the_words_go_through_its_engine() {
        let entry = |name, files: &[(&str, &str)], host| {
            Root::with(name, files).start("roadcast", "bin/roadcast", host).entry().join(" ")
        };
        assert_eq!(entry("bare", &[("etc/hostname", "")], "0123456789ab"), "");
        assert_eq!(
            entry("docker", &[(".dockerenv", "")], "0123456789ab"),
            "docker exec -i 0123456789ab"
        );
        assert_eq!(entry("named", &[(".dockerenv", "")], "web-1"), "docker exec -i CONTAINER");
        assert_eq!(
            entry("podman", &[("run/.containerenv", "")], "0123456789ab"),
            "podman exec -i 0123456789ab"
        );
        let pod = ("var/run/secrets/kubernetes.io/serviceaccount/namespace", "live\n");
        let inside = [pod, (".dockerenv", "")];
        assert_eq!(
            entry("pod", &inside, "roadcast-7d4b"),
            "kubectl exec -i -n live roadcast-7d4b --"
        );
    }

    #[test]
    fn in_a_container_in_which_people_work_the_words_are_for_a_shell_inside() {
        let root = Root::with("inside", &[(".dockerenv", "")]);
        let entry = |process| {
            Start { process, ..root.start("roadcast", "", "0123456789ab") }.entry().join(" ")
        };
        assert_eq!(entry(4711), "");
        // Itself the first, or behind an init or a script.
        assert_eq!([entry(1), entry(7)], ["docker exec -i 0123456789ab"; 2]);
    }
}
