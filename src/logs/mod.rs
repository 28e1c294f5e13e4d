//! Logs on stderr in RoadRunner's encodings: a console line for people, one JSON object a line for
//! machines.
//!
//! No thread waits for whoever reads them: see `outlet`.

mod lines;
mod outlet;
mod streams;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal};
use std::panic::PanicHookInfo;

use tracing::Level as Severity;
use tracing_subscriber::layer::SubscriberExt;

use lines::{Fields, Lines, Style};
pub use outlet::{Losses, Outlet};
use streams::{Stderr, Stdout};

use crate::worst_case;

/// What waits to be written to stderr at most. About 2,500 lines: more than a burst of reports,
/// less than anyone misses.
const LOG_BYTES_MAX: usize = 1 << 20;

/// The same for stdout, which gets a page of text in all.
const STDOUT_BYTES_MAX: usize = 64 << 10;

const _: () = assert!((LOG_BYTES_MAX + STDOUT_BYTES_MAX) as u64 == worst_case::OUTLETS_BYTES);

/// What the section `logs` says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogConfig {
    /// `logs.mode`.
    pub mode: Mode,
    /// `logs.level`.
    pub level: Level,
    /// `logs.encoding`; without it the mode decides.
    pub encoding: Option<Encoding>,
}

/// For whom logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// People: console.
    #[default]
    Development,
    /// Machines: JSON.
    Production,
    /// The message alone.
    Raw,
    /// Nobody.
    Off,
}

/// The least severe level that is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// Everything.
    Debug,
    /// What the operator of a healthy server wants to know.
    #[default]
    Info,
    /// What may be a mistake.
    Warn,
    /// What failed.
    Error,
}

/// How an event is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// `time  LEVEL  message  field=value`
    Console,
    /// `{"level":"info","ts":1700000000.123,"logger":"…","msg":"…", fields}`, as RoadRunner's
    /// production mode.
    Json,
}

/// Writes the process's logs, and what a thread that panics leaves behind, to stderr from now on,
/// by a thread of their own. A second call starts another outlet and leaves the first one's
/// subscriber in place.
pub fn init(config: LogConfig) -> io::Result<Outlet> {
    let style = Style::new(config, io::stderr().is_terminal());
    let missing = move |lost: u64| {
        let message =
            format!("{lost} lines were lost: stderr was not read in time, or could not be written");
        style.line(
            Severity::WARN,
            module_path!(),
            &Fields { message, rest: vec![("lost", lost.into())] },
        )
    };
    let outlet = Outlet::start("log", LOG_BYTES_MAX, Stderr, missing)?;
    if config.mode != Mode::Off {
        let lines = Lines::new(config, style, outlet.clone());
        // An error says that a subscriber is set already: it stays.
        let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines));
    }
    let last_words = outlet.clone();
    std::panic::set_hook(Box::new(move |panic| {
        say_panic(&last_words, style, panic);
        last_words.flush();
    }));
    Ok(outlet)
}

/// Standard output by a thread of its own.
pub fn stdout() -> io::Result<Outlet> {
    Outlet::start("stdout", STDOUT_BYTES_MAX, Stdout, |_| String::new())
}

/// As the hook of the standard library, which would wait for whoever reads stderr.
fn say_panic(outlet: &Outlet, style: Style, panic: &PanicHookInfo<'_>) {
    let payload = panic.payload();
    let why = payload.downcast_ref::<&str>().copied();
    let why = why
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without words");
    let thread = std::thread::current().name().unwrap_or("without a name").to_owned();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let rest = vec![("thread", thread.into()), ("at", place.into())];
    let fields = Fields { message: format!("a bug, please report it: panicked: {why}"), rest };
    outlet.push(style.line(Severity::ERROR, module_path!(), &fields));
    let trace = Backtrace::capture();
    if trace.status() == BacktraceStatus::Captured {
        outlet.push(format!("{trace}\n"));
    }
}
