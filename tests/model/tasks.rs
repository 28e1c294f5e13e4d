//! A minimal executor: tasks that somebody has woken, polled one at a time by whoever steps them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake};

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    woken: Arc<Woken>,
}

/// Tasks by their place.
#[derive(Default)]
pub struct Tasks(Vec<Option<Task>>);

impl Tasks {
    /// Adds a task, which is to be polled; says its place.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> usize {
        self.0.push(Some(Task { future: Box::pin(future), woken: Arc::new(Woken(true.into())) }));
        self.0.len() - 1
    }

    /// The tasks that may be polled.
    pub fn woken(&self) -> Vec<usize> {
        let is_woken = |task: &Option<Task>| {
            task.as_ref().is_some_and(|task| task.woken.0.load(Ordering::Relaxed))
        };
        (0..self.0.len()).filter(|place| is_woken(&self.0[*place])).collect()
    }

    /// Whether a task has ended.
    pub fn is_done(&self, place: usize) -> bool {
        self.0[place].is_none()
    }

    /// Polls a task once.
    pub fn poll(&mut self, place: usize) {
        let Some(task) = &mut self.0[place] else { return };
        task.woken.0.store(false, Ordering::Relaxed);
        let waker = task.woken.clone().into();
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
            self.0[place] = None;
        }
    }
}
