//! Which brokers there are, and which one a command means that names none.
//!
//! Every entry of `broadcast` is opened, since a client's command may name any of them.
//!
//! ```text
//! keys     the options, and every place where they may stand
//! options  those of one broker
//! redis    what they mean; nats, tls
//! servers  brokers that share a server
//! doubts   options without effect
//! ```

mod doubts;
pub(super) mod keys;
mod nats;
mod options;
mod redis;
mod servers;
mod tls;

use std::path::Path;

pub use doubts::doubts;

use self::options::Options;
use super::error::{ConfigError, Origin};
use super::key::Value;
use super::reader::Reader;
use crate::hub::Driver;

const BROKER: &str = "websockets.broker";
const PUBSUBS: &str = "websockets.pubsubs";
const READY_WITHOUT: &str = "roadcast.ready_without";
/// The broker that there is when none is configured.
const IMPLIED: &str = "default";
const MEMORY: &str = "memory";
const DRIVERS: [&str; 3] = [MEMORY, keys::REDIS, keys::NATS];

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// The name by which commands and publications mean it.
    pub name: String,
    /// How publications reach its subscribers.
    pub driver: Driver,
    /// Where its options stand: file, line, and key.
    pub place: String,
    /// Where each of them stands that is written, by its name.
    written: Vec<(&'static str, String)>,
    /// The place of an earlier one that has the same channels on the same server.
    pub shares: Option<usize>,
    /// Whether clients are to go elsewhere while it is down.
    pub needed: bool,
}

impl BrokerConfig {
    /// Where what a problem is about stands: the option that it names first, as `password`.
    pub fn place_of(&self, problem: &str) -> String {
        let named = problem.split('`').skip(1).step_by(2);
        let written = |name: &str| self.written.iter().find(|(leaf, _)| *leaf == name);
        let found = named.into_iter().find_map(written);
        found.map_or_else(|| self.place.clone(), |(_, place)| place.clone())
    }
}

/// The brokers that a message goes to which names none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PublishTo {
    /// All of them; of those that share their channels, one.
    #[default]
    All,
    /// The one that is meant where none is named.
    Default,
}

/// The brokers in the order written, and the index of the default one. Names of files count from
/// `directory`.
pub fn read(read: &Reader<'_>, directory: &Path) -> (Vec<BrokerConfig>, usize) {
    // Also those that no broker takes.
    read.settings.mistaken(keys::is_option).for_each(|problem| read.refuse(problem));
    let mut brokers: Vec<BrokerConfig> = Vec::new();
    for (name, origin) in read.settings.broker_names() {
        if name.is_empty() {
            read.refuse(ConfigError::value(origin, "broadcast", "a broker needs a name"));
            continue;
        }
        let key = format!("broadcast.{name}.driver");
        let word = match read.settings.written(&["broadcast", name, "driver"].map(str::to_owned)) {
            Ok(Some((Value::Text(word), origin))) => driver_named(read, &word, &origin, &key),
            Ok(_) => {
                let problem = "has no driver; write `driver: memory`, `redis` or `nats`";
                read.refuse(ConfigError::value(origin, format!("broadcast.{name}"), problem));
                MEMORY
            }
            Err(problem) => {
                read.refuse(problem);
                MEMORY
            }
        };
        // Also one that is refused: others may name it.
        brokers.push(broker(read, name, word, origin, directory));
    }
    let configured = !brokers.is_empty();

    let (pubsubs, origin) = read.value(PUBSUBS);
    let pubsubs = if let Some(Value::Words(words)) = pubsubs { words } else { Vec::new() };
    for name in &pubsubs {
        let word = driver_named(read, name, &origin, PUBSUBS);
        if !brokers.iter().any(|broker| broker.name == *name) {
            brokers.push(broker(read, name, word, &origin, directory));
        }
    }
    if brokers.is_empty() {
        brokers.push(broker(read, IMPLIED, MEMORY, &Origin::Default, directory));
    }
    let first = pubsubs.first().filter(|_| !configured);
    let default = default(read, &brokers, first.map(String::as_str));
    servers::find_shared(&mut brokers);
    if let Some((broker, other)) = servers::undecided(&brokers) {
        let names = read.settings.broker_names().iter();
        let mut origin = names.filter(|(name, _)| *name == broker.name).map(|(_, origin)| origin);
        let origin = origin.next().cloned().unwrap_or(Origin::Default);
        let key = format!("broadcast.{}.config.sharded", broker.name);
        let problem = format!(
            "`auto` decides whether it shares the channels of broker {} on the same Cluster; \
             say `true` or `false` for both, or give one of them a `prefix`",
            other.name
        );
        read.refuse(ConfigError::value(&origin, key, problem));
    }
    for name in read.words(READY_WITHOUT, |word| {
        named(&brokers, word).ok_or(()).map_err(|()| {
            format!("\"{word}\" names no entry of `broadcast`; known: {}", known(&brokers))
        })
    }) {
        brokers[name].needed = false;
    }
    (brokers, default)
}

fn broker(
    read: &Reader<'_>,
    name: &str,
    driver: &str,
    origin: &Origin,
    directory: &Path,
) -> BrokerConfig {
    let options = Options::of(read, name, driver);
    let driver = match driver {
        keys::REDIS => Driver::Redis(Box::new(redis::settings(&options, directory))),
        keys::NATS => Driver::Nats(Box::new(nats::settings(&options, directory))),
        _ => Driver::Memory,
    };
    let written = options.written();
    // The address, if any is: what is wrong with a server is told there.
    let address = written.iter().find(|(leaf, _)| matches!(*leaf, "addrs" | "addr"));
    let place = match address {
        Some((_, place)) => place.clone(),
        None => format!("{origin}: {}", options.place()),
    };
    BrokerConfig { name: name.to_owned(), driver, place, written, shares: None, needed: true }
}

/// The broker that a name means: case matters only where it makes a difference.
fn named(brokers: &[BrokerConfig], name: &str) -> Option<usize> {
    let exact = brokers.iter().position(|broker| broker.name == name);
    exact.or_else(|| brokers.iter().position(|broker| broker.name.eq_ignore_ascii_case(name)))
}

fn known(brokers: &[BrokerConfig]) -> String {
    brokers.iter().map(|broker| broker.name.as_str()).collect::<Vec<_>>().join(", ")
}

/// The broker that is meant by default: the one that is named, else `first`, else the obvious one.
fn default(read: &Reader<'_>, brokers: &[BrokerConfig], first: Option<&str>) -> usize {
    let position = |name: &str| named(brokers, name);
    let known = || known(brokers);
    let only = (brokers.len() == 1).then_some(0);
    let (problem, origin) = match read.value(BROKER) {
        (Some(Value::Text(name)), origin) if origin != Origin::Default => match position(&name) {
            Some(found) => return found,
            None => {
                (format!("\"{name}\" names no entry of `broadcast`; known: {}", known()), origin)
            }
        },
        _ => match first.and_then(position).or_else(|| position(IMPLIED)).or(only) {
            Some(found) => return found,
            None => {
                let name = &brokers[0].name;
                let problem = format!(
                    "must say which broker is meant by default; known: {}; for example -o {BROKER}={name}",
                    known()
                );
                let written = read.settings.broker_names().first();
                (problem, written.map_or(Origin::Default, |(_, origin)| origin.clone()))
            }
        },
    };
    // What is wrong with names is told already; these lines would tell them also where they came
    // from a variable.
    if read.sound(&[PUBSUBS]) {
        read.refuse(ConfigError::value(&origin, BROKER, problem));
    }
    0
}

/// The driver of that name. One that is not known is refused, and memory stands in.
fn driver_named(read: &Reader<'_>, driver: &str, origin: &Origin, key: &str) -> &'static str {
    if let Some(known) = DRIVERS.into_iter().find(|known| *known == driver) {
        return known;
    }
    let problem = format!("\"{driver}\" is no known driver; supported: {}", DRIVERS.join(", "));
    read.refuse(ConfigError::value(origin, key, problem));
    MEMORY
}
