//! Whether there are certificates to trust by whoever is asked over TLS.

use super::StartError;
use crate::access::{AccessSettings, Asked, KeySource};
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

fn found(key: &'static str, ca: &str) -> Result<(), StartError> {
    check_system_roots().map_err(|problem| StartError::Certificates {
        key,
        problem: format!("{problem}, or in {ca}"),
    })
}
