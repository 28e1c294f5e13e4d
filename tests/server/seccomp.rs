//! Goal: the seccomp profile of the documentation lets the server do all that it does. Method: the
//! profile as a filter on the child alone, which then serves clients, publishers, metrics and its
//! own end.

#![cfg(target_arch = "x86_64")]

use crate::common::{Received, Server, http, roadcast};

/// The names that `docs/seccomp.json` allows, as a filter.
fn profile() -> seccompiler::BpfProgram {
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

#[test]
fn the_server_runs_under_the_documented_profile() {
    let socket = std::env::temp_dir().join(format!("roadcast-seccomp-{}.sock", std::process::id()));
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
    // A filter binds its thread and what that thread starts: the child, and not this test.
    let start = std::thread::spawn(move || {
        seccompiler::apply_filter(&profile()).unwrap();
        Server::spawn(command)
    });
    let mut server = start.join().unwrap();

    let mut client = server.client();
    client.join(&["news"]);
    server.publisher().publish(&["news"], b"hello");
    assert_eq!(client.next(), Received::Message("news".to_owned(), "hello".to_owned()));
    assert_eq!(http(server.clients, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").status, 200);
    for line in server
        .printed
        .iter()
        .filter(|line| line.starts_with("metrics") || line.starts_with("status"))
    {
        let address = line.split("http://").nth(1).unwrap().split('/').next().unwrap();
        let path = if line.starts_with("metrics") { "/metrics" } else { "/ready" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(http(address.parse().unwrap(), request.as_bytes()).status, 200, "{line}");
    }
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
