//! Goal: the seccomp profile of the documentation lets the server do all that it does, and one that
//! denies io_uring leaves it epoll. Method: the profile as a filter on the child alone, which then
//! serves clients, publishers, metrics and its own end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use seccompiler::BpfProgram;

use crate::common::{Received, Server, http, io_uring_denied, roadcast, skip, under};

/// The names that `docs/seccomp.json` allows, as a filter. They are those of x86-64.
fn profile() -> BpfProgram {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/seccomp.json");
    let profile: serde_json::Value =
        serde_json::from_reader(std::fs::File::open(path).unwrap()).unwrap();
    assert_eq!(
        (&profile["defaultAction"], &profile["defaultErrnoRet"]),
        (&"SCMP_ACT_ERRNO".into(), &1.into())
    );
    let groups = profile["syscalls"].as_array().unwrap();
    assert!(groups.iter().all(|group| group["action"] == "SCMP_ACT_ALLOW"));
    let names = groups.iter().flat_map(|group| group["names"].as_array().unwrap());
    let calls: Vec<_> = names.map(|name| serde_json::json!({ "syscall": name })).collect();
    let filter = serde_json::json!({ "server": {
        "mismatch_action": { "errno": 1 }, "match_action": "allow", "filter": calls,
    } });
    let arch = std::env::consts::ARCH.try_into().unwrap();
    seccompiler::compile_from_json(filter.to_string().as_bytes(), arch)
        .unwrap()
        .remove("server")
        .unwrap()
}

/// A server of which everything is switched on, under a filter, and the socket of its publishers.
fn start_under(filter: BpfProgram, backend: Option<&str>) -> (Server, PathBuf) {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let unique = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let name = format!("roadcast-seccomp-{}-{}.sock", unique.0, unique.1);
    let socket = std::env::temp_dir().join(name);
    let mut command = roadcast();
    command.args(["serve", "--demo"]);
    for setting in [
        "roadcast.shards=2".to_owned(),
        "http.address=localhost:0".to_owned(),
        format!("rpc.listen=unix://{}", socket.display()),
        "roadcast.rpc.mode=0600".to_owned(),
        "roadcast.metrics.address=127.0.0.1:0".to_owned(),
        "roadcast.status.address=127.0.0.1:0".to_owned(),
        "roadcast.ping_interval=100ms".to_owned(),
    ] {
        command.args(["-o", &setting]);
    }
    if let Some(backend) = backend {
        command.args(["-o", &format!("roadcast.backend={backend}")]);
    }
    (under(filter, move || Server::spawn(command)), socket)
}

/// What an endpoint of the server answers with.
fn asked(server: &Server, endpoint: &str, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let answer = http(server.endpoint(endpoint), request.as_bytes());
    assert_eq!(answer.status, 200, "{endpoint}");
    String::from_utf8(answer.body).unwrap()
}

fn serves_and_ends((mut server, socket): (Server, PathBuf)) {
    let mut client = server.client();
    client.join(&["news"]);
    server.publisher().publish(&["news"], b"hello");
    assert_eq!(client.next(), Received::Message("news".to_owned(), "hello".to_owned()));
    assert_eq!(http(server.clients, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    asked(&server, "metrics", "/metrics");
    asked(&server, "status", "/ready");
    server.signal(10);
    server.says("counts by now, shard 1", 1);
    server.signal(15);
    loop {
        match client.next() {
            Received::Close(code) => break assert_eq!(code, 1001),
            other => drop(other),
        }
    }
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
    assert!(!socket.exists(), "its socket goes with it");
}

#[test]
fn the_server_runs_under_the_documented_profile() {
    if std::env::consts::ARCH != "x86_64" {
        return skip("the names of the documented profile are those of x86-64");
    }
    serves_and_ends(start_under(profile(), None));
}

#[test]
fn where_io_uring_is_denied_the_server_serves_over_epoll_and_says_why() {
    for errno in [libc::EPERM, libc::ENOSYS] {
        let started = start_under(io_uring_denied(errno), Some("auto"));
        let server = &started.0;
        let said = server.says("running on epoll", 1);
        assert!(said.contains("WARN") && said.contains("seccomp profile denies it"), "{said}");
        let printed = server.printed.join("\n");
        assert!(printed.contains("\nbackend        epoll, usually at more CPU: "), "{printed}");
        assert_eq!(asked(server, "status", "/ready"), "ok\nbackend: epoll\n");
        let metrics = asked(server, "metrics", "/metrics");
        assert!(metrics.contains("roadcast_backend_info{backend=\"epoll\"} 1\n"), "{metrics}");
        serves_and_ends(started);
    }
}

#[test]
fn epoll_is_not_excused_where_it_was_asked_for() {
    let started = start_under(io_uring_denied(libc::EPERM), Some("epoll"));
    let said = started.0.says("running on epoll", 1);
    assert!(said.contains("INFO") && !said.contains("io_uring"), "{said}");
    serves_and_ends(started);
}
