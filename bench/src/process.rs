//! What a process holds, as /proc tells it.

use std::fs;

use anyhow::{Context, Result};

/// Bytes that a process holds in memory.
pub fn rss_bytes(pid: u32) -> Result<u64> {
    field_kib(&format!("/proc/{pid}/status"), "VmRSS:").map(|kib| kib * 1024)
}

/// Descriptors that a process has open.
pub fn descriptors(pid: u32) -> Result<usize> {
    let path = format!("/proc/{pid}/fd");
    Ok(fs::read_dir(&path).with_context(|| path)?.count())
}

/// The number of KiB in a line of a file of /proc that begins with `field`.
pub fn field_kib(path: &str, field: &str) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.to_owned())?;
    let line = text.lines().find(|line| line.starts_with(field));
    let value =
        line.and_then(|line| line.split_whitespace().nth(1)).and_then(|value| value.parse().ok());
    value.with_context(|| format!("{field} in {path}"))
}
