//! Connects to a server and finds out what it is, or why it cannot be used.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use tokio::time::timeout;

use super::settings::RedisSettings;
use crate::hub::broker::link::{Address, Link, Tls};
use crate::resp::{self, Value};
use crate::secret::Secret;

/// Bytes of one string in an answer, and of a whole answer: CLUSTER SLOTS of 1,000 nodes takes some
/// 200 KiB.
const STRING_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How a link says that it has ended.
const CLOSED: &str = "the server closed the connection";

/// Why a server cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Waiting cannot mend it.
    Hopeless(String),
    /// It may be another thing in a moment.
    Passing(String),
}

impl Trouble {
    /// In words.
    pub(super) fn why(self) -> String {
        match self {
            Self::Hopeless(why) | Self::Passing(why) => why,
        }
    }
}

/// Who we are to a server.
#[derive(Clone, Debug)]
pub(super) struct Credentials {
    pub(super) username: String,
    pub(super) password: Secret,
    /// The key of the password, as an error names it.
    pub(super) key: &'static str,
    pub(super) db: u32,
}

impl Credentials {
    /// To the server itself.
    pub(super) fn of_server(settings: &RedisSettings, db: u32) -> Self {
        let (username, password) = (settings.username.clone(), settings.password.clone());
        Self { username, password, key: "password", db }
    }

    /// To a Sentinel.
    pub(super) fn of_sentinel(settings: &RedisSettings) -> Self {
        let password = settings.sentinel_password.clone();
        Self { username: String::new(), password, key: "sentinel_password", db: 0 }
    }

    /// Says so with AUTH, if there is something to say. A username alone is none, as in RoadRunner.
    fn words(&self) -> Option<Vec<&[u8]>> {
        match (self.username.as_bytes(), self.password.0.as_bytes()) {
            (_, b"") => None,
            (b"", password) => Some(vec![b"AUTH", password]),
            (username, password) => Some(vec![b"AUTH", username, password]),
        }
    }
}

/// What a server says of itself. Empty where it does not say it: before Redis 6.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Server {
    /// `redis 7.0.15`
    pub(super) version: String,
    /// `standalone`, `sentinel`, `cluster`
    pub(super) mode: String,
    /// `master`, `replica`
    pub(super) role: String,
}

impl Server {
    /// From the answer to HELLO: names and values by turns.
    fn read(answer: &Value<'_>) -> Self {
        let field = |name: &str| {
            let mut pairs = answer.values().chunks_exact(2);
            let pair = pairs.find(|pair| pair[0].text() == Some(name));
            pair.and_then(|pair| pair[1].text()).unwrap_or_default()
        };
        let version = format!("{} {}", field("server"), field("version"));
        let role = field("role").replace("slave", "replica");
        Self { version: version.trim().to_owned(), mode: field("mode").to_owned(), role }
    }
}

/// A connection that may be used.
pub(super) struct Connected {
    pub(super) link: Link,
    pub(super) address: Address,
    pub(super) server: Server,
}

/// Connects within `dial_timeout`, with TLS and AUTH.
pub(super) async fn connect(
    settings: &RedisSettings,
    tls: Option<&Tls>,
    credentials: &Credentials,
    address: &Address,
) -> Result<Connected, Trouble> {
    let secures = Cell::new(false);
    let greeting = async {
        let mut link = Link::dial(address).await.map_err(of_dialling)?;
        if let (Some(tls), Address::Tcp { host, .. }) = (tls, address) {
            secures.set(true);
            link = link.secure(tls, host).await.map_err(of_dialling)?;
            secures.set(false);
        }
        let server = greet(&mut link, credentials).await;
        let server = server.map_err(|trouble| match (trouble, tls) {
            // As Redis does that expects TLS.
            (Trouble::Passing(why), None) if is_hung_up(&why) => {
                Trouble::Passing(format!("{why}; if it speaks TLS there, set `tls`"))
            }
            (trouble, _) => trouble,
        })?;
        Ok(Connected { link, address: address.clone(), server })
    };
    let limit = settings.dial_timeout;
    timeout(limit, greeting).await.unwrap_or_else(|_| match secures.get() {
        // A Redis waits for the end of a line, which TLS has no need to send.
        true => Err(Trouble::Passing(format!(
            "no answer to the TLS handshake within {limit:?}; if the server does not speak TLS, \
             leave off `tls`"
        ))),
        false => Err(late(limit)),
    })
}

/// Waits for a server no longer than `dial_timeout`, whatever it does.
pub(super) async fn within<T>(
    settings: &RedisSettings,
    asking: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    let limit = settings.dial_timeout;
    timeout(limit, asking).await.map_err(|_| late(limit))?
}

/// Whether the server has ended a connection without a word, in whichever way.
fn is_hung_up(why: &str) -> bool {
    why.ends_with(CLOSED) || why.contains("reset") || why.contains("Broken pipe")
}

fn late(limit: Duration) -> Trouble {
    Trouble::Passing(format!("no answer within {limit:?}"))
}

/// All at once, so that a server that is far away is not asked four times in a row.
async fn greet(link: &mut Link, credentials: &Credentials) -> Result<Server, Trouble> {
    let (auth, db) = (credentials.words(), credentials.db.to_string());
    let select = (credentials.db != 0).then(|| vec![&b"SELECT"[..], db.as_bytes()]);
    // Without a version, HELLO changes nothing, and nobody may be forbidden to say it.
    let (ping, hello) = (Some(vec![&b"PING"[..]]), Some(vec![&b"HELLO"[..]]));
    for words in [&auth, &select, &ping, &hello].into_iter().flatten() {
        link.out().queue(|out| resp::command(out, words.iter().copied()));
    }
    let refused = |answer: &Value<'_>| match answer {
        Value::Error(why) => Err(of_refusal(&String::from_utf8_lossy(why), credentials)),
        _ => Ok(()),
    };
    if auth.is_some() {
        answer(link, refused).await??;
    }
    if select.is_some() {
        answer(link, refused).await??;
    }
    answer(link, refused).await??;
    answer(link, Server::read).await
}

/// Asks one thing.
pub(super) async fn ask<T>(
    link: &mut Link,
    words: &[&[u8]],
    read: impl FnOnce(&Value<'_>) -> T,
) -> Result<T, Trouble> {
    link.out().queue(|out| resp::command(out, words.iter().copied()));
    answer(link, read).await
}

/// Waits for one answer.
async fn answer<T>(link: &mut Link, read: impl FnOnce(&Value<'_>) -> T) -> Result<T, Trouble> {
    loop {
        match resp::value(link.bytes(), STRING_BYTES_MAX) {
            Ok(Some((value, bytes))) => {
                let found = read(&value);
                link.consume(bytes);
                return Ok(found);
            }
            Ok(None) => {}
            Err(problem) => return Err(of_violation(link.bytes(), &problem)),
        }
        let read = link.read(ANSWER_BYTES_MAX).await;
        read.map_err(|error| Trouble::Passing(error.to_string()))?;
    }
}

/// What is no RESP.
fn of_violation(bytes: &[u8], problem: &resp::Violation) -> Trouble {
    match bytes {
        // An alert of TLS (RFC 8446 §5.1).
        [0x15, 0x03, ..] => Trouble::Hopeless(
            "the server speaks TLS, and `tls` is not set: set it, or name its port without TLS"
                .to_owned(),
        ),
        _ => Trouble::Hopeless(format!("the server is no Redis ({problem}): check `addrs`")),
    }
}

fn of_dialling(error: io::Error) -> Trouble {
    let tls = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
    match tls {
        Some(rustls::Error::InvalidCertificate(problem)) => Trouble::Hopeless(format!(
            "the server's certificate is not trusted ({problem}): check `tls.ca` and \
             `tls.server_name`"
        )),
        Some(rustls::Error::InvalidMessage(_)) => Trouble::Hopeless(
            "the server does not speak TLS: leave off `tls`, or name its port with TLS".to_owned(),
        ),
        Some(rustls::Error::AlertReceived(alert)) => {
            Trouble::Passing(format!("the server refused TLS ({alert:?}): check `tls`"))
        }
        _ if error.kind() == io::ErrorKind::InvalidInput => Trouble::Hopeless(error.to_string()),
        _ => Trouble::Passing(error.to_string()),
    }
}

/// An error answer, without the words of the command that a server may repeat: the password of AUTH
/// stands among them.
pub(super) fn without_args(why: &str) -> &str {
    why.split(", with args").next().unwrap_or_default()
}

/// An error answer to the greeting.
fn of_refusal(why: &str, credentials: &Credentials) -> Trouble {
    let why = without_args(why);
    let Credentials { key, .. } = credentials;
    let kind = why.split(' ').next().unwrap_or_default();
    let remedy = match kind {
        "WRONGPASS" => format!("check `username` and `{key}`"),
        "NOAUTH" => format!("it wants a password: set `{key}`"),
        "NOPERM" => "give the user the command PING, and those that brokers.md lists".to_owned(),
        "DENIED" => format!("it is in protected mode: give it a password and set `{key}`"),
        "ERR" if why.contains("invalid password") => format!("check `{key}`"),
        "ERR" if why.contains("without any password") || why.contains("no password is set") => {
            format!("it has no password: leave off `{key}`")
        }
        "ERR" if why.contains("DB index") || why.contains("SELECT is not allowed") => {
            "check `db`".to_owned()
        }
        _ => return Trouble::Passing(why.to_owned()),
    };
    Trouble::Hopeless(format!("the server refused us ({why}): {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(username: &str, password: &str) -> Credentials {
        let (username, password) = (username.to_owned(), Secret(password.to_owned()));
        Credentials { username, password, key: "password", db: 0 }
    }

    #[test]
    fn a_username_without_a_password_is_ignored_as_in_roadrunner() {
        assert_eq!(credentials("u", "").words(), None);
        assert_eq!(credentials("", "p").words().unwrap(), [&b"AUTH"[..], b"p"]);
        assert_eq!(credentials("u", "p").words().unwrap(), [&b"AUTH"[..], b"u", b"p"]);
    }

    #[test]
    fn what_waiting_cannot_mend_is_told_from_what_it_can() {
        let of = |why: &str| of_refusal(why, &credentials("", "p"));
        for (why, remedy) in [
            ("WRONGPASS invalid username-password pair or user is disabled.", "`password`"),
            ("NOAUTH Authentication required.", "set `password`"),
            ("ERR invalid password", "check `password`"),
            ("ERR Client sent AUTH, but no password is set", "leave off `password`"),
            (
                "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?",
                "leave off `password`",
            ),
            ("ERR DB index is out of range", "`db`"),
            ("NOPERM this user has no permissions to run the 'ping' command", "PING"),
        ] {
            let Trouble::Hopeless(text) = of(why) else { panic!("{why}") };
            assert!(text.contains(why) && text.contains(remedy), "{text}");
        }
        for why in ["ERR max number of clients reached", "LOADING Redis is loading", "MASTERDOWN"] {
            assert_eq!(of(why), Trouble::Passing(why.to_owned()));
        }
    }

    #[test]
    fn a_server_that_does_not_know_auth_does_not_spell_the_password() {
        let why = "ERR unknown command `AUTH`, with args beginning with: `hunter2`, ";
        let trouble = of_refusal(why, &credentials("", "hunter2"));
        assert_eq!(trouble, Trouble::Passing("ERR unknown command `AUTH`".to_owned()));
    }

    #[test]
    fn a_server_is_known_by_its_answer_to_hello() {
        let answer = b"*6\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n\
                       $4\r\nrole\r\n$5\r\nslave\r\n";
        let (value, _) = resp::value(answer, 100).unwrap().unwrap();
        let server = Server::read(&value);
        assert_eq!(
            (&*server.version, &*server.role, &*server.mode),
            ("redis 7.0.15", "replica", "")
        );
        let unknown = resp::value(b"-ERR unknown command\r\n", 100).unwrap().unwrap().0;
        assert_eq!(Server::read(&unknown), Server::default());
    }
}
