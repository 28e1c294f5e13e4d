//! When a set of keys is fetched: at the start, when its cache headers say so (RFC 9111 §4.2), and
//! when a token names a key that it lacks. Pure: whoever fetches says what came, and when.
//!
//! Invariants:
//! - One fetch is under way at most.
//! - What a client sends causes one fetch in [`ASKED_FOR_EVERY`] at most, whatever it sends.
//! - Keys that were fetched go on until others have been: an identity provider that is down shuts
//!   nobody out. A set without a usable key counts as a failure, too.
//!
//! At the start no key is known. For the first [`FIRST_FETCH_WAIT`] a token waits for the fetch;
//! after that it is refused with a 503 until the keys are there.

use std::time::{Duration, Instant};

use super::TokenFault;
use super::jwks::KeySet;
use super::key::Key;

/// A set is fetched no earlier after a fetch that brought it, whatever its headers say.
pub const FRESH_MIN: Duration = Duration::from_secs(60);
/// And no later.
pub const FRESH_MAX: Duration = Duration::from_secs(24 * 60 * 60);
/// Where its headers say nothing.
pub const FRESH_DEFAULT: Duration = Duration::from_secs(60 * 60);
/// Between two fetches for keys that tokens name.
pub const ASKED_FOR_EVERY: Duration = Duration::from_secs(10);
/// After the first failure. Each one doubles it, up to [`FRESH_MIN`].
pub const RETRY_FIRST: Duration = Duration::from_secs(1);
/// For how long after the start a token waits for the first fetch.
pub const FIRST_FETCH_WAIT: Duration = Duration::from_secs(5);
/// For how long a token waits for a fetch that may bring its key.
pub const FETCH_WAIT: Duration = Duration::from_secs(5);

/// A set of keys that is fetched, and when it is next. Without a clock or a connection of its own.
#[derive(Debug)]
pub struct Jwks {
    keys: Vec<Key>,
    started: Instant,
    /// The last fetch has begun then.
    begun: Option<Instant>,
    under_way: bool,
    /// Set when none is under way: the next one begins then.
    next: Instant,
    /// Fetches that failed since one did not.
    failures: u32,
}

/// What a fetch has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// Keys that are used from now on.
    pub keys: usize,
    /// Keys of the set that are not for us.
    pub skipped: usize,
    /// When it is fetched anew.
    pub fresh_for: Duration,
}

impl Jwks {
    /// No key is known, and a fetch is due.
    pub fn new(now: Instant) -> Self {
        Self {
            keys: Vec::new(),
            started: now,
            begun: None,
            under_way: false,
            next: now,
            failures: 0,
        }
    }

    /// The keys of the last fetch that brought some.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// When a fetch is due: in so long, zero for now. `None`: one is under way.
    pub fn due(&self, now: Instant) -> Option<Duration> {
        (!self.under_way).then(|| self.next.saturating_duration_since(now))
    }

    /// A fetch begins. It ends with [`fetched`](Self::fetched) or [`failed`](Self::failed).
    pub fn begin(&mut self, now: Instant) {
        debug_assert!(!self.under_way, "one fetch at a time");
        self.under_way = true;
        self.begun = Some(now);
    }

    /// The fetch was answered. The error says why the answer brought no keys; then the fetch has
    /// failed, and the keys that are known go on.
    pub fn fetched<'h>(
        &mut self,
        now: Instant,
        status: u16,
        headers: impl Iterator<Item = (&'h str, &'h [u8])>,
        body: &[u8],
    ) -> Result<Fetched, String> {
        let set = match status {
            200 => KeySet::parse(body).map_err(str::to_owned),
            _ => Err(format!("the answer has the status {status}")),
        };
        match set {
            Ok(KeySet { keys, skipped }) => {
                self.keys = keys;
                self.under_way = false;
                self.failures = 0;
                let fresh_for = fresh_for(headers).clamp(FRESH_MIN, FRESH_MAX);
                self.next = now + fresh_for;
                Ok(Fetched { keys: self.keys.len(), skipped, fresh_for })
            }
            Err(why) => {
                self.failed(now);
                Err(why)
            }
        }
    }

    /// The fetch was not answered. Gives back in how long it is tried again.
    pub fn failed(&mut self, now: Instant) -> Duration {
        self.under_way = false;
        let pause = RETRY_FIRST * (1 << self.failures.min(6));
        self.failures += 1;
        let pause = pause.min(FRESH_MIN);
        self.next = now + pause;
        pause
    }

    /// A token was refused for this fault: for how long it is worth while to wait for a fetch, and
    /// to check it again. `None`: no fetch is going to help it now. A fetch may be due at once
    /// after this.
    pub fn wait(&mut self, fault: TokenFault, now: Instant) -> Option<Duration> {
        match fault {
            TokenFault::NoKeys => {
                let left = (self.started + FIRST_FETCH_WAIT).saturating_duration_since(now);
                (!left.is_zero()).then_some(left)
            }
            TokenFault::UnknownKey => {
                let lately =
                    |begun: Instant| now.saturating_duration_since(begun) < ASKED_FOR_EVERY;
                if !self.under_way {
                    if self.begun.is_some_and(lately) {
                        return None;
                    }
                    self.next = now;
                }
                Some(FETCH_WAIT)
            }
            _ => None,
        }
    }

    /// In how many seconds who is refused for [`TokenFault::NoKeys`] may come back.
    pub fn retry_after_s(&self, now: Instant) -> u64 {
        self.due(now).map_or(1, |due| due.as_secs() + 1)
    }
}

/// RFC 9111 §4.2.1 for a private cache: `max-age`, else `Expires` less `Date`; less the `Age` that
/// the answer has already (§4.2.3).
fn fresh_for<'h>(headers: impl Iterator<Item = (&'h str, &'h [u8])>) -> Duration {
    let (mut max_age, mut stale, mut age, mut expires, mut date) = (None, false, 0, None, None);
    for (name, value) in headers {
        let text = std::str::from_utf8(value).unwrap_or("").trim();
        match name.to_ascii_lowercase().as_str() {
            "cache-control" => {
                for directive in text.split(',') {
                    let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
                    match name.trim().to_ascii_lowercase().as_str() {
                        "no-cache" | "no-store" => stale = true,
                        "max-age" => max_age = Some(seconds(value.trim().trim_matches('"'))),
                        _ => {}
                    }
                }
            }
            "age" => age = seconds(text),
            // What is no date is in the past (RFC 9111 §5.3).
            "expires" => expires = Some(httpdate::parse_http_date(text).ok()),
            "date" => date = httpdate::parse_http_date(text).ok(),
            _ => {}
        }
    }
    let lifetime = match (max_age, expires, date) {
        _ if stale => 0,
        (Some(max_age), ..) => max_age,
        (None, Some(None), _) => 0,
        (None, Some(Some(expires)), Some(date)) => {
            expires.duration_since(date).unwrap_or_default().as_secs()
        }
        _ => return FRESH_DEFAULT,
    };
    Duration::from_secs(lifetime.saturating_sub(age))
}

/// RFC 9111 §1.2.2: what is no number of seconds is none; what is too large is very many.
fn seconds(text: &str) -> u64 {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().unwrap_or(u64::MAX) } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SET: &[u8] = br#"{"keys":[
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"},
        {"kty":"oct","k":"AA"}]}"#;

    /// A set of keys, and the time.
    struct Bed {
        jwks: Jwks,
        start: Instant,
        now: Instant,
    }

    impl Bed {
        fn new() -> Self {
            let now = Instant::now();
            Self { jwks: Jwks::new(now), start: now, now }
        }

        fn pass(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// Waits until a fetch is due, which is answered so.
        fn fetch(&mut self, status: u16, headers: &[(&str, &str)], body: &[u8]) -> Option<Fetched> {
            self.now += self.jwks.due(self.now).expect("none is under way");
            self.jwks.begin(self.now);
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            self.jwks.fetched(self.now, status, headers, body).ok()
        }

        fn fail(&mut self) -> u64 {
            self.now += self.jwks.due(self.now).expect("none is under way");
            self.jwks.begin(self.now);
            self.jwks.failed(self.now).as_secs()
        }

        fn due(&self) -> Option<u64> {
            self.jwks.due(self.now).map(|due| due.as_secs())
        }

        fn wait(&mut self, fault: TokenFault) -> Option<u64> {
            self.jwks.wait(fault, self.now).map(|wait| wait.as_secs())
        }
    }

    #[test]
    fn a_set_is_fetched_at_the_start_and_by_its_headers() {
        let mut bed = Bed::new();
        assert_eq!((bed.due(), bed.jwks.keys().len()), (Some(0), 0));
        let fetched = bed.fetch(200, &[("Cache-Control", "public, max-age=300")], SET);
        let fresh_for = Duration::from_secs(300);
        assert_eq!(fetched, Some(Fetched { keys: 1, skipped: 1, fresh_for }));
        assert_eq!((bed.due(), bed.jwks.keys().len()), (Some(300), 1));
        bed.pass(299);
        assert_eq!(bed.due(), Some(1));
        bed.pass(1000);
        assert_eq!(bed.due(), Some(0));
        bed.jwks.begin(bed.now);
        assert_eq!(bed.due(), None, "one at a time");
    }

    #[test]
    fn how_long_a_set_is_fresh_is_read_from_each_header_and_bounded() {
        let date = ("Date", "Sun, 06 Nov 1994 08:49:37 GMT");
        for (headers, seconds) in [
            (&[][..], 3600),
            (&[("cache-control", "max-age=\"120\"")], 120),
            (&[("Cache-Control", "MAX-AGE=120, must-revalidate"), ("Age", "20")], 100),
            (&[("Cache-Control", "private"), ("Cache-Control", "max-age=120")], 120),
            (&[("Cache-Control", "max-age=120"), ("Expires", "0")], 120),
            (&[("Cache-Control", "max-age=0")], 60),
            (&[("Cache-Control", "max-age=120, no-cache")], 60),
            (&[("Cache-Control", "no-store")], 60),
            (&[("Cache-Control", "max-age=99999999999999999999999")], 86400),
            (&[("Cache-Control", "max-age=-1")], 60),
            (&[("Cache-Control", "max-age=x")], 60),
            (&[("Cache-Control", "s-maxage=5")], 3600),
            (&[("Expires", "Sun, 06 Nov 1994 09:49:37 GMT"), date], 3600),
            (&[("Expires", "Sun, 06 Nov 1994 08:59:37 GMT"), date], 600),
            (&[("Expires", "Sun, 06 Nov 1994 07:49:37 GMT"), date], 60),
            (&[("Expires", "0"), date], 60),
            (&[("Cache-Control", "max-age=600"), ("Age", "9999999")], 60),
        ] {
            let mut bed = Bed::new();
            let fetched = bed.fetch(200, headers, SET).expect("a set");
            assert_eq!(fetched.fresh_for.as_secs(), seconds, "{headers:?}");
        }
    }

    #[test]
    fn keys_go_on_while_their_source_is_down_and_failures_back_off() {
        let mut bed = Bed::new();
        bed.fetch(200, &[], SET);
        let pauses: Vec<u64> = (0..9).map(|_| bed.fail()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(bed.jwks.keys().len(), 1);
        // What is no set is a failure, too: another status, other bytes, 5 MB, none that is usable.
        for (status, body) in [
            (500, SET),
            (304, b""),
            (302, SET),
            (200, b"<html>"),
            (200, &vec![b' '; 5 << 20]),
            (200, br#"{"keys":[]}"#),
        ] {
            assert_eq!(bed.fetch(status, &[("Cache-Control", "max-age=7200")], body), None);
            assert_eq!((bed.due(), bed.jwks.keys().len()), (Some(60), 1));
        }
        bed.fetch(200, &[], SET);
        assert_eq!((bed.due(), bed.fail()), (Some(3600), 1), "and the pauses begin anew");
    }

    #[test]
    fn a_set_that_changes_takes_the_place_of_the_old_one() {
        let mut bed = Bed::new();
        bed.fetch(200, &[], SET);
        let other = String::from_utf8(SET.to_vec()).unwrap().replace("\"a\"", "\"b\"");
        bed.fetch(200, &[], other.as_bytes());
        let names: Vec<_> = bed.jwks.keys().iter().map(|key| key.id.as_deref()).collect();
        assert_eq!(names, [Some("b")]);
    }

    #[test]
    fn an_unknown_key_has_the_set_fetched_once_in_ten_seconds() {
        let mut bed = Bed::new();
        bed.fetch(200, &[], SET);
        bed.pass(9);
        assert_eq!(bed.wait(TokenFault::UnknownKey), None, "it was fetched 9 s ago");
        assert_eq!(bed.due(), Some(3591));
        bed.pass(1);
        assert_eq!(bed.wait(TokenFault::UnknownKey), Some(5));
        assert_eq!(bed.due(), Some(0));
        bed.jwks.begin(bed.now);
        assert_eq!(bed.wait(TokenFault::UnknownKey), Some(5), "others wait for the same");
        assert_eq!(bed.due(), None);
        bed.jwks.failed(bed.now);
        assert_eq!(bed.wait(TokenFault::UnknownKey), None);
        for fault in [TokenFault::Signature, TokenFault::Expired, TokenFault::Algorithm] {
            bed.pass(60);
            assert_eq!(bed.wait(fault), None, "no fetch helps");
        }
    }

    #[test]
    fn tokens_wait_for_the_first_fetch_for_a_while() {
        let mut bed = Bed::new();
        assert_eq!(bed.wait(TokenFault::NoKeys), Some(5));
        assert_eq!(bed.jwks.retry_after_s(bed.now), 1);
        bed.fail();
        bed.fail();
        assert_eq!((bed.now - bed.start).as_secs(), 1);
        assert_eq!(bed.wait(TokenFault::NoKeys), Some(4));
        assert_eq!(bed.jwks.retry_after_s(bed.now), 3, "when it has been tried again");
        bed.pass(4);
        assert_eq!(bed.wait(TokenFault::NoKeys), None);
    }
}
