//! One connection to a server, from dialling to the server's word that we may go on.

use std::cell::OnceCell;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use super::settings::{NatsLogin, NatsServer, NatsSettings};
use crate::hub::broker::link::{Address, Link, Silence, Tls};
use crate::nats::{Connect, Decoder, Info, LINE_BYTES_MAX, PING, PONG, Refusal, Said};

/// A server greets at once. One that has not after so long is asked for a sign, so that one that is
/// no NATS can be told from one that is slow.
const GREETS_WITHIN: Duration = Duration::from_millis(300);

/// A connection over which subscriptions and publications may go.
pub(super) struct Session {
    pub(super) link: Link,
    pub(super) decoder: Decoder,
    pub(super) info: Info,
    pub(super) server: NatsServer,
}

/// Why there is no session.
#[derive(Debug)]
pub(super) enum NoSession {
    /// It gets no better by waiting.
    Hopeless(String),
    /// It may.
    Away(String),
}

impl From<io::Error> for NoSession {
    fn from(error: io::Error) -> Self {
        // A certificate that is not trusted, a name that it does not have.
        let tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
        match tls {
            true => Self::Hopeless(format!("TLS: {error}")),
            false => Self::Away(describe(&error)),
        }
    }
}

/// What went wrong, without the number that the system has for it.
pub(super) fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    let cut = text.find(" (os error").unwrap_or(text.len());
    text[..cut].to_lowercase()
}

/// TLS of a broker, its certificates loaded when they are first needed.
pub(super) type LoadedTls = OnceCell<Result<Tls, String>>;

/// Connects, in `dial_timeout` at most. Messages of more than `payload_bytes_max` are skipped.
pub(super) async fn dial(
    settings: &NatsSettings,
    tls: &LoadedTls,
    server: &NatsServer,
    name: &str,
    payload_bytes_max: usize,
) -> Result<Session, NoSession> {
    let limit = settings.dial_timeout;
    let dialled = timeout(limit, greet(settings, tls, server, name, payload_bytes_max)).await;
    dialled.unwrap_or_else(|_| Err(NoSession::Away(format!("no connection within {limit:?}"))))
}

async fn greet(
    settings: &NatsSettings,
    tls: &LoadedTls,
    server: &NatsServer,
    name: &str,
    payload_bytes_max: usize,
) -> Result<Session, NoSession> {
    let link = Link::dial(&server.address).await?;
    let mut session = Session {
        link,
        decoder: Decoder::new(payload_bytes_max),
        info: Info::default(),
        server: server.clone(),
    };
    session.wait_for_info().await?;
    let wants_tls = server.tls || settings.tls.is_some();
    if session.info.tls_required && !wants_tls {
        return Err(NoSession::Hopeless(
            "the server speaks TLS alone; set `tls: {}` in the broker's config, or write tls:// \
             before its address"
                .to_owned(),
        ));
    }
    if wants_tls {
        if !session.info.tls_required && !session.info.tls_available {
            let problem = "the server offers no TLS, and `tls` is set";
            return Err(NoSession::Hopeless(problem.to_owned()));
        }
        let tls = tls.get_or_init(|| Tls::new(&settings.tls.clone().unwrap_or_default()));
        let tls = tls.as_ref().map_err(|why| NoSession::Hopeless(why.clone()))?;
        session.link = session.link.secure(tls, certified_host(settings, server)).await?;
    }
    session.log_in(settings, name, wants_tls).await?;
    Ok(session)
}

/// The host that a server's certificate is to be for. Servers tell of others by their IP addresses:
/// those have the name of the first that is configured.
fn certified_host<'a>(settings: &'a NatsSettings, server: &'a NatsServer) -> &'a str {
    let host = |server: &'a NatsServer| match &server.address {
        Address::Tcp { host, .. } => host.as_str(),
        Address::Unix(_) => "",
    };
    let own = host(server);
    let configured = settings.servers.iter().any(|known| known.address == server.address);
    if configured || own.parse::<IpAddr>().is_err() { own } else { host(&settings.servers[0]) }
}

impl Session {
    /// Fails with why it is to be given up, if it is: `asked` is when the oldest PING was sent that
    /// has no answer.
    pub(super) fn is_silent(
        &self,
        settings: &NatsSettings,
        asked: Option<Instant>,
        now: Instant,
    ) -> Result<(), String> {
        let (read, write) = (settings.read_timeout, settings.write_timeout);
        match self.link.silence(asked, read, write, now) {
            None => Ok(()),
            Some(Silence::Unheard(limit)) => Err(format!("no answer within {limit:?}")),
            Some(Silence::Stuck(limit)) => Err(format!("it takes nothing for {limit:?}")),
        }
    }

    /// The next thing that the server says.
    async fn hear<T>(
        &mut self,
        mut take: impl FnMut(&Said<'_>) -> Option<T>,
    ) -> Result<T, NoSession> {
        loop {
            let (bytes, said) = self
                .decoder
                .next(self.link.bytes())
                .map_err(|error| NoSession::Hopeless(error.to_string()))?;
            let taken = said.as_ref().and_then(&mut take);
            self.link.consume(bytes);
            if let Some(taken) = taken {
                return Ok(taken);
            }
            if bytes == 0 {
                self.link.read(LINE_BYTES_MAX).await?;
            }
        }
    }

    async fn wait_for_info(&mut self) -> Result<(), NoSession> {
        let info = |said: &Said<'_>| match said {
            Said::Info(json) => Some(Ok(Info::parse(json))),
            Said::Error(text) => Some(Err((*text).to_owned())),
            _ => None,
        };
        let until = Instant::now() + GREETS_WITHIN;
        let heard = match timeout_at(until, self.hear(info)).await {
            Ok(heard) => heard?,
            Err(_) => {
                self.link.out().queue(|out| out.extend_from_slice(PING));
                self.hear(info).await?
            }
        };
        self.info = match heard {
            Ok(Some(info)) => info,
            Ok(None) => {
                return Err(NoSession::Hopeless("its INFO cannot be understood".to_owned()));
            }
            Err(text) => return Err(NoSession::Away(said(&text))),
        };
        Ok(())
    }

    /// Says who we are, and waits until that is accepted.
    async fn log_in(
        &mut self,
        settings: &NatsSettings,
        name: &str,
        tls: bool,
    ) -> Result<(), NoSession> {
        let mut connect = Connect::new(name);
        connect.tls_required = tls;
        match self.server.login.as_ref().unwrap_or(&settings.login) {
            NatsLogin::Anonymous => {}
            NatsLogin::Token(token) => connect.auth_token = Some(&token.0),
            NatsLogin::User(user, password) => {
                connect.user = Some(user);
                connect.pass = Some(&password.0);
            }
            NatsLogin::Nkey(seed) => {
                let (signature, public) = seed.sign(&self.info.nonce);
                (connect.sig, connect.nkey) = (Some(signature), Some(public));
            }
            NatsLogin::Credentials(credentials) => {
                let (signature, public) = credentials.seed.sign(&self.info.nonce);
                (connect.sig, connect.nkey) = (Some(signature), Some(public));
                connect.jwt = Some(&credentials.jwt.0);
            }
        }
        self.link.out().queue(|out| {
            connect.encode(out);
            out.extend_from_slice(PING);
        });
        let (out, mut news) = (self.link.out().clone(), None);
        let accepted = self.hear(|said| match said {
            Said::Pong => Some(Ok(())),
            Said::Error(text) => Some(Err((*text).to_owned())),
            Said::Ping => {
                out.queue(|out| out.extend_from_slice(PONG));
                None
            }
            Said::Info(json) => {
                news = Info::parse(json);
                None
            }
            _ => None,
        });
        let accepted = accepted.await?;
        self.info = news.unwrap_or_else(|| std::mem::take(&mut self.info));
        accepted.map_err(|text| match Refusal::of(&text) {
            Refusal::Login => {
                NoSession::Hopeless(format!("{}: {}", said(&text), remedy(&self.server, settings)))
            }
            Refusal::TlsRequired => NoSession::Hopeless(said(&text)),
            _ => NoSession::Away(said(&text)),
        })
    }
}

/// What to do where the server does not know us.
fn remedy(server: &NatsServer, settings: &NatsSettings) -> &'static str {
    match (&server.login, &settings.login) {
        (Some(_), _) => "check who stands before its address in `addrs`",
        (None, NatsLogin::Anonymous) => "set `user` and `password`, `token`, `nkey` or `creds`",
        (None, NatsLogin::Token(_)) => "check `token`",
        (None, NatsLogin::User(..)) => "check `user` and `password`",
        (None, NatsLogin::Nkey(_)) => "check `nkey`",
        (None, NatsLogin::Credentials(_)) => "check `creds`",
    }
}

/// What a server says in words of its own.
pub(super) fn said(text: &str) -> String {
    let text: String = text.chars().take(300).flat_map(char::escape_debug).collect();
    format!("the server says: {text}")
}
