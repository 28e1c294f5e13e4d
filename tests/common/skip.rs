//! Tests that cannot run on this machine: they say so, and are gathered by `scripts/test`.
//!
//! Such a test calls [`skip`] (or [`installed`], which does) and returns. Libtest then counts it as
//! passed and drops what it printed, so the reason goes past libtest: to standard error as it is,
//! and as a line to the file that `ROADCAST_SKIPPED` names. With `CI=true` nothing may be skipped,
//! and such a test fails.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

/// Says that the test of this thread does not run, and why: what is missing here, and what to do
/// about it.
pub fn skip(why: impl Display) {
    let line = format!("{}: {why}", test());
    let ci = std::env::var("CI").is_ok_and(|ci| ci == "true");
    assert!(!ci, "NOT TESTED, and with CI=true nothing may be left out: {line}");
    // Not `eprintln`, which libtest captures.
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {line}");
    if let Some(path) = std::env::var_os("ROADCAST_SKIPPED") {
        let file = OpenOptions::new().append(true).create(true).open(&path);
        let written = file.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes()));
        written.unwrap_or_else(|error| panic!("ROADCAST_SKIPPED={}: {error}", path.display()));
    }
}

/// The test's name, for which libtest calls its thread, with its binary before it.
fn test() -> String {
    format!("{}::{}", env!("CARGO_CRATE_NAME"), std::thread::current().name().unwrap_or("a thread"))
}

/// Whether `program` is in the path; if not, the test is skipped. `scripts/test` has the list from
/// which CI installs.
pub fn installed(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let there = std::env::split_paths(&paths).any(|directory| {
        let file = std::fs::metadata(directory.join(program));
        file.is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
    });
    if !there {
        skip(format_args!("`{program}` is not installed"));
    }
    there
}
