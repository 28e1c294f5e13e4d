//! The configuration: an existing `.rr.yaml` as it is, Roadcast's own section, the environment and `-o`.
//!
//! Precedence: file < environment (`${VAR}` in the file, `RR_…` overrides) < `-o`. Reading has no side effect but to read
//! the files and to resolve host names; the environment is handed in. What runs in spite of a doubt is told by a
//! [`Notice`]; what would run otherwise than written is a [`ConfigError`].

pub mod addresses;
pub mod brokers;
mod doubts;
pub mod environment;
pub mod error;
mod guards;
mod keys;
pub mod schema;
mod setting;
pub mod settings;
pub mod summary;
pub mod value;
pub mod yaml;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use crate::hub::Driver;
pub use addresses::Addresses;
pub use brokers::BrokerConfig;
pub use environment::Environment;
pub use error::{ConfigError, Notice, Origin};
pub use value::RpcListen;

use ipnet::IpNet;

use crate::limits::Limits;
use crate::logs::{Encoding, Level, LogConfig, Mode};
use crate::policy::{Pattern, Policies};
use schema::Value;
use settings::Settings;
use yaml::{Data, Node};

/// The file that is read from the working directory when no other is named.
pub const DEFAULT_FILE: &str = ".rr.yaml";

/// Where a configuration is read from.
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    /// `-c`; without it, [`DEFAULT_FILE`] of `cwd` if there is one.
    pub path: Option<PathBuf>,
    /// `-o key=value`, in order; later ones win.
    pub overrides: Vec<String>,
    /// Variables for `${VAR}` and `RR_…`.
    pub env: Environment,
    /// The directory in which [`DEFAULT_FILE`] is looked for, and from which `path` counts.
    pub cwd: PathBuf,
}

impl LoadOptions {
    /// With the environment and the working directory of this process.
    pub fn of_process(path: Option<PathBuf>, overrides: Vec<String>) -> Self {
        let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
        let env = std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect();
        Self { path, overrides, env, cwd: PathBuf::new() }
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
    /// Proxies that are believed when they say for whom they speak.
    pub trusted_subnets: Vec<IpNet>,
    /// Path of the upgrade request.
    pub path: String,
    /// The `allowed_origin` rule, as written.
    pub origin: String,
    /// The echo path, if on; never equal to `path`.
    pub echo_path: Option<String>,
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
    /// Shards to run, at least 1.
    pub shards: usize,
    /// Whether each shard is bound to one CPU.
    pub pin: bool,
    /// From the signal to the exit, at most.
    pub shutdown_grace: Duration,
    /// What becomes of clients that do not keep up.
    pub policies: Policies,
    /// The bounds in force.
    pub limits: Arc<Limits>,
    /// Whether someone set `limits.rpc_connections`.
    pub rpc_connections_given: bool,
    /// How and what to log.
    pub logs: LogConfig,
}

impl Config {
    /// Reads the configuration, with what is worth saying about it.
    pub fn load(options: &LoadOptions) -> Result<(Self, Vec<Notice>), ConfigError> {
        let mut settings = Settings::default();
        let file = first_file(options);
        if let Some(file) = &file {
            let mut add = |root: Node, path: &_| settings.add_file(&root, path, &options.env);
            read_files(&options.cwd.join(file), &mut add)?;
        }
        settings.add_environment(&options.env)?;
        for argument in &options.overrides {
            settings.add_override(argument, &options.env)?;
        }
        let built = build(&Reader(&settings)).map_err(|error| settings.hidden(error))?;
        let config = Self { file, ..built };
        config.check(&settings)?;
        let doubts = doubts::of(&config, &settings)?;
        let mut notices = settings.into_notices();
        notices.extend(doubts);
        Ok((config, notices))
    }

    /// Settings that do not fit together.
    fn check(&self, settings: &Settings) -> Result<(), ConfigError> {
        let together = |text: String| Err(ConfigError::Together(text));
        let (command, origin) = settings.value("server.command")?;
        let (access, _) = settings.value("roadcast.access")?;
        if settings.has_section("websockets") && command.is_some() && access.is_none() {
            let problem = "with the section `websockets`, RoadRunner asks these workers who may connect and join. \
                           Roadcast does not run workers yet, so everyone might; set `roadcast.access: open` (or \
                           -o roadcast.access=open) to start without them";
            return Err(ConfigError::value(&origin, "server.command", problem));
        }
        if self.echo_path.as_ref() == Some(&self.path) {
            return together(format!("roadcast.echo_path ({}) must differ from websockets.path", self.path));
        }
        let rpc = if let RpcListen::Tcp(address) = self.rpc { Some((address, self.rpc_key)) } else { None };
        let listening = [Some((self.http, self.http_key)), rpc, self.metrics, self.status];
        let listening: Vec<_> =
            listening.into_iter().flatten().filter(|(address, _)| address.port() != 0).collect();
        for (place, (address, key)) in listening.iter().enumerate() {
            if let Some((_, other)) = listening[..place].iter().find(|(known, _)| known == address) {
                let text =
                    format!("{other} and {key} are the same address ({address}); give one another port");
                return together(text);
            }
        }
        self.limits.check().or_else(|clash| together(clash.to_string()))
    }
}

/// The file to read, if there is one.
fn first_file(options: &LoadOptions) -> Option<PathBuf> {
    options.path.clone().or_else(|| {
        // Also a link to nowhere is meant to be read: better an error than the defaults.
        let found = options.cwd.join(DEFAULT_FILE).symlink_metadata();
        found.is_ok().then(|| PathBuf::from(DEFAULT_FILE))
    })
}

/// What becomes of a file's tree.
type AddFile<'a> = dyn FnMut(Node, &Arc<PathBuf>) -> Result<(), ConfigError> + 'a;

/// Reads a file and the files that it includes; their keys win, as in RoadRunner. Included files include no others.
fn read_files(path: &Path, add: &mut AddFile<'_>) -> Result<(), ConfigError> {
    let path = Arc::new(path.to_path_buf());
    let root = settings::read(&path)?;
    let mut included = Vec::new();
    if let Data::Map(pairs) = &root.data
        && let Some((_, include)) = pairs.iter().find(|(key, _)| key.text == "include")
    {
        let at = |node: &Node| Origin::File { path: Arc::clone(&path), line: node.line, column: node.column };
        let items = match &include.data {
            Data::Null => &[][..],
            Data::List(items) => items,
            _ => return Err(ConfigError::value(&at(include), "include", "expected a list of files")),
        };
        for item in items {
            let Data::Scalar(name) = &item.data else {
                return Err(ConfigError::value(&at(item), "include", "expected the name of a file"));
            };
            included.push(Arc::new(path.with_file_name(name)));
        }
    }
    add(root, &path)?;
    for path in included {
        add(settings::read(&path)?, &path)?;
    }
    Ok(())
}

/// Settings as the types that their keys have.
struct Reader<'a>(&'a Settings);

impl Reader<'_> {
    fn text(&self, path: &str) -> Result<Option<String>, ConfigError> {
        Ok(match self.0.value(path)?.0 {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        })
    }

    fn flag(&self, path: &str) -> Result<bool, ConfigError> {
        Ok(self.0.value(path)?.0 == Some(Value::Flag(true)))
    }

    fn number(&self, path: &str) -> Result<usize, ConfigError> {
        Ok(match self.0.value(path)?.0 {
            Some(Value::Number(number)) => usize::try_from(number).unwrap_or(usize::MAX),
            _ => 0,
        })
    }

    fn duration(&self, path: &str) -> Result<Duration, ConfigError> {
        Ok(match self.0.value(path)?.0 {
            Some(Value::Duration(duration)) => duration,
            _ => Duration::ZERO,
        })
    }

    /// The first of two keys that has a value, and the value.
    fn first(&self, keys: [&'static str; 2]) -> Result<(Value, &'static str), ConfigError> {
        for key in keys {
            if let (Some(value), _) = self.0.value(key)? {
                return Ok((value, key));
            }
        }
        Err(ConfigError::Together(format!("{} has no value", keys[1])))
    }
}

fn http_address(read: &Reader<'_>) -> Result<(SocketAddr, &'static str), ConfigError> {
    match read.first(["roadcast.http.address", "http.address"])? {
        (Value::Address(address), key) => Ok((address, key)),
        (_, key) => Err(ConfigError::Together(format!("{key} is no address"))),
    }
}

fn rpc_address(read: &Reader<'_>) -> Result<(RpcListen, &'static str), ConfigError> {
    match read.first(["roadcast.rpc.listen", "rpc.listen"])? {
        (Value::Rpc(listen), key) => Ok((listen, key)),
        (_, key) => Err(ConfigError::Together(format!("{key} is no address"))),
    }
}

fn build(read: &Reader<'_>) -> Result<Config, ConfigError> {
    let (http, http_key) = http_address(read)?;
    let (rpc, rpc_key) = rpc_address(read)?;
    let metrics = admin(read, "metrics", ["roadcast.metrics.address", "metrics.address"])?;
    let status = admin(read, "status", ["roadcast.status.address", "status.address"])?;
    let (brokers, default_broker) = brokers::read(read.0)?;
    let shards = match read.number("roadcast.shards")? {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    };
    Ok(Config {
        file: None,
        http,
        http_key,
        trusted_subnets: trusted_subnets(read)?,
        path: read.text("websockets.path")?.unwrap_or_default(),
        origin: read.text("websockets.allowed_origin")?.unwrap_or_default(),
        echo_path: read.text("roadcast.echo_path")?,
        demo: read.flag("roadcast.demo")?,
        rpc,
        rpc_key,
        rpc_mode: match read.0.value("roadcast.rpc.mode")?.0 {
            Some(Value::Number(mode)) => Some(mode as u32),
            _ => None,
        },
        metrics,
        status,
        unavailable_status: read.number("status.unavailable_status_code")? as u16,
        brokers,
        default_broker,
        shards,
        pin: read.flag("roadcast.pin")?,
        shutdown_grace: read.duration("roadcast.shutdown_grace")?,
        policies: policies(read)?,
        limits: Arc::new(limits(read)?),
        rpc_connections_given: read.0.value("roadcast.limits.rpc_connections")?.1 != Origin::Default,
        logs: logs(read)?,
    })
}

/// An endpoint's address, if anyone wrote its section or Roadcast's own key for it.
fn admin(
    read: &Reader<'_>,
    section: &str,
    keys: [&'static str; 2],
) -> Result<Option<(SocketAddr, &'static str)>, ConfigError> {
    let own = read.0.value(keys[0])?.0.is_some();
    if !own && !read.0.has_section(section) {
        return Ok(None);
    }
    match read.first(keys)? {
        (Value::Address(address), key) => Ok(Some((address, key))),
        (_, key) => Err(ConfigError::Together(format!("{key} is no address"))),
    }
}

fn trusted_subnets(read: &Reader<'_>) -> Result<Vec<IpNet>, ConfigError> {
    const KEY: &str = "http.trusted_subnets";
    let (Some(Value::Words(words)), origin) = read.0.value(KEY)? else { return Ok(Vec::new()) };
    let subnet =
        |word: &String| value::subnet(word).map_err(|problem| ConfigError::value(&origin, KEY, problem));
    words.iter().map(subnet).collect()
}

fn policies(read: &Reader<'_>) -> Result<Policies, ConfigError> {
    let patterns = |key: &str| -> Result<Vec<Pattern>, ConfigError> {
        let (Some(Value::Words(words)), origin) = read.0.value(key)? else { return Ok(Vec::new()) };
        let pattern =
            |word: &String| Pattern::parse(word).map_err(|problem| ConfigError::value(&origin, key, problem));
        words.iter().map(pattern).collect()
    };
    Ok(Policies {
        skip: patterns("roadcast.overflow.skip")?,
        disconnect: patterns("roadcast.overflow.disconnect")?,
    })
}

fn limits(read: &Reader<'_>) -> Result<Limits, ConfigError> {
    Ok(Limits {
        connections: read.number("roadcast.limits.connections")?,
        connections_per_address: read.number("roadcast.limits.connections_per_address")?,
        handshakes_per_address: read.number("roadcast.limits.handshakes_per_address")?,
        message_bytes: read.number("roadcast.limits.message_bytes")?,
        topics_per_connection: read.number("roadcast.limits.topics_per_connection")?,
        topic_bytes: read.number("roadcast.limits.topic_bytes")?,
        topics: read.number("roadcast.limits.topics")?,
        publication_bytes: read.number("roadcast.limits.publication_bytes")?,
        outbox_bytes: read.number("roadcast.limits.outbox_bytes")?,
        outboxes_bytes: read.number("roadcast.limits.outboxes_bytes")?,
        log_bytes: read.number("roadcast.limits.log_bytes")?,
        lane_entries: read.number("roadcast.limits.lane_entries")?,
        lane_bytes: read.number("roadcast.limits.lane_bytes")?,
        socket_send_bytes: read.number("roadcast.limits.socket_send_bytes")?,
        rpc_connections: read.number("roadcast.limits.rpc_connections")?,
        rpc_frame_bytes: read.number("roadcast.limits.rpc_frame_bytes")?,
        rpc_async_bytes: read.number("roadcast.limits.rpc_async_bytes")?,
        rpc_timeout: read.duration("roadcast.limits.rpc_timeout")?,
        head_timeout: read.duration("roadcast.limits.head_timeout")?,
        close_timeout: read.duration("roadcast.limits.close_timeout")?,
        laggard_timeout: read.duration("roadcast.limits.laggard_timeout")?,
        ping_interval: read.duration("roadcast.ping_interval")?,
        pong_timeout: read.duration("roadcast.pong_timeout")?,
    })
}

fn logs(read: &Reader<'_>) -> Result<LogConfig, ConfigError> {
    let mode = match read.text("logs.mode")?.as_deref() {
        Some("production") => Mode::Production,
        Some("raw") => Mode::Raw,
        Some("none" | "off") => Mode::Off,
        _ => Mode::Development,
    };
    let level = match read.text("logs.level")?.as_deref() {
        Some("debug") => Level::Debug,
        Some("warn" | "warning") => Level::Warn,
        Some("error" | "dpanic" | "panic" | "fatal") => Level::Error,
        _ => Level::Info,
    };
    let encoding = read.text("logs.encoding")?.map(|word| match word.as_str() {
        "json" => Encoding::Json,
        _ => Encoding::Console,
    });
    Ok(LogConfig { mode, level, encoding })
}

#[cfg(test)]
mod tests;
