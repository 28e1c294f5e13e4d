//! What the pool is to do, as plain values.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::users::{self, User};
use crate::access;

/// See the module. Variables may hold secrets: it has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct WorkerSettings {
    /// `server.command`: a program and its arguments.
    pub command: Vec<String>,
    /// Where workers run: the directory of the configuration file.
    pub directory: PathBuf,
    /// `server.user`.
    pub user: Option<User>,
    /// What the environment has beside our own and `RR_RELAY`, the later entry winning.
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
    /// What the operator has set. `rpc` is our own RPC address, as PHP's clients take it
    /// (`tcp://127.0.0.1:6001`), `path` that of the WebSocket. An error names the key.
    pub fn of(
        set: &access::WorkersSettings,
        rpc: Option<&str>,
        path: &str,
    ) -> Result<Self, String> {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let plain = |env: &[(String, crate::secret::Secret)]| {
            let each = env.iter().map(|(name, value)| (name.clone(), value.0.clone()));
            each.collect::<Vec<_>>()
        };
        let mut env: Vec<_> = rpc.map(|rpc| pair("RR_RPC", rpc)).into_iter().collect();
        env.extend(plain(&set.env));
        env.extend([pair("RR_MODE", "http"), pair("RR_BROADCAST_PATH", path)]);
        let user = set.user.as_deref().map(users::user).transpose();
        let some = |time: Duration| (!time.is_zero()).then_some(time);
        let pool = &set.pool;
        let supervisor = pool.supervisor.as_ref().map(|of| Supervision {
            watch_tick: of.watch_tick,
            ttl: some(of.ttl),
            idle_ttl: some(of.idle_ttl),
            exec_ttl: some(of.exec_ttl),
            memory_bytes_max: Some(of.max_worker_memory_bytes).filter(|bytes| *bytes > 0),
        });
        Ok(Self {
            command: set.command.clone(),
            directory: set.directory.clone(),
            user: user.map_err(|why| format!("server.user: {why}"))?,
            env,
            relay: match &set.relay {
                access::Relay::Pipes => Relay::Pipes,
                access::Relay::Tcp(address) => Relay::Tcp(*address),
                access::Relay::Unix(path) => Relay::Unix(path.clone()),
            },
            on_init: set.on_init.as_ref().map(|of| OnInit {
                command: of.command.clone(),
                timeout: of.timeout,
                env: plain(&of.env),
            }),
            num_workers: pool.num_workers,
            debug: pool.debug,
            max_jobs: pool.max_jobs as u64,
            allocate_timeout: pool.allocate_timeout,
            supervisor,
            stop_grace: pool.destroy_timeout,
            ..Self::default()
        })
    }

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
#[derive(Clone, PartialEq, Eq)]
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_operator_has_set_comes_in_roadrunner_s_order_and_zero_is_never() {
        let second = Duration::from_secs(1);
        let secret = |value: &str| crate::secret::Secret(value.to_owned());
        let mut set = access::WorkersSettings {
            command: vec!["php".into(), "worker.php".into()],
            directory: "/app".into(),
            env: vec![("RR_RPC".into(), secret("tcp://other:1")), ("RR_MODE".into(), secret("x"))],
            user: None,
            relay: access::Relay::Unix("/run/x".into()),
            relay_timeout: second,
            on_init: None,
            pool: access::PoolSettings {
                debug: false,
                num_workers: 3,
                max_jobs: 7,
                allocate_timeout: 2 * second,
                destroy_timeout: 3 * second,
                supervisor: Some(access::Supervisor {
                    watch_tick: second,
                    ttl: Duration::ZERO,
                    idle_ttl: second,
                    exec_ttl: Duration::ZERO,
                    max_worker_memory_bytes: 0,
                }),
            },
        };
        let of = |set: &_| WorkerSettings::of(set, Some("tcp://127.0.0.1:6001"), "/ws");
        let settings = of(&set).unwrap_or_else(|why| panic!("{why}"));
        let env: Vec<_> =
            settings.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let expected = [
            ("RR_RPC", "tcp://127.0.0.1:6001"),
            ("RR_RPC", "tcp://other:1"),
            ("RR_MODE", "x"),
            ("RR_MODE", "http"),
            ("RR_BROADCAST_PATH", "/ws"),
        ];
        assert_eq!(env, expected);
        let supervision = settings.supervision();
        assert_eq!((supervision.ttl, supervision.idle_ttl), (None, Some(second)));
        assert_eq!((supervision.exec_ttl, supervision.memory_bytes_max), (None, None));
        assert_eq!((settings.num_workers, settings.max_jobs), (3, 7));
        assert_eq!((settings.allocate_timeout, settings.stop_grace), (2 * second, 3 * second));
        set.user = Some("no such user".into());
        let why = of(&set).err().unwrap_or_default();
        assert!(why.starts_with("server.user: there is no user"), "{why}");
    }
}
