//! The configuration: an existing `.rr.yaml` as it is, Roadcast's own section, the environment and
//! `-o`.
//!
//! Precedence: file < environment (`${VAR}` in the file, `RR_…` overrides) < `-o`. Reading has no
//! side effect but to read the files and to resolve host names; the environment is handed in. What
//! runs in spite of a doubt is told by a [`Notice`]; what would run otherwise than written is a
//! [`ConfigError`]. Reading does not end at the first of them.
//!
//! ```text
//! what may be written
//! keys         the table of keys; those of limits are in `limits.rs`
//! key          one key, and how its values are read
//! value        what values look like
//! schema       the table looked up, and what was perhaps meant
//!
//! what is written
//! files        which file is read, and those that it includes
//! yaml         a file as a tree, with places
//! environment  `${VAR}` in values, and `RR_…`
//! layers       each of these, and `-o`, over those before
//! settings     what is left in the end; `setting` is one value of it, `tables` lists of maps
//! roots        root sections that are read because a broker is called so
//! strangers    what has no effect
//! guards       keys that keep people out: mistakes there are errors
//!
//! what runs
//! reader       settings as the types of their keys
//! build        the [`Config`]; `brokers`, `addresses` and `access` are parts of it
//! pem          files of certificates and keys that settings name
//! together     settings that do not fit together
//! doubts       what is hardly meant so
//! error        what is wrong, and where
//! summary      what runs, for people
//! ```

mod access;
pub mod addresses;
pub mod brokers;
mod build;
mod doubts;
pub mod environment;
pub mod error;
mod files;
mod guards;
pub mod key;
mod keys;
mod layers;
mod pem;
mod reader;
mod roots;
pub mod schema;
mod setting;
pub mod settings;
mod strangers;
pub mod summary;
mod tables;
mod together;
mod topics;
pub mod value;
pub mod yaml;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use crate::hub::Driver;
pub use addresses::Addresses;
pub use brokers::{BrokerConfig, PublishTo};
pub use environment::Environment;
pub use error::{ConfigError, Notice, Origin, Problems};
pub use files::DEFAULT_FILES;
pub use value::RpcListen;

use crate::access::AccessSettings;
use crate::backend::BackendWish;
use crate::http::proxies::Proxies;
use crate::limits::Limits;
use crate::logs::LogConfig;
use crate::memory::{self, Memory};
use crate::policy::{OnGap, Policies};
use crate::worst_case::Uses;
use reader::Reader;
use settings::Settings;
use yaml::Node;

/// Where a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `-c`; without it, the first of [`DEFAULT_FILES`] in `cwd`.
    pub path: Option<PathBuf>,
    /// `-o key=value`, in order; later ones win.
    pub overrides: Vec<String>,
    /// Variables for `${VAR}` and `RR_…`.
    pub env: Environment,
    /// What the process may use; `None`: as much as it likes.
    pub memory: Option<Memory>,
    /// The directory in which [`DEFAULT_FILES`] are looked for, and from which `path` counts.
    pub cwd: PathBuf,
}

impl LoadOptions {
    /// With the environment and the working directory of this process.
    pub fn of_process(path: Option<PathBuf>, overrides: Vec<String>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        let memory = memory::usable(Path::new("/"));
        Self { path, overrides, env, memory, cwd: PathBuf::new() }
    }
}

/// What runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
    /// Where clients connect. `[::]` means all interfaces, IPv4 included.
    pub http: SocketAddr,
    /// The key that named it.
    pub http_key: &'static str,
    /// Proxies that are believed when they say for whom they speak, and how they say it.
    pub proxies: Proxies,
    /// Path of the upgrade request.
    pub path: String,
    /// The rules of `allowed_origin`, as written; an origin must meet one of them.
    pub origins: Vec<String>,
    /// The echo path, if on; never equal to `path`.
    pub echo_path: Option<String>,
    /// Where load balancers ask whether connections are taken, if on; no other thing is served
    /// there.
    pub health_path: Option<String>,
    /// Subprotocols that are agreed where a client offers them.
    pub subprotocols: Vec<String>,
    /// Whether the demo page is served.
    pub demo: bool,
    /// Where publishers connect.
    pub rpc: RpcListen,
    /// The key that named it.
    pub rpc_key: &'static str,
    /// Permissions of the file where that is a Unix socket; `None`: the umask decides.
    pub rpc_mode: Option<u32>,
    /// Where metrics are served, if they are, and the key that named the address.
    pub metrics: Option<(SocketAddr, &'static str)>,
    /// Where health and readiness are served, if they are, and the key that named the address.
    pub status: Option<(SocketAddr, &'static str)>,
    /// The HTTP status of "not healthy" and "not ready".
    pub unavailable_status: u16,
    /// All brokers; at least one, names unique.
    pub brokers: Vec<BrokerConfig>,
    /// Index in `brokers` of the one that a command without a broker means.
    pub default_broker: usize,
    /// How long what waits for a broker that is down waits.
    pub broker_wait: Duration,
    /// Bytes of publications that each broker holds while it is down.
    pub broker_buffer: usize,
    /// The brokers that a message goes to which names none.
    pub publish_to: PublishTo,
    /// What becomes of subscribers that may have missed a publication.
    pub on_gap: OnGap,
    /// What the shards and the hub run on, as asked for.
    pub backend: BackendWish,
    /// Shards to run, at least 1.
    pub shards: usize,
    /// Whether each shard is bound to one CPU.
    pub pin: bool,
    /// From the signal on everyone is told goodbye one by one over this time; zero: all at once.
    pub drain: Duration,
    /// Whether newcomers are answered meanwhile; otherwise they meet a closed port.
    pub drain_accept: bool,
    /// From the end of the drain to the exit, at most.
    pub shutdown_grace: Duration,
    /// Who is asked who may connect and join.
    pub access: AccessSettings,
    /// What becomes of clients that do not keep up.
    pub policies: Policies,
    /// The bounds in force.
    pub limits: Arc<Limits>,
    /// What the process may use, if that can be told: limits that nobody set follow it.
    pub memory: Option<Memory>,
    /// Whether someone set `limits.rpc_connections`.
    pub rpc_connections_given: bool,
    /// How and what to log.
    pub logs: LogConfig,
}

/// A configuration that was read to its end.
#[derive(Debug)]
pub struct Examined {
    /// What would run. Where a setting is wrong, its default stands in.
    pub config: Config,
    /// What is worth saying about it.
    pub notices: Vec<Notice>,
    /// What keeps it from running, in the order of the places.
    pub problems: Vec<ConfigError>,
}

impl Config {
    /// What is in use, beside what always is.
    pub fn uses(&self) -> Uses {
        let (skips, keeps) = (self.policies.skips(), self.policies.keeps());
        Uses { skips, asks: self.access.asks(), keeps }
    }

    /// Reads the configuration, with what is worth saying about it.
    pub fn load(options: &LoadOptions) -> Result<(Self, Vec<Notice>), Problems> {
        let Examined { config, notices, problems } = Self::examine(options);
        Problems::none(problems)?;
        Ok((config, notices))
    }

    /// Reads the configuration and goes on where something is wrong, so that all of it is told at
    /// once.
    pub fn examine(options: &LoadOptions) -> Examined {
        let mut settings = Settings::default();
        let file = files::first(options);
        let (mut problems, mut notices) = (Vec::new(), Vec::new());
        let mut trees = Vec::new();
        if let Some(file) = &file {
            let mut add = |root: Node, path: &Arc<PathBuf>| trees.push((root, path.clone()));
            problems = files::read(&options.cwd.join(file), &mut add, &mut notices);
        }
        settings.expect_brokers(trees.iter().map(|(root, _)| root), options);
        let readable = !trees.is_empty();
        for (root, path) in trees {
            settings.add_file(&root, &path, &options.env);
        }
        settings.add_environment(&options.env);
        for argument in &options.overrides {
            settings.add_override(argument, &options.env);
        }
        // What a file that cannot be read would have said is anybody's guess.
        let whole = problems.is_empty();
        problems.extend(settings.take_problems());
        let read = Reader::new(&settings, problems);
        let config = build::config(&read, file.clone(), options);
        let mut doubts = Vec::new();
        if whole {
            together::check(&config, &read);
            doubts.extend(files::doubt(options));
            let directory = build::directory(file.as_deref(), options);
            doubts.extend(doubts::of(&config, &read, &directory));
        }
        let mut problems = read.into_problems();
        problems.sort_by(|a, b| a.place().cmp(&b.place()));
        if let Some(path) = file.filter(|_| readable && !whole) {
            let reason =
                "the rest can be judged only once all that it includes can be read: what settings mean \
                          together, who gets in by server.command and allowed_origin among it"
                    .to_owned();
            problems.push(ConfigError::File { path, reason });
        }
        notices.extend(settings.into_notices());
        notices.extend(doubts);
        Examined { config, notices, problems }
    }
}

#[cfg(test)]
mod tests;
