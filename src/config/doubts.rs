//! What runs as written and is hardly meant so, or is open to more people than one may think.

use std::net::SocketAddr;
use std::path::Path;

use super::key::Value;
use super::key::show_about;
use super::reader::Reader;
use super::{Config, Notice, Origin, RpcListen, access, brokers};
use crate::http::origin::OriginRule;
use crate::worst_case;

/// Others may write: whoever may write to a Unix socket may connect to it (unix(7)).
const OTHERS_WRITE: u32 = 0o002;

/// Whether other machines may connect.
fn reachable(address: SocketAddr) -> bool {
    !address.ip().to_canonical().is_loopback()
}

/// One line each, with the place where it was written. Names of files count from `directory`.
pub fn of(config: &Config, read: &Reader<'_>, directory: &Path) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut warn = |key: &str, text: String| {
        let text = read.settings.told(key, text);
        notices.push(Notice::warning(format!("{}: {key}{text}", read.origin(key))));
    };
    for rule in &config.origins {
        if let Some(doubt) = OriginRule::doubt(rule) {
            let who = if config.origins.len() == 1 { ", so no page can connect" } else { "" };
            warn(
                "websockets.allowed_origin",
                format!(": \"{rule}\" fits no browser's origin{who}: {doubt}"),
            );
        }
    }
    if reachable(config.http) {
        let address = config.http;
        if config.demo {
            let text = format!(
                ": the demo page, made for trying things out, is served to whoever reaches {address} ({}), and shows the \
                 program's path, the RPC address and a container's name; leave it off where others can connect",
                config.http_key
            );
            warn("roadcast.demo", text);
        }
        if OriginRule::any_of(&config.origins).allows(None) {
            let text = format!(
                ": \"*\" lets the pages of every web site connect, with the reader's own network and address, and {address} \
                 ({}) can be reached from other machines. Name the sites that may: [\"https://my.site\"]",
                config.http_key
            );
            warn("websockets.allowed_origin", text);
        }
    }
    if let RpcListen::Tcp(address) = config.rpc
        && reachable(address)
    {
        let text = format!(
            ": tcp://{address} can be reached from other machines, and RPC asks nobody who they are: whoever connects \
             may publish to every topic. Listen on tcp://127.0.0.1:{port} or unix:///run/roadcast/rpc.sock, or let a \
             firewall or a private network keep others out",
            port = address.port()
        );
        warn(config.rpc_key, text);
    }
    if config.rpc_mode.is_some() && matches!(config.rpc, RpcListen::Tcp(_)) {
        warn("roadcast.rpc.mode", format!(" has no effect: {} is not a Unix socket", config.rpc));
    }
    if let (Some(mode), RpcListen::Unix(_)) = (config.rpc_mode, &config.rpc)
        && mode & OTHERS_WRITE != 0
    {
        let text = format!(
            ": {mode:04o} lets every user of this machine publish to every topic; 0660 with a group of the publishers, \
             or 0600, does not"
        );
        warn("roadcast.rpc.mode", text);
    }
    let sum = worst_case::sum(&config.limits, config.shards, config.uses());
    if let Some(memory) = &config.memory
        && sum > worst_case::share(memory.bytes)
    {
        let mut paths = worst_case::following().map(|limit| limit.path);
        let given = paths.find(|path| read.origin(path) != Origin::Default);
        let text = format!(
            ": queues and topics hold {} at worst, more than half of the memory that the process may use, {memory}. \
             Lower what is set of {}, or leave it to follow the memory; else lower roadcast.shards or allow more memory",
            show_about(sum),
            worst_case::following().map(|limit| limit.name).collect::<Vec<_>>().join(", ")
        );
        warn(given.unwrap_or("roadcast.shards"), text);
    }
    for key in ["roadcast.proxy_protocol", "http.trusted_headers"] {
        let written =
            read.origin(key) != Origin::Default && read.value(key).0 != Some(Value::Flag(false));
        if written && config.proxies.subnets.is_empty() {
            warn(
                key,
                " has no effect without http.trusted_subnets, the addresses of the proxies"
                    .to_owned(),
            );
        }
    }
    let per_address = [
        ("roadcast.limits.connections_per_address", config.limits.connections_per_address),
        ("roadcast.limits.handshakes_per_address", config.limits.handshakes_per_address),
    ];
    let set = per_address.into_iter().find(|(_, limit)| *limit > 0);
    if let Some((key, limit)) = set
        && config.proxies.subnets.is_empty()
        && config.http.ip().is_loopback()
    {
        let text = format!(
            ": {limit} for all clients together, if they come through a proxy on this machine ({} is {}): they share \
             its address. Name it in http.trusted_subnets (127.0.0.0/8, ::1) and let it send X-Forwarded-For",
            config.http_key, config.http
        );
        warn(key, text);
    }
    notices.extend(brokers::doubts(&config.brokers, read));
    notices.extend(access::doubts(&config.access, read, directory));
    notices.extend(access::asks_itself(&config.access, read, (config.http, config.http_key)));
    notices
}
