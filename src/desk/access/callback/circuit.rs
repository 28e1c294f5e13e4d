//! When a server that does not answer is left alone for a while: a circuit breaker. Without a clock
//! of its own.
//!
//! ```text
//! closed ──5 failures in a row──▶ open ──pause is over──▶ one question is let through, to see
//!    ▲                              ▲                            │          │
//!    └──────────── any answer ──────┼────────────────────────────┘          │
//!                                   └── it fails: twice the pause, up to 10 s
//! ```
//!
//! While it is open, questions are refused at once: nobody waits for a server that is down, and one
//! that comes up again is not met by all who have waited.

use std::time::{Duration, Instant};

/// Failures in a row that open it. A guess: one or two are chance, such as a deploy.
pub const FAILURES_MAX: u32 = 5;
/// The first pause.
pub const PAUSE_FIRST: Duration = Duration::from_secs(1);
/// No pause is longer: so much later at most a server that is up again is found to be.
pub const PAUSE_MAX: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub struct Circuit {
    state: State,
    /// In a row, while it is closed.
    failures: u32,
    /// The next one.
    pause: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed,
    Open {
        until: Instant,
    },
    /// One question is under way, to see.
    Trying,
}

/// A question that was let through. It is given back once, whatever becomes of it.
#[derive(Debug)]
#[must_use]
pub struct Pass {
    /// It is the one, to see.
    trial: bool,
}

impl Circuit {
    /// Closed.
    pub fn new() -> Self {
        Self { state: State::Closed, failures: 0, pause: PAUSE_FIRST }
    }

    /// Whether a question would be let through; if not, in how long perhaps.
    pub fn look(&self, now: Instant) -> Result<(), Duration> {
        match self.state {
            State::Closed => Ok(()),
            State::Open { until } if until <= now => Ok(()),
            State::Open { until } => Err(until - now),
            State::Trying => Err(PAUSE_FIRST),
        }
    }

    /// Lets a question through, or says in how long one may be again.
    pub fn admit(&mut self, now: Instant) -> Result<Pass, Duration> {
        self.look(now)?;
        let trial = self.state != State::Closed;
        if trial {
            self.state = State::Trying;
        }
        Ok(Pass { trial })
    }

    /// It was answered. Says whether that has closed the circuit.
    pub fn answered(&mut self, _: Pass) -> bool {
        let was = std::mem::replace(self, Self::new());
        was.state != State::Closed
    }

    /// It failed. Says whether that has opened the circuit, which was closed before.
    pub fn failed(&mut self, pass: Pass, now: Instant) -> bool {
        match self.state {
            State::Closed => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    self.open(now);
                }
                self.state != State::Closed
            }
            State::Trying if pass.trial => {
                self.open(now);
                false
            }
            // From before it was opened.
            State::Open { .. } | State::Trying => false,
        }
    }

    /// Nobody waits for its answer any more: it says nothing.
    pub fn abandoned(&mut self, pass: Pass, now: Instant) {
        if pass.trial && self.state == State::Trying {
            self.state = State::Open { until: now };
        }
    }

    fn open(&mut self, now: Instant) {
        self.state = State::Open { until: now + self.pause };
        self.pause = (self.pause * 2).min(PAUSE_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// One that has failed so often that it is open.
    fn open(now: Instant) -> Circuit {
        let mut circuit = Circuit::new();
        for failures in 1..=FAILURES_MAX {
            let pass = circuit.admit(now).unwrap();
            assert_eq!(circuit.failed(pass, now), failures == FAILURES_MAX);
        }
        circuit
    }

    #[test]
    fn an_answer_between_failures_keeps_it_closed() {
        let (mut circuit, now) = (Circuit::new(), Instant::now());
        for _ in 0..10 {
            for _ in 1..FAILURES_MAX {
                let pass = circuit.admit(now).unwrap();
                assert!(!circuit.failed(pass, now));
            }
            let pass = circuit.admit(now).unwrap();
            assert!(!circuit.answered(pass) && circuit.state == State::Closed);
        }
    }

    #[test]
    fn it_opens_lets_one_through_and_waits_longer_each_time() {
        let mut now = Instant::now();
        let mut circuit = open(now);
        for pause in [1, 2, 4, 8, 10, 10] {
            assert_eq!(circuit.admit(now).unwrap_err(), pause * SECOND);
            now += pause * SECOND;
            let pass = circuit.admit(now).unwrap();
            assert!(circuit.admit(now).is_err() && circuit.look(now).is_err(), "one alone");
            assert!(!circuit.failed(pass, now) && circuit.state != State::Closed);
        }
        now += PAUSE_MAX;
        let pass = circuit.admit(now).unwrap();
        assert!(circuit.answered(pass) && circuit.state == State::Closed);
        assert_eq!(open(now).admit(now).unwrap_err(), SECOND, "and the pauses begin anew");
    }

    #[test]
    fn what_was_under_way_before_it_opened_may_close_it_and_fails_for_itself_alone() {
        let now = Instant::now();
        let mut circuit = Circuit::new();
        let [first, second, third] = [(); 3].map(|()| circuit.admit(now).unwrap());
        for _ in 0..FAILURES_MAX {
            let pass = circuit.admit(now).unwrap();
            circuit.failed(pass, now);
        }
        assert!(!circuit.failed(first, now));
        assert_eq!(circuit.look(now), Err(SECOND));
        let trial = circuit.admit(now + SECOND).unwrap();
        assert!(!circuit.failed(second, now + SECOND));
        assert!(circuit.look(now + 9 * SECOND).is_err(), "the trial is still under way");
        assert!(circuit.answered(third) && circuit.state == State::Closed);
        assert!(!circuit.failed(trial, now + SECOND) && circuit.state == State::Closed);
    }

    #[test]
    fn a_trial_that_nobody_waits_for_makes_room_for_the_next() {
        let now = Instant::now();
        let mut circuit = open(now);
        let trial = circuit.admit(now + SECOND).unwrap();
        circuit.abandoned(trial, now + SECOND);
        let trial = circuit.admit(now + SECOND).unwrap();
        assert!(circuit.answered(trial));
    }
}
