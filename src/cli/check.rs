//! `roadcast check`: what would run, and whether this machine can run it. Binds nothing.

use std::process::ExitCode;

use super::args::CheckArgs;
use crate::preflight;

/// Prints what would run. A configuration or a machine that will not do is told on stderr, exit code 1.
pub fn run(args: &CheckArgs) -> ExitCode {
    let (mut config, notices) = match super::load(&args.config) {
        Ok(loaded) => loaded,
        Err(error) => return super::fail(error),
    };
    let machine = preflight::check(&mut config);
    println!("{}", config.summary());
    if let Ok(machine) = &machine {
        println!(
            "machine        Linux {}, io_uring allowed, {} open files",
            machine.kernel, machine.descriptors
        );
    }
    for notice in notices {
        println!("{notice}");
    }
    match machine {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => super::fail(error),
    }
}
