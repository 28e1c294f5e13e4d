//! Whether something works, as the desk has found; any thread may ask.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// See the module. By default it works.
#[derive(Debug, Default)]
pub struct Readiness(Mutex<Option<Failing>>);

#[derive(Debug)]
struct Failing {
    why: String,
    until: Option<Instant>,
}

impl Readiness {
    /// Whether it works; if not, why.
    pub fn of(&self, now: Instant) -> Result<(), String> {
        let lasts = |failing: &&Failing| failing.until.is_none_or(|until| now < until);
        self.value().as_ref().filter(lasts).map_or(Ok(()), |failing| Err(failing.why.clone()))
    }

    /// It does.
    pub fn works(&self) {
        *self.value() = None;
    }

    /// It does not: until then, or until it works.
    pub fn fails(&self, why: String, until: Option<Instant>) {
        *self.value() = Some(Failing { why, until });
    }

    fn value(&self) -> MutexGuard<'_, Option<Failing>> {
        // Nobody panics while they hold it, and the value is whole at any time.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_fails_for_a_while_is_tried_again_behind_it() {
        let (ready, now) = (Readiness::default(), Instant::now());
        assert_eq!(ready.of(now), Ok(()));
        ready.fails("down".into(), Some(now + Duration::from_secs(1)));
        assert_eq!(ready.of(now), Err("down".into()));
        assert_eq!(ready.of(now + Duration::from_secs(1)), Ok(()));
        ready.fails("gone".into(), None);
        assert_eq!(ready.of(now + Duration::from_secs(9)), Err("gone".into()));
        ready.works();
        assert_eq!(ready.of(now), Ok(()));
    }
}
