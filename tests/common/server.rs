//! `roadcast serve` as a child process.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::{Client, PATIENCE, Publisher};

/// The binary under test; `ROADCAST_BINARY` names another build of it.
pub(super) fn binary() -> OsString {
    std::env::var_os("ROADCAST_BINARY").unwrap_or_else(|| env!("CARGO_BIN_EXE_roadcast").into())
}

/// The backend that every server is to run on: `ROADCAST_TEST_BACKEND` if set, as `scripts/test`
/// does for its second pass, else what the server chooses by itself.
pub fn backend() -> Option<String> {
    std::env::var("ROADCAST_TEST_BACKEND").ok()
}

/// Whether nothing is to run on another backend than epoll.
pub fn only_epoll() -> bool {
    backend().is_some_and(|backend| backend == "epoll")
}

/// Whether servers run on epoll: by that variable, or because this machine denies io_uring.
pub fn on_epoll() -> bool {
    let checked = roadcast().args(["check", "-c", "/dev/null"]).output().expect("check runs");
    String::from_utf8_lossy(&checked.stdout).lines().any(|line| {
        line.strip_prefix("backend").is_some_and(|backend| backend.trim().starts_with("epoll"))
    })
}

/// In an empty directory, without configuration from the environment but for the backend.
fn isolated(mut command: Command) -> Command {
    command.current_dir(env!("CARGO_TARGET_TMPDIR"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("RR_") {
            command.env_remove(name);
        }
    }
    if let Some(backend) = backend() {
        command.env("RR_ROADCAST_BACKEND", backend);
    }
    command
}

/// A command that runs the binary under test in an empty directory, without configuration from the
/// environment.
pub fn roadcast() -> Command {
    isolated(Command::new(binary()))
}

/// As [`roadcast`], in the place of a shell that has run `before`: limits, descriptors, a control
/// group.
pub fn roadcast_after(before: &str) -> Command {
    after(before, &binary())
}

pub(super) fn after(before: &str, binary: &OsStr) -> Command {
    let mut command = isolated(Command::new("bash"));
    command.args(["-c", &format!("set -e\n{before}\nexec \"$0\" \"$@\"")]).arg(binary);
    command
}

/// A running server; killed when dropped. Its log is printed if the test fails.
pub struct Server {
    child: Child,
    /// Where clients connect.
    pub clients: SocketAddr,
    /// Where publishers connect, as printed: `tcp://…` or `unix://…`.
    pub publish: String,
    /// What the server printed until it served, ready or not.
    pub printed: Vec<String>,
    lines: Mutex<Receiver<String>>,
    log: Arc<Mutex<String>>,
}

impl Server {
    /// Two shards, free ports, and `overrides` (`key=value`) on top.
    pub fn start(overrides: &[&str]) -> Self {
        Self::start_with(&[], overrides)
    }

    /// A server that cannot finish: a client that does not read holds what it was sent.
    pub fn held_open() -> (Self, Client) {
        let server = Self::start(&[
            "roadcast.shutdown_grace=10m",
            "roadcast.limits.laggard_timeout=10m",
            "roadcast.limits.close_timeout=10m",
            "roadcast.ping_interval=0",
            "roadcast.limits.socket_send_bytes=16384",
        ]);
        let mut stalled = Client::connect_narrow(server.clients, 4096);
        stalled.join(&["held"]);
        // More than both kernels hold, less than the outbox: it lags and stays.
        let calls = (0..20).map(|_| ("held".to_owned(), vec![b'x'; 50_000]));
        server.publisher().publish_all(4, calls);
        (server, stalled)
    }

    /// As [`Server::start`], with more arguments for `serve`.
    pub fn start_with(arguments: &[&str], overrides: &[&str]) -> Self {
        let mut command = roadcast();
        command.arg("serve").args(arguments);
        Self::start_by(command, overrides)
    }

    /// As [`Server::start`], by a command that runs `roadcast serve` in its own way.
    pub fn start_by(mut command: Command, overrides: &[&str]) -> Self {
        for setting in [
            "roadcast.shards=2",
            "roadcast.http.address=127.0.0.1:0",
            "roadcast.rpc.listen=tcp://127.0.0.1:0",
        ] {
            command.args(["-o", setting]);
        }
        for setting in overrides {
            command.args(["-o", setting]);
        }
        Self::spawn(command)
    }

    /// Runs `command`, which must be a `roadcast serve`, and waits until it says that it is ready.
    pub fn spawn(mut command: Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary under test starts");
        let log = Arc::new(Mutex::new(String::new()));
        let mut stderr = child.stderr.take().expect("stderr is piped");
        let sink = log.clone();
        thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = stderr.read(&mut chunk) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| sender.send(line).is_ok())
        });

        let mut printed = Vec::new();
        let serves = |line: &String| line == "ready" || line.starts_with("serving, but not ready");
        while !printed.last().is_some_and(serves) {
            match lines.recv_timeout(PATIENCE) {
                Ok(line) => printed.push(line),
                Err(error) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    panic!(
                        "no `ready` from the server ({error})\nprinted: {printed:#?}\nlog:\n{}",
                        log.lock().unwrap()
                    );
                }
            }
        }
        let fact = |name: &str| {
            let line = printed.iter().find(|line| line.split_whitespace().next() == Some(name));
            line.and_then(|line| line.split_whitespace().nth(1))
                .unwrap_or_else(|| panic!("`{name}` in {printed:#?}"))
        };
        let url = fact("clients");
        let address = url
            .strip_prefix("ws://")
            .and_then(|rest| rest.split('/').next())
            .expect("ws://ADDRESS/PATH");
        let clients = address.parse().unwrap_or_else(|_| panic!("an address in `{url}`"));
        let publish = fact("publishers").to_owned();
        Self { child, clients, publish, printed, lines: Mutex::new(lines), log }
    }

    /// URL of the WebSocket endpoint at its default path.
    pub fn url(&self) -> String {
        format!("ws://{}/ws", self.clients)
    }

    /// A client connected to the default path.
    pub fn client(&self) -> Client {
        Client::connect(self.clients, "/ws").expect("the server takes a client")
    }

    /// Where an endpoint listens (`metrics` or `status`), as printed.
    pub fn endpoint(&self, name: &str) -> SocketAddr {
        let line =
            self.printed.iter().find(|line| line.starts_with(name)).expect("the endpoint is on");
        let url = line.split_whitespace().nth(1).expect("a URL");
        let address = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next())
            .expect("http://ADDRESS/");
        address.parse().expect("an address")
    }

    /// A publisher with an RPC connection of its own.
    pub fn publisher(&self) -> Publisher {
        Publisher::connect(&self.publish)
    }

    /// Waits until it has printed that it is ready.
    #[track_caller]
    pub fn is_ready(&mut self) {
        while self.printed.last().is_none_or(|line| line != "ready") {
            let line = self.lines.get_mut().unwrap().recv_timeout(PATIENCE);
            self.printed.push(line.expect("`ready` from the server"));
        }
    }

    /// Process id of the server.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal by number.
    pub fn signal(&self, signal: i32) {
        let pid =
            rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process id is not 0");
        let signal = rustix::process::Signal::from_named_raw(signal).expect("a signal's number");
        rustix::process::kill_process(pid, signal).expect("the server can be signalled");
    }

    /// Threads of the process, those of the kernel on its behalf included.
    pub fn threads(&self) -> usize {
        let tasks =
            std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the process runs");
        tasks.count()
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        // Its standard output ends with the process; waiting for that needs no polling.
        loop {
            match self
                .lines
                .get_mut()
                .unwrap()
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) => self.printed.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("the server does not end\nlog:\n{}", self.log())
                }
            }
        }
        self.child.wait().expect("the server is our child")
    }

    /// What shard `shard` has counted, as SIGUSR1 has it written to the log: for when nothing can
    /// connect to ask.
    pub fn counts(&self, shard: usize) -> HashMap<String, u64> {
        const SIGUSR1: i32 = 10;
        let words = format!("counts by now, shard {shard}: ");
        let said = |log: &str| log.matches(&words).count();
        let before = said(&self.log());
        self.signal(SIGUSR1);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            // A line is whole once its end is there.
            if said(&log) > before
                && let Some((line, _)) =
                    log.rsplit(&words).next().and_then(|rest| rest.split_once('\n'))
            {
                // In `logs.mode: production` the line is JSON, and ends with that.
                let counts = line
                    .trim_end_matches("\"}")
                    .split_whitespace()
                    .filter_map(|pair| pair.split_once('='));
                return counts
                    .map(|(name, count)| (name.to_owned(), count.parse().expect("a count")))
                    .collect();
            }
            assert!(Instant::now() < deadline, "no counts in:\n{log}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// What the server has written to standard error so far.
    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }
}

impl Server {
    /// The `count` lines of its log that hold `words`, waited for: the log is read behind what it
    /// is about.
    #[track_caller]
    pub fn says(&self, words: &str, count: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = self.log();
            let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
            if lines.len() >= count || Instant::now() > deadline {
                assert_eq!(lines.len(), count, "`{words}` in:\n{log}");
                return lines.join("\n");
            }
            thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            println!("--- end of the server's log ---");
            tail.iter().rev().for_each(|line| println!("{line}"));
        }
    }
}
