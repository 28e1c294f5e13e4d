//! From settings to what runs.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::Origin;
use super::key::Value;
use super::reader::Reader;
use super::{Config, LoadOptions, PublishTo, RpcListen, access, brokers, topics, value};
use crate::backend::BackendWish;
use crate::http::forwarded::ClientHeader;
use crate::http::proxies::Proxies;
use crate::limits::{Field, Limits};
use crate::logs::{Encoding, Level, LogConfig, Mode};
use crate::policy::OnGap;
use crate::worst_case::{self, Uses};

/// Where clients connect, and the key that says so.
pub fn http_address(read: &Reader<'_>) -> (SocketAddr, &'static str) {
    address(read, ["roadcast.http.address", "http.address"])
}

/// Where publishers connect, and the key that says so.
pub fn rpc_address(read: &Reader<'_>) -> (RpcListen, &'static str) {
    match read.first(["roadcast.rpc.listen", "rpc.listen"]) {
        (Value::Rpc(listen), key) => (listen, key),
        (other, key) => unreachable!("{key} is no address: {other:?}"),
    }
}

fn address(read: &Reader<'_>, keys: [&'static str; 2]) -> (SocketAddr, &'static str) {
    match read.first(keys) {
        (Value::Address(address), key) => (address, key),
        (other, key) => unreachable!("{key} is no address: {other:?}"),
    }
}

/// An endpoint's address, if anyone wrote its section or Roadcast's own key for it.
fn admin(
    read: &Reader<'_>,
    section: &str,
    keys: [&'static str; 2],
) -> Option<(SocketAddr, &'static str)> {
    let wanted = read.settings.has_section(section) || read.value(keys[0]).0.is_some();
    wanted.then(|| address(read, keys))
}

/// What names of files count from.
pub fn directory(file: Option<&Path>, options: &LoadOptions) -> PathBuf {
    let mut directory = options.cwd.join(file.unwrap_or(Path::new("")));
    if file.is_some() {
        directory.pop();
    }
    // A file that is named without a directory.
    if directory.as_os_str().is_empty() {
        directory.push(".");
    }
    directory
}

/// What these settings mean. Where one is wrong, its default stands in.
pub fn config(read: &Reader<'_>, file: Option<PathBuf>, options: &LoadOptions) -> Config {
    let (http, http_key) = http_address(read);
    let (rpc, rpc_key) = rpc_address(read);
    let shards = match read.number("roadcast.shards") {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    };
    let policies = topics::policies(read);
    let directory = directory(file.as_deref(), options);
    let (brokers, default_broker) = brokers::read(read, &directory);
    topics::history_fits(read, &policies, &brokers);
    let access = access::settings(read, &directory);
    let memory = options.memory.clone();
    let mut limits = limits(read);
    let given = |path: &str| read.origin(path) != Origin::Default;
    let bytes = memory.as_ref().map(|memory| memory.bytes);
    let uses = Uses { skips: policies.skips(), asks: access.asks(), keeps: policies.keeps() };
    worst_case::follow(&mut limits, bytes, shards, uses, given);
    Config {
        file,
        http,
        http_key,
        proxies: Proxies {
            subnets: read.words("http.trusted_subnets", value::subnet),
            headers: read.words("http.trusted_headers", ClientHeader::parse),
            protocol: read.flag("roadcast.proxy_protocol"),
        },
        path: read.text("websockets.path").unwrap_or_default(),
        origins: read.words("websockets.allowed_origin", |word| Ok(word.to_owned())),
        echo_path: read.text("roadcast.echo_path"),
        health_path: read.text("roadcast.health_path"),
        subprotocols: read.words("roadcast.subprotocols", value::subprotocol),
        demo: read.flag("roadcast.demo"),
        rpc,
        rpc_key,
        rpc_mode: match read.value("roadcast.rpc.mode").0 {
            Some(Value::Number(mode)) => Some(mode as u32),
            _ => None,
        },
        metrics: admin(read, "metrics", ["roadcast.metrics.address", "metrics.address"]),
        status: admin(read, "status", ["roadcast.status.address", "status.address"]),
        unavailable_status: read.number("status.unavailable_status_code") as u16,
        brokers,
        default_broker,
        broker_wait: read.duration("roadcast.broker_wait"),
        broker_buffer: read.number("roadcast.broker_buffer"),
        publish_to: match read.text("roadcast.publish_to").as_deref() {
            Some("default") => PublishTo::Default,
            _ => PublishTo::All,
        },
        on_gap: match read.text("roadcast.on_gap").as_deref() {
            Some("close") => OnGap::Close,
            _ => OnGap::Silent,
        },
        backend: read
            .text("roadcast.backend")
            .as_deref()
            .and_then(BackendWish::of)
            .unwrap_or_default(),
        shards,
        pin: read.flag("roadcast.pin"),
        drain: read.duration("roadcast.drain"),
        drain_accept: read.flag("roadcast.drain_accept"),
        shutdown_grace: read.duration("roadcast.shutdown_grace"),
        access,
        policies,
        limits: Arc::new(limits),
        memory,
        rpc_connections_given: read.origin("roadcast.limits.rpc_connections") != Origin::Default,
        logs: logs(read),
    }
}

fn limits(read: &Reader<'_>) -> Limits {
    let mut limits = Limits::default();
    for limit in Limits::TABLE {
        match (limit.field)(&mut limits) {
            Field::Number(number) => *number = read.number(limit.path),
            Field::Duration(duration) => *duration = read.duration(limit.path),
        }
    }
    limits
}

fn logs(read: &Reader<'_>) -> LogConfig {
    let mode = match read.text("logs.mode").as_deref() {
        Some("production") => Mode::Production,
        Some("raw") => Mode::Raw,
        Some("none" | "off") => Mode::Off,
        _ => Mode::Development,
    };
    let level = match read.text("logs.level").as_deref() {
        Some("debug") => Level::Debug,
        Some("warn" | "warning") => Level::Warn,
        Some("error" | "dpanic" | "panic" | "fatal") => Level::Error,
        _ => Level::Info,
    };
    let encoding = read.text("logs.encoding").map(|word| match word.as_str() {
        "json" => Encoding::Json,
        _ => Encoding::Console,
    });
    LogConfig { mode, level, encoding }
}
