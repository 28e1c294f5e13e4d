//! What the options of a NATS broker mean.

use std::path::{Path, PathBuf};

use super::options::Options;
use super::redis::pause;
use super::tls;
use crate::config::pem;
use crate::hub::{NatsLogin, NatsServer, NatsSettings};
use crate::nats::{self, Credentials, Seed};
use crate::secret::Secret;

/// The settings. What is wrong is booked, and its default stands in.
pub fn settings(options: &Options<'_>, directory: &Path) -> NatsSettings {
    let usual = NatsSettings::default();
    let parse = |leaf: &str, text: &str| {
        let server = NatsServer::parse(text);
        server.map_err(|problem| options.refuse(leaf, problem)).ok()
    };
    let addr = Some(options.text("addr")).filter(|addr| !addr.is_empty());
    let addrs = options.words("addrs");
    if addr.is_some() && !addrs.is_empty() {
        options.refuse("addr", "`addrs` is set as well; write all addresses there");
    }
    let one = addr.iter().filter_map(|text| parse("addr", text));
    let mut servers: Vec<NatsServer> =
        one.chain(addrs.iter().filter_map(|text| parse("addrs", text))).collect();
    if servers.is_empty() {
        servers = usual.servers;
    }
    let prefix = options.text("prefix");
    if !nats::is_prefix(&prefix) {
        options.refuse(
            "prefix",
            format!(
                "\"{prefix}\" cannot begin a subject: words with dots between them, without \
                 blanks, `*` and `>`; for example `roadcast.`"
            ),
        );
    }
    let read_timeout = options.duration("read_timeout", usual.read_timeout);
    NatsSettings {
        servers,
        login: login(options, directory),
        prefix,
        tls: tls::settings(options, directory),
        min_retry_backoff: pause(options, "min_retry_backoff", usual.min_retry_backoff),
        max_retry_backoff: pause(options, "max_retry_backoff", usual.max_retry_backoff),
        dial_timeout: pause(options, "dial_timeout", usual.dial_timeout),
        read_timeout,
        write_timeout: options.duration("write_timeout", read_timeout),
    }
}

/// Who we are, by at most one of the ways to say so.
fn login(options: &Options<'_>, directory: &Path) -> NatsLogin {
    let ways = ["user", "token", "nkey", "creds"];
    let given: Vec<_> = ways.into_iter().filter(|way| !options.text(way).is_empty()).collect();
    if let [first, second, ..] = given[..] {
        let problem = format!(
            "`{first}` is set as well; log in by one of user and password, token, nkey, creds"
        );
        options.refuse(second, problem);
    }
    let Some(&way) = given.first() else {
        if !options.text("password").is_empty() {
            options.refuse("password", "has no `user` beside it; a token is `token`");
        }
        return NatsLogin::Anonymous;
    };
    let text = options.text(way);
    let login = match way {
        "user" => Ok(NatsLogin::User(text, Secret(options.text("password")))),
        "token" => Ok(NatsLogin::Token(Secret(text))),
        "nkey" => match Seed::parse(&text) {
            Ok(seed) => Ok(NatsLogin::Nkey(seed)),
            // What was to be a seed is not told.
            Err(_) if text.starts_with('S') && !text.contains(['/', '.']) => {
                Err("is no seed of a user's key, which begins with SU".to_owned())
            }
            Err(_) => held(directory, &text, |text| Seed::parse(text).map(NatsLogin::Nkey)),
        },
        _ => held(directory, &text, |text| {
            Credentials::parse(text).map(|found| NatsLogin::Credentials(Box::new(found)))
        }),
    };
    login.unwrap_or_else(|problem| {
        options.refuse(way, problem);
        NatsLogin::Anonymous
    })
}

/// What a file holds, read by `parse`.
fn held<T, E: std::fmt::Display>(
    directory: &Path,
    name: &str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, String> {
    let file: PathBuf = directory.join(name);
    let found = pem::contents(&file, pem::KEY_BYTES_MAX).and_then(|bytes| {
        let text = String::from_utf8(bytes).map_err(|_| "is no text".to_owned())?;
        parse(&text).map_err(|error| format!("cannot be used: {error}"))
    });
    found.map_err(|problem| super::tls::of_file(&file, &problem))
}
