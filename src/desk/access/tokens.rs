//! Tokens: where one stands in a request, and whether it will do.

use std::cell::Cell;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::jwks::{KeyRing, KeyTelemetry};
use crate::access::token::{self, Accepted, Demands, Key, Places, TokenFault};
use crate::access::{AccessRequest, AccessSettings, KeySource, TokenSettings};
use crate::http::Head;
use crate::http::head::Room;

/// Time for checks until other threads have their turn: one signature of ES256, dozens of HS256.
/// With one turn for 300 µs the p99 of others was 1.12 × as long in a storm, with this 0.84 ×.
const SHARE: Duration = Duration::from_micros(100);

/// How tokens are checked.
pub struct Tokens {
    keys: Keys,
    demands: Demands,
    places: Places,
    required: bool,
    /// On checks, since other threads had their turn.
    spent: Cell<Duration>,
    /// Whether who has one need not be asked about any more to connect.
    pub suffices: bool,
}

enum Keys {
    /// From the configuration.
    Given(Vec<Key>),
    Fetched(KeyRing),
}

impl Tokens {
    /// As the operator has set it; `None`: no tokens. On the thread of a `LocalSet`, where keys are
    /// to be fetched: that begins here.
    pub fn new(access: &AccessSettings) -> Result<Option<Self>, String> {
        let Some(settings) = &access.tokens else { return Ok(None) };
        let TokenSettings { query, cookie, subprotocol, required, suffices, .. } = settings;
        let name = |name: &Option<String>| name.as_deref().map(Box::from);
        let key = settings.key().transpose().map_err(|why| why.to_string())?;
        Ok(Some(Self {
            keys: match &settings.keys {
                KeySource::Jwks(url) => {
                    Keys::Fetched(KeyRing::start(url, settings.jwks_ca.as_deref())?)
                }
                _ => Keys::Given(key.into_iter().collect()),
            },
            demands: settings.demands(&access.rules),
            places: Places { query: name(query), cookie: name(cookie), subprotocol: *subprotocol },
            required: *required,
            spent: Cell::new(Duration::ZERO),
            suffices: *suffices,
        }))
    }

    /// What the token of a request says; `None`: it has none, and needs none.
    pub async fn of_request(
        &self,
        request: &AccessRequest,
    ) -> Result<Option<Accepted>, TokenFault> {
        match self.find(request)? {
            Some(token) => self.check(&token).await.map(Some),
            None if self.required => Err(TokenFault::Missing),
            None => Ok(None),
        }
    }

    fn find(&self, request: &AccessRequest) -> Result<Option<Vec<u8>>, TokenFault> {
        let mut room = Room::new();
        let head = Head::parse(&request.head, &mut room).map_err(|_| TokenFault::Missing)?;
        Ok(token::find(&head, &self.places)?.map(|found| found.token.into_owned()))
    }

    /// What a token says, if it will do. It may wait for keys that are being fetched.
    pub async fn check(&self, token: &[u8]) -> Result<Accepted, TokenFault> {
        let check = |keys: &[Key]| {
            let began = Instant::now();
            let checked = token::check(token, keys, &self.demands, SystemTime::now());
            self.step_aside(began.elapsed());
            checked
        };
        let ring = match &self.keys {
            Keys::Given(keys) => return check(keys),
            Keys::Fetched(ring) => ring,
        };
        let checked = check(&ring.keys());
        match checked {
            Err(fault) if ring.wait(fault).await => check(&ring.keys()),
            checked => checked,
        }
    }

    /// Lets other threads go first from time to time: thousands of tokens may be due at once, and
    /// a shard on this core have something to deliver. With ES256 and one core for both, 10,000
    /// connects made the p99 of others 1.31 × as long without it.
    fn step_aside(&self, spent: Duration) {
        let spent = self.spent.get() + spent;
        let due = spent >= SHARE;
        if due {
            thread::yield_now();
        }
        self.spent.set(if due { Duration::ZERO } else { spent });
    }

    /// In how many seconds who is refused for [`TokenFault::NoKeys`] may come back.
    pub fn retry_after_s(&self) -> u64 {
        match &self.keys {
            Keys::Given(_) => 1,
            Keys::Fetched(ring) => ring.retry_after_s(),
        }
    }

    /// What other threads may know of keys that are fetched.
    pub fn telemetry(&self) -> Option<Arc<KeyTelemetry>> {
        match &self.keys {
            Keys::Given(_) => None,
            Keys::Fetched(ring) => Some(ring.telemetry()),
        }
    }
}
