//! What the commands print, whoever reads it: a pipe may be closed, a disk full. Neither is a
//! panic.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use crate::escape;

/// Prints lines on standard output. Whoever has closed it has seen enough, and that is no error.
pub fn print(lines: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    closed_is_fine(writeln!(out, "{lines}").and_then(|()| out.flush()))
}

/// Prints what the command line's parser has to say, help or a mistake, where it belongs.
pub fn print_usage(usage: &clap::Error) -> io::Result<ExitCode> {
    let printed = usage.print().and_then(|()| io::stdout().flush());
    // A mistake that cannot be said is one all the same.
    if !usage.use_stderr() {
        closed_is_fine(printed)?;
    }
    Ok(ExitCode::from(usage.exit_code() as u8))
}

fn closed_is_fine(printed: io::Result<()>) -> io::Result<()> {
    match printed {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Says a line to whoever started the command, on standard error. What a server or peer says is
/// often part of it.
pub fn say(line: impl Display) {
    let _ = writeln!(io::stderr(), "{}", escape::line(&line.to_string()));
}
