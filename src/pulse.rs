//! Whether a thread is stuck, seen from another one that does not wake it.
//!
//! The thread says when a turn begins, and when it rests. Whoever rests is alive however long that
//! lasts, unless it has said until when at most; whoever has not begun another turn for long, and
//! does not rest either, is stuck in this one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// At rest; any other number is when the turn under way began, or the next one is due.
const RESTS: u64 = u64::MAX;

/// The pulse of one thread: a store a turn.
#[derive(Debug)]
pub struct Pulse {
    origin: Instant,
    /// Milliseconds from `origin`, or [`RESTS`].
    turn_ms: AtomicU64,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { origin: Instant::now(), turn_ms: AtomicU64::new(RESTS) }
    }
}

impl Pulse {
    /// A turn begins.
    #[inline]
    pub fn beat(&self, now: Instant) {
        let since = now.saturating_duration_since(self.origin);
        self.turn_ms.store(since.as_millis() as u64, Ordering::Relaxed);
    }

    /// The thread sleeps, or ends, until it says otherwise.
    #[inline]
    pub fn rest(&self) {
        self.turn_ms.store(RESTS, Ordering::Relaxed);
    }

    /// The thread sleeps until then at the latest, when its next turn is due.
    #[inline]
    pub fn rest_until(&self, at: Instant) {
        self.beat(at);
    }

    /// How long the turn under way has taken by `now`, or the next one is overdue; zero at rest.
    pub fn busy_for(&self, now: Instant) -> Duration {
        match self.turn_ms.load(Ordering::Relaxed) {
            RESTS => Duration::ZERO,
            begun => now
                .saturating_duration_since(self.origin)
                .saturating_sub(Duration::from_millis(begun)),
        }
    }
}

/// A task of a thread that runs many: each poll is a turn, and between them the thread rests.
///
/// For a runtime whose own loop cannot be watched. `pulse` picks the pulse out of what the task
/// holds on to anyway.
pub struct Watched<T, F> {
    holder: Arc<T>,
    pulse: fn(&T) -> &Pulse,
    task: Pin<Box<F>>,
}

impl<T, F: Future> Watched<T, F> {
    /// Watches `task`.
    pub fn new(holder: Arc<T>, pulse: fn(&T) -> &Pulse, task: F) -> Self {
        Self { holder, pulse, task: Box::pin(task) }
    }
}

impl<T, F: Future> Future for Watched<T, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let this = &mut *self;
        let pulse = (this.pulse)(&this.holder);
        pulse.beat(Instant::now());
        let poll = this.task.as_mut().poll(context);
        pulse.rest();
        poll
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleeper_is_alive_and_a_long_turn_is_not_forgotten() {
        let pulse = Pulse::default();
        let at = |seconds| pulse.origin + Duration::from_secs(seconds);
        assert_eq!(pulse.busy_for(at(100)), Duration::ZERO, "not begun");
        pulse.beat(at(100));
        assert_eq!(pulse.busy_for(at(103)), Duration::from_secs(3));
        pulse.beat(at(103));
        assert_eq!(pulse.busy_for(at(103)), Duration::ZERO);
        pulse.rest();
        assert_eq!(pulse.busy_for(at(1_000)), Duration::ZERO);
        pulse.rest_until(at(1_010));
        assert_eq!(pulse.busy_for(at(1_009)), Duration::ZERO);
        assert_eq!(pulse.busy_for(at(1_012)), Duration::from_secs(2), "it has overslept");
    }

    #[test]
    fn a_task_is_busy_while_it_is_polled() {
        let holder = Arc::new(Pulse::default());
        let seen = holder.clone();
        let task = async move {
            assert_ne!(seen.turn_ms.load(Ordering::Relaxed), RESTS);
        };
        let mut watched = Watched::new(holder.clone(), |pulse| pulse, task);
        let mut context = Context::from_waker(std::task::Waker::noop());
        assert!(Pin::new(&mut watched).poll(&mut context).is_ready());
        assert_eq!(holder.turn_ms.load(Ordering::Relaxed), RESTS);
    }
}
