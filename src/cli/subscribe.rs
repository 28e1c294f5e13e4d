//! `roadcast subscribe`.

use std::process::ExitCode;

use super::args::SubscribeArgs;

/// Not there yet.
pub fn run(_: &SubscribeArgs) -> ExitCode {
    super::fail("subscribe is not there yet")
}
