//! The callback: a server that is asked over HTTP who may connect and who may join, as workers are.
//! It gets the same JSON, by POST, and its answer is judged as theirs: 200 lets in, any other
//! status refuses.
//!
//! | module | what |
//! |---|---|
//! | `circuit` | when a server that does not answer is left alone, pure |
//! | `counters` | what is counted |
//!
//! Invariants worth naming:
//! - **Whoever asks is always answered**, within twice `timeout`: once for its turn, once for the
//!   answer.
//! - At most `concurrency` questions are under way. What waits for its turn holds no question yet,
//!   only what it is made of.
//! - A whole answer is a verdict, or nonsense of which the client is told 400. Where there is none,
//!   whoever asked may come again (503).

mod circuit;
mod counters;

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Weak};

use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout};

use super::client::{Answer, Bounds, Client, Failure, Fault};
use crate::access::verdict::BODY_BYTES_MAX;
use crate::access::{About, AccessRequest, AskFailed, CallbackSettings, Judged, context};
use crate::log_rate::LogRate;
use circuit::{Circuit, Pass};
pub use counters::{CallbackCounters, CallbackTelemetry};

/// Questions that wait for their turn. As many as wait for workers.
pub const WAITING_MAX: usize = 16_384;
/// What whoever connects is told where nobody could be asked; the log, and `/ready`, say more.
const NO_ANSWER: &str = "the callback does not answer";
/// The same where one answer has taken too long.
const LATE: &str = "the callback has not answered in time (roadcast.access.http.timeout)";

/// See the module.
#[derive(Debug)]
pub struct Callback {
    client: Client,
    settings: CallbackSettings,
    /// One for each question that may be under way; first come, first served.
    turns: Semaphore,
    waiting: Cell<usize>,
    circuit: RefCell<Circuit>,
    telemetry: Arc<CallbackTelemetry>,
    started: Instant,
    said: RefCell<LogRate<Fault>>,
}

impl Callback {
    /// Nothing is asked yet. The error says what is wrong; it does not show the URL.
    pub fn new(settings: &CallbackSettings) -> Result<Self, String> {
        let CallbackSettings { timeout, concurrency, .. } = *settings;
        let bounds = Bounds { timeout, idle: concurrency, body_bytes: BODY_BYTES_MAX };
        let client = Client::new(&settings.url.0, settings.ca.as_deref(), bounds)
            .map_err(|problem| format!("roadcast.access.http.url: {problem}"))?;
        Ok(Self {
            client,
            settings: settings.clone(),
            turns: Semaphore::new(concurrency),
            waiting: Cell::default(),
            circuit: RefCell::new(Circuit::new()),
            telemetry: Arc::default(),
            started: Instant::now(),
            said: RefCell::default(),
        })
    }

    /// Asks about somebody. Once `waits` is dead it has gone, and need not be asked about. The
    /// future may be dropped at any time, which ends the question.
    pub async fn ask(
        &self,
        waits: Option<&Weak<()>>,
        request: &AccessRequest,
        about: About<'_>,
    ) -> Result<Judged, AskFailed> {
        self.counts().asked.add(1);
        let look = self.circuit.borrow().look(now());
        look.map_err(|pause| self.refused_open(pause))?;
        let _turn = self.turn().await?;
        if waits.is_some_and(|waits| waits.strong_count() == 0) {
            return Err(AskFailed::Busy { retry_after_s: 1 });
        }
        let admitted = self.circuit.borrow_mut().admit(now());
        let pass = admitted.map_err(|pause| self.refused_open(pause))?;
        let mut asking = Asking { callback: self, pass: Some(pass) };
        self.recount();

        let passed: Vec<&str> = self.settings.headers.iter().map(String::as_str).collect();
        let context = context::encode(request, about, Some(&passed));
        let began = Instant::now();
        let answer = self.client.post(context).await;
        self.counts().put_again.set(self.client.again());
        match answer {
            Ok(answer) => {
                asking.answered();
                self.counts().answer_time.add(began.elapsed());
                self.judged(answer)
            }
            Err(failure) => Err(asking.failed(failure)),
        }
    }

    /// Whether a header of this name is passed on.
    pub fn passes(&self, name: &str) -> bool {
        self.settings.headers.iter().any(|passed| passed.eq_ignore_ascii_case(name))
    }

    /// What other threads may know.
    pub fn telemetry(&self) -> Arc<CallbackTelemetry> {
        self.telemetry.clone()
    }

    fn counts(&self) -> &CallbackCounters {
        &self.telemetry.counts
    }

    fn recount(&self) {
        let under_way = self.settings.concurrency.saturating_sub(self.turns.available_permits());
        self.counts().under_way.set(under_way as u64);
        self.counts().waiting.set(self.waiting.get() as u64);
    }

    fn refused_open(&self, pause: std::time::Duration) -> AskFailed {
        self.counts().refused_open.add(1);
        AskFailed::Down { why: NO_ANSWER, retry_after_s: seconds(pause) }
    }

    /// Waits for a turn.
    async fn turn(&self) -> Result<Turn<'_>, AskFailed> {
        let limit = self.settings.timeout;
        // There is none while others wait.
        if let Ok(permit) = self.turns.try_acquire() {
            return Ok(Turn { callback: self, permit: Some(permit) });
        }
        let later = AskFailed::Busy { retry_after_s: seconds(limit) };
        if self.waiting.get() >= WAITING_MAX {
            self.counts().refused_full.add(1);
            return Err(later);
        }
        let waits = Waits::new(self);
        let permit = timeout(limit, self.turns.acquire()).await;
        drop(waits);
        match permit {
            Ok(Ok(permit)) => Ok(Turn { callback: self, permit: Some(permit) }),
            // It is never closed.
            Ok(Err(_)) | Err(_) => {
                self.counts().refused_late.add(1);
                Err(later)
            }
        }
    }

    fn judged(&self, answer: Answer) -> Result<Judged, AskFailed> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let headers = answer.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), text(value.as_bytes())));
        let judged = Judged::new(answer.status.into(), headers.collect(), answer.body.into());
        judged.map_err(|nonsense| {
            self.counts().failed_verdict.add(1);
            AskFailed::Failed(format!("the callback's answer is no verdict: {nonsense}"))
        })
    }

    fn failed(&self, failure: Failure, pass: Pass) -> AskFailed {
        let Failure { fault, why } = failure;
        let counts = self.counts();
        let count = match fault {
            Fault::Connect => &counts.failed_connect,
            Fault::Tls => &counts.failed_tls,
            Fault::Late => &counts.failed_late,
            Fault::Closed => &counts.failed_closed,
            Fault::Garbled => &counts.failed_garbled,
            Fault::Large => &counts.failed_large,
        };
        count.add(1);
        if fault == Fault::Large {
            // The server is there.
            self.closed_by(pass);
            return AskFailed::Failed(format!("the callback's answer is too large: {why}"));
        }
        if self.circuit.borrow_mut().failed(pass, now()) {
            counts.opened.add(1);
            counts.open.set(1);
            tracing::error!(
                why,
                "the callback does not answer (roadcast.access.http); from now on one question at a \
                 time is put to it, with pauses, until it does"
            );
        }
        match self.circuit.borrow().look(now()) {
            // Said as an answer that judges nobody.
            Ok(()) if fault == Fault::Garbled => {}
            Ok(()) => self.say(fault, &why),
            Err(pause) => {
                let why = format!("{NO_ANSWER}: {why}");
                self.telemetry.ready.fails(why, Some(now() + pause));
            }
        }
        match fault {
            Fault::Garbled => AskFailed::Failed(format!("the callback's answer is no HTTP: {why}")),
            Fault::Late => AskFailed::Down { why: LATE, retry_after_s: 1 },
            _ => AskFailed::Down { why: NO_ANSWER, retry_after_s: 1 },
        }
    }

    fn say(&self, fault: Fault, why: &str) {
        if let Some(unsaid) = self.said.borrow_mut().admit(fault, self.started.elapsed()) {
            let late = if fault == Fault::Late { " in time" } else { "" };
            tracing::warn!(
                why,
                "the callback has not answered{late} (roadcast.access.http){unsaid}"
            );
        }
    }

    fn closed_by(&self, pass: Pass) {
        if self.circuit.borrow_mut().answered(pass) {
            self.counts().open.set(0);
            self.telemetry.ready.works();
            tracing::info!("the callback answers again (roadcast.access.http)");
        }
    }
}

/// A question that is under way.
struct Asking<'c> {
    callback: &'c Callback,
    /// `None`: it has ended.
    pass: Option<Pass>,
}

impl Asking<'_> {
    fn answered(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.callback.closed_by(pass);
        }
    }

    fn failed(&mut self, failure: Failure) -> AskFailed {
        let pass = self.pass.take().expect("a question ends once");
        self.callback.failed(failure, pass)
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        if let Some(pass) = self.pass.take() {
            self.callback.circuit.borrow_mut().abandoned(pass, now());
        }
    }
}

/// A place among the questions that are under way; goes with the value.
struct Turn<'c> {
    callback: &'c Callback,
    permit: Option<SemaphorePermit<'c>>,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permit = None;
        self.callback.recount();
    }
}

/// A place among those that wait; goes with the value.
struct Waits<'c>(&'c Callback);

impl<'c> Waits<'c> {
    fn new(callback: &'c Callback) -> Self {
        callback.waiting.set(callback.waiting.get() + 1);
        callback.recount();
        Self(callback)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.waiting.set(self.0.waiting.get() - 1);
        self.0.recount();
    }
}

/// Of tokio's clock, which tests may hold.
fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// For `Retry-After`.
fn seconds(pause: std::time::Duration) -> u32 {
    pause.as_secs_f64().ceil().clamp(1.0, 30.0) as u32
}
