//! How long answers take: a histogram.

use std::time::Duration;

use crate::metrics::Counter;

/// Upper bounds of [`Times`], in seconds. The first is what a worker takes that only looks at a
/// session; the last is where browsers give up.
pub const TIMES_S: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

/// A histogram.
#[derive(Debug, Default)]
pub struct Times {
    /// By the smallest bound that a time is within; the last: beyond all.
    counts: [Counter; TIMES_S.len() + 1],
    sum_us: Counter,
}

impl Times {
    /// Adds one.
    pub fn add(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let place = TIMES_S.iter().position(|bound| seconds <= *bound).unwrap_or(TIMES_S.len());
        self.counts[place].add(1);
        self.sum_us.add(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    /// Each bound with the number between it and the one below; the last bound is `f64::MAX`.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> + '_ {
        let bounds = TIMES_S.into_iter().chain([f64::MAX]);
        bounds.zip(self.counts.iter().map(Counter::value))
    }

    /// All together.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_us.value())
    }

    /// On average; 0 where there is none yet.
    pub fn mean(&self) -> Duration {
        let count: u64 = self.counts.iter().map(Counter::value).sum();
        self.sum().checked_div(u32::try_from(count).unwrap_or(u32::MAX)).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_counted_at_the_smallest_bound_that_it_is_within() {
        let times = Times::default();
        assert_eq!(times.mean(), Duration::ZERO);
        for ms in [1, 2, 1000, 31_000] {
            times.add(Duration::from_millis(ms));
        }
        let counted: Vec<_> = times.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(counted, [(0.001, 1), (0.0025, 1), (1.0, 1), (f64::MAX, 1)]);
        assert_eq!(
            (times.sum(), times.mean()),
            (Duration::from_millis(32_003), Duration::from_micros(8_000_750))
        );
    }
}
