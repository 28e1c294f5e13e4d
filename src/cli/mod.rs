//! The command line: reads the configuration, checks the machine, and runs what was asked for.
//!
//! Exit codes: 0 done, 1 it could not start or failed, 2 the command line was not understood.

pub mod args;
mod check;
mod dial;
mod operate;
mod out;
mod printer;
pub mod publish;
pub mod subscribe;

use std::fmt::Display;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;

use crate::config::{Addresses, Config, LoadOptions, Notice, Problems};
use crate::preflight::StartError;
use crate::ring::give_back_what_is_freed;
use crate::{logs, preflight, server};
use args::{Cli, Command, ConfigArgs, ServeArgs};

/// Runs what the process's arguments ask for.
pub fn run() -> ExitCode {
    outlive_file_limits();
    let arguments = match Cli::try_parse() {
        Ok(arguments) => arguments,
        Err(usage) => return out::print_usage(&usage).unwrap_or_else(cannot_print),
    };
    match arguments.command {
        Command::Serve(args) => serve(&args),
        Command::Check(args) => check::run(&args),
        Command::Publish(args) => publish::run(&args),
        Command::Subscribe(args) => subscribe::run(&args),
        Command::Brokers(args) => operate::brokers(&args),
        Command::Workers(args) => operate::workers(&args),
        Command::Reset(args) => operate::reset(&args),
    }
}

/// Makes a file that has reached the limit of its size (`ulimit -f`) an error of whoever writes to
/// it. By itself the signal that comes with it ends the process.
fn outlive_file_limits() {
    // A handler that does next to nothing. Where there can be none, all else works.
    let _ = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::default());
}

/// What these arguments mean, in this process's environment.
fn options(args: &ConfigArgs) -> LoadOptions {
    LoadOptions::of_process(args.config.clone(), args.overrides.clone())
}

/// Where a client of the server finds it, by these arguments.
fn addresses(args: &ConfigArgs) -> Result<Addresses, Problems> {
    Addresses::load(&options(args))
}

/// Where the server takes calls: at the address that was given, or that of the configuration.
fn rpc_address(url: Option<&str>, args: &ConfigArgs) -> Result<String, Problems> {
    url.map_or_else(|| addresses(args)?.publish(), |url| Ok(url.to_owned()))
}

/// Says on stderr why nothing runs; an error may have several lines.
pub fn fail(error: impl Display) -> ExitCode {
    for line in error.to_string().lines() {
        out::say(format_args!("roadcast: {line}"));
    }
    ExitCode::FAILURE
}

/// Says that what was asked for cannot be printed.
fn cannot_print(error: io::Error) -> ExitCode {
    fail(format_args!("cannot print: {error}"))
}

fn serve(args: &ServeArgs) -> ExitCode {
    give_back_what_is_freed();
    let mut config = args.config.clone();
    if args.demo {
        config.overrides.push("roadcast.demo=true".to_owned());
    }
    let (mut config, notices) = match Config::load(&options(&config)) {
        Ok(loaded) => loaded,
        Err(error) => return fail(error),
    };
    let log = match logs::init(config.logs) {
        Ok(log) => log,
        Err(error) => return fail(format!("a thread for the log: {error}")),
    };
    // From here on nobody waits for whoever reads the log.
    let refused = |error: StartError| {
        log.push(format!("roadcast: {error}\n"));
        log.flush();
        ExitCode::FAILURE
    };
    for Notice { warning, text } in notices {
        if warning {
            tracing::warn!("configuration: {text}");
        } else {
            tracing::info!("configuration: {text}");
        }
    }
    let machine = match preflight::check(&mut config) {
        Ok(machine) => machine,
        Err(error) => return refused(error),
    };
    tracing::debug!(
        kernel = machine.kernel,
        descriptors = machine.descriptors,
        "the machine will do"
    );
    match &machine.backend.fallback {
        None => tracing::info!("running on {}", machine.backend),
        Some(_) => tracing::warn!("running on {}", machine.backend),
    }
    server::serve(&config, &machine.backend, &log).unwrap_or_else(refused)
}
