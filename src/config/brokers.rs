//! Which brokers there are, and which one a command means that names none.
//!
//! Every entry of `broadcast` is opened, since a client's command may name any of them; so an entry whose driver is not
//! served yet is an error rather than a broker whose topics stay silent.

use super::error::{ConfigError, Origin};
use super::schema::Value;
use super::settings::Settings;
use crate::hub::Driver;

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
pub fn read(settings: &Settings) -> Result<(Vec<BrokerConfig>, usize), ConfigError> {
    let mut brokers: Vec<BrokerConfig> = Vec::new();
    for (name, origin) in settings.broker_names() {
        let key = format!("broadcast.{name}");
        if name.is_empty() {
            return Err(ConfigError::value(origin, "broadcast", "a broker needs a name"));
        }
        let path = ["broadcast", name, "driver"].map(str::to_owned);
        let Some((Value::Text(driver), origin)) = settings.written(&path)? else {
            return Err(ConfigError::value(origin, key, "has no driver; supported: `driver: memory`"));
        };
        let driver = driver_named(&driver, &origin, &format!("{key}.driver"))?;
        brokers.push(BrokerConfig { name: name.clone(), driver });
    }
    let configured = !brokers.is_empty();

    let (pubsubs, pubsubs_origin) = settings.value("websockets.pubsubs")?;
    let pubsubs = if let Some(Value::Words(words)) = pubsubs { words } else { Vec::new() };
    for name in &pubsubs {
        let driver = driver_named(name, &pubsubs_origin, "websockets.pubsubs")?;
        if !brokers.iter().any(|broker| broker.name == *name) {
            brokers.push(BrokerConfig { name: name.clone(), driver });
        }
    }
    if brokers.is_empty() {
        brokers.push(BrokerConfig { name: IMPLIED.to_owned(), driver: Driver::Memory });
    }

    let position = |name: &str| {
        let exact = brokers.iter().position(|broker| broker.name == name);
        exact.or_else(|| brokers.iter().position(|broker| broker.name.eq_ignore_ascii_case(name)))
    };
    let known = || brokers.iter().map(|broker| broker.name.as_str()).collect::<Vec<_>>().join(", ");
    let default = match settings.value("websockets.broker")? {
        (Some(Value::Text(name)), origin) if origin != Origin::Default => {
            let problem = || format!("\"{name}\" names no entry of `broadcast`; known: {}", known());
            position(&name).ok_or_else(|| ConfigError::value(&origin, "websockets.broker", problem()))?
        }
        _ => {
            let first = pubsubs.first().filter(|_| !configured).and_then(|name| position(name));
            let only = (brokers.len() == 1).then_some(0);
            first.or_else(|| position(IMPLIED)).or(only).ok_or_else(|| {
                let known = known();
                ConfigError::Together(format!(
                    "websockets.broker must say which broker is meant by default; known: {known}"
                ))
            })?
        }
    };
    Ok((brokers, default))
}

fn driver_named(driver: &str, origin: &Origin, key: &str) -> Result<Driver, ConfigError> {
    if driver == "memory" {
        return Ok(Driver::Memory);
    }
    let problem = if NOT_YET.contains(&driver) {
        format!("driver \"{driver}\" is not served yet; supported: memory")
    } else {
        format!("\"{driver}\" is no known driver; supported: memory")
    };
    Err(ConfigError::value(origin, key, problem))
}
