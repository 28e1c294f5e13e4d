//! Brokers' servers: started on free ports of loopback in directories of their own, killed, held
//! still, started again.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{eventually, installed};

/// A server that a broker talks to. Killed when dropped.
pub struct BrokerServer {
    program: &'static str,
    arguments: Vec<String>,
    /// Where it listens.
    pub port: u16,
    /// Where it runs.
    pub directory: PathBuf,
    child: Option<Child>,
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

impl BrokerServer {
    /// A Redis with these arguments (`--requirepass secret`); `None`, and the test is skipped,
    /// where there is none.
    pub fn redis(arguments: &[&str]) -> Option<Self> {
        let port = free_port();
        let own = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""];
        Self::start("redis-server", port, [&own, arguments].concat())
    }

    /// A NATS with these arguments; `None`, and the test is skipped, where there is none.
    pub fn nats(arguments: &[&str]) -> Option<Self> {
        let port = free_port();
        let own = ["-p", &port.to_string(), "-a", "127.0.0.1"];
        Self::start("nats-server", port, [&own, arguments].concat())
    }

    fn start(program: &'static str, port: u16, arguments: Vec<&str>) -> Option<Self> {
        if !installed(program) {
            return None;
        }
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{program}-{}-{number}", std::process::id());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory for the server");
        let arguments = arguments.into_iter().map(str::to_owned).collect();
        let mut server = Self { program, arguments, port, directory, child: None };
        server.start_again();
        Some(server)
    }

    /// Starts it again on the same port, once it has ended, and waits until it takes connections.
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let log = fs::File::create(self.directory.join("log")).expect("a log");
        let child = Command::new(self.program)
            .args(&self.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("it is installed"));
        eventually(self.program, || TcpStream::connect(("127.0.0.1", self.port)).is_ok());
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.pid() as i32).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    /// Ends it at once: no word to anybody.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        let _ = child.kill();
        let _ = child.wait();
    }

    /// What a Redis answers to a command, as redis-cli prints it.
    pub fn redis_cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.port.to_string()])
            .args(arguments)
            .stderr(Stdio::inherit())
            .output()
            .expect("redis-cli comes with redis-server");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for BrokerServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

#[test]
fn a_server_that_was_killed_comes_back_on_its_port() {
    for server in [BrokerServer::redis(&[]), BrokerServer::nats(&[])] {
        let Some(mut server) = server else { continue };
        let before = (server.pid(), server.address());
        server.kill();
        assert!(TcpStream::connect(server.address()).is_err());
        server.start_again();
        assert_ne!(server.pid(), before.0);
        assert_eq!(server.address(), before.1);
    }
}

#[test]
fn a_redis_that_is_held_still_answers_when_it_goes_on() {
    let Some(server) = BrokerServer::redis(&[]) else { return };
    server.signal(Signal::STOP);
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.redis_cli(&["PING"]));
        server.signal(Signal::CONT);
        asked.join().unwrap()
    });
    assert_eq!(asked, "PONG");
}
