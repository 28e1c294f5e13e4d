//! What is hardly meant so about brokers: options without effect, and brokers that share a server.

use super::options::{self, Options};
use super::{BrokerConfig, keys};
use crate::config::Notice;
use crate::config::error::Origin;
use crate::config::reader::Reader;
use crate::hub::Driver;

/// One line each, with the place where it was written.
pub fn doubts(brokers: &[BrokerConfig], read: &Reader<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    for broker in brokers {
        let BrokerConfig { name, driver, place, .. } = broker;
        let told = options::without_effect(read.settings, name, driver.name());
        let told = told.into_iter().map(|(origin, text)| format!("{origin}: {text}"));
        notices.extend(told.map(Notice::warning));
        if let Driver::Redis(_) = driver {
            notices.extend(of_redis(&Options::of(read, name, keys::REDIS), broker));
        }
        if let Some(other) = broker.shares {
            let other = &brokers[other].name;
            notices.push(Notice::warning(format!(
                "{place}: brokers {other} and {name} have the same channels on one server, so a topic \
                 of one is a topic of the other; broadcast.Publish publishes to {other} alone, or \
                 messages would double. Give one of them a `prefix`, or leave one out"
            )));
        }
    }
    for section in [keys::REDIS, keys::NATS] {
        let path = [section.to_owned()];
        let meant = brokers.iter().any(|broker| {
            broker.driver.name() == section
                && Options::of(read, &broker.name, section).place() == section
        });
        if !meant && read.settings.holds(&path) {
            let text = format!("{section}: no broker takes its options from this section");
            notices.push(Notice::info(text));
        }
    }
    notices
}

fn of_redis(options: &Options<'_>, broker: &BrokerConfig) -> Vec<Notice> {
    let Driver::Redis(settings) = &broker.driver else { return Vec::new() };
    let mut notices = Vec::new();
    let mut warn = |leaf: &str, text: &str| {
        let origin = options.value(leaf).1;
        if origin != Origin::Default {
            let key = options.key(leaf);
            notices.push(Notice::warning(format!("{origin}: {key}: has no effect: {text}")));
        }
    };
    if settings.password.0.is_empty() {
        warn("username", "without a password nobody logs in, as in RoadRunner");
    }
    let sentinels = !settings.master_name.is_empty();
    if !sentinels {
        warn("sentinel_password", "without `master_name` there are no Sentinels");
    }
    if settings.db > 0 && !sentinels && settings.addrs.len() > 1 {
        warn("db", "a Cluster has one database");
    }
    if sentinels || settings.addrs.len() == 1 {
        let meant = settings.sharded != crate::hub::Sharded::Auto;
        if meant {
            warn("sharded", "one address alone, or Sentinels, are no Cluster");
        }
    }
    notices
}
