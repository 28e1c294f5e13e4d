//! One place of the pool: keeps a worker in it, and has it asked.
//!
//! What becomes of a worker:
//!
//! | what happened | the question | the worker |
//! |---|---|---|
//! | it answered | answered | stays, unless `max_jobs` is reached: killed |
//! | its answer is no verdict | fails | stays: it is the application that answered |
//! | ERROR frame; no frame; killed; `exec_ttl` | fails | killed |
//! | it ended by itself, or asked to be replaced, before it answered | put to another | let go |
//! | it said something unasked before it was asked | put to another | killed |
//! | `ttl`, `idle_ttl`, `max_worker_memory`, a reset | none is cut off | let go |
//!
//! *Let go*: told to end, killed when it does not.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::queue::Question;
use super::settings::Supervision;
use super::shared::{Entry, Reason, Shared, Status};
use super::supervision::{due, jobs_due};
use super::usage;
use super::worker::{Failure, Outcome, Worker};
use crate::access::{AskFailed, Judged};

/// Before the second attempt to start a worker; then twice as long each time.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// The longest pause: a deploy that mends the script shows within this time.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// A worker that has lived for so long works, also if nobody has asked it.
const PROBATION: Duration = Duration::from_secs(1);
/// Why a worker is killed whose answer would be late for everyone.
const ENDS: &str = "it had not answered when the server ended, and was killed";
/// For a process of debug mode to end by itself.
const DEBUG_GRACE: Duration = Duration::from_secs(1);

/// What the places of one generation are to do. It only ever goes on to a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Start workers, and ask them nothing yet.
    Warming,
    /// Ask them.
    Active,
    /// Finish what is under way, and let them go.
    Retired,
}

/// What a place tells of its attempts.
pub type Attempts = watch::Sender<Progress>;

/// How far the places of a generation are.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Places that have a worker, or had one.
    pub started: usize,
    /// Places that have failed to start one.
    pub failed: usize,
    /// Why the last one failed.
    pub why: String,
}

/// Why a worker leaves its place.
enum End {
    /// To be told to end.
    LetGo,
    /// To be killed.
    Kill,
    /// It was of no use from the beginning.
    Useless(String),
}

/// Keeps a worker in the place until it is retired.
pub async fn keep(shared: Rc<Shared>, mut phase: watch::Receiver<Phase>, attempts: Rc<Attempts>) {
    let mut booted = shared.booted.subscribe();
    // An error: the pool has gone.
    if booted.wait_for(|booted| *booted).await.is_err() {
        return;
    }
    let (mut failures, mut first) = (0, true);
    while !is_retired(&phase) {
        let started = tokio::select! {
            biased;
            () = retired(&mut phase) => return,
            started = shared.start() => started,
        };
        let useless = match started {
            Err(why) => {
                report(&attempts, &mut first, Err(&why));
                Some(why)
            }
            Ok(mut worker) => {
                report(&attempts, &mut first, Ok(()));
                let entry = shared.enter(&worker);
                let end = serve(&shared, &mut phase, &mut worker, &entry).await;
                let grace = match end {
                    End::LetGo => shared.settings.stop_grace,
                    End::Kill | End::Useless(_) => Duration::ZERO,
                };
                if !is_retired(&phase) {
                    shared.counts().replaced.add(1);
                }
                shared.let_go(worker, entry, grace);
                if let End::Useless(why) = end { Some(why) } else { None }
            }
        };
        let Some(why) = useless else {
            failures = 0;
            continue;
        };
        let pause = pause(failures);
        failures += 1;
        let for_reset = *phase.borrow() == Phase::Warming;
        shared.start_failed(&why, pause, for_reset);
        tokio::select! {
            () = retired(&mut phase) => return,
            () = sleep(pause) => {}
        }
    }
}

/// Tells of the first attempt of a place.
fn report(attempts: &Attempts, first: &mut bool, result: Result<(), &str>) {
    if std::mem::take(first) {
        attempts.send_modify(|progress| match result {
            Ok(()) => progress.started += 1,
            Err(why) => {
                progress.failed += 1;
                progress.why = why.to_owned();
            }
        });
    }
}

/// After so many failures in a row.
fn pause(failures: u32) -> Duration {
    PAUSE_MIN.saturating_mul(2_u32.saturating_pow(failures)).min(PAUSE_MAX)
}

fn is_retired(phase: &watch::Receiver<Phase>) -> bool {
    *phase.borrow() == Phase::Retired || phase.has_changed().is_err()
}

/// Waits until the place is given up. May be dropped at any time.
async fn retired(phase: &mut watch::Receiver<Phase>) {
    // An error: the generation has gone.
    let _ = phase.wait_for(|phase| *phase == Phase::Retired).await;
}

async fn serve(
    shared: &Rc<Shared>,
    phase: &mut watch::Receiver<Phase>,
    worker: &mut Worker,
    entry: &Entry,
) -> End {
    let supervision = shared.settings.supervision();
    let tick = supervision.watch_tick.max(Duration::from_millis(1));
    let mut look = Instant::now() + tick;
    let mut proven = false;
    loop {
        if is_retired(phase) {
            return End::LetGo;
        }
        let is_active = *phase.borrow() == Phase::Active;
        let probation = PROBATION.saturating_sub(worker.life().age);
        let question = tokio::select! {
            biased;
            _ = phase.changed() => continue,
            parting = worker.unasked() => {
                if worker.answers() == 0 && !proven {
                    return End::Useless(parting.why);
                }
                let (pid, why) = (worker.pid(), &parting.why);
                match parting.agreed {
                    true => tracing::debug!(pid, why, "worker replaced"),
                    false => shared.say(Reason::Unasked, why, |unsaid| {
                        tracing::warn!(pid, why, "worker replaced, since it ended or wrote something without being asked{unsaid}");
                    }),
                }
                return if parting.agreed { End::LetGo } else { End::Kill };
            }
            () = sleep(probation), if !proven => {
                proven = true;
                shared.works();
                continue;
            }
            () = sleep_until(look) => {
                look = Instant::now() + tick;
                match looked(&supervision, worker) {
                    Some(end) => return end,
                    None => continue,
                }
            }
            question = shared.queue.first(), if is_active => question,
        };
        shared.counts().waiting.set(shared.queue.len() as u64);
        entry.set(Status::Working);
        let asked = Instant::now();
        let outcome = tokio::select! {
            biased;
            outcome = worker.ask(&question.context, supervision.exec_ttl) => outcome,
            () = killed(shared) => Outcome::Failed(Failure::Gone, ENDS.to_owned()),
        };
        entry.seen.answers.set(worker.answers());
        if matches!(outcome, Outcome::Answered(..)) && !proven {
            proven = true;
            shared.works();
        }
        if let Some(end) =
            settle(shared, worker.pid(), question, outcome, asked.elapsed(), !is_retired(phase))
        {
            return end;
        }
        if let Some(why) = jobs_due(&shared.settings, worker.answers()) {
            tracing::debug!(pid = worker.pid(), %why, "worker replaced");
            return End::Kill;
        }
        // A worker that is never idle is looked at, too.
        if Instant::now() >= look {
            look = Instant::now() + tick;
            if let Some(end) = looked(&supervision, worker) {
                return end;
            }
        }
        entry.set(Status::Ready);
    }
}

async fn killed(shared: &Shared) {
    let _ = shared.killed.subscribe().wait_for(|killed| *killed).await;
}

fn looked(supervision: &Supervision, worker: &Worker) -> Option<End> {
    let why = due(supervision, worker.life(), || usage::memory_bytes(worker.pid()))?;
    tracing::debug!(pid = worker.pid(), %why, "worker replaced");
    Some(End::LetGo)
}

/// Answers a question by what came of it; `Some`: the worker cannot stay. Its place `is_kept`: then
/// another comes.
fn settle(
    shared: &Shared,
    pid: u32,
    question: Question,
    outcome: Outcome,
    time: Duration,
    is_kept: bool,
) -> Option<End> {
    match outcome {
        Outcome::Answered(context, body) => {
            shared.counts().answer_time.add(time);
            let judged = Judged::parse_context(&context, body).map_err(|nonsense| {
                let why = nonsense.to_string();
                shared.counts().failed_verdict.add(1);
                shared.say(Reason::Verdict, &why, |unsaid| {
                    tracing::warn!(pid, why, "a worker's answer is no verdict{unsaid}");
                });
                AskFailed::Failed(why)
            });
            question.answer(judged);
            None
        }
        Outcome::NotPut(parting) => {
            let why = parting.why;
            tracing::debug!(pid, why, "worker replaced before it was asked");
            if !parting.agreed {
                shared.say(Reason::Unasked, &why, |unsaid| {
                    tracing::warn!(pid, why, "worker replaced, since it ended or wrote something without being asked{unsaid}");
                });
            }
            shared.put_again(question);
            Some(if parting.agreed { End::LetGo } else { End::Kill })
        }
        Outcome::Failed(failure, why) => {
            let counts = shared.counts();
            let count = match failure {
                Failure::Error => &counts.failed_error,
                Failure::Gone => &counts.failed_gone,
                Failure::Garbled => &counts.failed_garbled,
                Failure::Late => &counts.failed_late,
            };
            count.add(1);
            let then = if is_kept { ", and is replaced" } else { "" };
            shared.say(Reason::Failed(failure), &why, |unsaid| {
                tracing::warn!(pid, why, "a worker failed{then}{unsaid}");
            });
            question.answer(Err(AskFailed::Failed(why)));
            Some(End::Kill)
        }
    }
}

/// A place of debug mode: a process for each question, so that a changed script acts at once.
pub async fn keep_fresh(shared: Rc<Shared>, mut phase: watch::Receiver<Phase>) {
    let mut booted = shared.booted.subscribe();
    if booted.wait_for(|booted| *booted).await.is_err() {
        return;
    }
    loop {
        let question = tokio::select! {
            biased;
            () = retired(&mut phase) => return,
            question = shared.queue.first() => question,
        };
        shared.counts().waiting.set(shared.queue.len() as u64);
        let mut worker = match shared.start().await {
            Ok(worker) => worker,
            Err(why) => {
                shared.counts().starts_failed.add(1);
                shared.telemetry.set_ready(Err(format!("no worker: {why}")));
                shared.say(Reason::Start, &why, |unsaid| {
                    tracing::error!(why, "cannot start a worker (server.command){unsaid}");
                });
                question.answer(Err(AskFailed::Failed(why)));
                continue;
            }
        };
        let entry = shared.enter(&worker);
        entry.set(Status::Working);
        let (ttl, asked) = (shared.settings.supervision().exec_ttl, Instant::now());
        let outcome = tokio::select! {
            biased;
            outcome = worker.ask(&question.context, ttl) => outcome,
            () = killed(&shared) => Outcome::Failed(Failure::Gone, ENDS.to_owned()),
        };
        if matches!(outcome, Outcome::Answered(..)) {
            shared.works();
        }
        settle(&shared, worker.pid(), question, outcome, asked.elapsed(), false);
        entry.set(Status::Stopping);
        // The place stays taken, so that no more than so many processes are there at once.
        worker.end(sleep(DEBUG_GRACE)).await;
        drop(entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let of = |failures| pause(failures).as_millis();
        assert_eq!([0, 1, 2, 6, 7, 1000].map(of), [100, 200, 400, 6400, 10_000, 10_000]);
    }
}
