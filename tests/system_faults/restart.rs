//! Ends and new starts: killed, told twice, restarted with a mistake in the configuration.
//!
//! Goal: exit codes say what happened, the addresses are free at once, and a server that runs is
//! not harmed by one that cannot. What SIGTERM promises to those who are connected is in
//! `shutdown.rs`.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::common::{PROTO, Received, Server, eventually, messages, roadcast};

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

/// The addresses of a server, as settings for the next one.
fn same_addresses(server: &Server) -> Vec<String> {
    vec![
        format!("roadcast.http.address={}", server.clients),
        format!("roadcast.rpc.listen={}", server.publish),
        format!("metrics.address={}", server.endpoint("metrics")),
        format!("status.address={}", server.endpoint("status")),
    ]
}

const ADMIN: &[&str] = &["metrics.address=127.0.0.1:0", "status.address=127.0.0.1:0"];

fn started(settings: &[String]) -> Server {
    Server::start(&settings.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Has clients and publishers at work around `act`; they end when the server does, or are told to.
fn under_load(server: &Server, act: impl FnOnce()) {
    let (over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let (over, answered) = (&over, &answered);
        for _ in 0..4 {
            let mut client = server.client();
            client.join(&["news"]);
            scope.spawn(move || {
                while matches!(client.next(), Received::Message(..) | Received::Reply(..)) {}
            });
        }
        for _ in 0..2 {
            let mut publisher = server.publisher();
            let body = messages(&[(&["news"], &[b'x'; 500])]);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed)
                    && publisher.call("broadcast.Publish", PROTO, &body).is_ok()
                    && publisher.answer().is_ok()
                {
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        eventually("load", || answered.load(Ordering::Relaxed) > 500);
        act();
        over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_second_signal_under_load_ends_it_at_once_with_128_and_its_number() {
    for (first, second) in [(SIGINT, SIGINT), (SIGTERM, SIGTERM), (SIGTERM, SIGINT)] {
        let (mut server, stalled) = Server::held_open();
        let mut reader = server.client();
        reader.join(&["watched"]);
        under_load(&server, || {
            server.signal(first);
            assert_eq!(reader.next(), Received::Close(1001));
            server.signal(second);
        });
        assert_eq!(server.wait().code(), Some(128 + second), "{first}, then {second}");
        drop(stalled);
    }
}

#[test]
fn killed_under_load_it_leaves_its_addresses_to_the_next_start_at_once() {
    let mut server = Server::start(ADMIN);
    let settings = same_addresses(&server);
    // Again and again, with the connections of each killed server still about.
    for _ in 0..3 {
        under_load(&server, || server.signal(SIGKILL));
        assert_eq!(server.wait().signal(), Some(SIGKILL));
        server = started(&settings);
        let mut client = server.client();
        client.join(&["news"]);
        server.publisher().publish(&["news"], b"again");
        client.expect("news", "again");
        client.close();
    }
}

#[test]
fn ended_under_load_it_leaves_its_addresses_to_the_next_start_at_once() {
    let mut server = Server::start(ADMIN);
    let settings = same_addresses(&server);
    for _ in 0..3 {
        under_load(&server, || server.signal(SIGTERM));
        assert_eq!(server.wait().code(), Some(0));
        server = started(&settings);
        server.client().join(&["news"]);
    }
}

/// What a start with these settings says on standard error; its exit code is 1.
fn refused(settings: &[String]) -> String {
    let mut command = roadcast();
    command.arg("serve");
    for setting in settings {
        command.args(["-o", setting]);
    }
    let output = command.output().expect("the binary under test starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(output.stdout.is_empty(), "it says that it is ready: {output:?}");
    said
}

fn listens(address: SocketAddr) -> bool {
    TcpStream::connect(address).is_ok()
}

#[test]
fn a_mistake_in_the_configuration_at_a_restart_is_told_and_binds_nothing() {
    let mut server = Server::start(ADMIN);
    let settings = same_addresses(&server);
    let mistakes = [
        ("roadcast.limits.outbox_bytes=lots", "roadcast.limits.outbox_bytes"),
        ("roadcast.limits.outboxes_bytes=1", "roadcast.limits.outboxes_bytes"),
        ("roadcast.shrads=2", "roadcast.shards"),
    ];
    let with = |mistake: &str| [settings.as_slice(), &[mistake.to_owned()]].concat();
    // Beside a server that runs: it is not harmed.
    let mut client = server.client();
    client.join(&["news"]);
    for (mistake, key) in mistakes {
        let said = refused(&with(mistake));
        assert!(said.starts_with("roadcast: ") && said.contains(key), "{said}");
    }
    // Nor is it by a second one without a mistake.
    let said = refused(&settings);
    assert!(said.contains("roadcast.http.address") && said.contains("is in use"), "{said}");
    server.publisher().publish(&["news"], b"unharmed");
    client.expect("news", "unharmed");

    server.signal(SIGTERM);
    assert_eq!(client.next(), Received::Close(1001));
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
    for (mistake, key) in mistakes {
        let said = refused(&with(mistake));
        assert!(said.contains(key), "{said}");
        assert!(!listens(server.clients), "nobody listens where it has failed");
    }
    server = started(&settings);
    server.client().join(&["news"]);
}
