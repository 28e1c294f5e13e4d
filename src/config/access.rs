//! From settings to who is asked who may connect and join.
//!
//! ```text
//! rules   `roadcast.access.rules`
//! told    who is asked for what, for people
//! check   what does not fit together, and what is hardly meant so
//! doubts  the same of rules, limits of users and the pool
//! files   a public key, and certificates
//! urls    of servers that are asked
//! ```

mod check;
mod doubts;
mod files;
mod rules;
mod told;
mod urls;

pub use check::{asks_itself, check, doubts};

use std::path::Path;
use std::time::Duration;

use super::RpcListen;
use super::error::ConfigError;
use super::key::Value;
use super::reader::Reader;
use super::value;
use crate::access::token::{Algorithm, Key};
use crate::access::{
    AccessSettings, Asked, CallbackSettings, Join, KeySource, OnInit, PerUser, PoolSettings, Relay,
    Supervisor, TokenSettings, WorkersSettings,
};
use crate::http::head::is_token;
use crate::secret::Secret;

pub const COMMAND: &str = "server.command";
pub const OPEN: &str = "roadcast.access";
pub const RULES: &str = "roadcast.access.rules";
pub const CALLBACK: &str = "roadcast.access.http";
pub const URL: &str = "roadcast.access.http.url";
pub const TOKENS: &str = "roadcast.access.jwt";
pub const ASK: &str = "roadcast.workers.ask";
const SECRET: &str = "roadcast.access.jwt.secret";
const PUBLIC_KEY: &str = "roadcast.access.jwt.public_key";
const JWKS: &str = "roadcast.access.jwt.jwks";
const CA: &str = "roadcast.access.http.ca";
const JWKS_CA: &str = "roadcast.access.jwt.jwks_ca";
const RELAY: &str = "roadcast.workers.relay";

/// The algorithms of tokens by the keys that they are for.
const OF_SECRETS: &[&str] = &["HS256", "HS384", "HS512"];
const OF_PUBLIC_KEYS: &[&str] =
    &["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA"];

/// What these settings mean. Names of files count from `directory`. Where one is wrong, its default
/// stands in.
pub fn settings(read: &Reader<'_>, directory: &Path) -> AccessSettings {
    let per_user = match read.text("roadcast.limits.connections_per_user_beyond").as_deref() {
        Some("refuse") => PerUser::Refuse,
        _ => PerUser::Replace,
    };
    // Also where nobody is asked what is wrong is told.
    let (workers, callback) = (workers(read, directory), callback(read, directory));
    let tokens = tokens(read, directory);
    let asked = match (callback, workers) {
        (Some(callback), _) => Asked::Callback(Box::new(callback)),
        (None, Some(workers)) => Asked::Workers(Box::new(workers)),
        (None, None) => Asked::Nobody,
    };
    let default = match (&asked, &tokens) {
        (Asked::Nobody, None) => Join::Allow,
        (Asked::Nobody, Some(_)) => Join::Token,
        _ => Join::Ask,
    };
    let rules = rules::read(read, default);
    if read.text(OPEN).is_some() {
        return AccessSettings { per_user, ..AccessSettings::default() };
    }
    AccessSettings { asked, tokens, rules, per_user }
}

fn words(read: &Reader<'_>, path: &str) -> Vec<String> {
    read.words(path, |word| Ok(word.to_owned()))
}

/// A duration, 0 of which means the usual one.
fn or(read: &Reader<'_>, path: &str, usual_s: u64) -> Duration {
    let found = read.duration(path);
    if found.is_zero() { Duration::from_secs(usual_s) } else { found }
}

/// The workers that are asked, if there are any.
fn workers(read: &Reader<'_>, directory: &Path) -> Option<WorkersSettings> {
    let env: Vec<_> = [variables(read, "server.env"), variables(read, "roadcast.workers.env")]
        .into_iter()
        .flatten()
        .collect();
    let on_init = OnInit {
        command: words(read, "server.on_init.command"),
        timeout: or(read, "server.on_init.exec_timeout", 60),
        env: variables(read, "server.on_init.env"),
    };
    let init = read.flag("roadcast.workers.on_init") && !on_init.command.is_empty();
    let settings = WorkersSettings {
        command: words(read, COMMAND),
        directory: directory.to_path_buf(),
        env,
        user: read.text("server.user"),
        relay: relay(read),
        relay_timeout: or(read, "server.relay_timeout", 60),
        on_init: init.then_some(on_init),
        pool: pool(read),
    };
    (read.flag(ASK) && !settings.command.is_empty()).then_some(settings)
}

fn pool(read: &Reader<'_>) -> PoolSettings {
    let num_workers = match read.number("websockets.pool.num_workers") {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        some => some,
    };
    let of = |name: &str| format!("websockets.pool.supervisor.{name}");
    let supervisor = Supervisor {
        watch_tick: or(read, &of("watch_tick"), 1),
        ttl: read.duration(&of("ttl")),
        idle_ttl: read.duration(&of("idle_ttl")),
        exec_ttl: read.duration(&of("exec_ttl")),
        max_worker_memory_bytes: (read.number(&of("max_worker_memory")) as u64) << 20,
    };
    let supervised = read.settings.below("websockets.pool.supervisor").is_some();
    PoolSettings {
        debug: read.flag("websockets.pool.debug"),
        num_workers,
        max_jobs: read.number("websockets.pool.max_jobs"),
        allocate_timeout: or(read, "websockets.pool.allocate_timeout", 60),
        destroy_timeout: or(read, "websockets.pool.destroy_timeout", 10),
        supervisor: supervised.then_some(supervisor),
    }
}

fn relay(read: &Reader<'_>) -> Relay {
    let (Some(Value::Text(text)), origin) = read.value(RELAY) else { return Relay::Pipes };
    if text.eq_ignore_ascii_case("pipes") {
        return Relay::Pipes;
    }
    let hint = "pipes, tcp://127.0.0.1:6002 or unix:///run/roadcast/workers.sock";
    match value::rpc_listen(&text, hint) {
        Ok(RpcListen::Tcp(address)) => Relay::Tcp(address),
        Ok(RpcListen::Unix(path)) => Relay::Unix(path),
        Err(problem) => {
            read.refuse(ConfigError::value(&origin, RELAY, problem));
            Relay::Pipes
        }
    }
}

/// Variables for a child process: names in capitals, as RoadRunner puts them.
fn variables(read: &Reader<'_>, path: &'static str) -> Vec<(String, Secret)> {
    let cells = read.settings.rows(path).iter().flat_map(|row| &row.cells);
    let mut variables = Vec::new();
    for (name, setting) in cells {
        // No message tells the value.
        let problem = if name.is_empty() || name.contains(['=', '\0']) {
            "a variable needs a name without `=`".to_owned()
        } else if setting.list {
            format!("{name} holds a list; expected one value")
        } else if setting.words.iter().any(|word| word.contains('\0')) {
            format!("{name} holds a NUL, which no variable can")
        } else {
            let value = setting.words.first().cloned().unwrap_or_default();
            variables.push((name.to_uppercase(), Secret(value)));
            continue;
        };
        read.refuse(ConfigError::value(&setting.origin, path, problem));
    }
    variables
}

/// Whether a text may name a header or a cookie (RFC 9110 §5.6.2).
fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token)
}

/// The callback, if there is one.
fn callback(read: &Reader<'_>, directory: &Path) -> Option<CallbackSettings> {
    let of = |name: &str| format!("{CALLBACK}.{name}");
    let header = |word: &str| {
        let problem = || format!("\"{word}\" is no name of a header");
        is_name(word).then(|| word.to_owned()).ok_or_else(problem)
    };
    let settings = CallbackSettings {
        url: Secret(read.text(URL).unwrap_or_default()),
        timeout: read.duration(&of("timeout")),
        concurrency: read.number(&of("concurrency")).max(1),
        headers: read.words(&of("headers"), header),
        ca: files::certificates(read, directory, CA),
    };
    if settings.url.0.is_empty() {
        return None;
    }
    if let Err(problem) = urls::check(&settings.url.0) {
        read.refuse(ConfigError::value(&read.origin(URL), URL, problem));
    }
    Some(settings)
}

/// How tokens are checked, if they are.
fn tokens(read: &Reader<'_>, directory: &Path) -> Option<TokenSettings> {
    let of = |name: &str| format!("{TOKENS}.{name}");
    let keys = keys(read, directory);
    let fitting = fitting(keys.as_ref());
    let algorithm = |word: &str| {
        let named = |known: &&&str| known.eq_ignore_ascii_case(word);
        if let Some(known) = fitting.iter().find(named) {
            return Ok((*known).to_owned());
        }
        let why = if word.eq_ignore_ascii_case("none") {
            "is never accepted: whoever likes could write such a token"
        } else if OF_SECRETS.iter().chain(OF_PUBLIC_KEYS).any(|known| named(&known)) {
            "is not for the key that is set here"
        } else {
            "is not known"
        };
        Err(format!("\"{word}\" {why}; allowed: {}", fitting.join(", ")))
    };
    let settings = TokenSettings {
        // Without keys this says only what is wrong with the rest.
        keys: keys.clone().unwrap_or(KeySource::Jwks(String::new())),
        jwks_ca: files::certificates(read, directory, JWKS_CA),
        algorithms: read.words(&of("algorithms"), algorithm),
        audience: words(read, &of("audience")),
        issuer: words(read, &of("issuer")),
        leeway: read.duration(&of("leeway")),
        required: read.flag(&of("required")),
        query: named(read, &of("query"), "a query parameter", |name| {
            name.bytes().all(|byte| byte.is_ascii_graphic() && !b"&=#+%?".contains(&byte))
        }),
        cookie: named(read, &of("cookie"), "a cookie", is_name),
        subprotocol: read.flag(&of("subprotocol")),
        suffices: read.flag(&of("suffices")),
    };
    keys?;
    suitable(read, &settings);
    Some(settings)
}

/// Books a key that is none.
fn suitable(read: &Reader<'_>, tokens: &TokenSettings) {
    let at = if matches!(tokens.keys, KeySource::Secret(_)) { SECRET } else { PUBLIC_KEY };
    if let Some(Err(why)) = tokens.key()
        && read.sound(&[at])
    {
        read.refuse(ConfigError::value(&read.origin(at), at, why.to_string()));
    }
}

/// The algorithms that these keys are for.
fn fitting(keys: Option<&KeySource>) -> Vec<&'static str> {
    let family = match keys {
        Some(KeySource::Secret(_)) => OF_SECRETS,
        _ => OF_PUBLIC_KEYS,
    };
    let key = match keys {
        Some(KeySource::PublicKey(pem)) => Key::pem(pem).ok(),
        _ => None,
    };
    // Of a key that is none, each.
    let fits = |name: &&&str| match (&key, Algorithm::named(name)) {
        (Some(key), Some(algorithm)) => key.is_for(algorithm),
        _ => true,
    };
    family.iter().filter(fits).copied().collect()
}

fn named(
    read: &Reader<'_>,
    path: &str,
    what: &str,
    is_name: impl Fn(&str) -> bool,
) -> Option<String> {
    let name = read.text(path)?;
    if !is_name(&name) {
        let problem = format!("\"{name}\" is no name of {what}");
        read.refuse(ConfigError::value(&read.origin(path), path, problem));
    }
    Some(name)
}

/// Where the keys come from, if from anywhere.
fn keys(read: &Reader<'_>, directory: &Path) -> Option<KeySource> {
    let secret = read.text(SECRET).map(|secret| KeySource::Secret(Secret(secret)));
    let public_key = read
        .text(PUBLIC_KEY)
        .map(|text| KeySource::PublicKey(files::public_key(read, directory, text)));
    let jwks = read.text(JWKS).map(KeySource::Jwks);
    if let Some(KeySource::Jwks(url)) = &jwks
        && let Err(problem) = urls::check(url)
    {
        read.refuse(ConfigError::value(&read.origin(JWKS), JWKS, problem));
    }
    let given = [(SECRET, &secret), (PUBLIC_KEY, &public_key), (JWKS, &jwks)];
    let given: Vec<_> = given.iter().filter(|(_, key)| key.is_some()).map(|(at, _)| *at).collect();
    if let [first, second, ..] = given[..] {
        let problem = format!(
            "{first} is set as well; tokens are checked with one of secret, public_key and jwks, so \
             that none can be signed with what is known to all"
        );
        read.refuse(ConfigError::value(&read.origin(second), second, problem));
    }
    secret.or(public_key).or(jwks)
}
