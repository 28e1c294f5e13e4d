//! The `roadcast` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    roadcast::cli::run()
}
