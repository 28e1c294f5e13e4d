//! The bench: what the same load costs Roadcast, its peers, and the least that could do the work.
//!
//! A `case` starts its servers, all at once and on the same cores, builds a `fleet` of clients for
//! each and drives one after the other, slice by slice and round by round; `figures` are medians of
//! ratios within a round, so that what disturbs a round disturbs all alike.

mod case;
mod cli;
mod clock;
mod cores;
mod dialect;
mod faults;
mod figures;
mod fleet;
mod frame;
mod order;
mod process;
mod progress;
mod report;
mod scrape;
mod server;
mod setting;
mod soak;
mod stamp;
mod stats;
mod suite;
mod veth;
mod yardstick;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use case::{Case, FanOut, Work};
use cli::{Cli, Command, Common, SuiteArgs};
use fleet::drive::Pace;
use progress::Progress;
use report::machine::{Run, Setting};
use server::{Kind, Place, Server};
use setting::SettingArgs;

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Floor { clients, publishes, plain } => {
            let listen = std::net::TcpListener::bind;
            yardstick::floor::serve(listen(clients)?, listen(publishes)?, !plain)
        }
        Command::Tied { command } => server::become_tied(&command),
        Command::BareRpc { listen } => yardstick::bare_rpc::serve(listen),
        Command::Fanout(args) => {
            let pace = args.rate.map_or(Pace::InFlight(args.in_flight), Pace::Rate);
            let work = FanOut {
                subscribers: args.subscribers,
                topics: args.topics,
                payload: args.payload,
                pace,
                slow_percent: args.slow,
                publishers: args.publishers.max(1),
                churn: args.churn,
            };
            one("fanout", Work::FanOut(work), &args.common)
        }
        Command::Connect(args) => {
            let work = Work::Connect { connections: args.connections, window: args.window };
            one("connect", work, &args.common)
        }
        Command::Access(args) => {
            let work = Work::Connect { connections: args.connections, window: args.window };
            let case = Case {
                name: "access".to_owned(),
                question: work.to_string(),
                work,
                base: args.servers.first().map(|spec| spec.label.clone()),
                servers: args.servers.clone(),
                rounds: args.rounds,
                slice: Duration::from_millis(300),
                spin: args.setting.spin,
                veth: false,
            };
            run(vec![case], Vec::new(), &args.setting)
        }
        Command::Idle(args) => {
            let work = Work::Idle { connections: args.connections, topics: args.topics };
            one("idle", work, &args.common)
        }
        Command::Rpc(args) => {
            let work = Work::Rpc {
                window: args.window,
                payload: args.payload,
                subscribers: args.subscribers,
            };
            one("rpc", work, &args.common)
        }
        Command::Suite(args) => suite(&args),
        Command::Soak(args) => {
            with_place(&args.setting, |place| soak::run(&args, place).map(|()| true))
        }
        Command::Faults(args) => {
            with_place(&args.setting, |place| faults::run(&args, place).map(|()| true))
        }
    }
}

/// Runs the one case that the command line describes.
fn one(name: &str, work: Work, common: &Common) -> Result<()> {
    let case = Case {
        name: name.to_owned(),
        question: work.to_string(),
        work,
        servers: common.servers.clone(),
        base: common.base.clone().or_else(|| common.servers.first().map(|spec| spec.label.clone())),
        rounds: common.rounds,
        slice: Duration::from_millis(common.slice_ms),
        spin: common.setting.spin,
        veth: common.veth,
    };
    let running = match (&common.url, &common.rpc) {
        (Some(url), Some(rpc)) => vec![running(url, rpc)?],
        _ => Vec::new(),
    };
    run(vec![case], running, &common.setting)
}

/// Runs a suite.
fn suite(args: &SuiteArgs) -> Result<()> {
    let mut cases = args.suite.cases(args.setting.spin, &args.servers)?;
    let names: Vec<String> = cases.iter().map(|case| case.name.clone()).collect();
    // What is the whole name of a case means that one, not also those whose names contain it.
    let named = |case: &Case, part: &String| match names.contains(part) {
        true => case.name == *part,
        false => case.name.contains(part),
    };
    cases.retain(|case| args.only.is_empty() || args.only.iter().any(|part| named(case, part)));
    for case in &mut cases {
        case.rounds = args.rounds.unwrap_or(case.rounds);
        case.slice = args.slice_ms.map_or(case.slice, Duration::from_millis);
    }
    run(cases, Vec::new(), &args.setting)
}

/// A server that runs already.
fn running(url: &str, rpc: &str) -> Result<Server> {
    use std::net::ToSocketAddrs;
    let address = |text: &str| {
        let text = text.trim_start_matches("ws://").trim_start_matches("tcp://");
        let host = text.split('/').next().unwrap_or(text).to_owned();
        let mut found =
            host.to_socket_addrs().with_context(|| format!("{host} is no HOST:PORT"))?;
        found.next().with_context(|| format!("{host} has no address"))
    };
    Ok(Server::running(url.to_owned(), Kind::Roadcast, address(url)?, address(rpc)?))
}

/// Takes the descriptors and the core that a generator needs, and a directory that is gone
/// afterwards. If `work` fails or says that some server did, what that had to say is kept.
fn with_place(setting: &SettingArgs, work: impl FnOnce(&Place) -> Result<bool>) -> Result<()> {
    if setting.server_cores.contains(&setting.generator_core) {
        bail!("the generator must have a core of its own");
    }
    let limit = getrlimit(Resource::Nofile).maximum;
    // Without a limit of the process there is that of the machine.
    let wanted = Some(limit.unwrap_or(1 << 20).max(1 << 18));
    if setrlimit(Resource::Nofile, Rlimit { current: wanted, maximum: wanted }).is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: limit, maximum: limit })?;
    }
    cores::pin(&[setting.generator_core])?;
    let scratch = std::env::temp_dir().join(format!("roadcast-bench.{}", std::process::id()));
    std::fs::create_dir_all(&scratch)?;
    let place = Place {
        address: std::net::Ipv4Addr::LOCALHOST.into(),
        cores: setting.server_cores.clone(),
        roadcast: match &setting.roadcast {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("roadcast"),
        },
        peers: setting.peers.clone(),
        scratch: scratch.clone(),
    };
    if work(&place)? {
        std::fs::remove_dir_all(&scratch)?;
    }
    Ok(())
}

/// Runs cases, one after the other, and reports.
fn run(cases: Vec<Case>, running: Vec<Server>, setting: &SettingArgs) -> Result<()> {
    with_place(setting, |place| run_at(place, cases, running, setting))
}

fn run_at(
    place: &Place,
    mut cases: Vec<Case>,
    running: Vec<Server>,
    setting: &SettingArgs,
) -> Result<bool> {
    let progress = Progress::new(cases.len());
    let here = Setting::here(&setting.server_cores, setting.generator_core);
    let mut all = Vec::new();
    let mut running = Some(running).filter(|running| !running.is_empty());
    for case in &mut cases {
        let own = running.take();
        if own.is_some() {
            case.servers.clear();
        }
        match case.run(place, own.unwrap_or_default(), &progress) {
            Ok(results) => {
                progress.print(&report::table::table(&results));
                all.push(results);
            }
            Err(error) => progress.print(&format!("\n{}: not run: {error:#}", case.name)),
        }
    }
    progress.end();
    if all.is_empty() {
        bail!("no case could be run");
    }
    println!("{}", report::table::setting(&here, &all));
    if let Some(path) = &setting.json {
        let text = serde_json::to_string_pretty(&Run { setting: &here, results: &all })?;
        std::fs::write(path, text).with_context(|| path.display().to_string())?;
    }
    if let Some(directory) = &setting.plots {
        for path in report::plot::all(&all, directory)? {
            println!("{}", path.display());
        }
    }
    if setting.verify {
        println!("{}", report::table::verdict(&all));
        let mut rows = all.iter().flat_map(|results| &results.rows);
        if rows.any(|row| row.kind == Kind::Roadcast && !row.faults.none()) {
            bail!("a message to a subscriber of Roadcast went wrong");
        }
    }
    Ok(all.iter().all(|results| results.missing.is_empty()))
}
