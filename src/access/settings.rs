//! Who is asked who may connect and join, as the operator has set it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::CertificateDer;

use super::Rules;
use super::token::{Algorithm, Demands, Key, KeyError};
use crate::secret::Secret;

/// See the module. By default nobody is asked, and everyone may do everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccessSettings {
    /// Who is asked at the upgrade, and at joins where rules say so.
    pub asked: Asked,
    /// How tokens are checked, if they are.
    pub tokens: Option<TokenSettings>,
    /// Who may join what.
    pub rules: Rules,
    /// What becomes of a user's connections past `limits.connections_per_user`.
    pub per_user: PerUser,
}

/// Who knows what a rule does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Asked {
    /// Nobody.
    #[default]
    Nobody,
    /// PHP workers, as RoadRunner's.
    Workers(Box<WorkersSettings>),
    /// A server, over HTTP.
    Callback(Box<CallbackSettings>),
}

/// What becomes of one connection too many of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerUser {
    /// The oldest is closed, with 4409.
    #[default]
    Replace,
    /// The new one is refused.
    Refuse,
}

/// The workers, and how they are run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkersSettings {
    /// A program and its arguments; at least the program.
    pub command: Vec<String>,
    /// Where they run: the directory of the configuration file.
    pub directory: PathBuf,
    /// Variables beside those of the server, in order, later ones win; names are in capitals. They
    /// come after `RR_RPC`.
    pub env: Vec<(String, Secret)>,
    /// The user that they run as; `None`: the server's own.
    pub user: Option<String>,
    /// By what they are spoken to.
    pub relay: Relay,
    /// For one to connect to a relay that is a socket.
    pub relay_timeout: Duration,
    /// What runs once before them.
    pub on_init: Option<OnInit>,
    /// How many there are, and for how long.
    pub pool: PoolSettings,
}

/// What runs once before the workers are started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnInit {
    /// A program and its arguments; at least the program.
    pub command: Vec<String>,
    /// For it to end.
    pub timeout: Duration,
    /// As of workers, behind theirs.
    pub env: Vec<(String, Secret)>,
}

/// By what workers are spoken to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Relay {
    /// Their standard input and output.
    #[default]
    Pipes,
    /// They connect to this address.
    Tcp(SocketAddr),
    /// They connect to this Unix socket.
    Unix(PathBuf),
}

/// `websockets.pool`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolSettings {
    /// A fresh process for each question, none that stand ready.
    pub debug: bool,
    /// Workers that stand ready; at least 1.
    pub num_workers: usize,
    /// Questions after which one is replaced; 0 = never.
    pub max_jobs: usize,
    /// For a question to get a worker, and for a worker to start.
    pub allocate_timeout: Duration,
    /// For a worker to end once it has been told to; then it is killed.
    pub destroy_timeout: Duration,
    /// What else workers are replaced for.
    pub supervisor: Option<Supervisor>,
}

/// What workers are replaced for. Zero each: not for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervisor {
    /// Between two looks at all workers; never zero.
    pub watch_tick: Duration,
    /// Its age.
    pub ttl: Duration,
    /// Time since its last question, if it has had one.
    pub idle_ttl: Duration,
    /// Time that one question takes; it is killed then.
    pub exec_ttl: Duration,
    /// Its memory (RSS).
    pub max_worker_memory_bytes: u64,
}

/// `roadcast.access.http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallbackSettings {
    /// `http://` or `https://`; it may hold a password.
    pub url: Secret,
    /// For one answer.
    pub timeout: Duration,
    /// Questions that are under way at a time; at least 1.
    pub concurrency: usize,
    /// The headers of a request that are passed on; case does not matter.
    pub headers: Vec<String>,
    /// The certificates that are trusted, in place of the system's.
    pub ca: Option<Vec<CertificateDer<'static>>>,
}

/// `roadcast.access.jwt`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenSettings {
    /// What signatures are checked with.
    pub keys: KeySource,
    /// The certificates that are trusted where keys are fetched, in place of the system's.
    pub jwks_ca: Option<Vec<CertificateDer<'static>>>,
    /// Names of algorithms, such as `ES256`, each of which `keys` may be for; empty: all those.
    pub algorithms: Vec<String>,
    /// One of these must be in the token's `aud`; empty: a token with an `aud` is for others.
    pub audience: Vec<String>,
    /// One of these must be the token's `iss`; empty: any will do, and none.
    pub issuer: Vec<String>,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// Whether nobody may connect without a token.
    pub required: bool,
    /// The query parameter that may hold it.
    pub query: Option<String>,
    /// The cookie that may hold it.
    pub cookie: Option<String>,
    /// Whether an offered subprotocol may hold it: `token.<jwt>` beside `roadcast`.
    pub subprotocol: bool,
    /// Whether who has a token may connect without that workers or the callback are asked.
    pub suffices: bool,
}

/// Where keys come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A secret that signers share: HS256, HS384, HS512.
    Secret(Secret),
    /// A public key, as PEM.
    PublicKey(String),
    /// The URL of a set of keys.
    Jwks(String),
}

impl TokenSettings {
    /// What tokens are checked with, where that is no set of keys that must be fetched.
    pub fn key(&self) -> Option<Result<Key, KeyError>> {
        match &self.keys {
            KeySource::Secret(Secret(secret)) => Some(Key::secret(secret.as_bytes())),
            KeySource::PublicKey(pem) => Some(Key::pem(pem)),
            KeySource::Jwks(_) => None,
        }
    }

    /// What is demanded of tokens, with the claims that rules name.
    pub fn demands(&self, rules: &Rules) -> Demands {
        let algorithms = self.algorithms.iter();
        Demands {
            algorithms: algorithms.filter_map(|name| Algorithm::named(name)).collect(),
            audience: self.audience.clone(),
            issuer: self.issuer.clone(),
            leeway: self.leeway,
            claims: rules.claims().into_iter().map(Box::from).collect(),
        }
    }
}

impl AccessSettings {
    /// Whether somebody is to be asked, or a token be checked: sessions are kept then, and the
    /// desk has something to do.
    pub fn asks(&self) -> bool {
        self.asked != Asked::Nobody || self.tokens.is_some()
    }

    /// Whether anybody may be kept out.
    pub fn guarded(&self) -> bool {
        self.asks() || !self.rules.open()
    }
}
