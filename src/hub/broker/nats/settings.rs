//! What an operator says about a NATS broker.

use std::time::Duration;

use crate::hub::broker::link::Address;
use crate::nats::{Credentials, Seed};
use crate::secret::Secret;
use crate::tls::TlsSettings;

/// Where servers listen unless said otherwise.
const PORT: u16 = 4222;

/// See the module. There is nothing of RoadRunner's to follow but `addr`, which its root key `nats`
/// has; names and defaults of times are those of a Redis broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsSettings {
    /// `addrs`, or `addr`: at least one, of one cluster, each read by [`NatsServer::parse`].
    /// Default 127.0.0.1:4222.
    pub servers: Vec<NatsServer>,
    /// `user` and `password`, `token`, `nkey` or `creds`: at most one of these four. Default none.
    pub login: NatsLogin,
    /// `prefix` of subjects: a topic's subject is `<prefix><topic>`, or an escape of that. What
    /// [`is_prefix`](crate::nats::is_prefix) refuses is refused. Default empty.
    pub prefix: String,
    /// `tls`. Default `None`: only where an address says `tls://`, by the system's certificates.
    pub tls: Option<TlsSettings>,
    /// `min_retry_backoff`: the first pause before connecting anew, doubled each time. Default
    /// 8 ms.
    pub min_retry_backoff: Duration,
    /// `max_retry_backoff`: the longest pause. Default 512 ms.
    pub max_retry_backoff: Duration,
    /// `dial_timeout`: for connecting with TLS and authentication. Default 5 s.
    pub dial_timeout: Duration,
    /// `read_timeout`: a connection from which nothing comes for so long, although an answer is
    /// due, is given up. -1: `None`, never. Default 3 s.
    pub read_timeout: Option<Duration>,
    /// `write_timeout`: a connection that takes no byte for so long is given up. -1: `None`, never.
    /// Default as `read_timeout`.
    pub write_timeout: Option<Duration>,
}

/// A server, by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NatsServer {
    /// Always a host and a port.
    pub address: Address,
    /// `tls://`
    pub tls: bool,
    /// What stands before the host, instead of the broker's own.
    pub login: Option<NatsLogin>,
}

/// Who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NatsLogin {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// `token`
    Token(Secret),
    /// `user`, `password`
    User(String, Secret),
    /// `nkey`: a seed (`SU…`), or the path of a file that holds one.
    Nkey(Seed),
    /// `creds`: the path of a file as `nsc` writes it.
    Credentials(Box<Credentials>),
}

impl NatsServer {
    /// Reads `host`, `host:port`, `nats://host:port`, `tls://user:password@host:port` or
    /// `nats://token@host`. The error says what is wrong with it, and shows no password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (tls, rest) = match text.split_once("://") {
            None => (false, text),
            Some(("nats", rest)) => (false, rest),
            Some(("tls", rest)) => (true, rest),
            Some((scheme, _)) => {
                return Err(format!(
                    "{scheme}:// is not spoken to NATS; an address is host:port, nats://host:port \
                     or tls://host:port"
                ));
            }
        };
        let (login, place) = match rest.rsplit_once('@') {
            None => (None, rest),
            Some((who, place)) => (Some(login(who)?), place),
        };
        let place = place.trim_end_matches('/');
        match Address::parse(place, Some(PORT))? {
            address @ Address::Tcp { .. } => Ok(Self { address, tls, login }),
            Address::Unix(path) => {
                Err(format!("{}: NATS listens on no Unix socket; write host:port", path.display()))
            }
        }
    }
}

/// `user:password`, or a token.
fn login(who: &str) -> Result<NatsLogin, String> {
    // RFC 3986 §2.1, as in any URL.
    let plain = |text: &str| {
        let bytes = unescaped(text.as_bytes());
        bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
            "user and password of an address: a % needs two hexadecimal digits behind it; write \
             %25 for % itself"
                .to_owned()
        })
    };
    Ok(match who.split_once(':') {
        Some((user, password)) => NatsLogin::User(plain(user)?, Secret(plain(password)?)),
        None => NatsLogin::Token(Secret(plain(who)?)),
    })
}

fn unescaped(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            out.push(*first);
            continue;
        }
        let (digits, behind) = behind.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        out.push((digit(digits[0])? * 16 + digit(digits[1])?) as u8);
        rest = behind;
    }
    Some(out)
}

impl Default for NatsSettings {
    fn default() -> Self {
        let address = Address::Tcp { host: "127.0.0.1".to_owned(), port: PORT };
        Self {
            servers: vec![NatsServer { address, tls: false, login: None }],
            login: NatsLogin::Anonymous,
            prefix: String::new(),
            tls: None,
            min_retry_backoff: Duration::from_millis(8),
            max_retry_backoff: Duration::from_millis(512),
            dial_timeout: Duration::from_secs(5),
            read_timeout: Some(Duration::from_secs(3)),
            write_timeout: Some(Duration::from_secs(3)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (String, bool, Option<NatsLogin>) {
        let server = NatsServer::parse(text).unwrap();
        (server.address.to_string(), server.tls, server.login)
    }

    #[test]
    fn an_address_is_read_as_other_clients_of_nats_read_it() {
        let plain = |address: &str, tls| (address.to_owned(), tls, None);
        assert_eq!(read("nats://127.0.0.1:4222"), plain("127.0.0.1:4222", false));
        assert_eq!(read("nats.local"), plain("nats.local:4222", false));
        assert_eq!(read("tls://[::1]:4443/"), plain("[::1]:4443", true));
        let secret = |text: &str| Secret(text.to_owned());
        let (address, _, login) = read("nats://us%3Aer:hunt@er%2F2@a:1");
        assert_eq!(address, "a:1");
        assert_eq!(login, Some(NatsLogin::User("us:er".to_owned(), secret("hunt@er/2"))));
        let (_, _, login) = read("nats://s3cret@a");
        assert_eq!(login, Some(NatsLogin::Token(secret("s3cret"))));
    }

    #[test]
    fn what_is_no_address_of_nats_is_refused_without_showing_a_password() {
        for text in [
            "",
            "nats://",
            "ws://u:hunter2@a:1",
            "nats://u:hunter2%zz@a",
            "u:hunter2@a:0",
            "/run/n",
        ] {
            let error = NatsServer::parse(text).unwrap_err();
            assert!(!error.contains("hunter2"), "{text}: {error}");
        }
        let server = NatsServer::parse("nats://u:hunter2@a:1").unwrap();
        assert!(!format!("{server:?}").contains("hunter2"));
    }
}
