//! Signals, on a thread of their own: which of them end the server, and what is said of it.

use std::io;
use std::thread::JoinHandle;
use std::time::Instant;

use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::{Handle, Signals};

use super::counters::Counters;
use crate::logs::Outlet;

/// Takes the signals over from now on, whatever thread they meet. Before that they end the process:
/// call it before anybody is served.
pub fn take() -> io::Result<Signals> {
    let signals = Signals::new([SIGTERM, SIGINT, SIGUSR1])?;
    if !hangup_ignored() {
        signals.add_signal(SIGHUP)?;
    }
    Ok(signals)
}

/// The signal that has begun the shutdown.
#[derive(Clone, Copy, Debug)]
pub struct Begun {
    /// Its name.
    pub name: &'static str,
    /// Nobody was connected: there was nothing to stop.
    pub idle: bool,
}

/// The thread that waits for signals.
pub struct Watching {
    thread: JoinHandle<Option<Begun>>,
    end: Handle,
}

impl Watching {
    /// The first SIGTERM, SIGINT or SIGHUP (a terminal that closes) begins the shutdown, a second
    /// one ends the process at once. `course` is what the log says of the shutdown as it begins.
    pub fn start(
        mut signals: Signals,
        begin: impl Fn(Instant) + Send + 'static,
        counters: impl AsRef<Counters> + Send + 'static,
        course: String,
        log: Outlet,
    ) -> io::Result<Self> {
        let end = signals.handle();
        let run = move || watch(&mut signals, begin, counters.as_ref(), &course, &log);
        let thread = std::thread::Builder::new().name("signals".into()).spawn(run)?;
        Ok(Self { thread, end })
    }

    /// Waits for signals no more. What has begun the shutdown; `None` where no signal has.
    pub fn end(self) -> Option<Begun> {
        self.end.close();
        self.thread.join().unwrap_or_default()
    }
}

fn watch(
    signals: &mut Signals,
    begin: impl Fn(Instant),
    counters: &Counters,
    course: &str,
    log: &Outlet,
) -> Option<Begun> {
    let mut begun = None;
    for signal in signals.forever() {
        match signal {
            SIGUSR1 => counters.log("by now"),
            signal if begun.is_some() => {
                tracing::warn!("a second signal: the server ends at once");
                super::end(128 + signal, log);
            }
            signal => {
                let (clients, publishers) = counters.connected();
                let idle = clients + publishers == 0;
                begun = Some(Begun {
                    name: signal_hook::low_level::signal_name(signal).unwrap_or("a signal"),
                    idle,
                });
                // Said first: the end of a short drain is said by another thread.
                if !idle {
                    tracing::info!(clients, publishers, "{course}; a second signal ends at once");
                }
                begin(Instant::now());
                tell_supervisor(NotifyState::Stopping);
            }
        }
    }
    begun
}

/// Tells systemd (`Type=notify`) how far the server is; without `NOTIFY_SOCKET` nobody wants to
/// know. Nobody waits for it: whoever should read that socket may stand still.
pub fn tell_supervisor(state: NotifyState<'static>) {
    if std::env::var_os("NOTIFY_SOCKET").is_none() {
        return;
    }
    let tell = move || {
        if let Err(error) = sd_notify::notify(&[state]) {
            tracing::warn!(%error, "systemd cannot be told how far the server is");
        }
    };
    if let Err(error) = std::thread::Builder::new().name("supervisor".into()).spawn(tell) {
        tracing::warn!(%error, "systemd cannot be told how far the server is");
    }
}

/// Whether whoever started the process (nohup) wants it to outlive its terminal.
fn hangup_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // proc(5): bit n - 1 is signal n.
    ignored.is_some_and(|mask| mask >> (SIGHUP - 1) & 1 == 1)
}
