//! `roadcast publish`.

use std::process::ExitCode;

use super::args::PublishArgs;

/// Not there yet.
pub fn run(_: &PublishArgs) -> ExitCode {
    super::fail("publish is not there yet")
}
