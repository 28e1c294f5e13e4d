//! Servers that share a real Redis: what one publishes comes to all, and what becomes of it when
//! that Redis is away, slow, or says no.
//!
//! Each test has a Redis of its own. Beside the broker `main`, which is that Redis, each server has
//! a memory broker `local`.

mod basics;
mod cluster;
mod faults;
mod sentinel;
mod starts;
mod told;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::common::{PROTO, Publisher, Scrape, Server, eventually, messages};
use crate::servers::BrokerServer;

/// Writes a configuration whose broker `main` has `config`, in YAML's flow style.
fn written(config: &str) -> PathBuf {
    static WRITTEN: AtomicU32 = AtomicU32::new(0);
    let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
    let name = format!("redis-{}-{number}.yaml", std::process::id());
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let text = format!(
        "version: '3'\nbroadcast:\n  main: {{ driver: redis, config: {{ {config} }} }}\n  local: {{ driver: memory, config: {{}} }}\nwebsockets: {{ broker: main }}\nroadcast: {{ metrics: {{ address: '127.0.0.1:0' }}, status: {{ address: '127.0.0.1:0' }} }}\n"
    );
    std::fs::write(&file, text).expect("a file");
    file
}

/// A server whose broker `main` has this configuration, and these settings on top.
fn node_with(config: &str, overrides: &[&str]) -> Server {
    let file = written(config);
    let server = Server::start_with(&["-c", &file.display().to_string()], overrides);
    let _ = std::fs::remove_file(file);
    server
}

/// A server that shares a Redis, and is up.
fn node(redis: &BrokerServer) -> Server {
    let node = node_with(&format!("addrs: ['{}']", redis.address()), &[]);
    is(&node, "up");
    node
}

/// Waits until the broker `main` is in that state.
#[track_caller]
fn is(node: &Server, state: &str) {
    eventually(state, || scrape(node).sample("broker_state", &["main", state]) == 1);
}

fn scrape(node: &Server) -> Scrape {
    Scrape::of(node.endpoint("metrics"))
}

/// A count of the broker `main`.
fn count(node: &Server, name: &str) -> u64 {
    scrape(node).sample(name, &["main"])
}

/// Publishes, and says what was answered: nothing, or an error.
fn publish(publisher: &mut Publisher, topic: &str, payload: &str) -> Result<(), String> {
    let body = messages(&[(&[topic], payload.as_bytes())]);
    let answer = publisher.ask("broadcast.Publish", PROTO, &body);
    if answer.is_ok() { Ok(()) } else { Err(answer.error().to_owned()) }
}

/// Publishes until it is taken.
fn until_published(node: &Server, topic: &str, payload: &str) {
    let mut publisher = node.publisher();
    eventually("it is published", || publish(&mut publisher, topic, payload).is_ok());
}
