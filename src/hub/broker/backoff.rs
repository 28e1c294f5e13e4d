//! Pauses between attempts to connect.

use std::time::Duration;

use tokio::time::Instant;

/// A connection that lasted so long was a good one: the next attempt is a first one again.
const GOOD: Duration = Duration::from_secs(1);
/// No pause is shorter, whatever is configured: a server that is down is not dialled in a loop.
const FLOOR: Duration = Duration::from_millis(4);

/// See the module.
#[derive(Debug)]
pub struct Backoff {
    min: Duration,
    max: Duration,
    failures: u32,
    /// When the last connection was made.
    connected: Option<Instant>,
}

impl Backoff {
    /// From `min` to `max`.
    pub fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, failures: 0, connected: None }
    }

    /// A connection has been made.
    pub fn connected(&mut self, now: Instant) {
        self.connected = Some(now);
    }

    /// The pause before the next attempt: doubled each time, between half of it and all by
    /// `fraction` (0 to 1), so that many nodes do not come at once.
    pub fn pause(&mut self, now: Instant, fraction: f64) -> Duration {
        if self.connected.take().is_some_and(|since| now.saturating_duration_since(since) >= GOOD) {
            self.failures = 0;
        }
        let doubled = self.min.saturating_mul(1 << self.failures.min(20));
        self.failures += 1;
        doubled.min(self.max).mul_f64(0.5 + fraction.clamp(0.0, 1.0) / 2.0).max(FLOOR)
    }
}

/// Any number from 0 to 1: the standard library's keys for tables are random.
pub fn random_fraction() -> f64 {
    use std::hash::BuildHasher;
    let random = std::hash::RandomState::new().hash_one(());
    random as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_to_the_longest_and_begin_anew_behind_a_good_connection() {
        let ms = Duration::from_millis;
        let (mut backoff, now) = (Backoff::new(ms(8), ms(512)), Instant::now());
        let pauses: Vec<Duration> = (0..9).map(|_| backoff.pause(now, 1.0)).collect();
        assert_eq!(pauses, [8, 16, 32, 64, 128, 256, 512, 512, 512].map(ms));
        assert_eq!(backoff.pause(now, 0.0), ms(256));
        backoff.connected(now);
        assert_eq!(backoff.pause(now + ms(900), 1.0), ms(512), "it ended at once");
        backoff.connected(now);
        assert_eq!(backoff.pause(now + ms(1_100), 1.0), ms(8));
    }

    #[test]
    fn there_is_a_pause_where_none_is_asked_for() {
        let mut backoff = Backoff::new(Duration::ZERO, Duration::ZERO);
        assert_eq!(backoff.pause(Instant::now(), 1.0), FLOOR);
    }
}
