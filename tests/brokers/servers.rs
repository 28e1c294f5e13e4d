//! Brokers' servers: started on free ports of loopback in directories of their own, killed, held
//! still, started again.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::process::{Pid, Signal, kill_process};

use crate::common::{Server, eventually, installed};

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

/// A node whose default broker `main` is at this address, beside a memory broker `local`, with
/// these settings on top.
pub fn node(driver: &str, address: &str, overrides: &[&str]) -> Server {
    let driver = format!("broadcast.main.driver={driver}");
    let address = format!("broadcast.main.config.addrs={address}");
    let own = [
        driver.as_str(),
        &address,
        "broadcast.local.driver=memory",
        "websockets.broker=main",
        "roadcast.metrics.address=127.0.0.1:0",
        "roadcast.status.address=127.0.0.1:0",
    ];
    Server::start(&[&own[..], overrides].concat())
}

/// A port that nobody has at the moment.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

impl BrokerServer {
    /// One for a driver, `redis` or `nats`.
    pub fn of(driver: &str) -> Option<Self> {
        if driver == "redis" { Self::redis(&[]) } else { Self::nats(&[]) }
    }

    /// A Redis with these arguments (`--requirepass secret`); `None`, and the test is skipped,
    /// where there is none.
    pub fn redis(arguments: &[&str]) -> Option<Self> {
        let port = free_port();
        let own = ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""];
        Self::start("redis-server", port, [&own, arguments].concat())
    }

    /// A Redis where clients need certificates, at the second port. They are in its directory:
    /// `ca.pem`; `server.pem` of `redis.test`; `client.pem` and `client.key`.
    pub fn redis_with_tls() -> Option<(Self, u16)> {
        if !installed("openssl") {
            return None;
        }
        let port = free_port();
        let tls = port.to_string();
        let files =
            "--tls-cert-file server.pem --tls-key-file server.key --tls-ca-cert-file ca.pem";
        let arguments: Vec<&str> =
            ["--tls-port", &tls].into_iter().chain(files.split(' ')).collect();
        let script = "
            openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=ca \\
                -keyout ca.key -out ca.pem
            for who in server client; do
                openssl req -newkey rsa:2048 -nodes -keyout $who.key -out $who.csr -subj /CN=$who
                echo subjectAltName=DNS:redis.test >$who.ext
                openssl x509 -req -in $who.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 \\
                    -extfile $who.ext -out $who.pem
            done";
        let own = free_port();
        let own_port = own.to_string();
        let usual = ["--port", &own_port, "--bind", "127.0.0.1", "--save", ""];
        let server =
            Self::start_after(script, "redis-server", own, [&usual, &arguments[..]].concat());
        server.map(|server| (server, port))
    }

    /// A Sentinel that watches a master under a name, alone.
    pub fn sentinel(master: &Self, name: &str) -> Option<Self> {
        let port = free_port();
        let script = format!(
            "printf 'port {port}\\nbind 127.0.0.1\\nsentinel monitor {name} 127.0.0.1 {} 1\\n' >s.conf
             printf 'sentinel down-after-milliseconds {name} 500\\n' >>s.conf
             printf 'sentinel failover-timeout {name} 3000\\n' >>s.conf",
            master.port
        );
        Self::start_after(&script, "redis-server", port, vec!["s.conf", "--sentinel"])
    }

    /// A NATS with these arguments; `None`, and the test is skipped, where there is none.
    pub fn nats(arguments: &[&str]) -> Option<Self> {
        let port = free_port();
        let own = ["-p", &port.to_string(), "-a", "127.0.0.1"];
        Self::start("nats-server", port, [&own, arguments].concat())
    }

    fn start(program: &'static str, port: u16, arguments: Vec<&str>) -> Option<Self> {
        Self::start_after("", program, port, arguments)
    }

    /// Runs a script in its directory before.
    fn start_after(
        script: &str,
        program: &'static str,
        port: u16,
        arguments: Vec<&str>,
    ) -> Option<Self> {
        if !installed(program) {
            return None;
        }
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let name = format!("{program}-{}-{number}", std::process::id());
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&directory).expect("a directory for the server");
        let ran = Command::new("bash")
            .args(["-ec", script])
            .current_dir(&directory)
            .stderr(Stdio::null())
            .status();
        assert!(ran.expect("bash runs").success(), "what comes before {program} can be done");
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

    /// The same with a password.
    pub fn redis_cli_with(&self, password: &str, arguments: &[&str]) -> String {
        self.redis_cli(&[&["--no-auth-warning", "-a", password], arguments].concat())
    }

    /// PUBLISH to a Redis by another program: how many subscribers there were.
    #[track_caller]
    pub fn redis_publish(&self, channel: &str, payload: &str) -> usize {
        let said = self.redis_cli(&["PUBLISH", channel, payload]);
        said.parse().unwrap_or_else(|_| panic!("a number of subscribers: {said}"))
    }

    /// How many connections to a Redis are subscribed to a channel. None if it does not say: a
    /// Sentinel that makes it a master ends its connections.
    pub fn redis_subscribers(&self, channel: &str) -> usize {
        let said = self.redis_cli(&["PUBSUB", "NUMSUB", channel]);
        said.lines().last().and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// What it has written to its log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for BrokerServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            println!("--- end of the log of {} at {} ---", self.program, self.port);
            tail.iter().rev().for_each(|line| println!("{line}"));
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
