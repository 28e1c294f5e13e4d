//! What runs as written and is hardly meant so.

use super::settings::Settings;
use super::{Config, ConfigError, Notice, RpcListen};
use crate::ws::origin::OriginRule;

/// One line each, with the place where it was written.
pub fn of(config: &Config, settings: &Settings) -> Result<Vec<Notice>, ConfigError> {
    let mut notices = Vec::new();
    let mut warn = |key: &str, text: String| -> Result<(), ConfigError> {
        let (_, at) = settings.value(key)?;
        notices.push(Notice::warning(format!("{at}: {key}{text}")));
        Ok(())
    };
    if let Some(doubt) = OriginRule::doubt(&config.origin) {
        let text =
            format!(": \"{}\" fits no browser's origin, so no page can connect: {doubt}", config.origin);
        warn("websockets.allowed_origin", text)?;
    }
    if config.rpc_mode.is_some() && matches!(config.rpc, RpcListen::Tcp(_)) {
        warn("roadcast.rpc.mode", format!(" has no effect: {} is not a Unix socket", config.rpc))?;
    }
    let per_address = [
        ("roadcast.limits.connections_per_address", config.limits.connections_per_address),
        ("roadcast.limits.handshakes_per_address", config.limits.handshakes_per_address),
    ];
    let set = per_address.into_iter().find(|(_, limit)| *limit > 0);
    if let Some((key, limit)) = set
        && config.trusted_subnets.is_empty()
        && config.http.ip().is_loopback()
    {
        let text = format!(
            ": {limit} for all clients together: they come through a proxy on this machine ({} is {}), whose address \
             they share. Name it in http.trusted_subnets (127.0.0.0/8, ::1) and let it send X-Forwarded-For",
            config.http_key, config.http
        );
        warn(key, text)?;
    }
    Ok(notices)
}
