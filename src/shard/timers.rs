//! Deadlines of connections: four bytes each, and nothing else.
//!
//! A connection's deadline is a tick of 100 ms; whoever is due is found by running over the table
//! once a tick, which for a million connections reads 4 MB. `earliest` is a lower bound, so a table
//! where nothing is due soon is not read at all.

use std::num::NonZeroU32;

/// Length of a tick. Deadlines are rounded up to the next one.
pub const TICK_MS: u64 = 100;

/// A moment, in ticks since the shard's start. There is no tick 0, so that `None`, which is no
/// deadline, costs nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tick(NonZeroU32);

const _: () = assert!(size_of::<Option<Tick>>() == 4);

impl Tick {
    /// The tick at which `after_ms` from `now_ms` has surely passed.
    pub fn after(now_ms: u64, after_ms: u64) -> Self {
        let ticks = now_ms.saturating_add(after_ms).div_ceil(TICK_MS);
        // 32 bits of 100 ms are 13 years.
        Self(NonZeroU32::MIN.saturating_add(u32::try_from(ticks).unwrap_or(u32::MAX)))
    }

    /// Whether it has come.
    pub fn has_come(self, now_ms: u64) -> bool {
        self.ms() <= now_ms
    }

    fn ms(self) -> u64 {
        u64::from(self.0.get()) * TICK_MS
    }
}

/// The next deadline of every slot.
#[derive(Debug, Default)]
pub struct Timers {
    due: Vec<Option<Tick>>,
    earliest: Option<Tick>,
}

/// The earlier of two that there are.
fn earlier(one: Option<Tick>, other: Option<Tick>) -> Option<Tick> {
    one.into_iter().chain(other).min()
}

impl Timers {
    /// Sets a slot's next deadline to the earliest of these, where there are any.
    pub fn set<const N: usize>(&mut self, index: u32, ticks: [Option<Tick>; N]) {
        let index = index as usize;
        if index >= self.due.len() {
            self.due.resize(index + 1, None);
        }
        let tick = ticks.into_iter().flatten().min();
        self.due[index] = tick;
        self.earliest = earlier(self.earliest, tick);
    }

    /// When, in milliseconds, somebody may be due.
    pub fn next_ms(&self) -> Option<u64> {
        self.earliest.map(Tick::ms)
    }

    /// Moves the slots that are due into `due` and forgets their deadlines.
    pub fn expire(&mut self, now_ms: u64, due: &mut Vec<u32>) {
        if !self.earliest.is_some_and(|earliest| earliest.has_come(now_ms)) {
            return;
        }
        self.earliest = None;
        for (index, place) in self.due.iter_mut().enumerate() {
            let Some(tick) = *place else { continue };
            if tick.has_come(now_ms) {
                *place = None;
                due.push(index as u32);
            } else {
                self.earliest = earlier(self.earliest, Some(tick));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early_and_at_most_two_ticks_late() {
        for now in [0, 1, 99, 100, 12_345] {
            for after in [1, 50, 100, 8_000] {
                let mut timers = Timers::default();
                timers.set(3, [Some(Tick::after(now, after)), None]);
                let mut due = Vec::new();
                timers.expire(now + after - 1, &mut due);
                assert!(due.is_empty());
                timers.expire(now + after + 2 * TICK_MS, &mut due);
                assert_eq!(due, [3]);
            }
        }
    }

    #[test]
    fn the_earlier_of_two_counts_and_an_expired_one_is_forgotten() {
        let tick = |number| Some(Tick(NonZeroU32::new(number).unwrap()));
        let mut timers = Timers::default();
        timers.set(0, [tick(9), tick(5)]);
        timers.set(1, [None, None]);
        timers.set(2, [None, tick(7)]);
        assert_eq!(timers.next_ms(), Some(500));
        let mut due = Vec::new();
        timers.expire(600, &mut due);
        assert_eq!(due, [0]);
        assert_eq!(timers.next_ms(), Some(700));
        timers.expire(700, &mut due);
        assert_eq!(due, [0, 2]);
        assert_eq!(timers.next_ms(), None);
    }

    #[test]
    fn a_deadline_past_the_last_tick_is_the_last_tick() {
        let last = Tick(NonZeroU32::MAX);
        assert_eq!(Tick::after(u64::MAX, u64::MAX), last);
        assert_eq!(Tick::after(0, u64::from(u32::MAX) * TICK_MS), last);
        assert!(!last.has_come(u64::from(u32::MAX) * TICK_MS - 1));
    }
}
