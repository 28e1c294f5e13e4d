//! What operators do with a server that runs: look at its PHP workers, and have new ones.

mod commands;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::common::{
    Answer, Client, GOB, JSON, Publisher, Scrape, Server, eventually, get, installed, size,
};

const SESSION: (&str, &str) = ("Cookie", "session=7");
const GUARD: &str = include_str!("guard.php");

/// A worker that can be deployed anew, and a server that asks it.
struct Deployed {
    server: Server,
    worker: PathBuf,
}

impl Deployed {
    /// With two workers of `guard.php`, and `more` settings. `None` without PHP.
    fn start(more: &[&str]) -> Option<Self> {
        if !installed("php") {
            return None;
        }
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("operated-{}-{number}.php", std::process::id());
        let worker = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::write(&worker, GUARD).unwrap();
        let command = format!("server.command=php {}", worker.display());
        let own = [
            command.as_str(),
            "websockets.pool.num_workers=2",
            "roadcast.metrics.address=127.0.0.1:0",
            "roadcast.status.address=127.0.0.1:0",
        ];
        let server = Server::start(&[&own[..], more].concat());
        let deployed = Self { server, worker };
        eventually("the workers are there", || {
            get(deployed.server.endpoint("status"), "/ready") == 200 && deployed.pids().len() == 2
        });
        Some(deployed)
    }

    /// Replaces `from` by `to` in what a later worker will run.
    fn deploy(&self, from: &str, to: &str) {
        assert!(GUARD.contains(from));
        std::fs::write(&self.worker, GUARD.replace(from, to)).unwrap();
    }

    fn connect(&self, path: &str) -> Client {
        Client::connect_with(self.server.clients, path, &[SESSION]).unwrap_or_else(|_| panic!())
    }

    fn metric(&self, name: &str) -> u64 {
        Scrape::of(self.server.endpoint("metrics")).sum(name, &[])
    }

    fn workers(&self) -> Vec<Value> {
        told(&mut self.server.publisher())["workers"].as_array().unwrap().clone()
    }

    /// Of those that are not about to end.
    fn pids(&self) -> Vec<u64> {
        let workers = self.workers();
        let there = workers.iter().filter(|worker| worker["statusStr"] != "stopping");
        there.map(|worker| worker["pid"].as_u64().unwrap()).collect()
    }

    fn reset(&self) -> Answer {
        reset(&mut self.server.publisher())
    }
}

impl Drop for Deployed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.worker);
    }
}

fn told(publisher: &mut Publisher) -> Value {
    let answer = publisher.ask("informer.Workers", JSON, br#""websockets""#);
    assert_eq!(answer.flags, JSON, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).unwrap()
}

fn reset(publisher: &mut Publisher) -> Answer {
    publisher.ask("resetter.Reset", JSON, br#""websockets""#)
}

#[test]
fn workers_are_told_with_what_they_are_at_and_what_they_take() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    deployed.connect("/ws").join(&["news"]);
    let workers = deployed.workers();
    assert_eq!(workers.len(), 2);
    let number = |worker: &Value, name: &str| worker[name].as_u64().unwrap();
    assert_eq!(workers.iter().map(|worker| number(worker, "numExecs")).sum::<u64>(), 2);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    for worker in &workers {
        let command = std::fs::read(format!("/proc/{}/cmdline", number(worker, "pid"))).unwrap();
        assert!(command.starts_with(b"php\0"), "it is the worker's process");
        assert_eq!((number(worker, "status"), &worker["StatusStr"]), (1, &"ready".into()));
        assert!(worker["Command"].as_str().unwrap().starts_with("php /"));
        assert!(number(worker, "memoryUsage") > 1 << 20);
        assert!((now - 600_000_000_000..now).contains(&number(worker, "created")));
        assert!(worker["CPUPercent"].as_f64().unwrap() >= 0.0);
    }
}

#[test]
fn a_reset_under_load_has_new_code_act_and_no_connection_notices() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let mut steady = deployed.connect("/ws");
    steady.join(&["news"]);
    let old = deployed.pids();
    let (over, joins) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut client = deployed.connect("/ws?slow=5");
                while !over.load(Ordering::Relaxed) {
                    // Each is answered, and with yes.
                    client.join(&["room"]);
                    client.leave(&["room"]);
                    joins.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut publisher = deployed.server.publisher();
        for turn in 0..size("OPERATED_RESETS", 3) {
            let before = joins.load(Ordering::Relaxed);
            eventually("they join", || joins.load(Ordering::Relaxed) > before + 4);
            // Nobody may join `hidden` with the newer code; it does not mind `secret`.
            deployed.deploy("'secret'", "'hidden'");
            assert_eq!(deployed.reset().body, b"true");
            let text = turn.to_string();
            publisher.publish(&["news"], text.as_bytes());
            steady.expect("news", &text);
        }
        let before = joins.load(Ordering::Relaxed);
        eventually("they join", || joins.load(Ordering::Relaxed) > before + 4);
        over.store(true, Ordering::Relaxed);
    });
    steady.join(&["secret"]);
    steady.command("join", &["hidden"]);
    steady.expect_reply("#join", &["hidden"]);
    let new = deployed.pids();
    assert!(new.len() == 2 && new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    assert_eq!(deployed.metric("access_resets_total"), size("OPERATED_RESETS", 3) as u64);
    for name in
        ["worker_failures_total", "worker_questions_refused_total", "workers_replaced_total"]
    {
        assert_eq!(deployed.metric(name), 0, "{name}");
    }
}

#[test]
fn a_reset_empties_what_was_remembered_also_what_old_workers_say_later() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let mut client = deployed.connect("/ws?remember=600&slow=700");
    assert!(deployed.metric("access_remembered_bytes") > 0);
    client.command("join", &["weather"]);
    client.command("join", &["news"]);
    eventually("a worker is asked", || deployed.metric("workers_working") == 1);
    // With the newer code nobody may join `news`.
    deployed.deploy("'secret'", "'news'");
    assert_eq!(deployed.reset().body, b"true");
    assert_eq!(deployed.metric("access_remembered_bytes"), 0);
    client.expect_reply("@join", &["weather"]);
    client.expect_reply("#join", &["news"]);
    assert_eq!(deployed.metric("access_remembered_bytes"), 0, "the old one's yes is forgotten");
}

#[test]
fn a_reset_whose_new_code_does_not_start_says_so_and_the_old_workers_go_on() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let old = deployed.pids();
    deployed.deploy("<?php", "<?php this is no PHP");
    let answer = deployed.reset();
    let why = answer.error();
    assert!(why.contains("the old workers stay") && why.contains("exit status"), "{why}");
    assert_eq!(deployed.pids(), old);
    deployed.connect("/ws").join(&["news"]);
    assert_eq!(deployed.metric("access_resets_failed_total"), 1);
    assert_eq!(deployed.metric("rpc_errors_total"), 1);
}

#[test]
fn what_cannot_be_reset_is_said_in_the_words_of_roadrunner() {
    let server = Server::start(&[]);
    let mut publisher = server.publisher();
    let plugins = publisher.ask("resetter.List", JSON, b"true");
    assert_eq!(plugins.body, br#"["websockets"]"#);
    let answer = publisher.ask("resetter.Reset", JSON, br#""http""#);
    assert!(answer.error().contains("no such plugin: http"), "{}", answer.error());
    let answer = publisher.ask("informer.Workers", JSON, br#""http""#);
    assert_eq!(answer.body, br#"{"workers":null}"#);
    // Here nobody is asked: there are no workers, and what is to be new is new.
    assert_eq!(told(&mut publisher)["workers"], Value::Array(Vec::new()));
    assert_eq!(reset(&mut publisher).body, b"true");
    assert_eq!(publisher.ask("informer.Jobs", JSON, br#""websockets""#).body, b"[]");
}

/// `rr` of RoadRunner calls in gob.
#[test]
fn gob_is_answered_in_gob() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    let mut publisher = deployed.server.publisher();
    let old = deployed.pids();
    let name = b"\x0d\x0c\x00\x0awebsockets";
    let answer = publisher.ask("informer.Workers", GOB, name);
    assert_eq!(answer.flags, GOB);
    let has = |text: &[u8]| answer.body.windows(text.len()).any(|part| part == text);
    assert!(has(b"[]*process.State") && has(b"StatusStr") && has(b"ready"));
    assert_eq!(publisher.ask("resetter.Reset", GOB, name).body, b"\x03\x02\x00\x01");
    assert!(deployed.pids().iter().all(|pid| !old.contains(pid)));
    for body in [&b""[..], b"\xff", b"\x03\x02\x00\x01", &[0xf8; 4096]] {
        assert!(!publisher.ask("resetter.Reset", GOB, body).error().is_empty());
    }
}

#[test]
fn others_are_served_while_a_reset_takes_its_time_and_a_caller_that_leaves_leaves_nothing() {
    let Some(deployed) = Deployed::start(&[]) else { return };
    deployed.deploy("<?php", "<?php usleep(1_500_000);");
    let mut leaver = deployed.server.publisher();
    leaver.call("resetter.Reset", JSON, br#""websockets""#).unwrap();
    let mut client = deployed.connect("/ws");
    client.join(&["news"]);
    deployed.server.publisher().publish(&["news"], b"meanwhile");
    client.expect("news", "meanwhile");
    assert_eq!((deployed.pids().len(), deployed.metric("access_resets_total")), (2, 0));
    drop(leaver);
    // Asked for while one is under way: both of them by one more.
    let [mut one, mut two] = [deployed.server.publisher(), deployed.server.publisher()];
    for publisher in [&mut one, &mut two] {
        publisher.call("resetter.Reset", JSON, br#""websockets""#).unwrap();
    }
    for publisher in [&mut one, &mut two] {
        assert_eq!(publisher.answer().unwrap().body, b"true");
    }
    assert_eq!(deployed.metric("access_resets_total"), 2);
    drop((one, two));
    eventually("nothing is left", || deployed.metric("rpc_connections_open") == 0);
}

#[test]
fn a_reset_under_way_holds_up_no_shutdown() {
    let Some(mut deployed) = Deployed::start(&[]) else { return };
    deployed.deploy("<?php", "<?php sleep(50);");
    let mut publisher = deployed.server.publisher();
    publisher.call("resetter.Reset", JSON, br#""websockets""#).unwrap();
    let mut client = deployed.connect("/ws");
    client.join(&["news"]);
    deployed.server.signal(libc::SIGTERM);
    assert!(publisher.answer().unwrap().error().contains("shutting down"));
    drop((publisher, client));
    assert!(deployed.server.wait().success());
}
