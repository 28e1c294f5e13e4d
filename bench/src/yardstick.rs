//! Yardsticks: servers that do the least that could be called the work, so that a figure has
//! something to stand beside.

pub mod bare_rpc;
pub mod floor;

use std::io::Write;

/// Tells whoever started this server that it serves.
fn say_ready() -> std::io::Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "ready")?;
    out.flush()
}
