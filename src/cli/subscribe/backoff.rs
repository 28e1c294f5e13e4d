//! How long to wait before the next try: longer each time, and never as long as all the others do.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;

/// Before the second try. A guess: a server that is restarted is back about then.
const FIRST: Duration = Duration::from_millis(500);
/// Between two tries, at most. A guess: long for who watches, short for a server that is back.
const LONGEST: Duration = Duration::from_secs(30);
/// A connection that has lasted so long was a good one: after it, waiting begins anew.
const GOOD: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Before the first try.
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// How long to wait after a connection that had joined for `joined`: between half and all of
    /// what has been doubled each time, by `random`.
    pub fn wait(&mut self, joined: Duration, random: u32) -> Duration {
        if joined >= GOOD {
            self.next = FIRST;
        }
        let longest = self.next;
        self.next = (longest * 2).min(LONGEST);
        longest / 2 + longest.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
    }
}

/// Any number: the standard library seeds its hash tables at random.
pub fn random() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_secs(1);

    #[test]
    fn waiting_is_doubled_up_to_a_bound_and_begins_anew_after_a_good_connection() {
        let mut backoff = Backoff::new();
        let longest: Vec<u128> =
            (0..9).map(|_| backoff.wait(SHORT, u32::MAX).as_millis()).collect();
        assert_eq!(longest, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        assert_eq!(backoff.wait(GOOD, u32::MAX).as_millis(), 500);
        assert_eq!(backoff.wait(SHORT, u32::MAX).as_millis(), 1000);
    }

    #[test]
    fn each_wait_is_drawn_between_half_and_all_of_it() {
        let wait = |random| Backoff::new().wait(SHORT, random).as_millis();
        assert_eq!((wait(0), wait(u32::MAX / 2), wait(u32::MAX)), (250, 375, 500));
        assert_ne!(random(), random(), "one in four billion");
    }
}
