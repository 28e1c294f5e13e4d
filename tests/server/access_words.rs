//! What clients and operators are told of access: bodies of refusals, and lines of the log.

use std::io::Write as _;
use std::net::TcpStream;

use crate::common::{
    Client, Received, Scrape, Server, eventually, http, installed, upgrade_request,
};

const SESSION: (&str, &str) = ("Cookie", "session=7");

/// A server that asks `script` of this directory, with `more` settings. `None` without PHP.
fn asking(script: &str, more: &[&str]) -> Option<Server> {
    if !installed("php") {
        return None;
    }
    let command =
        format!("server.command=php {}/tests/server/{script}", env!("CARGO_MANIFEST_DIR"));
    let endpoints = ["roadcast.metrics.address=127.0.0.1:0", "roadcast.status.address=127.0.0.1:0"];
    Some(Server::start(&[&[command.as_str()][..], &endpoints, more].concat()))
}

fn guarded(more: &[&str]) -> Option<Server> {
    let server = asking("guard.php", more)?;
    eventually("a worker is there", || metric(&server, "workers_ready", &[]) > 0);
    Some(server)
}

fn metric(server: &Server, name: &str, labels: &[&str]) -> u64 {
    Scrape::of(server.endpoint("metrics")).sum(name, labels)
}

/// Status and text of the answer to an upgrade.
fn answer(server: &Server, path: &str) -> (u16, String) {
    let answer = http(server.clients, upgrade_request(path, &["Cookie: session=7"]).as_bytes());
    (answer.status, String::from_utf8(answer.body).unwrap())
}

#[test]
fn that_no_worker_runs_is_told_from_that_all_are_busy() {
    let Some(server) = asking("no-such-script.php", &[]) else { return };
    eventually("it does not start", || metric(&server, "worker_starts_failed_total", &[]) > 1);
    let (status, text) = answer(&server, "/ws");
    assert!(status == 503 && text.contains("no worker of server.command runs"), "{text}");
    server.says("may not connect: no worker of server.command runs", 1);
    assert_eq!(metric(&server, "access_refused_total", &["down"]), 1);

    let more = ["websockets.pool.num_workers=1", "websockets.pool.allocate_timeout=200ms"];
    let Some(server) = guarded(&more) else { return };
    let mut first = TcpStream::connect(server.clients).unwrap();
    let request = upgrade_request("/ws?slow_in=3000", &["Cookie: session=7"]);
    first.write_all(request.as_bytes()).unwrap();
    eventually("it is asked about", || metric(&server, "workers_working", &[]) == 1);
    let (status, text) = answer(&server, "/ws");
    assert!(status == 503 && text.contains("All who decide about connections are busy"), "{text}");
    server.says("may not connect: all workers, or the callback, are busy", 1);
    assert_eq!(metric(&server, "access_refused_total", &["busy"]), 1);
}

#[test]
fn a_join_that_is_refused_is_told_with_its_topic_rule_and_user_and_is_no_warning() {
    let Some(server) = guarded(&[]) else { return };
    let mut client = Client::connect_with(server.clients, "/ws", &[SESSION]).unwrap();
    client.command("join", &["secret.x"]);
    client.expect_reply("#join", &["secret.x"]);
    let line = server.says("join refused: who was asked has said no", 1);
    for part in ["INFO", "secret.x", "default", "user", "7"] {
        assert!(line.contains(part), "{part}: {line}");
    }
}

#[test]
fn each_cause_of_a_workers_failure_has_a_line_of_its_own() {
    let Some(server) = guarded(&["websockets.pool.num_workers=1"]) else { return };
    for path in ["/ws?error=no+database", "/ws?error=no+such+key", "/ws?error=no+database"] {
        assert_eq!(answer(&server, path).0, 400);
    }
    let failed = server.says("a worker failed, and is replaced", 2);
    assert!(failed.contains("no database") && failed.contains("no such key"), "{failed}");
}

#[test]
fn what_was_counted_of_access_is_told_at_the_end() {
    let Some(mut server) = guarded(&[]) else { return };
    let mut client = Client::connect_with(server.clients, "/ws", &[SESSION]).unwrap();
    server.signal(libc::SIGTERM);
    assert_eq!(client.next(), Received::Close(1001));
    drop(client);
    assert!(server.wait().success());
    let line = server.says("counts at the end, access: ", 1);
    assert!(line.contains("granted=1"), "{line}");
}
