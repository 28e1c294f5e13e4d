//! Deadlines of connections: four bytes each, and nothing else.
//!
//! A connection's deadline is a tick of 100 ms; whoever is due is found by running over the table
//! once a tick, which for a million connections reads 4 MB. `earliest` is a lower bound, so a table
//! where nothing is due soon is not read at all.

/// Length of a tick. Deadlines are rounded up to the next one.
pub const TICK_MS: u64 = 100;

/// The tick at which `after_ms` from `now_ms` has surely passed. Never 0, which means "no
/// deadline".
pub fn tick_after(now_ms: u64, after_ms: u64) -> u32 {
    // 32 bits of 100 ms are 13 years.
    (now_ms.saturating_add(after_ms).div_ceil(TICK_MS).saturating_add(1))
        .min(u64::from(u32::MAX - 1)) as u32
}

/// The next deadline of every slot.
#[derive(Debug)]
pub struct Timers {
    due: Vec<u32>,
    earliest: u32,
}

const NEVER: u32 = u32::MAX;

impl Default for Timers {
    fn default() -> Self {
        Self { due: Vec::new(), earliest: NEVER }
    }
}

impl Timers {
    /// Sets a slot's next deadline to the earlier of two ticks; 0 is none.
    pub fn set(&mut self, index: u32, ticks: [u32; 2]) {
        let index = index as usize;
        if index >= self.due.len() {
            self.due.resize(index + 1, NEVER);
        }
        let tick = ticks.into_iter().filter(|&tick| tick != 0).min().unwrap_or(NEVER);
        self.due[index] = tick;
        self.earliest = self.earliest.min(tick);
    }

    /// When, in milliseconds, somebody may be due.
    pub fn next_ms(&self) -> Option<u64> {
        (self.earliest != NEVER).then(|| u64::from(self.earliest) * TICK_MS)
    }

    /// Moves the slots that are due into `due` and forgets their deadlines.
    pub fn expire(&mut self, now_ms: u64, due: &mut Vec<u32>) {
        let now = (now_ms / TICK_MS).min(u64::from(NEVER - 1)) as u32;
        if now < self.earliest {
            return;
        }
        let mut earliest = NEVER;
        for (index, tick) in self.due.iter_mut().enumerate() {
            if *tick <= now {
                *tick = NEVER;
                due.push(index as u32);
            } else {
                earliest = earliest.min(*tick);
            }
        }
        self.earliest = earliest;
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
                timers.set(3, [tick_after(now, after), 0]);
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
        let mut timers = Timers::default();
        timers.set(0, [9, 5]);
        timers.set(1, [0, 0]);
        timers.set(2, [7, 0]);
        assert_eq!(timers.next_ms(), Some(500));
        let mut due = Vec::new();
        timers.expire(600, &mut due);
        assert_eq!(due, [0]);
        assert_eq!(timers.next_ms(), Some(700));
        timers.expire(700, &mut due);
        assert_eq!(due, [0, 2]);
        assert_eq!(timers.next_ms(), None);
    }
}
