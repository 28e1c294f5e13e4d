//! Threads, signals, join.

use std::process::ExitCode;

use crate::config::Config;
use crate::preflight::{self, StartError};

/// Serves until a signal.
pub fn serve(config: &Config) -> Result<ExitCode, StartError> {
    let _listeners =
        preflight::listeners(config.http, config.http_key, config.shards, config.limits.socket_send_bytes)?;
    let _rpc = preflight::rpc_listener(&config.rpc, config.rpc_key)?;
    Ok(ExitCode::SUCCESS)
}
