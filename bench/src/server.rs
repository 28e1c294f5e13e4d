//! The servers of a comparison: how each kind is started, how they end.

mod bus;
mod callback;
mod guard;
mod spec;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process, set_parent_process_death_signal};

use crate::clock::CpuMeter;
use crate::cores;
pub use guard::Guard;
pub use spec::{Kind, Spec};

/// Where programs are found and where they run.
#[derive(Clone, Debug)]
pub struct Place {
    /// Address that servers listen on.
    pub address: IpAddr,
    /// Cores that servers run on.
    pub cores: Vec<usize>,
    /// The `roadcast` program, where a spec names none.
    pub roadcast: PathBuf,
    /// Directory of the peers' programs.
    pub peers: PathBuf,
    /// Directory for configurations and logs.
    pub scratch: PathBuf,
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    /// What it is called in the results.
    pub label: String,
    /// What it is.
    pub kind: Kind,
    /// What it says it is.
    pub version: String,
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Where publishes go, if not to `clients`.
    pub publishes: SocketAddr,
    /// Lines of each client's upgrade request.
    pub headers: String,
    /// Its process, unless it was running before.
    child: Option<Child>,
    meter: Option<CpuMeter>,
    /// What its publications travel through, if anything.
    _bus: Option<bus::Running>,
}

/// How long a server may take to serve.
const START: Duration = Duration::from_secs(30);
/// How long it may take to end when asked.
const STOP: Duration = Duration::from_secs(5);

impl Spec {
    /// The program to start, and its version; an error that says how to get what is missing.
    fn program(&self, place: &Place) -> Result<(PathBuf, String)> {
        let named = self
            .options
            .iter()
            .find(|(key, _)| key == "binary")
            .map(|(_, path)| PathBuf::from(path));
        let peer = |name: &str| {
            let version = std::fs::read_to_string(place.peers.join(format!("{name}.version")));
            (
                place.peers.join(name),
                version.map_or_else(|_| "unknown".into(), |text| text.trim().to_owned()),
            )
        };
        let (path, version) = match self.kind {
            Kind::Roadcast => {
                let path = named.unwrap_or_else(|| place.roadcast.clone());
                let version = said_version(&path);
                (path, version)
            }
            Kind::Floor | Kind::FloorPlain | Kind::BareRpc => {
                (std::env::current_exe()?, env!("CARGO_PKG_VERSION").to_owned())
            }
            Kind::Uws => peer("uwebsockets"),
            Kind::RoadRunner => peer("roadrunner"),
            Kind::Centrifugo => peer("centrifugo"),
        };
        if !path.is_file() {
            let builds = if self.kind == Kind::Roadcast {
                "cargo build --release"
            } else {
                "scripts/bench-peers"
            };
            bail!("not built: {} is missing ({builds} makes it)", path.display());
        }
        Ok((path, version))
    }

    /// Starts it and waits until it shakes hands.
    pub fn start(&self, place: &Place) -> Result<Server> {
        let (program, version) = self.program(place)?;
        let clients = free_port(place.address)?;
        let publishes = free_port(place.address)?;
        // However this process ends, the server does not outlive it.
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("tied").arg("--").arg(&program);
        let mut headers = String::new();
        let bus = self.bus()?.map(|bus| bus.start(place)).transpose()?;
        let broadcast = bus.as_ref().map(|bus| bus.section(self.kind));
        match self.kind {
            Kind::Roadcast => {
                command.arg("serve");
                let mut sections = broadcast.transpose()?.unwrap_or_default();
                if let Some(guard) = self.guard()? {
                    let post = guard.post(&place.scratch, self.delay())?;
                    sections.push_str(&post.sections);
                    headers = post.headers;
                }
                if !sections.is_empty() {
                    let config = self.scratch_file(place, "yaml");
                    std::fs::write(&config, sections)?;
                    command.arg("-c").arg(config);
                }
                let address = [
                    ("http.address", clients.to_string()),
                    ("rpc.listen", format!("tcp://{publishes}")),
                ];
                // One shard for the one core; no pings, as the others have none.
                let defaults = [("shards", "1"), ("ping_interval", "0s")]
                    .map(|(key, value)| (key, value.to_owned()));
                let own = self.options.iter().filter(|(key, _)| !spec::OWN.contains(&key.as_str()));
                let own: Vec<(&str, String)> =
                    own.map(|(key, value)| (key.as_str(), value.clone())).collect();
                let unset = defaults
                    .into_iter()
                    .filter(|(key, _)| own.iter().all(|(other, _)| other != key));
                for (key, value) in unset.chain(address).chain(own.iter().cloned()) {
                    command.arg("-o").arg(format!("roadcast.{key}={value}"));
                }
            }
            Kind::Floor | Kind::FloorPlain => {
                command.arg("floor").arg(clients.to_string()).arg(publishes.to_string());
                if self.kind == Kind::FloorPlain {
                    command.arg("--plain");
                }
            }
            Kind::BareRpc => {
                command.arg("bare-rpc").arg(publishes.to_string());
            }
            Kind::Uws => {
                command.arg(clients.ip().to_string()).arg(clients.port().to_string());
            }
            Kind::RoadRunner => {
                let config = self.scratch_file(place, "yaml");
                let worker = match self.guard()? {
                    None => format!("{} worker", program.display()),
                    Some(Guard::Workers) => guard::worker(&place.scratch, self.delay())?,
                    Some(guard) => bail!("RoadRunner has no guard like {guard:?}"),
                };
                let broadcast = broadcast
                    .transpose()?
                    .unwrap_or_else(|| "broadcast: { default: { driver: memory } }\n".to_owned());
                let sections = roadrunner_config(&worker, clients, publishes) + &broadcast;
                std::fs::write(&config, sections)?;
                command.arg(config);
            }
            Kind::Centrifugo => {
                let config = self.scratch_file(place, "json");
                let redis = bus.as_ref().map(bus::Running::redis).transpose()?;
                std::fs::write(&config, centrifugo_config(clients, redis))?;
                command.arg("--config").arg(config);
            }
        }
        let log = self.scratch_file(place, "log");
        let output = File::create(&log).with_context(|| log.display().to_string())?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // Children inherit the affinity of the thread that starts them.
        let own = cores::current()?;
        cores::pin(&place.cores)?;
        let child = command.spawn();
        cores::pin(&own)?;
        let mut server = Server {
            label: self.label.clone(),
            kind: self.kind,
            version,
            clients,
            publishes,
            headers,
            child: Some(child.with_context(|| format!("starting {}", self.label))?),
            meter: None,
            _bus: bus,
        };
        server
            .wait_until_ready()
            .with_context(|| format!("{} (its log: {})", self.label, log.display()))?;
        server.meter = Some(CpuMeter::new(server.pid().unwrap_or_default(), &place.cores)?);
        Ok(server)
    }

    fn scratch_file(&self, place: &Place, extension: &str) -> PathBuf {
        let name: String =
            self.label.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        place.scratch.join(format!("{name}.{extension}"))
    }
}

impl Server {
    /// A server that runs already, here or elsewhere. Its CPU time is not seen.
    pub fn running(label: String, kind: Kind, clients: SocketAddr, publishes: SocketAddr) -> Self {
        Self {
            label,
            kind,
            version: "unknown".into(),
            clients,
            publishes,
            headers: String::new(),
            child: None,
            meter: None,
            _bus: None,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Its CPU clocks, where they can be seen.
    pub fn meter(&self) -> Option<&CpuMeter> {
        self.meter.as_ref()
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + START;
        let handshake = self.kind.has_subscribers();
        let path = self.kind.dialect().path();
        loop {
            let ready = if handshake {
                shakes_hands(self.clients, path, &self.headers)
            } else {
                TcpStream::connect(self.publishes).is_ok()
            };
            if ready {
                return Ok(());
            }
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose())
            {
                bail!("ended before it served: {}", status?);
            }
            if Instant::now() > deadline {
                bail!("does not serve after {} s", START.as_secs());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(child) = &mut self.child else { return };
        if let Some(pid) = Pid::from_raw(child.id() as i32) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let deadline = Instant::now() + STOP;
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Becomes the program that `command` names, with its arguments, to be terminated when the parent
/// ends.
pub fn become_tied(command: &[OsString]) -> Result<()> {
    let (program, arguments) = command.split_first().context("no program")?;
    set_parent_process_death_signal(Some(Signal::TERM))?;
    Err(Command::new(program).args(arguments).exec()).with_context(|| program.display().to_string())
}

fn said_version(program: &Path) -> String {
    let said = Command::new(program).arg("--version").output();
    said.map_or_else(
        |_| "unknown".into(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

/// A port that nobody has at the moment.
pub fn free_port(address: IpAddr) -> Result<SocketAddr> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?)
}

fn shakes_hands(server: SocketAddr, path: &str, headers: &str) -> bool {
    let attempt = || -> std::io::Result<bool> {
        let mut stream = TcpStream::connect_timeout(&server, Duration::from_secs(1))?;
        stream.set_read_timeout(Some(Duration::from_secs(2)))?;
        stream.write_all(&crate::fleet::upgrade_request(path, server, headers))?;
        let mut head = [0; 12];
        stream.read_exact(&mut head)?;
        Ok(head.ends_with(b"101"))
    };
    attempt().unwrap_or(false)
}

fn roadrunner_config(worker: &str, clients: SocketAddr, publishes: SocketAddr) -> String {
    format!(
        "rpc: {{ listen: \"tcp://{publishes}\" }}\n\
         server: {{ command: \"{worker}\", relay: pipes, relay_timeout: 20s }}\n\
         http:\n  address: \"{clients}\"\n  max_request_size: 1024\n  middleware: [ \"websockets\" ]\n\
         \x20 pool: {{ num_workers: 1, max_jobs: 0, allocate_timeout: 60s, destroy_timeout: 5s }}\n\
         websockets:\n  broker: default\n  allowed_origin: \"*\"\n  path: \"/ws\"\n\
         \x20 pool: {{ num_workers: {}, max_jobs: 0, allocate_timeout: 60s, destroy_timeout: 5s }}\n\
         logs: {{ mode: production, level: error }}\n",
        guard::WORKERS
    )
}

fn centrifugo_config(clients: SocketAddr, redis: Option<SocketAddr>) -> String {
    serde_json::json!({
        "engine": if redis.is_some() { "redis" } else { "memory" },
        "redis_address": redis.map(|address| address.to_string()).unwrap_or_default(),
        "address": clients.ip().to_string(),
        "port": clients.port().to_string(),
        "client_insecure": true,
        "allow_publish_for_client": true,
        // As good as off: it refuses zero.
        "ping_interval": "24h",
        "pong_timeout": "8s",
        "log_level": "error",
        // Room for the backlog of an open loop: a slow client is measured, not cut off.
        "client_queue_max_size": 256 * 1024 * 1024,
        "client_channel_limit": 1024,
    })
    .to_string()
}
