//! The pool: ask, look at, reset, stop.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use tokio::sync::{Mutex, watch};
use tokio::time::{sleep, timeout};

use super::counters::WorkerTelemetry;
use super::place::{self, Attempts, Phase, Progress};
use super::queue::retry_after_s;
use super::settings::WorkerSettings;
use super::shared::{NO_WORKER, Shared, Status};
use super::usage;
use super::worker::Process;
use crate::access::{AskFailed, Judged};

/// Another server may be there in a moment.
const STOPPED: Result<Judged, AskFailed> =
    Err(AskFailed::Down { why: "the server is shutting down", retry_after_s: 1 });

/// See the module. What is under way ends with the value.
pub struct Pool {
    shared: Rc<Shared>,
    /// `None`: stopped.
    generation: RefCell<Option<Generation>>,
    /// One reset at a time: a later one has to load what was changed in between.
    resetting: Mutex<()>,
}

/// The places that were started together. Retired with the value.
#[derive(Debug)]
struct Generation {
    phase: watch::Sender<Phase>,
    attempts: Rc<Attempts>,
    places: usize,
}

/// One worker, for operators.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerState {
    /// Its process.
    pub pid: u32,
    /// What it is at.
    pub status: Status,
    /// Questions it has answered.
    pub answers: u64,
    /// When it was started.
    pub created: SystemTime,
    /// Resident memory.
    pub memory_bytes: u64,
    /// Of one CPU, since its start.
    pub cpu_percent: f64,
}

impl Pool {
    /// Starts the workers, and does not wait for them. On the thread of a `LocalSet`.
    pub fn start(settings: WorkerSettings) -> Rc<Self> {
        let shared = Rc::new(Shared::new(settings));
        let generation = RefCell::new(Some(Generation::start(&shared, Phase::Active)));
        let pool = Self { shared: shared.clone(), generation, resetting: Mutex::default() };
        tokio::task::spawn_local(async move {
            init(&shared.settings).await;
            shared.booted.send_replace(true);
        });
        Rc::new(pool)
    }

    /// Puts a question to the next worker that is free. The future may be dropped at any time: a
    /// question that no worker has got yet is not put any more.
    pub async fn ask(&self, context: Vec<u8>) -> Result<Judged, AskFailed> {
        self.ask_about(None, context).await
    }

    /// The same about somebody: once `waits` is dead it has gone, and need not be asked about.
    pub async fn ask_about(
        &self,
        waits: Option<Weak<()>>,
        context: Vec<u8>,
    ) -> Result<Judged, AskFailed> {
        let (shared, counts) = (&*self.shared, self.shared.counts());
        counts.asked.add(1);
        if context.is_empty() {
            return Err(AskFailed::Failed("a question without a request".to_owned()));
        }
        if self.generation.borrow().is_none() {
            return STOPPED;
        }
        if let Some(retry_after_s) = shared.down() {
            counts.refused_down.add(1);
            return Err(AskFailed::Down { why: NO_WORKER, retry_after_s });
        }
        let later = || {
            let (waiting, workers) = (shared.queue.len(), shared.settings.num_workers);
            let retry_after_s = retry_after_s(waiting, workers, counts.answer_time.mean());
            Err(AskFailed::Busy { retry_after_s })
        };
        let Some((number, mut answered)) = shared.queue.push(context, waits) else {
            counts.refused_full.add(1);
            return later();
        };
        counts.waiting.set(shared.queue.len() as u64);
        let leaves = Leaves { shared, number };
        tokio::select! {
            biased;
            answer = &mut answered => return answer.unwrap_or(STOPPED),
            () = sleep(shared.settings.allocate_timeout) => {}
        }
        if leaves.now() {
            counts.refused_late.add(1);
            return later();
        }
        // A worker has it.
        answered.await.unwrap_or(STOPPED)
    }

    /// Whether questions can be answered; if not, why.
    pub fn ready(&self) -> Result<(), String> {
        self.shared.telemetry.is_ready()
    }

    /// What other threads may know.
    pub fn telemetry(&self) -> Arc<WorkerTelemetry> {
        self.shared.telemetry.clone()
    }

    /// The workers, and what each takes.
    pub fn states(&self) -> Vec<WorkerState> {
        let state = |seen: Rc<super::shared::Seen>| {
            let cpu = usage::cpu_time(seen.pid).unwrap_or_default().as_secs_f64();
            let age = seen.since.elapsed().as_secs_f64().max(0.01);
            WorkerState {
                pid: seen.pid,
                status: seen.status.get(),
                answers: seen.answers.get(),
                created: seen.created,
                memory_bytes: usage::memory_bytes(seen.pid).unwrap_or_default(),
                cpu_percent: 100.0 * cpu / age,
            }
        };
        self.shared.workers().into_iter().map(state).collect()
    }

    /// The command that workers run.
    pub fn command(&self) -> String {
        self.shared.settings.command.join(" ")
    }

    /// Replaces all workers, so that changed code acts: starts new ones, then has them asked and
    /// lets the old ones finish. If no new one starts the old ones stay, and why is said.
    pub async fn reset(&self) -> Result<(), String> {
        let _one = self.resetting.lock().await;
        if self.shared.settings.debug {
            return Ok(());
        }
        let had = self.shared.is_up();
        // Retired where this future is dropped.
        let new = Generation::start(&self.shared, Phase::Warming);
        let progress = new.warmed().await;
        if progress.started == 0 {
            let stay = if had { "the old workers stay" } else { "there are no workers still" };
            return Err(format!("{stay}, since no new one starts: {}", progress.why));
        }
        let mut current = self.generation.borrow_mut();
        if current.is_none() {
            return Err("the server is shutting down".to_owned());
        }
        new.phase.send_replace(Phase::Active);
        *current = Some(new);
        tracing::info!(workers = progress.started, "workers reset");
        Ok(())
    }

    /// Ends all workers: idle ones at once, the others when they have answered or `grace` is over.
    /// Returns when all have gone.
    pub async fn stop(&self, grace: Duration) {
        drop(self.generation.take());
        if let Err(stopped) = STOPPED {
            self.shared.queue.refuse_all(&stopped);
        }
        self.shared.telemetry.set_ready(Err("the workers are stopped".to_owned()));
        let gone = async {
            loop {
                let gone = self.shared.gone.notified();
                if self.shared.workers().is_empty() {
                    return;
                }
                gone.await;
            }
        };
        if timeout(grace, gone).await.is_ok() {
            return;
        }
        self.shared.killed.send_replace(true);
        while !self.shared.workers().is_empty() {
            // Killed processes go at once; one that hangs in the kernel holds up nobody for long.
            if timeout(Duration::from_secs(1), self.shared.gone.notified()).await.is_err() {
                return;
            }
        }
    }
}

impl Generation {
    fn start(shared: &Rc<Shared>, phase: Phase) -> Self {
        let (phase, attempts) = (watch::Sender::new(phase), Rc::new(Attempts::default()));
        let places = shared.settings.num_workers.max(1);
        for _ in 0..places {
            let (shared, phase) = (shared.clone(), phase.subscribe());
            if shared.settings.debug {
                tokio::task::spawn_local(place::keep_fresh(shared, phase));
            } else {
                tokio::task::spawn_local(place::keep(shared, phase, attempts.clone()));
            }
        }
        Self { phase, attempts, places }
    }

    /// Waits until each place has started a worker, or failed to.
    async fn warmed(&self) -> Progress {
        let mut attempts = self.attempts.subscribe();
        let tried = |progress: &Progress| progress.started + progress.failed >= self.places;
        match attempts.wait_for(tried).await {
            Ok(progress) => progress.clone(),
            // The sender is ours.
            Err(_) => Progress::default(),
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Retired);
    }
}

/// A question that leaves the queue with whoever asks.
struct Leaves<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Leaves<'_> {
    /// Takes the question out, if it still waits.
    fn now(&self) -> bool {
        let waited = self.shared.queue.remove(self.number).is_some();
        self.shared.counts().waiting.set(self.shared.queue.len() as u64);
        waited
    }
}

impl Drop for Leaves<'_> {
    fn drop(&mut self) {
        self.now();
    }
}

/// Runs `server.on_init`, where it is to be run. That it fails is said, and no more.
async fn init(settings: &WorkerSettings) {
    let Some(on_init) = &settings.on_init else { return };
    let run = match Process::spawn(&on_init.command, settings, "pipes", &on_init.env) {
        Ok(process) => process.run(on_init.timeout).await,
        Err(error) => Err(error.to_string()),
    };
    let command = on_init.command.join(" ");
    match run {
        Ok(()) => tracing::info!(command, "server.on_init has run"),
        Err(why) => tracing::error!(command, why, "server.on_init failed"),
    }
}
