//! Hostile input and floods: offenders are refused or closed with the right code, memory stays
//! bounded, and everybody else goes on.

use std::cell::RefCell;
use std::rc::Rc;

use anyhow::Result;
use rustix::process::{Resource, getrlimit};

use super::Ground;
use super::bed::{Bed, Holding, Setup};
use super::checks::Checks;
use super::compare::{Rounds, Side, check_p99};
use super::crowd::{Crowd, End, Habit};
use super::habits::{self, FLOOD_WRITE, JOIN_WRITE, TOPICS};

const SUBSCRIBERS: usize = 1000;
/// Beside half-open connections: few enough that the generator has time and descriptors for those.
const FEW_SUBSCRIBERS: usize = 250;
const PAYLOAD: usize = 128;
const RATE: f64 = 250.0;
/// Others' p99 may be so many percent above that without the fault.
const PERCENT: u32 = 20;
/// Or as many as the descriptors of one process allow: the generator has the others' sockets, too.
const HALF_OPEN: usize = 20_000;
const OTHER_DESCRIPTORS: usize = 2 * FEW_SUBSCRIBERS + 300;
/// Long enough that all of them are there before the first has had enough.
const HEAD_TIMEOUT: &str = "30s";

/// What a crowd has brought.
struct After<'a> {
    crowd: &'a Crowd,
    /// The server while the crowd was there, for the last time.
    last: &'a Holding,
    /// The most connections and topics that it had.
    connections: u64,
    topics: u64,
}

impl After<'_> {
    fn ended(&self, how: End) -> u64 {
        self.crowd.seen.ends.get(&how).copied().unwrap_or(0)
    }

    fn all_ended(&self, how: End) -> bool {
        self.ended(how) > 0 && self.crowd.seen.ends.len() == 1
    }
}

/// Drives two servers in turn, one of them beside a crowd, and checks what must hold in every case.
///
/// `mebibytes`: what the crowd may cost in memory.
fn against(
    ground: &Ground<'_>,
    checks: &mut Checks,
    fault: (&str, Habit),
    mebibytes: u64,
    verdict: impl Fn(&mut Checks, &After<'_>),
) -> Result<()> {
    against_with(ground, checks, fault, &Setup::new(SUBSCRIBERS, PAYLOAD), mebibytes, verdict)
}

fn against_with(
    ground: &Ground<'_>,
    checks: &mut Checks,
    (fault, habit): (&str, Habit),
    setup: &Setup,
    mebibytes: u64,
    verdict: impl Fn(&mut Checks, &After<'_>),
) -> Result<()> {
    let (name, from) = (habit.name, checks.all().len());
    let done =
        format!("{name} beside {} subscribers, {RATE} publish/s of {PAYLOAD} B", setup.subscribers);
    checks.begin(fault, done);
    let mut sides = [
        Side::new(Bed::new("calm", ground.place, setup)?),
        Side::new(Bed::new(name, ground.place, setup)?),
    ];
    let rounds = Rounds { rounds: ground.rounds, slice: ground.slice, rate: RATE };
    rounds.warm_up(&mut sides, ground.progress)?;
    let crowd = Rc::new(RefCell::new(Crowd::new(habit, sides[1].bed.server.clients)?));
    sides[1].beside.push(Box::new(crowd.clone()));
    let (mut last, mut connections, mut topics) = (None, 0, 0);
    rounds.run(&mut sides, ground.progress, |place, now| {
        if place == 1 {
            connections = now.scrape.sum("connections_open", "").max(connections);
            topics = now.scrape.sum("topics", "").max(topics);
            last = Some(now.clone());
        }
    })?;
    let [calm, faulty] = &mut sides;
    if let Some(last) = &last {
        verdict(checks, &After { crowd: &crowd.borrow(), last, connections, topics });
    }
    check_p99(checks, calm, faulty, PERCENT);
    faulty.bed.check_growth(checks, mebibytes << 20);
    crowd.borrow_mut().leave();
    faulty.beside.clear();
    faulty.bed.check(checks)?;
    ground.print(checks, from);
    Ok(())
}

/// Slow heads, giant heads, giant frames, slow frames.
pub fn input(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let fault = "hostile-input";
    against(ground, checks, (fault, habits::slow_heads(1000)), 16, |checks, after| {
        let counted = after.last.scrape.sum("connections_refused_total", "reason=\"timeout\"");
        checks.add(
            "refused with 408 after head_timeout (10 s)",
            format!("{}; {counted} counted", after.crowd.seen),
            after.all_ended(End::Status(408)),
        );
    })?;
    against(ground, checks, (fault, habits::giant_heads(200.0)), 16, |checks, after| {
        let counted = after.last.scrape.sum("connections_refused_total", "reason=\"431\"");
        checks.add(
            "refused with 431",
            format!("{}; {counted} counted", after.crowd.seen),
            after.all_ended(End::Status(431)) && counted >= after.ended(End::Status(431)),
        );
    })?;
    against(ground, checks, (fault, habits::giant_frames(200.0)), 16, |checks, after| {
        let counted = after.last.scrape.sum("closes_total", "code=\"1009\"");
        checks.add(
            "closed with 1009",
            format!("{}; {counted} counted", after.crowd.seen),
            after.all_ended(End::Close(1009)) && counted >= after.ended(End::Close(1009)),
        );
    })?;
    // 1,000 messages of 64 KiB that never end, at most twice over while they grow.
    against(ground, checks, (fault, habits::slow_frames(1000)), 128 + 16, |checks, after| {
        checks.add(
            "kept, at message_bytes of memory each: a slow client is no offender",
            format!("{} of {} still open", after.crowd.open(), after.crowd.seen),
            after.crowd.open() == 1000,
        );
    })
}

/// Connections that send nothing.
pub fn half_open(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX) as usize;
    let count = HALF_OPEN.min(limit.saturating_sub(OTHER_DESCRIPTORS));
    // Half of the time is this server's: so many slices of it until all of them are there, and as
    // many again.
    let slices = 14.0 / ground.slice.as_secs_f64();
    let ground = Ground { rounds: ground.rounds.max(2 * slices as usize), ..*ground };
    let habit = habits::half_open(count, count as f64 / 13.0);
    let setup = Setup::new(FEW_SUBSCRIBERS, PAYLOAD)
        .with("limits.head_timeout", HEAD_TIMEOUT)
        .with("limits.rpc_connections", "16");
    against_with(&ground, checks, ("half-open", habit), &setup, 64, |checks, after| {
        let counted = after.last.scrape.sum("connections_refused_total", "reason=\"timeout\"");
        checks.add(
            format!("{count} at a time, each ended after head_timeout ({HEAD_TIMEOUT})"),
            format!(
                "{} connections at most, {FEW_SUBSCRIBERS} of them healthy; {}; {counted} counted",
                after.connections, after.crowd.seen
            ),
            after.connections as usize >= count + FEW_SUBSCRIBERS
                && counted > 0
                && after.crowd.seen.ends.len() == 1,
        );
        let rests = after.last.scrape.sum("accept_rests_total", "");
        checks.add("accepting never rests", format!("{rests} rests"), rests == 0);
    })
}

/// Commands, joins and leaves, topics.
pub fn floods(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    let fault = "floods";
    const CLIENTS: usize = 10;
    against(ground, checks, (fault, habits::command_flood(CLIENTS)), 16, |checks, after| {
        let seen = &after.crowd.seen;
        checks.add(
            "all of them worked through, nobody closed",
            format!(
                "{} commands sent, {} counted, {} writes held back",
                seen.drips * FLOOD_WRITE,
                after.last.scrape.sum("commands_total", ""),
                seen.held_back
            ),
            seen.ends.is_empty() && after.crowd.open() == CLIENTS && seen.drips > 0,
        );
    })?;
    against(ground, checks, (fault, habits::join_flood(CLIENTS)), 16, |checks, after| {
        let seen = &after.crowd.seen;
        checks.add(
            "all of them answered, nobody closed",
            format!(
                "{} joins and as many leaves sent, {} joined, {} refused, {} topics at most",
                seen.drips * JOIN_WRITE,
                seen.joined,
                seen.refused,
                after.topics
            ),
            seen.ends.is_empty()
                && after.crowd.open() == CLIENTS
                && seen.joined > 0
                && seen.refused == 0,
        );
    })?;
    against(ground, checks, (fault, habits::many_topics()), 32, |checks, after| {
        let seen = &after.crowd.seen;
        let limit = 10_000;
        checks.add(
            "joins past topics_per_connection (10,000) refused",
            format!(
                "{TOPICS} asked for in {} commands: {} joined, {} refused, {} topics at most",
                seen.drips.min(TOPICS / habits::TOPICS_A_JOIN),
                seen.joined,
                seen.refused,
                after.topics
            ),
            seen.joined * habits::TOPICS_A_JOIN == limit
                && seen.refused * habits::TOPICS_A_JOIN == TOPICS - limit
                && after.topics <= limit + 1,
        );
    })
}
