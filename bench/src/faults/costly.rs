//! Small input that could cost much: what it costs may not grow with what it does not name, and
//! nobody waits for it.
//!
//! Costs are compared within one server, in turn: the same commands on a connection with many
//! topics and with one, the same publications with many waiting and with few. Waits are those of a
//! publisher and a joining client beside.

mod clients;

use std::time::Duration;

use anyhow::{Context, Result};

use self::clients::{Caller, Client, Probe, Waits, command, publish_frame};
use super::Ground;
use super::bed::{Bed, Setup};
use super::checks::Checks;
use crate::dialect::goridge::push_varint;
use crate::fleet::drive::Pace;
use crate::server::{Kind, Server, Spec};

const FAULT: &str = "costly-input";
/// Topics of the connection that has many: as many as it may have.
const MANY_TOPICS: usize = 10_000;
/// Commands in one write.
const COMMANDS: usize = 100;
/// Times more that the same may cost where it could cost much. One figure of a few would do; this
/// one is for noise.
const TIMES: f64 = 2.0;
/// How long anybody else may wait for what is put to the server, beside what they wait anyway: a
/// few turns of the hub.
const WAIT: Duration = Duration::from_millis(50);
/// Publications that wait, where many do.
const MANY_WAITING: u32 = 110_000;
/// Their subscribers: enough that delivery is slower than publishing.
const SUBSCRIBERS: usize = 8;
const FEW_WAITING: u32 = 1_000;

/// All of them.
pub fn run(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    memberships(ground, checks)?;
    held_input(ground, checks)?;
    waiting_publications(ground, checks)?;
    // A frame of 16 MB, the most that it may have: 8,000,000 messages that name no topic.
    let empty = [0x0A, 0x00].repeat(8_000_000);
    call(ground, checks, "a call of 8,000,000 messages without topics", &empty)?;
    let mut message = [0x12, 0x01, b'a'].repeat(1_000_000);
    message.push(0x1A);
    push_varint(&mut message, 700_000);
    message.resize(message.len() + 700_000, b'"');
    let mut body = vec![0x0A];
    push_varint(&mut body, message.len());
    body.extend_from_slice(&message);
    call(
        ground,
        checks,
        "a message that names one topic 1,000,000 times, with a payload of 700 KB",
        &body,
    )
}

fn start(ground: &Ground<'_>) -> Result<Server> {
    Spec { label: FAULT.into(), kind: Kind::Roadcast, options: Vec::new() }.start(ground.place)
}

/// CPU time of the server for something, in µs.
fn cpu(server: &Server, act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let meter = server.meter().context("the server under test is ours")?;
    let before = meter.read()?;
    act()?;
    Ok(meter.read()?.since(before).total().as_secs_f64() * 1e6)
}

/// Books what two ways cost, the second of which could cost much more.
fn compare(checks: &mut Checks, must: &str, of: f64, (calm, costly): (f64, f64), count: f64) {
    checks.add(
        format!("{must}: CPU within {TIMES:.0} ×"),
        format!("× {:.2}: {:.2} → {:.2} µs", costly / calm / of, calm / count, costly / count / of),
        costly / of <= TIMES * calm,
    );
}

/// A connection with many topics leaves and joins one, again and again.
fn memberships(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let from = checks.all().len();
    checks.begin(FAULT, format!("leaves and joins on a connection with {MANY_TOPICS} topics"));
    let server = start(ground)?;
    let mut few = Client::connect(server.clients)?;
    let mut many = Client::connect(server.clients)?;
    let mut other = Client::connect(server.clients)?;
    // Leaves are of a topic that there is, or nobody looks for it among one's own.
    other.commands([command("join", "other's")])?;
    few.commands([command("join", "many-0")])?;
    for start in (0..MANY_TOPICS).step_by(COMMANDS) {
        let topics: Vec<_> =
            (start..start + COMMANDS).map(|number| format!("\"many-{number}\"")).collect();
        many.commands([format!(r#"{{"command":"join","topics":[{}]}}"#, topics.join(","))])?;
    }
    for (name, topic) in [("leave", "other's"), ("join", "many-0")] {
        let mut times = (0.0, 0.0);
        for round in 0..ground.rounds {
            ground.progress.step(round + 1, ground.rounds, name);
            let commands = || (0..20 * COMMANDS).map(|_| command(name, topic));
            times.0 += cpu(&server, || few.commands(commands()))?;
            times.1 += cpu(&server, || many.commands(commands()))?;
        }
        let count = (ground.rounds * 20 * COMMANDS) as f64;
        compare(checks, &format!("a {name} costs what it costs with one topic"), 1.0, times, count);
    }
    ground.print(checks, from);
    Ok(())
}

/// A client sends thousands of joins at once, each of which waits for the hub with all the others
/// behind it.
fn held_input(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    const JOINS: usize = 9_000;
    let from = checks.all().len();
    checks.begin(FAULT, format!("{JOINS} joins of new topics in one write"));
    let server = start(ground)?;
    let joins = |round, range: std::ops::Range<usize>| {
        range.map(move |number| command("join", &format!("held-{round}-{number}")))
    };
    let mut times = (0.0, 0.0);
    for round in 0..ground.rounds {
        ground.progress.step(round + 1, ground.rounds, "joins");
        let mut calm = Client::connect(server.clients)?;
        times.0 += cpu(&server, || {
            (0..JOINS)
                .step_by(10)
                .try_for_each(|start| calm.commands(joins(2 * round, start..start + 10)))
        })?;
        drop(calm);
        let mut eager = Client::connect(server.clients)?;
        times.1 += cpu(&server, || eager.commands(joins(2 * round + 1, 0..JOINS)))?;
    }
    let count = (ground.rounds * JOINS) as f64;
    compare(checks, "a join costs what it costs with ten at once", 1.0, times, count);
    ground.print(checks, from);
    Ok(())
}

/// Asynchronous publishers are so far ahead of delivery that very many publications wait for room
/// in a lane.
fn waiting_publications(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let from = checks.all().len();
    checks.begin(
        FAULT,
        format!("{MANY_WAITING} publications to {SUBSCRIBERS} subscribers wait for a full lane"),
    );
    let mut setup = Setup::new(SUBSCRIBERS, 32)
        .with("limits.rpc_async_bytes", "256MiB")
        .with("limits.lane_entries", "16")
        .with("limits.publication_bytes", "1KiB")
        .with("limits.log_bytes", "1KiB");
    setup.asynchronous = true;
    let mut bed = Bed::new(FAULT, ground.place, &setup)?;
    let mut times = (0.0, 0.0);
    let mut published = (0, 0);
    for round in 0..ground.rounds {
        for (window, time, count) in [
            (FEW_WAITING, &mut times.0, &mut published.0),
            (MANY_WAITING, &mut times.1, &mut published.1),
        ] {
            ground.progress.step(round + 1, ground.rounds, &format!("{window} waiting"));
            let slice =
                bed.fleet.slice(Pace::InFlight(window), ground.slice, bed.server.meter(), None)?;
            *time +=
                slice.cpu.context("the server under test is ours")?.total().as_secs_f64() * 1e6;
            *count += slice.answered - slice.refused;
            bed.book(&slice)?;
        }
        if round == 0 {
            // Slots, buffers and the pages under them are there from now on.
            bed.remember()?;
        }
    }
    let stalls = bed.look()?.scrape.sum("lane_stalls_total", "");
    checks.add(
        "publications met full lanes",
        format!("{stalls} of {}", published.0 + published.1),
        stalls > 0,
    );
    let of = published.1 as f64 / published.0 as f64;
    compare(
        checks,
        &format!("a publication costs what it costs with {FEW_WAITING} waiting"),
        of,
        times,
        published.0 as f64,
    );
    bed.check(checks)?;
    ground.print(checks, from);
    Ok(())
}

/// One call, beside which others publish and join.
fn call(ground: &Ground<'_>, checks: &mut Checks, name: &str, body: &[u8]) -> Result<()> {
    let from = checks.all().len();
    checks.begin(FAULT, format!("{name}: {:.1} MB on the wire", body.len() as f64 / 1e6));
    ground.progress.say(name);
    let server = start(ground)?;
    let frame = publish_frame(body);
    let mut caller = Caller::connect(server.publishes)?;
    let probe = Probe::begin(server.clients, server.publishes)?;
    std::thread::sleep(ground.slice);
    let calm = probe.end()?;
    let probe = Probe::begin(server.clients, server.publishes)?;
    let cpu = cpu(&server, || caller.call(&frame))?;
    let during = probe.end()?;
    for (who, calm, during) in [
        ("a publisher", calm.publish, during.publish),
        ("a joining client", calm.join, during.join),
    ] {
        checks.add(
            format!("{who} waits no more than {} ms longer", WAIT.as_millis()),
            format!("{:.1} → {:.1} ms at most", ms(calm), ms(during)),
            during <= calm + WAIT,
        );
    }
    let Waits { tries, .. } = during;
    checks.add(
        "others are served meanwhile",
        format!("{tries} publishes and joins, the call took {:.0} ms of CPU", cpu / 1e3),
        tries > 0,
    );
    ground.print(checks, from);
    Ok(())
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
