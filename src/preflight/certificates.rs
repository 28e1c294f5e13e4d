//! Whether there are certificates to trust by whoever is asked over TLS.

use super::StartError;
use crate::access::{AccessSettings, Asked, KeySource};
use crate::config::{BrokerConfig, Driver};
use crate::tls::check_system_roots;

/// Servers over `https` without a file of certificates of their own take those of the system.
pub fn check_roots(access: &AccessSettings) -> Result<(), StartError> {
    let is_tls = |url: &str| url.get(..8).is_some_and(|own| own.eq_ignore_ascii_case("https://"));
    if let Asked::Callback(callback) = &access.asked
        && callback.ca.is_none()
        && is_tls(&callback.url.0)
    {
        found("roadcast.access.http.url", "roadcast.access.http.ca")?;
    }
    if let Some(tokens) = &access.tokens
        && let KeySource::Jwks(url) = &tokens.keys
        && tokens.jwks_ca.is_none()
        && is_tls(url)
    {
        found("roadcast.access.jwt.jwks", "roadcast.access.jwt.jwks_ca")?;
    }
    Ok(())
}

/// The same of brokers.
pub fn check_broker_roots(brokers: &[BrokerConfig]) -> Result<(), StartError> {
    for BrokerConfig { driver, place, .. } in brokers {
        let (tls, plain) = match driver {
            Driver::Memory => continue,
            Driver::Redis(settings) => (&settings.tls, settings.tls.is_none()),
            Driver::Nats(settings) => {
                let by_address = settings.servers.iter().any(|server| server.tls);
                (&settings.tls, settings.tls.is_none() && !by_address)
            }
        };
        if !plain && tls.as_ref().is_none_or(|tls| tls.ca.is_none()) {
            check_system_roots().map_err(|problem| StartError::Broker {
                place: place.clone(),
                problem: format!("{problem}, or in tls.ca"),
            })?;
        }
    }
    Ok(())
}

fn found(key: &'static str, ca: &str) -> Result<(), StartError> {
    check_system_roots().map_err(|problem| StartError::Certificates {
        key,
        problem: format!("{problem}, or in {ca}"),
    })
}
