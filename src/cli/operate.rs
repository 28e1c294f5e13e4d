//! `roadcast brokers`, `roadcast workers` and `roadcast reset`: what operators ask of a server that
//! runs, and have it do, over its RPC socket.

mod brokers;
mod files;
mod table;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use socket2::Socket;

use super::args::{CallArgs, ResetArgs, ShowArgs};
use super::dial::{self, DialError};
use super::out;
use crate::config::Problems;
use crate::rpc::{self, Codec, Decoded, PLUGIN};
use table::{Shown, Told};

/// Bytes of an answer: some thousands of workers.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// For an answer to come. Beyond what a server takes for a reset with RoadRunner's
/// `allocate_timeout` (60 s).
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// Between two looks at workers, as `rr workers -i` has it, and at files.
const WATCH: Duration = Duration::from_secs(1);

/// What is left to do where a callback is asked, or each question has a worker of its own.
const NO_WORKERS: &str = "no PHP workers to replace here; remembered verdicts are forgotten";

/// Why it is not done.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Config(#[from] Problems),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("{0} closed the connection without an answer: it was stopped")]
    Closed(String),
    #[error("{0} does not answer: {1}")]
    Broken(String, io::Error),
    #[error("what listens at {0} is not an RPC socket of roadcast: {1}")]
    Stranger(String, String),
    #[error("{0} answers: {1}")]
    Refused(String, String),
    #[error("cannot print: {0}")]
    Print(io::Error),
    #[error(transparent)]
    Watch(#[from] files::Unwatchable),
    #[error(
        "{0} has no PHP workers: it asks none (`server.command` is not set), none runs by now \
         (its log says why), or each question has one of its own (`websockets.pool.debug`)"
    )]
    NoWorkers(String),
    #[error("{0}")]
    NotUp(String),
}

/// Shows the brokers. 0 once that is done, and all are up.
pub fn brokers(args: &ShowArgs) -> ExitCode {
    ended(show_brokers(args))
}

/// Shows the workers. 0 once that is done, and there are some.
pub fn workers(args: &ShowArgs) -> ExitCode {
    ended(show(args))
}

/// Has new workers started, and verdicts forgotten. 0 once that is done.
pub fn reset(args: &ResetArgs) -> ExitCode {
    ended(renew(args))
}

fn ended(result: Result<(), Failure>) -> ExitCode {
    result.map_or_else(super::fail, |()| ExitCode::SUCCESS)
}

fn show_brokers(args: &ShowArgs) -> Result<(), Failure> {
    let CallArgs { url, config } = &args.server;
    let address = super::rpc_address(url.as_deref(), config)?;
    let (body, mut before) = brokers_of(&address)?;
    if args.json {
        out::print(String::from_utf8_lossy(&body)).map_err(Failure::Print)?;
        return brokers::all_up(&before).map_err(Failure::NotUp);
    }
    loop {
        // Rates are of this second.
        let begun = Instant::now();
        sleep(WATCH);
        let (_, now) = brokers_of(&address)?;
        clear(args.watch)?;
        out::print(brokers::table(&before, &now, begun.elapsed(), SystemTime::now()))
            .map_err(Failure::Print)?;
        if !args.watch {
            return brokers::all_up(&now).map_err(Failure::NotUp);
        }
        before = now;
    }
}

/// From the first line on a screen that is empty, where something is shown again and again.
fn clear(watch: bool) -> Result<(), Failure> {
    if watch && io::stdout().is_terminal() {
        let cleared = io::stdout().write_all(b"\x1b[H\x1b[2J");
        cleared.map_err(Failure::Print)?;
    }
    Ok(())
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let CallArgs { url, config } = &args.server;
    let address = super::rpc_address(url.as_deref(), config)?;
    loop {
        let (body, workers) = workers_of(&address)?;
        if workers.is_empty() && !args.json && !args.watch {
            return Err(Failure::NoWorkers(address));
        }
        let shown = match args.json {
            true => String::from_utf8_lossy(&body).into_owned(),
            false => table::of(&workers, SystemTime::now()),
        };
        clear(args.watch)?;
        out::print(shown).map_err(Failure::Print)?;
        if !args.watch {
            return if workers.is_empty() { Err(Failure::NoWorkers(address)) } else { Ok(()) };
        }
        sleep(WATCH);
    }
}

fn renew(args: &ResetArgs) -> Result<(), Failure> {
    let CallArgs { url, config } = &args.server;
    let address = super::rpc_address(url.as_deref(), config)?;
    let directories = args.watched();
    let seen = || files::seen(&directories, files::ENTRIES_MAX);
    let mut before = if args.watch { seen()? } else { files::Seen::default() };
    call(&address, "resetter.Reset")?;
    let none = workers_of(&address)?.1.is_empty();
    if none && args.watch {
        return Err(Failure::NoWorkers(address));
    }
    let done = if none { NO_WORKERS } else { "workers reset" };
    out::print(done).map_err(Failure::Print)?;
    if !args.watch {
        return Ok(());
    }
    loop {
        sleep(WATCH);
        let mut now = seen()?;
        if now == before {
            continue;
        }
        // What is being deployed is waited for.
        loop {
            sleep(WATCH);
            let later = seen()?;
            if later == now {
                break;
            }
            now = later;
        }
        let changed = files::changed(&before, &now);
        before = now;
        match call(&address, "resetter.Reset") {
            Ok(_) => out::print(format!("{changed}: workers reset")).map_err(Failure::Print)?,
            // The next change may mend it.
            Err(why) => out::say(format_args!("roadcast: {why}")),
        }
    }
}

/// The workers, as the server tells of them and read.
fn workers_of(address: &str) -> Result<(Vec<u8>, Vec<Shown>), Failure> {
    let body = call(address, "informer.Workers")?;
    let told: Told = read(address, &body)?;
    Ok((body, told.workers.unwrap_or_default()))
}

/// The brokers, as the server tells of them and read.
fn brokers_of(address: &str) -> Result<(Vec<u8>, Vec<brokers::Shown>), Failure> {
    let body = call(address, "roadcast.Brokers")?;
    let told: brokers::Told = read(address, &body)?;
    Ok((body, told.brokers))
}

fn read<'a, T: serde::Deserialize<'a>>(address: &str, body: &'a [u8]) -> Result<T, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| Failure::Stranger(address.to_owned(), error.to_string()))
}

/// Calls a method, for the plugin that has workers where it asks for one; its answer in JSON.
fn call(address: &str, method: &str) -> Result<Vec<u8>, Failure> {
    let mut call = Vec::new();
    rpc::encode_call(&mut call, 1, method, Codec::Json, format!("{PLUGIN:?}").as_bytes());
    let mut socket: Socket = dial::rpc(address)?;
    let broken = |error| Failure::Broken(address.to_owned(), error);
    socket.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(broken)?;
    socket.write_all(&call).map_err(broken)?;
    let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match rpc::decode_answer(&bytes, ANSWER_BYTES_MAX) {
            Ok(Decoded::Whole { value, .. }) if value.error => {
                let text = String::from_utf8_lossy(value.body).into_owned();
                return Err(Failure::Refused(address.to_owned(), text));
            }
            Ok(Decoded::Whole { value, .. }) => return Ok(value.body.to_vec()),
            Ok(Decoded::Partial { .. }) => {}
            Err(why) => return Err(Failure::Stranger(address.to_owned(), why.to_string())),
        }
        match socket.read(&mut chunk).map_err(broken)? {
            0 => return Err(Failure::Closed(address.to_owned())),
            count => bytes.extend_from_slice(&chunk[..count]),
        }
    }
}
