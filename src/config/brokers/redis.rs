//! What the options of a Redis broker mean. Defaults and the meaning of 0 and -1 are go-redis's.

use std::path::Path;
use std::time::Duration;

use super::options::Options;
use super::tls;
use crate::hub::{Address, RedisSettings, Sharded};
use crate::secret::Secret;

/// Where Sentinels listen unless said otherwise.
const SENTINEL_PORT: u16 = 26379;

/// The settings. What is wrong is booked, and its default stands in.
pub fn settings(options: &Options<'_>, directory: &Path) -> RedisSettings {
    let usual = RedisSettings::default();
    let master_name = options.text("master_name");
    let parse = |text: &String| {
        let address = Address::parse(text, None);
        address.map_err(|problem| options.refuse("addrs", problem)).ok()
    };
    let mut addrs: Vec<Address> = options.words("addrs").iter().filter_map(parse).collect();
    if addrs.is_empty() {
        addrs = usual.addrs.clone();
        if let (false, [Address::Tcp { port, .. }]) = (master_name.is_empty(), &mut addrs[..]) {
            *port = SENTINEL_PORT;
        }
    }
    let read_timeout = options.duration("read_timeout", usual.read_timeout);
    RedisSettings {
        addrs,
        master_name,
        sentinel_password: Secret(options.text("sentinel_password")),
        username: options.text("username"),
        password: Secret(options.text("password")),
        db: options.number("db", usual.db).unwrap_or(usual.db),
        prefix: options.text("prefix"),
        sharded: match options.text("sharded").as_str() {
            "true" => Sharded::Yes,
            "false" => Sharded::No,
            _ => Sharded::Auto,
        },
        tls: tls::settings(options, directory),
        max_retries: options.number("max_retries", usual.max_retries).unwrap_or(0),
        min_retry_backoff: pause(options, "min_retry_backoff", usual.min_retry_backoff),
        max_retry_backoff: pause(options, "max_retry_backoff", usual.max_retry_backoff),
        dial_timeout: pause(options, "dial_timeout", usual.dial_timeout),
        read_timeout,
        write_timeout: options.duration("write_timeout", read_timeout),
    }
}

/// A pause, which may be none.
pub fn pause(options: &Options<'_>, leaf: &str, usual: Duration) -> Duration {
    options.duration(leaf, Some(usual)).unwrap_or(Duration::ZERO)
}
