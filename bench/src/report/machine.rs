//! Results as JSON, with what they were measured on.

use std::fs;

use serde::Serialize;

use crate::figures::Results;

/// The machine and the command.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// The command line.
    pub command: String,
    /// Kernel and its release.
    pub kernel: String,
    /// The processor.
    pub processor: String,
    /// Cores of the machine.
    pub cores: usize,
    /// Cores of the servers, core of the generator.
    pub pinned: String,
    /// Seconds since 1970.
    pub at: u64,
}

impl Setting {
    /// What this machine is.
    pub fn here(server_cores: &[usize], generator_core: usize) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model =
            cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let version = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        Self {
            command: std::env::args().collect::<Vec<_>>().join(" "),
            kernel: format!("Linux {}", version.trim()),
            processor: model.map_or_else(|| "unknown".into(), |(_, model)| model.to_owned()),
            cores: cpuinfo.lines().filter(|line| line.starts_with("processor")).count(),
            pinned: format!("servers on {server_cores:?}, generator on {generator_core}"),
            at: std::time::UNIX_EPOCH.elapsed().map_or(0, |elapsed| elapsed.as_secs()),
        }
    }
}

/// A whole run.
#[derive(Debug, Serialize)]
pub struct Run<'a> {
    /// What it ran on.
    pub setting: &'a Setting,
    /// What it found.
    pub results: &'a [Results],
}
