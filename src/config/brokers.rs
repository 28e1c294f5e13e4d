//! Which brokers there are, and which one a command means that names none.
//!
//! Every entry of `broadcast` is opened, since a client's command may name any of them; so an entry
//! whose driver is not served yet is an error rather than a broker whose topics stay silent.

use super::error::{ConfigError, Origin};
use super::key::Value;
use super::reader::Reader;
use crate::hub::Driver;

const BROKER: &str = "websockets.broker";
const PUBSUBS: &str = "websockets.pubsubs";
/// The broker that there is when none is configured.
const IMPLIED: &str = "default";
/// Drivers that RoadRunner's users may have and that are not served yet.
const NOT_YET: [&str; 2] = ["redis", "nats"];

/// One broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// The name by which commands and publications mean it.
    pub name: String,
    /// How publications reach its subscribers.
    pub driver: Driver,
}

/// The brokers in the order written, and the index of the default one.
pub fn read(read: &Reader<'_>) -> (Vec<BrokerConfig>, usize) {
    let mut brokers: Vec<BrokerConfig> = Vec::new();
    for (name, origin) in read.settings.broker_names() {
        if name.is_empty() {
            read.refuse(ConfigError::value(origin, "broadcast", "a broker needs a name"));
            continue;
        }
        let key = format!("broadcast.{name}.driver");
        match read.settings.written(&["broadcast", name, "driver"].map(str::to_owned)) {
            Ok(Some((Value::Text(driver), origin))) => driver_named(read, &driver, &origin, &key),
            Ok(_) => {
                let problem = "has no driver; supported: `driver: memory`";
                read.refuse(ConfigError::value(origin, format!("broadcast.{name}"), problem));
            }
            Err(problem) => read.refuse(problem),
        }
        // Also one that is refused: others may name it.
        brokers.push(BrokerConfig { name: name.clone(), driver: Driver::Memory });
    }
    let configured = !brokers.is_empty();

    let (pubsubs, origin) = read.value(PUBSUBS);
    let pubsubs = if let Some(Value::Words(words)) = pubsubs { words } else { Vec::new() };
    for name in &pubsubs {
        driver_named(read, name, &origin, PUBSUBS);
        if !brokers.iter().any(|broker| broker.name == *name) {
            brokers.push(BrokerConfig { name: name.clone(), driver: Driver::Memory });
        }
    }
    if brokers.is_empty() {
        brokers.push(BrokerConfig { name: IMPLIED.to_owned(), driver: Driver::Memory });
    }
    let first = pubsubs.first().filter(|_| !configured);
    let default = default(read, &brokers, first.map(String::as_str));
    (brokers, default)
}

/// The broker that is meant by default: the one that is named, else `first`, else the obvious one.
fn default(read: &Reader<'_>, brokers: &[BrokerConfig], first: Option<&str>) -> usize {
    let position = |name: &str| {
        let exact = brokers.iter().position(|broker| broker.name == name);
        exact.or_else(|| brokers.iter().position(|broker| broker.name.eq_ignore_ascii_case(name)))
    };
    let known = || brokers.iter().map(|broker| broker.name.as_str()).collect::<Vec<_>>().join(", ");
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

/// Refuses a driver that is not served.
fn driver_named(read: &Reader<'_>, driver: &str, origin: &Origin, key: &str) {
    if driver == "memory" {
        return;
    }
    let problem = if NOT_YET.contains(&driver) {
        format!(
            "driver \"{driver}\" is not served yet; supported: memory; if the file is RoadRunner's too, leave it and \
             start with -o {key}=memory: whoever publishes must then publish to Roadcast"
        )
    } else {
        format!("\"{driver}\" is no known driver; supported: memory")
    };
    read.refuse(ConfigError::value(origin, key, problem));
}
