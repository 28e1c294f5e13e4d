//! The command line.

pub mod args;
mod dial;
pub mod publish;
pub mod subscribe;

use std::fmt::Display;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Debug, Parser)]
#[command(name = "roadcast", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Publish(args::PublishArgs),
    Subscribe(args::SubscribeArgs),
}

/// Runs what the process's arguments ask for.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Publish(args) => publish::run(&args),
        Command::Subscribe(args) => subscribe::run(&args),
    }
}

/// Says on stderr why nothing runs.
pub fn fail(error: impl Display) -> ExitCode {
    eprintln!("roadcast: {error}");
    ExitCode::FAILURE
}
