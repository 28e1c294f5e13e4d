//! Clients or servers in a network namespace of their own, behind a veth pair with an MTU of 1500.
//!
//! Needs root and iproute2; a test that finds these missing is skipped.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::{Client, Server, roadcast, skip};

/// A namespace that a veth pair joins to ours; both are deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
    outside: String,
    host: Ipv4Addr,
}

fn ip(arguments: &str) -> Result<(), String> {
    match Command::new("ip").args(arguments.split_whitespace()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim()))
        }
        Err(error) => Err(format!("`ip {arguments}`: {error} (iproute2 is needed)")),
    }
}

impl Namespace {
    /// None, and the test is skipped, where none can be made.
    pub fn create() -> Option<Self> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let [_, _, high, low] = process.to_be_bytes();
        let namespace = Self {
            name: format!("roadcast-{process}-{number}"),
            outside: format!("rc{process:x}n{number}"),
            // A network of its own for each test of each process; 198.18.0.0/15 is set aside for
            // tests (RFC 2544).
            host: Ipv4Addr::new(198, 18 | high & 1, low, 4 * number + 1),
        };
        match namespace.connect() {
            Ok(()) => Some(namespace),
            Err(problem) => {
                skip(format_args!(
                    "no network namespace with a veth pair can be made ({problem}); it takes root and iproute2"
                ));
                None
            }
        }
    }

    fn connect(&self) -> Result<(), String> {
        let Self { name, outside, host } = self;
        let inside = self.address();
        ip(&format!("netns add {name}"))?;
        ip(&format!(
            "link add {outside} mtu 1500 type veth peer name inside mtu 1500 netns {name}"
        ))?;
        ip(&format!("addr add {host}/30 dev {outside}"))?;
        ip(&format!("link set {outside} up"))?;
        ip(&format!("-n {name} addr add {inside}/30 dev inside"))?;
        ip(&format!("-n {name} link set inside up"))?;
        // For servers inside, and those who look whether they run.
        ip(&format!("-n {name} link set lo up"))
    }

    /// Where servers inside are reached.
    pub fn address(&self) -> Ipv4Addr {
        let [a, b, c, d] = self.host.octets();
        Ipv4Addr::new(a, b, c, d + 1)
    }

    /// Two shards that clients reach over the pair, and publishers over loopback.
    pub fn server(&self, overrides: &[&str]) -> Server {
        let mut command = roadcast();
        let address = format!("roadcast.http.address={}:0", self.host);
        command.args([
            "serve",
            "-o",
            "roadcast.shards=2",
            "-o",
            "roadcast.rpc.listen=tcp://127.0.0.1:0",
            "-o",
            &address,
        ]);
        for setting in overrides {
            command.args(["-o", setting]);
        }
        Server::spawn(command)
    }

    /// Runs `connect` inside: a socket belongs to the namespace in which it was made, whoever uses
    /// it later; and a process that is started there stays there.
    pub fn inside<T: Send>(&self, connect: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let name = File::open(format!("/run/netns/{}", self.name))
                    .expect("the namespace has a name");
                // Of this thread alone, which ends here.
                move_into_link_name_space(name.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                connect()
            });
            inside.join().expect("the clients connect")
        })
    }

    /// From now on nothing leaves the namespace towards the server: no acknowledgement, no reset,
    /// no goodbye. What the server sends still comes in.
    pub fn fall_silent(&self) {
        ip(&format!("-n {} route add blackhole {}/32", self.name, self.host)).expect("a blackhole");
    }

    /// All passes again.
    pub fn speak_again(&self) {
        ip(&format!("-n {} route del blackhole {}/32", self.name, self.host)).expect("a blackhole");
    }

    /// TCP sockets on our side of the pair, in whatever state, that the kernel still keeps for a
    /// client inside.
    pub fn sockets_kept(&self, server: &Server) -> usize {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("proc(5)");
        // An address is its bytes as a number of this machine's order, in hexadecimal.
        let local = u32::from_ne_bytes(self.host.octets());
        let local = format!("{local:08X}:{:04X}", server.clients.port());
        let rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        // State 0A is the listeners'.
        rows.filter(|row| row.get(1) == Some(&local.as_str()) && row.get(3) != Some(&"0A")).count()
    }

    /// Clients inside, made by `connect`.
    pub fn clients(
        &self,
        count: usize,
        connect: impl Fn(SocketAddr) -> Client + Send,
        server: &Server,
    ) -> Vec<Client> {
        let address = server.clients;
        assert_eq!(address.ip(), self.host, "clients come over the pair");
        self.inside(move || (0..count).map(|_| connect(address)).collect())
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // The pair goes at once; the namespace when its last socket does.
        let _ = ip(&format!("link del {}", self.outside));
        let _ = ip(&format!("netns del {}", self.name));
    }
}
