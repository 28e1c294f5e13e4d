//! `roadcast workers` and `roadcast reset`: against the real server with real workers.

use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStderr, ChildStdout};

use serde_json::Value;

use super::{Deployed, GUARD, SESSION};
use crate::common::cli::{expect_failure, run, spawn, unused};
use crate::common::{Client, Server, Site, eventually, get, installed};

/// A command that goes on until Ctrl-C.
struct Watching {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Watching {
    fn start(arguments: &[&str]) -> Self {
        let mut child = spawn(arguments);
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped")).lines();
        let errors = BufReader::new(child.stderr.take().expect("stderr is piped")).lines();
        Self { child, lines, errors }
    }

    /// The next line that it prints, waited for.
    fn line(&mut self) -> String {
        self.lines.next().expect("it goes on").expect("text")
    }

    /// The next line that it says on standard error.
    fn complaint(&mut self) -> String {
        self.errors.next().expect("it goes on").expect("text")
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn printed(arguments: &[&str]) -> String {
    let output = run(arguments, b"");
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn workers_that_run_are_printed_as_a_table_and_as_json() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let mut pids = deployed.pids();
    pids.sort_unstable();
    let address = deployed.server.publish.as_str();
    let table = printed(&["workers", "--url", address]);
    let (names, rows) = table.split_once('\n').expect("a line of names");
    assert_eq!(
        names.split_whitespace().collect::<Vec<_>>(),
        ["PID", "STATUS", "EXECS", "MEMORY", "CPU%", "CREATED"]
    );
    let first = |row: &str| row.split_whitespace().next().unwrap().parse().expect("a pid");
    let mut shown: Vec<u64> = rows.lines().map(first).collect();
    shown.sort_unstable();
    assert_eq!(shown, pids, "{table}");
    assert!(rows.lines().all(|row| row.contains(" ready ") && row.contains(" MiB ")), "{table}");

    let json: Value = serde_json::from_str(&printed(&["workers", "--json", "--url", address]))
        .expect("one JSON object");
    let workers = json["workers"].as_array().expect("workers");
    let mut told: Vec<u64> =
        workers.iter().map(|worker| worker["pid"].as_u64().expect("a pid")).collect();
    told.sort_unstable();
    assert_eq!(told, pids);

    let mut watching = Watching::start(&["workers", "--watch", "--url", address]);
    for _ in 0..2 {
        assert!(watching.line().trim_start().starts_with("PID "));
        assert!((0..2).all(|_| pids.contains(&first(&watching.line()))));
    }
}

#[test]
fn a_reset_from_the_shell_has_changed_code_act() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let old = deployed.pids();
    deployed.deploy("'secret'", "'hidden'");
    assert_eq!(printed(&["reset", "--url", &deployed.server.publish]), "workers reset\n");
    let new = deployed.pids();
    assert!(new.len() == 2 && new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    deployed.connect("/ws").join(&["secret"]);
    // The server is also found by what it was configured with.
    let listen = format!("rpc.listen={}", deployed.server.publish);
    assert_eq!(printed(&["reset", "-o", &listen]), "workers reset\n");

    deployed.deploy("<?php", "<?php this is no PHP");
    let output = run(&["reset", "--url", &deployed.server.publish], b"");
    expect_failure(&output, &[&deployed.server.publish, "the old workers stay"]);
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn without_a_server_the_address_is_named() {
    let address = format!("tcp://{}", unused());
    for arguments in [&["workers"][..], &["workers", "--json"], &["reset"], &["reset", "--watch"]] {
        let output = run(&[arguments, &["--url", &address]].concat(), b"");
        expect_failure(&output, &[&format!("nobody listens at {address}.")]);
        assert!(output.stdout.is_empty(), "{output:?}");
    }
}

#[test]
fn a_server_without_workers_is_said_to_have_none() {
    let server = Server::start(&[]);
    for arguments in [&["workers"][..], &["reset", "--watch"]] {
        let output = run(&[arguments, &["--url", &server.publish]].concat(), b"");
        let says = format!("{} has no PHP workers", server.publish);
        expect_failure(&output, &[&says, "server.command", "pool.debug"]);
        assert!(output.stdout.is_empty(), "{output:?}");
    }
    let done = "no PHP workers to replace here; remembered verdicts are forgotten\n";
    assert_eq!(printed(&["reset", "--url", &server.publish]), done);
    let output = run(&["workers", "--json", "--url", &server.publish], b"");
    expect_failure(&output, &["has no PHP workers"]);
    assert_eq!(output.stdout, b"{\"workers\":[]}\n");
}

/// A directory with a configuration, the worker `worker.php` beside it, and a server that asks it.
fn site() -> Option<(Site, Server)> {
    if !installed("php") {
        return None;
    }
    let site = Site::new(
        "server: { command: php worker.php }\nwebsockets: { pool: { num_workers: 1 } }\n",
    );
    std::fs::write(site.path().join("worker.php"), GUARD).unwrap();
    let server =
        Server::start_by(site.roadcast(&["serve"]), &["roadcast.status.address=127.0.0.1:0"]);
    eventually("the worker is there", || get(server.endpoint("status"), "/ready") == 200);
    Some((site, server))
}

fn may_join(server: &Server, topic: &str) {
    let client = Client::connect_with(server.clients, "/ws", &[SESSION]);
    client.unwrap_or_else(|_| panic!("it is let in")).join(&[topic]);
}

#[test]
fn a_changed_file_beside_the_configuration_resets_the_workers() {
    let Some((site, server)) = site() else { return };
    let config = site.path().join(".rr.yaml");
    let (config, url) = (config.to_str().unwrap(), server.publish.as_str());
    let mut watching = Watching::start(&["reset", "--watch", "-c", config, "--url", url]);
    assert_eq!(watching.line(), "workers reset");
    // Nobody may join `forbidden` with the newer code.
    for (forbidden, allowed) in [("hidden", "secret"), ("secret", "hidden")] {
        let code = GUARD.replace("'secret'", &format!("'{forbidden}'"));
        std::fs::write(site.path().join("worker.php"), code).unwrap();
        let line = watching.line();
        assert!(line.ends_with("worker.php has changed: workers reset"), "{line}");
        may_join(&server, allowed);
    }
    // What does not run resets nothing; what mends it does.
    std::fs::write(site.path().join("worker.php"), "<?php this is no PHP").unwrap();
    let said = watching.complaint();
    assert!(said.contains(url) && said.contains("the old workers stay"), "{said}");
    std::fs::write(site.path().join("worker.php"), GUARD).unwrap();
    assert!(watching.line().ends_with("worker.php has changed: workers reset"));
}

#[test]
fn directories_that_are_named_are_watched() {
    let Some((site, server)) = site() else { return };
    let source = site.path().join("app/src");
    std::fs::create_dir_all(&source).unwrap();
    let app = source.parent().unwrap().to_str().unwrap();
    let mut watching = Watching::start(&["reset", "--watch", "--url", &server.publish, app]);
    assert_eq!(watching.line(), "workers reset");
    std::fs::write(source.join("new.php"), "<?php").unwrap();
    assert_eq!(watching.line(), format!("{app}/src/new.php has changed: workers reset"));

    let nowhere = source.join("nowhere");
    let nowhere = nowhere.to_str().unwrap();
    let output = run(&["reset", "--watch", "--url", &server.publish, app, nowhere], b"");
    expect_failure(&output, &[&format!("cannot watch {nowhere}: ")]);
    assert!(output.stdout.is_empty(), "nothing is reset then: {output:?}");
}
