//! The kernel's version, and whether it lets this process use io_uring.

use std::io;

use crate::ring;

/// The oldest kernel whose io_uring will do: 6.1 brought `IORING_SETUP_DEFER_TASKRUN`.
pub const KERNEL_MIN: (u32, u32) = (6, 1);

/// `kernel.io_uring_disabled`: 0 allows all, 1 only the group and CAP_SYS_ADMIN, 2 nobody. Linux
/// 6.6 and later.
const SYSCTL_DISABLED: &str = "/proc/sys/kernel/io_uring_disabled";
const SYSCTL_GROUP: &str = "/proc/sys/kernel/io_uring_group";

/// Whether a kernel of this release (`uname -r`) will do for io_uring.
pub fn supported(release: &str) -> Result<(), String> {
    let mut parts = release.trim_start().split(|c: char| !c.is_ascii_digit());
    let mut part = || parts.next().and_then(|digits| digits.parse::<u32>().ok());
    let (major, minor) = KERNEL_MIN;
    match (part(), part()) {
        (Some(found_major), Some(found_minor)) if (found_major, found_minor) >= KERNEL_MIN => {
            Ok(())
        }
        (Some(_), Some(_)) => Err(format!(
            "Linux {release} is too old for io_uring: that needs {major}.{minor} or later (DEFER_TASKRUN)"
        )),
        _ => Err(format!(
            "the kernel's release \"{release}\" is not understood: io_uring needs Linux {major}.{minor} or later"
        )),
    }
}

/// Whether io_uring can be used on this kernel: makes as many rings as will be needed, as a shard
/// does, and drops them.
pub(super) fn probe_io_uring(release: &str, rings: usize) -> Result<(), String> {
    supported(release)?;
    let Err(error) = ring::probe(rings) else { return Ok(()) };
    let sysctl = |path| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    Err(io_uring_denied(
        &error,
        rings,
        sysctl(SYSCTL_DISABLED).as_deref(),
        sysctl(SYSCTL_GROUP).as_deref(),
    ))
}

/// Why so many rings could not be made and how to allow it, from the error and the two sysctls
/// (absent before Linux 6.6).
pub fn io_uring_denied(
    error: &io::Error,
    rings: usize,
    disabled: Option<&str>,
    group: Option<&str>,
) -> String {
    let seccomp = "a seccomp profile denies it, as container engines do by default; allow io_uring_setup, \
                   io_uring_enter and io_uring_register in a profile of your own (Docker: --security-opt \
                   seccomp=profile.json; Kubernetes: securityContext.seccompProfile; systemd: SystemCallFilter=@aio)";
    let code = error.raw_os_error();
    let why = match (code, disabled) {
        (Some(libc::EPERM), Some("2")) => {
            "it is switched off for all by the sysctl kernel.io_uring_disabled = 2; allow it with \
             `sysctl -w kernel.io_uring_disabled=0`"
                .to_owned()
        }
        (Some(libc::EPERM), Some("1")) => format!(
            "the sysctl kernel.io_uring_disabled = 1 allows it to members of the group kernel.io_uring_group ({}) only; \
             add this user to it, or `sysctl -w kernel.io_uring_disabled=0`; if that is so already, {seccomp}",
            group.unwrap_or("unknown")
        ),
        (Some(libc::EPERM | libc::EACCES | libc::ENOSYS), _) => {
            let absent = match code {
                Some(libc::ENOSYS) => "the kernel was built without it, or ",
                _ => "",
            };
            format!("{absent}{seccomp}")
        }
        (Some(libc::EINVAL), _) => {
            "this kernel lacks SINGLE_ISSUER, COOP_TASKRUN or DEFER_TASKRUN; Linux 6.1 and later have them (sandboxes \
             such as gVisor do not)"
                .to_owned()
        }
        (Some(libc::ENOMEM), _) => format!(
            "there is no memory for {rings} rings (a shard has one, and the hub), or they would pass the limit of locked \
             memory, which all processes of a user share; raise `ulimit -l` (LimitMEMLOCK=) by {} KiB, or give it CAP_IPC_LOCK",
            rings * ring::RING_KIB
        ),
        (Some(libc::EMFILE | libc::ENFILE), _) => "no file descriptor is left; raise `ulimit -n`".to_owned(),
        _ => "the kernel refused it".to_owned(),
    };
    format!("io_uring cannot be used ({error}): {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_from_6_1_on_are_supported() {
        for release in [
            "6.1.0-13-amd64",
            "6.1.0-rc1",
            "6.1",
            "6.6.87.2-microsoft-standard-WSL2",
            "6.18.44-fc-v595",
            "6.12-rc3+",
            "6.8.0-1021-aws",
            "7.0.0",
            "10.0.1-arch1-1",
        ] {
            assert!(supported(release).is_ok(), "{release}");
        }
    }

    #[test]
    fn an_older_kernel_is_refused_with_what_is_needed() {
        for release in [
            "6.0.19-generic",
            "5.15.167.4-microsoft-standard-WSL2",
            "5.14.0-503.el9.x86_64",
            "4.18.0-553.el8_10.x86_64",
            "3.10.0-1160.el7.x86_64",
            "2.6.32",
        ] {
            let error = supported(release).unwrap_err();
            assert!(
                error.contains(release) && error.contains("that needs 6.1 or later"),
                "{error}"
            );
        }
        for release in ["", "linux", "6", "x.1", "99999999999.1"] {
            assert!(supported(release).is_err(), "{release}");
        }
    }

    #[test]
    fn each_way_to_deny_io_uring_says_how_to_allow_it() {
        let denied = |code, disabled| {
            io_uring_denied(&io::Error::from_raw_os_error(code), 3, disabled, Some("-1"))
        };
        for (code, disabled, expected) in [
            (libc::EPERM, Some("2"), "sysctl -w kernel.io_uring_disabled=0"),
            (libc::EPERM, Some("1"), "kernel.io_uring_group (-1)"),
            (libc::EPERM, Some("0"), "allow io_uring_setup, io_uring_enter and io_uring_register"),
            (libc::EPERM, None, "seccomp"),
            (libc::ENOSYS, None, "built without it, or a seccomp profile"),
            (libc::EINVAL, Some("0"), "DEFER_TASKRUN"),
            (libc::ENOMEM, Some("0"), "raise `ulimit -l` (LimitMEMLOCK=) by 288 KiB"),
            (libc::EMFILE, Some("0"), "ulimit -n"),
        ] {
            let text = denied(code, disabled);
            assert!(text.contains(expected), "{text}");
        }
        assert!(!denied(libc::EPERM, Some("2")).contains("seccomp"));
    }
}
