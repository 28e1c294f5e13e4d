//! What all places of the pool share: the queue, who is there, and how it goes.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::counters::{WorkerCounters, WorkerTelemetry};
use super::queue::{Question, Queue, TRIES_MAX};
use super::relay::Relayed;
use super::settings::{Relay, WorkerSettings};
use super::worker::{Failure, Worker};
use crate::access::AskFailed;
use crate::log_rate::{CauseRate, cause_of};

/// Failed starts in a row, over all places, after which the pool does not work: one may be chance.
const FAILURES_DOWN: u32 = 2;

/// What whoever asks is told then; the log, and `/ready`, say more.
pub const NO_WORKER: &str = "no worker of server.command runs";

/// See the module.
pub struct Shared {
    pub settings: WorkerSettings,
    pub queue: Queue,
    pub telemetry: Arc<WorkerTelemetry>,
    relayed: RefCell<Option<Rc<Relayed>>>,
    /// What is run before the first worker has ended.
    pub booted: watch::Sender<bool>,
    /// Whatever is still there is to be killed.
    pub killed: watch::Sender<bool>,
    /// A worker has ended.
    pub gone: Notify,
    workers: RefCell<BTreeMap<u64, Rc<Seen>>>,
    /// Failed starts since one was good.
    failures: Cell<u32>,
    /// Until the next attempt.
    pause: Cell<Duration>,
    next: Cell<u64>,
    started: Instant,
    said: RefCell<CauseRate<Reason>>,
    /// Why the last start failed.
    start_said: Cell<u64>,
}

/// What the log is told of, at most once in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A worker failed at a question.
    Failed(Failure),
    /// Its answer was no verdict.
    Verdict,
    /// It said something unasked, or ended.
    Unasked,
    /// Workers leave a question without an answer.
    Unanswered,
    /// None could be started.
    Start,
}

/// One worker, for whoever looks.
#[derive(Debug)]
pub struct Seen {
    pub pid: u32,
    pub created: SystemTime,
    pub since: Instant,
    pub answers: Cell<u64>,
    pub status: Cell<Status>,
}

/// What a worker is at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It waits for a question.
    Ready,
    /// It is being asked.
    Working,
    /// It is to end.
    Stopping,
}

/// A worker's entry among those that are there; goes with the value.
pub struct Entry {
    shared: Rc<Shared>,
    number: u64,
    pub seen: Rc<Seen>,
}

impl Shared {
    pub fn new(settings: WorkerSettings) -> Self {
        let queue = Queue::new(settings.waiting_max, settings.waiting_bytes_max);
        let unready = (!settings.debug).then_some("the workers are starting");
        Self {
            queue,
            telemetry: Arc::new(WorkerTelemetry::new(unready)),
            settings,
            relayed: RefCell::default(),
            booted: watch::Sender::new(false),
            killed: watch::Sender::new(false),
            gone: Notify::new(),
            workers: RefCell::default(),
            failures: Cell::default(),
            pause: Cell::default(),
            next: Cell::default(),
            started: Instant::now(),
            said: RefCell::default(),
            start_said: Cell::default(),
        }
    }

    pub fn counts(&self) -> &WorkerCounters {
        &self.telemetry.counts
    }

    /// Starts a worker.
    pub async fn start(&self) -> Result<Worker, String> {
        let relayed = self.relayed()?;
        Worker::start(&self.settings, relayed.as_deref()).await
    }

    /// The socket that workers connect to; made when the first one needs it.
    pub fn relayed(&self) -> Result<Option<Rc<Relayed>>, String> {
        let mut relayed = self.relayed.borrow_mut();
        if relayed.is_none() && self.settings.relay != Relay::Pipes {
            let listened = Relayed::listen(&self.settings.relay, self.settings.user);
            *relayed = listened
                .map_err(|error| format!("roadcast.workers.relay: cannot listen: {error}"))?
                .map(Rc::new);
        }
        Ok(relayed.clone())
    }

    /// A worker is there.
    pub fn enter(self: &Rc<Self>, worker: &Worker) -> Entry {
        let seen = Rc::new(Seen {
            pid: worker.pid(),
            created: worker.created(),
            since: Instant::now(),
            answers: Cell::default(),
            status: Cell::new(Status::Ready),
        });
        let number = self.next.replace(self.next.get() + 1);
        self.workers.borrow_mut().insert(number, seen.clone());
        self.counts().started.add(1);
        self.recount();
        Entry { shared: self.clone(), number, seen }
    }

    /// Who is there.
    pub fn workers(&self) -> Vec<Rc<Seen>> {
        self.workers.borrow().values().cloned().collect()
    }

    /// Whether any can be asked, or is being asked.
    pub fn is_up(&self) -> bool {
        self.up() > 0
    }

    /// How many can be asked, or are being asked.
    fn up(&self) -> usize {
        let workers = self.workers.borrow();
        workers.values().filter(|seen| seen.status.get() != Status::Stopping).count()
    }

    fn recount(&self) {
        let workers = self.workers.borrow();
        let count =
            |status| workers.values().filter(|seen| seen.status.get() == status).count() as u64;
        self.counts().ready.set(count(Status::Ready));
        self.counts().working.set(count(Status::Working));
        self.counts().stopping.set(count(Status::Stopping));
    }

    /// A worker has shown that it works.
    pub fn works(&self) {
        if self.failures.replace(0) > 0 {
            tracing::info!("workers are there again");
        }
        self.telemetry.set_ready(Ok(()));
    }

    /// A worker could not be started, or ended before it was of any use; another attempt is made
    /// after the pause, or none where it was for a reset. Said once for each cause, until one
    /// works.
    pub fn start_failed(&self, why: &str, pause: Duration, for_reset: bool) {
        self.counts().starts_failed.add(1);
        let failures = self.failures.get().saturating_add(1);
        self.failures.set(failures);
        self.pause.set(pause);
        let cause = cause_of(why);
        let before = self.start_said.replace(cause);
        if failures == 1 || before != cause {
            let line = match for_reset {
                true => "cannot start a worker for a reset (server.command)",
                false => "cannot start a worker (server.command); trying again for ever",
            };
            self.say(Reason::Start, why, |unsaid| tracing::error!(why, "{line}{unsaid}"));
        }
        if let Some(retry_after_s) = self.down() {
            self.telemetry.set_ready(Err(format!("no worker: {why}")));
            let refused = self.queue.refuse_all(&AskFailed::Down { why: NO_WORKER, retry_after_s });
            self.counts().refused_down.add(refused);
        }
    }

    /// There is no worker, and hardly will be in a moment: in how many seconds to try again.
    pub fn down(&self) -> Option<u32> {
        let down = self.failures.get() >= FAILURES_DOWN && !self.settings.debug && self.up() == 0;
        down.then(|| self.pause.get().as_secs_f64().ceil().clamp(1.0, 30.0) as u32)
    }

    /// Lets a question wait again that a worker has left without an answer, unless that was tried
    /// often or long enough.
    pub fn put_again(&self, mut question: Question) {
        question.tries += 1;
        if question.tries >= TRIES_MAX {
            self.counts().failed_unanswered.add(1);
            let why =
                format!("{TRIES_MAX} workers ended, or were replaced, without an answer to it");
            self.say(Reason::Unanswered, &why, |unsaid| {
                tracing::warn!("a question is given up: {why}{unsaid}");
            });
            question.answer(Err(AskFailed::Failed(why)));
        } else if question.since.elapsed() >= self.settings.allocate_timeout {
            self.counts().refused_late.add(1);
            question.answer(Err(AskFailed::Busy { retry_after_s: 1 }));
        } else {
            self.counts().put_again.add(1);
            self.queue.push_again(question);
        }
    }

    /// A line of the log, if one is due for this reason and cause.
    pub fn say(&self, reason: Reason, why: &str, line: impl FnOnce(crate::log_rate::Unsaid)) {
        if let Some(unsaid) = self.said.borrow_mut().admit(reason, why, self.started.elapsed()) {
            line(unsaid);
        }
    }

    /// Lets a worker go: it is told to end, and gets `grace` for it. Does not wait.
    pub fn let_go(&self, worker: Worker, entry: Entry, grace: Duration) {
        entry.set(Status::Stopping);
        let mut killed = self.killed.subscribe();
        tokio::task::spawn_local(async move {
            let over = async {
                tokio::select! {
                    () = sleep(grace) => {}
                    _ = killed.wait_for(|killed| *killed) => {}
                }
            };
            worker.end(over).await;
            drop(entry);
        });
    }
}

impl Entry {
    /// The worker is at something else from now on.
    pub fn set(&self, status: Status) {
        self.seen.status.set(status);
        self.shared.recount();
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.workers.borrow_mut().remove(&self.number);
        self.shared.recount();
        self.shared.gone.notify_waiters();
    }
}
