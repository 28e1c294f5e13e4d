//! Laggards and order over a veth pair with an MTU of 1500, clients in a network namespace of their own.
//!
//! Loopback takes megabytes at once; a real network takes what its window allows, so short sends, which are rare
//! there, happen with every large message here. Needs root and iproute2. Where these are missing the tests fail and
//! say so, unless `ROADCAST_SKIP_VETH=1` says that this is known.

mod common;

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};
use std::thread;

use common::{Client, Numbered, Received, Server, roadcast};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// Larger than what a fresh socket takes at once over this link (78 KiB measured), smaller than a publication's bound.
const RUN: Numbered = Numbered { messages: 400, payload_bytes: 100 * 1024 };

/// A namespace that a veth pair joins to ours; both are deleted when dropped.
struct Namespace {
    name: String,
    outside: String,
    host: Ipv4Addr,
}

fn ip(arguments: &str) -> Result<(), String> {
    match Command::new("ip").args(arguments.split_whitespace()).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("`ip {arguments}`: {}", String::from_utf8_lossy(&output.stderr).trim())),
        Err(error) => Err(format!("`ip {arguments}`: {error} (iproute2 is needed)")),
    }
}

impl Namespace {
    /// None only where `ROADCAST_SKIP_VETH=1` allows it.
    fn create() -> Option<Self> {
        static COUNT: AtomicU8 = AtomicU8::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let process = std::process::id();
        let [_, _, high, low] = process.to_be_bytes();
        let namespace = Self {
            name: format!("roadcast-{process}-{number}"),
            outside: format!("rc{process:x}n{number}"),
            // A network of its own for each test of each process; 198.18.0.0/15 is set aside for tests (RFC 2544).
            host: Ipv4Addr::new(198, 18 | high & 1, low, 4 * number + 1),
        };
        match namespace.connect() {
            Ok(()) => Some(namespace),
            Err(problem) if std::env::var("ROADCAST_SKIP_VETH").as_deref() == Ok("1") => {
                eprintln!(
                    "NOT TESTED, as ROADCAST_SKIP_VETH=1 allows: no veth pair can be made here: {problem}"
                );
                None
            }
            Err(problem) => panic!(
                "no veth pair can be made here, so delivery over a real network's short sends is NOT TESTED: \
                 {problem}. Run as root with iproute2 installed, or set ROADCAST_SKIP_VETH=1"
            ),
        }
    }

    fn connect(&self) -> Result<(), String> {
        let Self { name, outside, host } = self;
        let [a, b, c, d] = host.octets();
        ip(&format!("netns add {name}"))?;
        ip(&format!("link add {outside} mtu 1500 type veth peer name inside mtu 1500 netns {name}"))?;
        ip(&format!("addr add {host}/30 dev {outside}"))?;
        ip(&format!("link set {outside} up"))?;
        ip(&format!("-n {name} addr add {a}.{b}.{c}.{}/30 dev inside", d + 1))?;
        ip(&format!("-n {name} link set inside up"))
    }

    /// Two shards that clients reach over the pair, and publishers over loopback.
    fn server(&self, overrides: &[&str]) -> Server {
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

    /// Runs `connect` inside: a socket belongs to the namespace in which it was made, whoever uses it later.
    fn inside<T: Send>(&self, connect: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let name = File::open(format!("/run/netns/{}", self.name)).expect("the namespace has a name");
                // Of this thread alone, which ends here.
                move_into_link_name_space(name.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter");
                connect()
            });
            inside.join().expect("the clients connect")
        })
    }

    fn clients(
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

#[test]
fn every_reader_gets_everything_in_order_although_sends_are_short() {
    let Some(namespace) = Namespace::create() else { return };
    let server = namespace.server(&[
        "roadcast.limits.outbox_bytes=67108864",
        "roadcast.limits.lane_bytes=67108864",
        "roadcast.limits.outboxes_bytes=1073741824",
        "roadcast.limits.laggard_timeout=10m",
        "roadcast.ping_interval=0",
    ]);
    // Half of them with a small window, so that they fall behind and come back again and again.
    let mut readers =
        namespace.clients(4, |address| Client::connect(address, "/ws").expect("an upgrade"), &server);
    readers.extend(namespace.clients(4, |address| Client::connect_narrow(address, 32 * 1024), &server));
    readers.iter_mut().for_each(|client| client.join(&["news"]));
    thread::scope(|scope| {
        for client in &mut readers {
            scope.spawn(|| {
                RUN.read(client, 0..RUN.messages);
                client.leave(&["news"]);
            });
        }
        RUN.publish(&server, 0..RUN.messages);
    });
    readers.into_iter().for_each(Client::close);
}

#[test]
fn one_that_does_not_read_gets_a_prefix_and_the_others_everything() {
    let Some(namespace) = Namespace::create() else { return };
    let server = namespace.server(&[
        "roadcast.limits.publication_bytes=131072",
        "roadcast.limits.outbox_bytes=8388608",
        "roadcast.limits.lane_bytes=8388608",
        "roadcast.limits.socket_send_bytes=65536",
    ]);
    let mut readers =
        namespace.clients(4, |address| Client::connect(address, "/ws").expect("an upgrade"), &server);
    let mut stalled = namespace.clients(2, |address| Client::connect_narrow(address, 16 * 1024), &server);
    readers.iter_mut().chain(&mut stalled).for_each(|client| client.join(&["news"]));
    RUN.publish_in_step(&server, 0..RUN.messages, 16, &mut readers);
    for client in &mut stalled {
        let (count, end) = RUN.read_prefix(client);
        assert!(matches!(end, Received::Close(1013) | Received::End), "{end:?} after {count} messages");
        assert!(count < RUN.messages, "it was given everything: the test has not made it lag");
    }
    readers.into_iter().for_each(Client::close);
}
