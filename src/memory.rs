//! How much memory this process may use: the least of what its control groups, their parents and
//! the machine allow.
//!
//! Version 2 of control groups says `memory.max` and `memory.high`, version 1
//! `memory.limit_in_bytes` (cgroups(7)); either may be mounted anywhere, and in a container what is
//! mounted may begin below the group that /proc/self/cgroup names.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes that the process may use, and what says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The bound.
    pub bytes: u64,
    /// Where it was found: a file of a control group, or `MemTotal`.
    pub source: String,
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}MiB ({})", self.bytes >> 20, self.source)
    }
}

/// What this process may use. `root` is `/`, or a recorded tree of `proc` and `sys`. `None`: it
/// cannot be told.
pub fn usable(root: &Path) -> Option<Memory> {
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_default();
    let groups = read("proc/self/cgroup");
    let mounts = read("proc/self/mountinfo");
    let machine = machine(&read("proc/meminfo"));
    let bounds = mounts
        .lines()
        .filter_map(Hierarchy::of)
        .flat_map(|hierarchy| hierarchy.bounds(root, &groups));
    machine.into_iter().chain(bounds).min_by_key(|memory| memory.bytes)
}

fn machine(meminfo: &str) -> Option<Memory> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(Memory { bytes: kib.saturating_mul(1024), source: "MemTotal of the machine".to_owned() })
}

/// A mounted tree of groups that bounds memory.
struct Hierarchy {
    /// Where it is mounted.
    mounted: String,
    /// The group that is mounted there.
    top: String,
    /// Names of the files with a bound.
    files: &'static [&'static str],
    /// The controller in /proc/self/cgroup; version 2 has none.
    controller: &'static str,
}

impl Hierarchy {
    /// Of a line of /proc/self/mountinfo (proc_pid_mountinfo(5)).
    fn of(line: &str) -> Option<Self> {
        let (before, after) = line.split_once(" - ")?;
        let mut fields = before.split(' ').skip(3);
        let (top, mounted) = (unescaped(fields.next()?), unescaped(fields.next()?));
        let mut after = after.split(' ');
        let (kind, options) = (after.next()?, after.nth(1)?);
        match kind {
            "cgroup2" => {
                Some(Self { mounted, top, files: &["memory.max", "memory.high"], controller: "" })
            }
            "cgroup" if options.split(',').any(|option| option == "memory") => {
                Some(Self { mounted, top, files: &["memory.limit_in_bytes"], controller: "memory" })
            }
            _ => None,
        }
    }

    /// The bounds of the process's group and of those above it.
    fn bounds(&self, root: &Path, groups: &str) -> Vec<Memory> {
        let named = groups.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            let (controllers, group) = rest.split_once(':')?;
            controllers.split(',').any(|controller| controller == self.controller).then_some(group)
        });
        let Some(group) = named else { return Vec::new() };
        // A group outside of what is mounted (`/..`) is bounded by the whole of it.
        let below = Path::new(group).strip_prefix(&self.top).unwrap_or(Path::new(""));
        let below = if group.contains("..") { Path::new("") } else { below };
        let mut bounds = Vec::new();
        for level in below.ancestors() {
            let directory = PathBuf::from(&self.mounted).join(level);
            for name in self.files {
                let path = directory.join(name);
                let text = fs::read_to_string(root.join(path.strip_prefix("/").unwrap_or(&path)));
                // `max` is no number, and version 1 says "none" by a number beyond any machine's
                // memory.
                if let Some(bytes) = text.ok().and_then(|text| text.trim().parse().ok()) {
                    bounds.push(Memory { bytes, source: path.display().to_string() });
                }
            }
        }
        bounds
    }
}

/// Blanks and backslashes are octal in mountinfo.
fn unescaped(field: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(field.to_owned(), |text, (escape, plain)| text.replace(escape, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A recorded tree, of the test's own; it goes with the value.
    struct Tree(PathBuf);

    impl Tree {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path =
                std::env::temp_dir().join(format!("roadcast-memory-{}-{name}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            Self(path)
        }

        fn usable(&self) -> (u64, String) {
            let found = usable(&self.0).unwrap();
            (found.bytes >> 20, found.source)
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    const MEMINFO: (&str, &str) = ("proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1 kB\n");
    /// Of a machine with systemd, cgroups of version 2 alone.
    const V2: &str = "24 31 0:22 / /proc rw,nosuid - proc proc rw\n\
                      29 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    /// Version 1 with one hierarchy a controller, as here and on older systems.
    const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                      35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";

    #[test]
    fn without_control_groups_it_is_the_machines() {
        let tree = Tree::new("machine", &[MEMINFO]);
        assert_eq!(tree.usable(), (16_384, "MemTotal of the machine".to_owned()));
        assert_eq!(usable(&Tree::new("nothing", &[("proc/x", "")]).0), None);
    }

    #[test]
    fn the_least_bound_of_a_group_and_its_parents_counts() {
        let tree = |name: &str, own: &str, slice: &str| {
            let files = [
                MEMINFO,
                ("proc/self/mountinfo", V2),
                ("proc/self/cgroup", "0::/system.slice/roadcast.service\n"),
                ("sys/fs/cgroup/system.slice/roadcast.service/memory.max", own),
                ("sys/fs/cgroup/system.slice/roadcast.service/memory.high", "max\n"),
                ("sys/fs/cgroup/system.slice/memory.max", slice),
            ];
            Tree::new(name, &files).usable()
        };
        let file = |group: &str| format!("/sys/fs/cgroup/{group}/memory.max");
        assert_eq!(
            tree("own", "536870912\n", "max\n"),
            (512, file("system.slice/roadcast.service"))
        );
        assert_eq!(tree("parent", "536870912\n", "268435456\n"), (256, file("system.slice")));
        assert_eq!(tree("max", "max\n", "max\n").0, 16_384);
        assert_eq!(tree("beyond", "99999999999999\n", "max\n").0, 16_384);
    }

    #[test]
    fn a_group_that_is_slowed_down_past_a_bound_has_that_bound() {
        let files = [
            MEMINFO,
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/a\n"),
            ("sys/fs/cgroup/a/memory.max", "536870912\n"),
            ("sys/fs/cgroup/a/memory.high", "134217728\n"),
        ];
        assert_eq!(Tree::new("high", &files).usable().0, 128);
    }

    #[test]
    fn in_a_container_the_group_is_what_is_mounted() {
        // Version 2 in a namespace of its own, as Docker and Kubernetes do.
        let files = [
            MEMINFO,
            ("proc/self/mountinfo", V2),
            ("proc/self/cgroup", "0::/\n"),
            ("sys/fs/cgroup/memory.max", "268435456\n"),
        ];
        assert_eq!(
            Tree::new("namespace", &files).usable(),
            (256, "/sys/fs/cgroup/memory.max".to_owned())
        );
        // Version 1 without one: the host's path, of which the end is mounted.
        let mounted =
            "35 31 0:32 /docker/4f2a /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n";
        let files = [
            MEMINFO,
            ("proc/self/mountinfo", mounted),
            ("proc/self/cgroup", "4:cpu,cpuacct:/docker/4f2a\n3:memory:/docker/4f2a\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n"),
        ];
        assert_eq!(Tree::new("docker", &files).usable().0, 256);
        // One below it, with a bound of its own.
        let below = ("proc/self/cgroup", "3:memory:/docker/4f2a/inner\n");
        let own = ("sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "134217728\n");
        assert_eq!(Tree::new("inner", &[files[0], files[1], below, files[3], own]).usable().0, 128);
        // A group that is not below what is mounted.
        let files = [files[0], files[1], ("proc/self/cgroup", "3:memory:/../other\n"), files[3]];
        assert_eq!(Tree::new("outside", &files).usable().0, 256);
    }

    #[test]
    fn version_1_is_read_with_its_parents_and_its_number_for_none() {
        let tree = |name: &str, own: &str, parent: &str| {
            let files = [
                MEMINFO,
                ("proc/self/mountinfo", V1),
                ("proc/self/cgroup", "4:memory:/a/b\n1:cpu:/\n0::/\n"),
                ("sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", own),
                ("sys/fs/cgroup/memory/a/memory.limit_in_bytes", parent),
                ("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ];
            Tree::new(name, &files).usable().0
        };
        let none = "9223372036854771712\n";
        assert_eq!(tree("v1-own", "1073741824\n", none), 1024);
        assert_eq!(tree("v1-parent", none, "536870912\n"), 512);
        assert_eq!(tree("v1-none", none, none), 16_384);
    }

    #[test]
    fn a_mount_with_a_blank_in_its_path_is_found() {
        let mounted = "29 23 0:26 / /mnt/c\\040g rw - cgroup2 cgroup2 rw\n";
        let files = [
            MEMINFO,
            ("proc/self/mountinfo", mounted),
            ("proc/self/cgroup", "0::/\n"),
            ("mnt/c g/memory.max", "1048576\n"),
        ];
        assert_eq!(Tree::new("blank", &files).usable(), (1, "/mnt/c g/memory.max".to_owned()));
    }
}
