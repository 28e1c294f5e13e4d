//! Settings that are fine alone and not together.

use super::error::{ConfigError, Origin};
use super::key::show_bytes;
use super::reader::Reader;
use super::{Config, RpcListen, access};

/// Books what does not fit together, each at a place where someone wrote one of the two.
pub fn check(config: &Config, read: &Reader<'_>) {
    access::check(&config.access, read);
    if config.echo_path.as_ref() == Some(&config.path) {
        let problem = format!("{} is websockets.path as well; give it another path", config.path);
        refuse(read, ["roadcast.echo_path", "websockets.path"], &problem);
    }
    health_path(config, read);
    addresses(config, read);
    for clash in config.limits.check() {
        let [smaller, larger] = [clash.smaller, clash.larger]
            .map(|(name, value)| (format!("roadcast.limits.{name}"), show_bytes(value as u64)));
        let problem = if read.origin(&smaller.0) != Origin::Default {
            format!("{} exceeds {} ({}): {}", smaller.1, larger.0, larger.1, clash.why)
        } else {
            format!("{} is below {} ({}): {}", larger.1, smaller.0, smaller.1, clash.why)
        };
        refuse(read, [&smaller.0, &larger.0], &problem);
    }
}

/// Books a problem of two keys, unless something is wrong with one of them already.
fn refuse(read: &Reader<'_>, keys: [&str; 2], problem: &str) {
    if !read.sound(&keys) {
        return;
    }
    let written = keys
        .iter()
        .map(|key| (key, read.origin(key)))
        .find(|(_, origin)| *origin != Origin::Default);
    let (key, origin) = written.unwrap_or((&keys[0], Origin::Default));
    read.refuse(ConfigError::value(&origin, *key, problem));
}

fn health_path(config: &Config, read: &Reader<'_>) {
    let Some(path) = &config.health_path else { return };
    let page = (config.demo && path == "/").then_some("roadcast.demo");
    let echo = (config.echo_path.as_ref() == Some(path)).then_some("roadcast.echo_path");
    let clients = (config.path == *path).then_some("websockets.path");
    if let Some(other) = clients.or(echo).or(page) {
        let problem = format!("{path} is where {other} is served; give it another path");
        refuse(read, ["roadcast.health_path", other], &problem);
    }
}

fn addresses(config: &Config, read: &Reader<'_>) {
    let rpc = if let RpcListen::Tcp(address) = config.rpc {
        Some((address, config.rpc_key))
    } else {
        None
    };
    let listening = [Some((config.http, config.http_key)), rpc, config.metrics, config.status];
    let listening: Vec<_> =
        listening.into_iter().flatten().filter(|(address, _)| address.port() != 0).collect();
    for (place, (address, key)) in listening.iter().enumerate() {
        let same = listening[..place].iter().find(|(known, _)| known == address);
        // One that is wrong has been replaced by another address.
        let own = |key: &str| read.sound(&[key, &format!("roadcast.{key}")]);
        if let Some((_, other)) = same.filter(|(_, other)| own(key) && own(other)) {
            let problem = format!(
                "{other} and {key} are the same address ({address}); give one another port"
            );
            refuse(read, [key, other], &problem);
        }
    }
}
