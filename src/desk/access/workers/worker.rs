//! One worker: its process, and the way to it.
//!
//! Invariants worth naming:
//! - **Whatever ends, the process ends and is reaped**: [`Worker::end`] does it in order, dropping
//!   the value kills at once.
//! - It is its own process group: signals to us do not reach it, and with it ends what it started.
//!   When we die without a word its stdin ends, which ends PHP.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::output;
use super::relay::Relayed;
use super::settings::WorkerSettings;
use super::supervision::Life;
use super::users::User;
use super::wire::{Broken, Wire};
use super::{frames, frames::Said};

/// For the last lines of a worker that has ended to be read. A process that it left behind may
/// hold them open for ever.
const LAST_LINES: Duration = Duration::from_millis(200);
/// For the exit status of a worker whose end is known already.
const STATUS: Duration = Duration::from_secs(1);

const ASKED: &str = "it asked for it";

/// See the module.
#[derive(Debug)]
pub struct Worker {
    process: Process,
    wire: Wire,
    started: Instant,
    /// Its last answer, or its start.
    last: Instant,
    answers: u64,
}

/// What it was asked, and what came of it.
#[derive(Debug)]
pub enum Outcome {
    /// An answer: context and body.
    Answered(Vec<u8>, Vec<u8>),
    /// The worker has left without an answer, and not by a failure: put the question to another.
    NotPut(Parting),
    /// It failed, and is of no use any more.
    Failed(Failure, String),
}

/// Why an idle worker is of no use any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// In words.
    pub why: String,
    /// It said so in the way that is agreed, and may be given time.
    pub agreed: bool,
}

impl Parting {
    fn agreed(why: &str) -> Self {
        Self { why: why.to_owned(), agreed: true }
    }

    fn of(why: impl ToString) -> Self {
        Self { why: why.to_string(), agreed: false }
    }
}

/// How a worker failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It said so, by an ERROR frame.
    Error,
    /// It ended.
    Gone,
    /// It said what is no answer.
    Garbled,
    /// Over `exec_ttl`.
    Late,
}

impl Worker {
    /// Starts one and waits until it has said who it is; why not, in words. It gets
    /// `allocate_timeout` for it. May be dropped at any time.
    pub async fn start(of: &WorkerSettings, relayed: Option<&Relayed>) -> Result<Self, String> {
        let (relay, command) =
            (relayed.map_or("pipes", |relayed| &relayed.name), of.command.join(" "));
        let mut process = Process::spawn(&of.command, of, relay, &[])
            .map_err(|error| format!("cannot start `{command}`: {error}"))?;
        let started = Instant::now();
        let introduced = async {
            if let Some(relayed) = relayed {
                let mut coming = relayed.expect(process.pid);
                process.log_stdout();
                return Ok(tokio::select! {
                    wire = coming.wire() => wire.map_err(Broken::Unsent)?,
                    _ = process.child.wait() => return Err(Broken::Gone),
                });
            }
            let (stdin, stdout) = (process.child.stdin.take(), process.child.stdout.take());
            // They are set up where it is spawned.
            let (Some(stdin), Some(stdout)) = (stdin, stdout) else { return Err(Broken::Gone) };
            let mut wire = Wire::pipes(stdin, stdout);
            // The number need not be the child's: the command may be a wrapper around PHP.
            wire.introduce().await?;
            Ok(wire)
        };
        let why = match timeout(of.allocate_timeout, introduced).await {
            Ok(Ok(wire)) => {
                return Ok(Self { process, wire, started, last: started, answers: 0 });
            }
            Ok(Err(Broken::Gone | Broken::Unsent(_) | Broken::Cut)) => {
                let status = process.status().await;
                format!("`{command}` ended ({status}) before it had said its pid")
            }
            Ok(Err(Broken::Unasked)) => {
                format!("`{command}` said something else than its pid")
            }
            Ok(Err(broken)) => format!("`{command}`: {broken}"),
            Err(_) => {
                let said = "had not said its pid within websockets.pool.allocate_timeout";
                format!("`{command}` {said} ({:?})", of.allocate_timeout)
            }
        };
        process.kill().await;
        Err(why)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid
    }

    /// When it was started, for people.
    pub fn created(&self) -> SystemTime {
        SystemTime::now() - self.started.elapsed()
    }

    /// What it has answered.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// See [`Life`].
    pub fn life(&self) -> Life {
        Life { age: self.started.elapsed(), idle: self.last.elapsed(), answers: self.answers }
    }

    /// Puts a question. One that must not be dropped half-way, but by [`end`](Self::end).
    pub async fn ask(&mut self, context: &[u8], exec_ttl: Option<Duration>) -> Outcome {
        // What it said unasked must not be taken for the answer to this question.
        if self.wire.has_more() {
            return Outcome::NotPut(self.last_words().await);
        }
        let frame = frames::question(context);
        let exchange = self.wire.exchange(&frame);
        let said = match exec_ttl {
            None => exchange.await,
            Some(ttl) => match timeout(ttl, exchange).await {
                Ok(said) => said,
                Err(_) => {
                    let key = "websockets.pool.supervisor.exec_ttl";
                    return Outcome::Failed(
                        Failure::Late,
                        format!("no answer within {key} ({ttl:?})"),
                    );
                }
            },
        };
        self.last = Instant::now();
        match said {
            Ok(Said::Answer { context, body }) => {
                self.answers += 1;
                Outcome::Answered(context, body)
            }
            // It has read nothing, or wants another to answer.
            Ok(Said::Stop) => Outcome::NotPut(Parting::agreed(ASKED)),
            Ok(Said::Error(text)) => Outcome::Failed(Failure::Error, format!("an error: {text}")),
            Ok(Said::Pid(_) | Said::Ping) | Err(Broken::Unasked) => {
                let what = "said something that it was not asked for".to_owned();
                Outcome::Failed(Failure::Garbled, what)
            }
            Err(Broken::Unsent(error)) => {
                Outcome::NotPut(Parting::of(format!("it took no question: {error}")))
            }
            Err(Broken::Gone) => {
                let status = self.process.status().await;
                // Ended of its own accord, most likely before it had read the question.
                match status.success() {
                    true => Outcome::NotPut(Parting::agreed("it ended by itself")),
                    false => Outcome::Failed(Failure::Gone, format!("it ended ({status})")),
                }
            }
            Err(Broken::Cut) => {
                let status = self.process.status().await;
                let what = format!("it ended in the middle of an answer ({status})");
                Outcome::Failed(Failure::Gone, what)
            }
            Err(Broken::Garbled(garbled)) => Outcome::Failed(Failure::Garbled, garbled.to_string()),
        }
    }

    /// Waits until an idle worker says something or ends: why it is to be replaced. May be dropped
    /// at any time.
    pub async fn unasked(&mut self) -> Parting {
        let ended = tokio::select! {
            biased;
            said = self.wire.unasked() => match said {
                Ok(Said::Stop) => return Parting::agreed(ASKED),
                Ok(Said::Error(text)) => return Parting::of(format!("an error, unasked: {text}")),
                Ok(_) => return Parting::of("it said something that it was not asked for"),
                Err(Broken::Garbled(garbled)) => return Parting::of(garbled),
                Err(_) => self.process.status().await,
            },
            status = self.process.child.wait() => Ended::of(status),
        };
        Parting { agreed: ended.success(), why: format!("it ended ({ended})") }
    }

    /// The same of one that has said something already.
    async fn last_words(&mut self) -> Parting {
        match timeout(STATUS, self.unasked()).await {
            Ok(parting) => parting,
            Err(_) => Parting::of("it began to say something that it was not asked for"),
        }
    }

    /// Ends it: tells it to end, and when `over` comes first, kills it. Reaped when this returns.
    pub async fn end(mut self, over: impl Future<Output = ()>) {
        let stopped = async {
            self.wire.say_stop().await;
            let _ = self.process.child.wait().await;
        };
        tokio::select! {
            biased;
            () = over => {}
            () = stopped => {}
        }
        // Also what it has left behind.
        self.process.kill().await;
    }
}

/// How a process ended, in words.
struct Ended(Option<ExitStatus>);

impl Ended {
    fn of(status: io::Result<ExitStatus>) -> Self {
        Self(status.ok())
    }

    fn success(&self) -> bool {
        self.0.is_some_and(|status| status.success())
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            Some(status) => status.fmt(f),
            None => f.write_str("its output is closed"),
        }
    }
}

/// A process of a command, in a group of its own.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: u32,
    group: Option<Pid>,
    logs: Vec<JoinHandle<()>>,
}

impl Process {
    /// Starts a command: a program and its arguments.
    pub fn spawn(
        command: &[String],
        of: &WorkerSettings,
        relay: &str,
        env: &[(String, String)],
    ) -> io::Result<Self> {
        let (program, arguments) = command.split_first().ok_or(io::ErrorKind::NotFound)?;
        let mut process = Command::new(program);
        process.args(arguments).current_dir(&of.directory).process_group(0).kill_on_drop(true);
        process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        process.env("RR_RELAY", relay);
        process.envs(of.env.iter().chain(env).map(|(name, value)| (name, value)));
        if let Some(User { uid, gid }) = of.user {
            process.gid(gid).uid(uid);
        }
        let mut child = process.spawn()?;
        let pid = child.id().unwrap_or_default();
        let group = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let mut logs = Vec::new();
        if let Some(stderr) = child.stderr.take() {
            logs.push(tokio::task::spawn_local(output::log(stderr, pid, "stderr")));
        }
        Ok(Self { child, pid, group, logs })
    }

    fn log_stdout(&mut self) {
        if let Some(stdout) = self.child.stdout.take() {
            self.logs.push(tokio::task::spawn_local(output::log(stdout, self.pid, "stdout")));
        }
    }

    /// Runs it to its end, its output to the log; how it ended.
    pub async fn run(mut self, within: Duration) -> Result<(), String> {
        self.log_stdout();
        let ended = timeout(within, self.child.wait()).await;
        self.kill().await;
        match ended {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(status) => Err(format!("it ended ({})", Ended::of(status))),
            Err(_) => Err(format!("it had not ended after {within:?}, and was killed")),
        }
    }

    /// How it ended, if it does so right now.
    async fn status(&mut self) -> Ended {
        match timeout(STATUS, self.child.wait()).await {
            Ok(status) => Ended::of(status),
            Err(_) => Ended(None),
        }
    }

    /// Kills it and what it has started, and reaps it.
    async fn kill(&mut self) {
        self.kill_group();
        let _ = self.child.wait().await;
        self.group = None;
        let logs = std::mem::take(&mut self.logs);
        for mut log in logs {
            if timeout(LAST_LINES, &mut log).await.is_err() {
                log.abort();
            }
        }
    }

    fn kill_group(&mut self) {
        if let Some(group) = self.group {
            // It has gone already, at worst.
            let _ = kill_process_group(group, Signal::KILL);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill_group();
        self.logs.iter().for_each(JoinHandle::abort);
    }
}
