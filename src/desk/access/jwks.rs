//! The keys of tokens, fetched from an identity provider and kept fresh. When, says
//! [`access::token::Jwks`](crate::access::token::Jwks); here it is done.

use std::cell::{Ref, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderMap;
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;
use tokio::task::{JoinHandle, spawn_local};
use tokio::time::{Instant, sleep, timeout};

use super::client::{Answer, Bounds, Client};
use super::readiness::Readiness;
use crate::access::token::{JWKS_BYTES_MAX, Jwks, Key, TokenFault};
use crate::metrics::counters;

/// For an answer: as long as a token waits for it.
const ANSWER_TIME: Duration = Duration::from_secs(5);

counters! {
    /// What is counted of fetching keys: since the start, but for the keys that are known now.
    KeyCounters {
        /// Keys that tokens are checked with.
        keys: Gauge("jwks_keys"),
        /// Fetches that brought keys.
        fetched: Counter("jwks_fetches"),
        /// Fetches that brought none.
        failed: Counter("jwks_fetches_failed"),
    }
}

/// What other threads may know of the keys.
#[derive(Debug)]
pub struct KeyTelemetry {
    /// Counts.
    pub counts: KeyCounters,
    ready: Readiness,
}

impl KeyTelemetry {
    /// Nothing has been fetched yet.
    pub fn new() -> Self {
        let ready = Readiness::default();
        ready.fails("the keys of tokens are being fetched".to_owned(), None);
        Self { counts: KeyCounters::default(), ready }
    }

    /// Whether tokens can be checked; if not, why.
    pub fn is_ready(&self, now: std::time::Instant) -> Result<(), String> {
        self.ready.of(now)
    }
}

impl Default for KeyTelemetry {
    fn default() -> Self {
        Self::new()
    }
}

/// See the module. What is under way ends with the value.
#[derive(Debug)]
pub struct KeyRing {
    shared: Rc<Shared>,
    fetching: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    jwks: RefCell<Jwks>,
    client: Client,
    /// A fetch has ended, well or not.
    ended: Notify,
    /// A fetch may be due sooner than it was.
    sooner: Notify,
    telemetry: Arc<KeyTelemetry>,
}

impl KeyRing {
    /// Begins to fetch the set at this URL, trusting `ca` in place of the system's certificates,
    /// and does not wait for it. On the thread of a `LocalSet`. The error says what is wrong; it
    /// does not show the URL.
    pub fn start(url: &str, ca: Option<&[CertificateDer<'static>]>) -> Result<Self, String> {
        let bounds = Bounds { timeout: ANSWER_TIME, idle: 1, body_bytes: JWKS_BYTES_MAX };
        let client = Client::new(url, ca, bounds)
            .map_err(|problem| format!("roadcast.access.jwt.jwks: {problem}"))?;
        let shared = Rc::new(Shared {
            jwks: RefCell::new(Jwks::new(now())),
            client,
            ended: Notify::new(),
            sooner: Notify::new(),
            telemetry: Arc::default(),
        });
        let fetching = spawn_local(keep_fresh(shared.clone()));
        Ok(Self { shared, fetching })
    }

    /// The keys that are known. Not to be held across an `await`.
    pub fn keys(&self) -> Ref<'_, [Key]> {
        Ref::map(self.shared.jwks.borrow(), Jwks::keys)
    }

    /// A token was refused for this fault: waits for a fetch that may help, and says whether it is
    /// worth while to check it again.
    pub async fn wait(&self, fault: TokenFault) -> bool {
        let ended = self.shared.ended.notified();
        tokio::pin!(ended);
        // From here on, so that no end is missed.
        ended.as_mut().enable();
        let wait = self.shared.jwks.borrow_mut().wait(fault, now());
        let Some(wait) = wait else { return false };
        self.shared.sooner.notify_one();
        let brings_keys = async {
            loop {
                ended.as_mut().await;
                // The first fetch may be tried several times in the time.
                if fault != TokenFault::NoKeys || !self.keys().is_empty() {
                    break;
                }
                ended.set(self.shared.ended.notified());
                ended.as_mut().enable();
            }
        };
        timeout(wait, brings_keys).await.is_ok()
    }

    /// In how many seconds who is refused for want of keys may come back.
    pub fn retry_after_s(&self) -> u64 {
        self.shared.jwks.borrow().retry_after_s(now())
    }

    /// What other threads may know.
    pub fn telemetry(&self) -> Arc<KeyTelemetry> {
        self.shared.telemetry.clone()
    }
}

impl Drop for KeyRing {
    fn drop(&mut self) {
        self.fetching.abort();
    }
}

impl Shared {
    /// Fetches. Says whether that has worked; the log, when that has changed.
    async fn fetch(&self, worked: Option<bool>) -> bool {
        self.jwks.borrow_mut().begin(now());
        let answer = self.client.get().await;
        let (mut jwks, counts) = (self.jwks.borrow_mut(), &self.telemetry.counts);
        let fetched = match answer {
            Ok(Answer { status, headers, body }) => {
                jwks.fetched(now(), status, pairs(&headers), &body)
            }
            Err(failure) => {
                jwks.failed(now());
                Err(failure.why)
            }
        };
        match &fetched {
            Ok(fetched) => {
                counts.fetched.add(1);
                counts.keys.set(fetched.keys as u64);
                self.telemetry.ready.works();
                if worked != Some(true) {
                    let (keys, skipped) = (fetched.keys, fetched.skipped);
                    tracing::info!(
                        keys,
                        skipped,
                        "keys for tokens fetched (roadcast.access.jwt.jwks)"
                    );
                }
            }
            Err(why) => {
                counts.failed.add(1);
                let keys = jwks.keys().len();
                if keys == 0 {
                    self.telemetry.ready.fails(format!("no keys for tokens: {why}"), None);
                }
                if worked != Some(false) {
                    tracing::error!(
                        why,
                        keys,
                        "cannot fetch keys for tokens (roadcast.access.jwt.jwks); those that are known \
                         go on; trying again for ever"
                    );
                }
            }
        }
        self.ended.notify_waiters();
        fetched.is_ok()
    }
}

/// Fetches whenever it is due. Runs for ever.
async fn keep_fresh(shared: Rc<Shared>) {
    let mut worked = None;
    loop {
        // None but this task fetches.
        let due = shared.jwks.borrow().due(now()).unwrap_or_default();
        if due.is_zero() {
            worked = Some(shared.fetch(worked).await);
            continue;
        }
        tokio::select! {
            () = sleep(due) => {}
            () = shared.sooner.notified() => {}
        }
    }
}

fn pairs(headers: &HeaderMap) -> impl Iterator<Item = (&str, &[u8])> {
    headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
}

/// Of tokio's clock, which tests may hold.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}
