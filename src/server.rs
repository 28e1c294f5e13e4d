//! Threads, signals, join: one hub, one shard a core, and the order in which they start and end.
//!
//! Nothing is said to be ready before every thread is. A thread that fails while serving ends the
//! process: half a server would lose messages in silence.

mod counters;
mod cpus;
mod desk;
mod ready;
mod settings;
mod signals;
mod starting;

use std::io;
use std::net::TcpListener;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use counters::Counters;
use desk::DeskThread;
use signals::Begun;

use crate::backend::{BackendName, ChosenBackend};
use crate::config::summary::Summary;
use crate::config::{BrokerConfig, Config, RpcListen};
use crate::desk::http::{AdminEndpoint, Progress};
use crate::ebb;
use crate::engine::{Backend, Loop};
use crate::epoll::EpollBackend;
use crate::hub::{self, RpcListener, ShutdownHandle};
use crate::logs::{self, Outlet};
use crate::mesh::{self, HubEnd, ShardEnd};
use crate::preflight::{self, StartError};
use crate::ring::RingBackend;
use crate::shard::{ConnectionBudget, Shard, ShardConfig};
use crate::socket_file::SocketFile;
use crate::source_limits::SourceLimits;
use crate::threads::{BadEnd, Threads};

/// Beyond the drain, however short it was, and the grace, a thread that has not ended is ended with
/// the process.
const WATCHDOG: Duration = Duration::from_secs(1);

/// Serves until a signal. Returns success when everyone has been served and told goodbye, or the
/// grace was over. `log` is where the process's logs go, to be flushed where the process ends.
pub fn serve(
    config: &Config,
    chosen: &ChosenBackend,
    log: &Outlet,
) -> Result<ExitCode, StartError> {
    let backend = chosen.name;
    let listeners = preflight::listeners(
        config.http,
        config.http_key,
        config.shards,
        config.limits.socket_send_bytes,
    )?;
    let rpc = preflight::rpc_listener(&config.rpc, config.rpc_key, config.rpc_mode)?;
    let socket_file = match &config.rpc {
        RpcListen::Unix(path) => SocketFile::of(path),
        RpcListen::Tcp(_) => None,
    };
    let admin = admin_listeners(config)?;
    let bound = |endpoint: fn(&AdminEndpoint) -> bool| {
        let listener = admin.iter().find(|(_, of)| endpoint(of));
        listener.map(|(listener, _)| listener.local_addr()).transpose()
    };
    let summary = Summary {
        config,
        backend: Some(chosen),
        metrics: bound(|of| *of == AdminEndpoint::Metrics)
            .map_err(refused("the address for metrics"))?,
        status: bound(|of| *of != AdminEndpoint::Metrics)
            .map_err(refused("the address for health"))?,
        http: listeners[0].local_addr().map_err(refused("the address of the listener"))?,
        rpc: bound_rpc(config, &rpc).map_err(refused("the address of the RPC listener"))?,
    };
    let (mut hub_end, mut shard_ends) =
        mesh::mesh(config.shards, &config.limits).map_err(refused("eventfds for the lanes"))?;
    let counters = Arc::new(Counters::new(config));
    let signals =
        signals::take().map_err(refused("a handler for SIGTERM, SIGINT, SIGHUP and SIGUSR1"))?;
    let progress = Arc::new(Progress::default());
    let telemetry = settings::telemetry(config, backend, &counters, &hub_end, &progress, log);
    let access = if config.access.asks() {
        let lanes = mesh::desk::lanes(&mut shard_ends).map_err(refused("eventfds for the desk"))?;
        let plan = settings::access(config, &summary.rpc, counters.access.clone(), lanes)?;
        Some((plan, settings::orders(config, &mut hub_end)))
    } else {
        None
    };
    let desk = DeskThread::start(admin, telemetry.clone(), access, backend, log)?;
    ebb::start(counters.shards.clone()).map_err(refused("a thread that gives memory back"))?;
    let settings = Arc::new(settings::shard(config, &summary));
    let mut threads = Threads::default();
    let places = listeners.into_iter().zip(shard_ends);
    start_shards(&mut threads, config, backend, &settings, &counters, places, log)?;
    let shutdown = ShutdownHandle::new(&hub_end);
    start_hub(&mut threads, config, backend, rpc, hub_end, &counters, log)?;

    let watching = {
        let (beginning, progress) = (threads.beginning(), progress.clone());
        let begin = move |now| {
            progress.draining();
            beginning.say(now);
            shutdown.begin(now);
        };
        signals::Watching::start(signals, begin, counters.clone(), course(config), log.clone())
    };
    let watching = watching.map_err(refused("a thread for signals"))?;
    let started = Instant::now();
    progress.serving();
    // Nobody may be listening to what is said here; that is no reason not to serve.
    let stdout = logs::stdout().map_err(refused("a thread for standard output"))?;
    ready::say(&summary, &telemetry, &stdout).map_err(refused("a thread that says `ready`"))?;
    signals::tell_supervisor(NotifyState::Ready);

    let ended = threads.join(config.drain + config.shutdown_grace + WATCHDOG, Instant::now);
    if let Some(file) = socket_file {
        file.remove();
    }
    match ended {
        Ok(()) => {}
        // A panic has ended the process already, or left its message on stderr.
        Err(BadEnd::Panicked(_)) => end(1, log),
        Err(BadEnd::Overdue(threads)) => {
            let threads = threads.join(", ");
            let over = match config.drain {
                Duration::ZERO => "roadcast.shutdown_grace",
                _ => "roadcast.drain and roadcast.shutdown_grace",
            };
            tracing::error!(
                threads,
                "still running 1 s after {over}: the server ends without them"
            );
            end(1, log);
        }
    }
    if let Some(desk) = desk {
        desk.stop().map_err(refused("the desk's end"))?;
    }
    say_stopped(watching.end(), started.elapsed(), &counters);
    stdout.flush();
    log.flush();
    Ok(ExitCode::SUCCESS)
}

/// What a shutdown will be like.
fn course(config: &Config) -> String {
    let (drain, grace) = (config.drain, config.shutdown_grace);
    if drain.is_zero() {
        return "shutting down".to_owned();
    }
    let newcomers = if config.drain_accept { "get 503" } else { "meet a closed port" };
    format!(
        "shutting down: draining over {drain:?}, then up to {grace:?} more; newcomers {newcomers}"
    )
}

/// The last word: one line, where there was nothing to stop.
fn say_stopped(begun: Option<Begun>, after: Duration, counters: &Counters) {
    let idle = begun.is_some_and(|begun| begun.idle);
    if !idle {
        counters.log("at the end");
    }
    let (clients_served, publications_taken) = counters.in_all();
    let by = begun.map_or("itself", |begun| begun.name);
    let seconds = after.as_secs();
    tracing::info!(
        clients_served,
        publications_taken,
        "stopped by {by} after {seconds} s{}",
        if idle { ", idle" } else { "" }
    );
}

fn refused(what: &'static str) -> impl Fn(io::Error) -> StartError {
    move |source| StartError::System { what: what.to_owned(), source }
}

fn bound_rpc(config: &Config, rpc: &RpcListener) -> io::Result<RpcListen> {
    Ok(match rpc {
        RpcListener::Tcp(listener) => RpcListen::Tcp(listener.local_addr()?),
        RpcListener::Unix(_) => config.rpc.clone(),
    })
}

/// Starts a thread for each shard and waits until each has its backend: rings are made on their own
/// thread.
fn start_shards(
    threads: &mut Threads,
    config: &Config,
    backend: BackendName,
    settings: &Arc<ShardConfig>,
    counters: &Counters,
    places: impl Iterator<Item = (TcpListener, ShardEnd)>,
    log: &Outlet,
) -> Result<(), StartError> {
    let budget = Arc::new(ConnectionBudget::new(config.limits.connections));
    let sources = SourceLimits::new(
        config.limits.connections_per_address,
        config.limits.handshakes_per_address,
    );
    let sources = sources.map(Arc::new);
    let cpus = if config.pin { cpus::allowed() } else { Vec::new() };
    let (started, starts) = mpsc::channel();
    for (index, (listener, end)) in places.enumerate() {
        let (settings, budget, started) = (settings.clone(), budget.clone(), started.clone());
        let (sources, log) = (sources.clone(), log.clone());
        let (counters, loop_counters) =
            (counters.shards[index].clone(), counters.loops[index].clone());
        let cpu = (!cpus.is_empty()).then(|| cpus[index % cpus.len()]);
        let run = move || {
            if let Some(cpu) = cpu {
                cpus::pin(cpu);
            }
            let shard = Shard::new(settings, counters, budget).with_source_limits(sources);
            let wake = end.wake.clone();
            let name = format!("shard {index}");
            let ran = starting::run(&started, &name, |serving| match backend {
                BackendName::IoUring => {
                    let on = RingBackend::new(listener, wake, loop_counters.clone())?;
                    run_loop(Loop::new(shard, loop_counters, end, on)?, serving)
                }
                BackendName::Epoll => {
                    let on = EpollBackend::new(listener, wake)?;
                    run_loop(Loop::new(shard, loop_counters, end, on)?, serving)
                }
            });
            if let Err(error) = ran {
                fail(&name, &error, &log);
            }
        };
        threads.spawn(&format!("shard-{index}"), run).map_err(refused("a thread for a shard"))?;
    }
    drop(started);
    starting::wait(&starts, config.shards, backend)
}

fn run_loop<B: Backend>(mut event_loop: Loop<B>, serving: &mut dyn FnMut()) -> io::Result<()> {
    serving();
    event_loop.run()
}

fn start_hub(
    threads: &mut Threads,
    config: &Config,
    backend: BackendName,
    rpc: RpcListener,
    end: HubEnd,
    counters: &Counters,
    log: &Outlet,
) -> Result<(), StartError> {
    let hub = settings::hub(config, backend, rpc, counters.hub.clone());
    let log = log.clone();
    let (started, starts) = mpsc::channel();
    let run = move || {
        let ran = starting::run(&started, "the hub", |serving| hub::run(hub, end, serving));
        if let Err(error) = ran {
            fail("the hub", &error, &log);
        }
    };
    threads.spawn("hub", run).map_err(refused("a thread for the hub"))?;
    starting::wait(&starts, 1, backend).map_err(|error| of_broker(error, config))
}

/// With the place of the broker whose server cannot be used, if that is why.
fn of_broker(error: StartError, config: &Config) -> StartError {
    let StartError::System { source, .. } = &error else { return error };
    let problem = source.to_string();
    let named = |broker: &&BrokerConfig| {
        problem.strip_prefix("broker \"").is_some_and(|rest| {
            rest.strip_prefix(&*broker.name).is_some_and(|rest| rest.starts_with('"'))
        })
    };
    match config.brokers.iter().find(named) {
        Some(broker) => StartError::Broker { place: broker.place_of(&problem), problem },
        None => error,
    }
}

fn admin_listeners(config: &Config) -> Result<Vec<(TcpListener, AdminEndpoint)>, StartError> {
    let status = AdminEndpoint::Status { unavailable: config.unavailable_status };
    let wanted = [(config.metrics, AdminEndpoint::Metrics), (config.status, status)];
    let wanted = wanted.into_iter().filter_map(|(named, endpoint)| Some((named?, endpoint)));
    wanted.map(|((address, key), of)| Ok((preflight::admin_listener(address, key)?, of))).collect()
}

/// Half a server loses messages in silence; none at all is noticed and restarted.
fn fail(what: &str, error: &io::Error, log: &Outlet) -> ! {
    tracing::error!(%error, "{what} failed: the server ends");
    end(1, log);
}

/// Ends the process as soon as what has been said is written, or nobody reads it.
fn end(code: i32, log: &Outlet) -> ! {
    log.flush();
    std::process::exit(code);
}
