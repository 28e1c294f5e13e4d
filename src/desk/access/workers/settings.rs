//! What the pool is to do, as plain values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// `server.command`: a program and its arguments.
    pub command: Vec<String>,
    /// Where workers run: the directory of the configuration file.
    pub directory: PathBuf,
    /// `server.user`.
    pub user: Option<User>,
    /// What the environment has beside our own and `RR_RELAY`, the later entry winning:
    /// `RR_RPC`, `server.env`, `RR_MODE`, `RR_BROADCAST_PATH`, `roadcast.workers.env`.
    pub env: Vec<(String, String)>,
    /// `roadcast.workers.relay`.
    pub relay: Relay,
    /// `server.on_init`, where `roadcast.workers.on_init` says so.
    pub on_init: Option<OnInit>,
    /// `websockets.pool.num_workers`, 0 already replaced. With `debug`: how many processes there
    /// are at most.
    pub num_workers: usize,
    /// A fresh process for each question.
    pub debug: bool,
    /// Answers of one worker before it is replaced; 0: never for that.
    pub max_jobs: u64,
    /// For a worker to start, and for a question to wait for one.
    pub allocate_timeout: Duration,
    /// `websockets.pool.supervisor`.
    pub supervisor: Option<Supervision>,
    /// For a worker to end by itself when it is told to, before it is killed.
    pub stop_grace: Duration,
    /// Questions that wait.
    pub waiting_max: usize,
    /// Bytes of the questions that wait.
    pub waiting_bytes_max: usize,
}

impl Default for WorkerSettings {
    fn default() -> Self {
        Self {
            command: Vec::new(),
            directory: ".".into(),
            user: None,
            env: Vec::new(),
            relay: Relay::Pipes,
            on_init: None,
            // RoadRunner's, without a section `pool`.
            num_workers: 2,
            debug: false,
            max_jobs: 0,
            allocate_timeout: Duration::from_secs(60),
            supervisor: None,
            // RoadRunner's, from 2.11.2 on.
            stop_grace: Duration::from_secs(10),
            waiting_max: 16 * 1024,
            waiting_bytes_max: 32 << 20,
        }
    }
}

impl WorkerSettings {
    /// The supervision; where there is none, one that replaces nobody.
    pub fn supervision(&self) -> Supervision {
        self.supervisor.unwrap_or(Supervision {
            watch_tick: Duration::from_secs(3600),
            ttl: None,
            idle_ttl: None,
            exec_ttl: None,
            memory_bytes_max: None,
        })
    }
}

/// Whom a worker runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// Its id.
    pub uid: u32,
    /// Its primary group.
    pub gid: u32,
}

/// How a worker's frames travel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relay {
    /// By its stdin and stdout.
    Pipes,
    /// It connects to this address; the same address in the environment, where a name stands.
    Tcp(SocketAddr),
    /// It connects to this socket.
    Unix(PathBuf),
}

/// What is run once before the first worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnInit {
    /// As [`WorkerSettings::command`].
    pub command: Vec<String>,
    /// It is killed when this is over.
    pub timeout: Duration,
    /// As [`WorkerSettings::env`], and behind it.
    pub env: Vec<(String, String)>,
}

/// When a worker is replaced. All but `exec_ttl` let it finish what it is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// Between two looks at a worker.
    pub watch_tick: Duration,
    /// It has lived for so long.
    pub ttl: Option<Duration>,
    /// It has been asked at least once, and then not for so long.
    pub idle_ttl: Option<Duration>,
    /// An answer takes so long: it is killed at once.
    pub exec_ttl: Option<Duration>,
    /// Its resident memory.
    pub memory_bytes_max: Option<u64>,
}
