//! Settings of access that do not fit together, and what is hardly meant so.

use std::net::SocketAddr;
use std::path::Path;

use super::super::error::{ConfigError, Notice, Origin};
use super::super::reader::Reader;
use super::{ASK, CALLBACK, COMMAND, JWKS, OPEN, RULES, SECRET, TOKENS, URL, urls};
use crate::access::{AccessSettings, Asked, Join, KeySource};

/// Bytes that a secret should have at least: as many as a hash of HS256 (RFC 7518 §3.2).
const SECRET_BYTES: usize = 32;

/// Books what does not fit together.
pub fn check(access: &AccessSettings, read: &Reader<'_>) {
    let open = read.value(OPEN);
    let command = read.value(COMMAND);
    if open.0.is_some() {
        for section in [RULES, CALLBACK, TOKENS] {
            // A later layer may open what an earlier one guards, for a try; not the other way, and
            // not by chance.
            if let Some(origin) = below(read, section).filter(|at| at.rank() >= open.1.rank()) {
                let problem = "roadcast.access is `open`, which asks nobody; take out one of both";
                read.refuse(ConfigError::value(&origin, section, problem));
            }
        }
        return;
    }
    let asks_workers = command.0.is_some() && read.flag(ASK);
    if let Some(origin) = below(read, CALLBACK) {
        if read.text(URL).is_none() {
            let problem = "needs the url of the server that is to be asked";
            read.refuse(ConfigError::value(&origin, URL, problem));
        } else if asks_workers {
            let problem = "the workers of server.command would be asked, too, and one of both must decide; take one \
                           out, or leave the workers to RoadRunner: roadcast.workers.ask: false";
            read.refuse(ConfigError::value(&origin, CALLBACK, problem));
        }
    }
    if let (Some(origin), None) = (below(read, TOKENS), &access.tokens)
        && read.sound(&[SECRET, super::PUBLIC_KEY, JWKS])
    {
        let problem = "needs a key to check tokens with: one of secret, public_key and jwks";
        read.refuse(ConfigError::value(&origin, TOKENS, problem));
    }
    if command.0.is_some() && !asks_workers && !access.asks() && below(read, RULES).is_none() {
        let problem = "with roadcast.workers.ask: false nobody is asked who may connect and join, so everyone might; \
                       set roadcast.access.rules, .http or .jwt (docs/access.md), or roadcast.access: open";
        read.refuse(ConfigError::value(&command.1, COMMAND, problem));
    }
    rules(access, read);
}

/// Where a section, or anything in it, was written.
fn below(read: &Reader<'_>, section: &str) -> Option<Origin> {
    read.settings.below(section).cloned()
}

/// Rules that could never let anybody in, or never be about any topic.
fn rules(access: &AccessSettings, read: &Reader<'_>) {
    let nobody = access.asked == Asked::Nobody;
    for (row, rule) in read.settings.rows(RULES).iter().zip(&access.rules.rules) {
        let mut claims = rule.topics.iter().flat_map(|pattern| pattern.claims());
        let user = rule.topics.iter().any(|pattern| pattern.needs_user());
        let problem = if rule.join == Join::Token && access.tokens.is_none() {
            "join: token lets nobody in where no token is read; set roadcast.access.jwt".to_owned()
        } else if rule.join == Join::Ask && nobody {
            "join: ask lets nobody in where nobody can be asked; set server.command or roadcast.access.http".to_owned()
        } else if user && !access.asks() {
            "{user} is nobody where neither tokens, workers nor a callback say who a client is"
                .to_owned()
        } else if let (Some(claim), None) = (claims.next(), &access.tokens) {
            let doubt = rule.topics.iter().find_map(|pattern| pattern.doubt());
            let meant = doubt.map_or_else(String::new, |doubt| format!("; {doubt}"));
            format!(
                "{{{claim}}} is a claim of a token, and none is read; set roadcast.access.jwt{meant}"
            )
        } else {
            continue;
        };
        read.refuse(ConfigError::value(&row.origin, RULES, problem));
    }
}

/// Whether a secret is rather the name of a file, which nobody reads. Names count from `directory`.
fn names_file(secret: &str, directory: &Path) -> bool {
    let ends = [".pem", ".txt", ".key"].iter().any(|end| secret.ends_with(end));
    (secret.starts_with('/') && ends) || directory.join(secret).is_file()
}

/// What would be asked, and is where clients connect.
pub fn asks_itself(
    access: &AccessSettings,
    read: &Reader<'_>,
    (address, address_key): (SocketAddr, &'static str),
) -> Vec<Notice> {
    let callback = match &access.asked {
        Asked::Callback(callback) => Some((URL, callback.url.0.as_str())),
        _ => None,
    };
    let keys = match access.tokens.as_ref().map(|tokens| &tokens.keys) {
        Some(KeySource::Jwks(url)) => Some((JWKS, url.as_str())),
        _ => None,
    };
    let asked = callback.into_iter().chain(keys);
    let itself = asked.filter(|(_, url)| urls::leads_to(url, address)).map(|(key, _)| {
        let origin = read.origin(key);
        Notice::warning(format!(
            "{origin}: {key} leads to this server itself, which listens on {address} \
             ({address_key}); give one of both another port"
        ))
    });
    itself.collect()
}

/// What is hardly meant so.
pub fn doubts(access: &AccessSettings, read: &Reader<'_>, directory: &Path) -> Vec<Notice> {
    let mut notices = Vec::new();
    let mut warn = |origin: &Origin, key: &str, text: &str| {
        notices.push(Notice::warning(format!("{origin}: {key}{text}")));
    };
    let guarded = [RULES, CALLBACK, TOKENS].into_iter().find(|key| below(read, key).is_some());
    if let (Some(key), (Some(_), origin)) = (guarded, read.value(OPEN)) {
        let text = format!(" is `open`: everyone may connect and join, in spite of {key}");
        warn(&origin, OPEN, &text);
    }
    if let Some(tokens) = &access.tokens {
        match &tokens.keys {
            KeySource::Secret(secret) if names_file(&secret.0, directory) => warn(
                &read.origin(SECRET),
                SECRET,
                " looks like the name of a file, and is not read from it: this very text is the secret, so who \
                 guesses the name can sign tokens. Write the secret itself, from a variable for example: ${JWT_SECRET}",
            ),
            KeySource::Secret(secret) if secret.0.len() < SECRET_BYTES => warn(
                &read.origin(SECRET),
                SECRET,
                " has less than 32 bytes: who has a token can guess it. Make one with `openssl rand -base64 32`",
            ),
            KeySource::Jwks(url) if urls::is_readable(url) => warn(
                &read.origin(JWKS),
                JWKS,
                " is fetched without TLS: who stands between can put in keys of their own",
            ),
            _ => {}
        }
        if tokens.suffices && access.asked == Asked::Nobody {
            let key = "roadcast.access.jwt.suffices";
            warn(&read.origin(key), key, " has no effect: nobody is asked beside the token");
        }
    }
    if let Asked::Callback(callback) = &access.asked
        && urls::is_exposed(&callback.url.0)
    {
        warn(
            &read.origin(URL),
            URL,
            " is asked without TLS: who stands between reads cookies and tokens of clients, and can let in whom they \
             like. Write https://",
        );
    }
    if let Asked::Workers(_) = access.asked {
        let init = read.settings.below("server.on_init");
        if let Some(origin) = init.filter(|_| !read.flag("roadcast.workers.on_init")) {
            let text = " is not run, since RoadRunner may run it, too; roadcast.workers.on_init: true runs it";
            warn(origin, "server.on_init", text);
        }
    }
    notices.extend(super::doubts::doubts(access, read));
    notices
}
