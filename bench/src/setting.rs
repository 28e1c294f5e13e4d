//! What every command is run with: cores, programs, and what is written.

use std::path::PathBuf;

use clap::Args;

/// How the load is made and what is written.
#[derive(Args, Clone, Debug)]
pub struct SettingArgs {
    /// Cores of the servers
    #[arg(long, value_delimiter = ',', default_value = "0")]
    pub server_cores: Vec<usize>,
    /// Core of the generator
    #[arg(long, default_value_t = 1)]
    pub generator_core: usize,
    /// Let the generator poll without sleeping, so that no server pays for waking it
    #[arg(long)]
    pub spin: bool,
    /// The roadcast program [default: beside this one]
    #[arg(long)]
    pub roadcast: Option<PathBuf>,
    /// Directory of the peers' programs
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/target"))]
    pub peers: PathBuf,
    /// Write the results to this file as JSON
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Draw plots into this directory
    #[arg(long)]
    pub plots: Option<PathBuf>,
    /// Print what became of every message, and fail if one of Roadcast's went wrong
    #[arg(long)]
    pub verify: bool,
}
