//! Storms at a guarded door: 10,000 clients connect at once while others are served. The same storm
//! at a door where nobody is asked tells what the asking costs those.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use anyhow::Result;

use super::Ground;
use super::bed::{Bed, Setup};
use super::checks::Checks;
use super::compare::{Rounds, Side, check_p99};
use super::crowd::{Crowd, Habit};
use crate::fleet::beside::Beside;

const SUBSCRIBERS: usize = 200;
const PAYLOAD: usize = 128;
const RATE: f64 = 250.0;
const CLIENTS: usize = 10_000;
/// Others' p99 may be so many percent above that of the same storm at an open door.
const PERCENT: u32 = 10;
/// What the server may hold for a client that waits, and for one that is in, KiB.
const CLIENT_KIB: u64 = 8;

/// A crowd that comes anew in each slice, as fast as it can, and goes with its end.
struct Storm {
    crowd: Crowd,
    upgraded: u64,
}

impl Storm {
    fn new(bed: &Bed) -> Result<Self> {
        let habit = Habit {
            name: "storm",
            clients: 0,
            connects: 1e6,
            upgrade: true,
            opening: Vec::new(),
            drip: None,
            again: false,
        };
        let crowd = Crowd::new(habit, bed.server.clients)?.with_headers(&bed.server.headers);
        Ok(Self { crowd, upgraded: 0 })
    }

    /// The slice is over.
    fn end(&mut self) {
        self.upgraded += self.crowd.upgraded() as u64;
        self.crowd.leave();
    }
}

impl Beside for Storm {
    fn begin(&mut self, now: Instant) {
        self.crowd.habit.clients = CLIENTS;
        self.crowd.begin(now);
    }

    fn turn(&mut self, now: Instant) -> Result<()> {
        self.crowd.turn(now)
    }

    fn settle(&mut self) -> Result<()> {
        self.crowd.settle()
    }
}

/// Tokens of ES256, and two PHP workers that take 1 ms.
pub fn run(ground: &Ground<'_>, checks: &mut Checks) -> Result<()> {
    against(ground, checks, "ES256", &[("guard", "es256")])?;
    against(ground, checks, "two workers of 1 ms", &[("guard", "workers"), ("delay", "1000")])
}

fn against(
    ground: &Ground<'_>,
    checks: &mut Checks,
    name: &'static str,
    guard: &[(&'static str, &'static str)],
) -> Result<()> {
    let from = checks.all().len();
    let done = format!(
        "{CLIENTS} connect at once in each slice of {:?}, {name}, beside {SUBSCRIBERS} subscribers, {RATE} publish/s of {PAYLOAD} B",
        ground.slice
    );
    checks.begin("access-storm", done);
    let open = Setup::new(SUBSCRIBERS, PAYLOAD);
    let guarded = guard.iter().fold(open.clone(), |setup, (key, value)| setup.with(key, *value));
    let mut sides = [
        Side::new(Bed::new("open", ground.place, &open)?),
        Side::new(Bed::new("guarded", ground.place, &guarded)?),
    ];
    let rounds = Rounds { rounds: ground.rounds, slice: ground.slice, rate: RATE };
    rounds.warm_up(&mut sides, ground.progress)?;
    let mut storms = Vec::new();
    for side in &mut sides {
        let storm = Rc::new(RefCell::new(Storm::new(&side.bed)?));
        side.beside.push(Box::new(storm.clone()));
        storms.push(storm);
    }
    rounds.run(&mut sides, ground.progress, |place, _| storms[place].borrow_mut().end())?;
    let [calm, faulty] = &mut sides;
    let [alone, asked] = [0, 1].map(|place| {
        let storm = storms[place].borrow();
        (storm.crowd.seen.clone(), storm.upgraded)
    });
    checks.add(
        "let in, or still waiting when the slice ended: nobody turned away",
        format!(
            "{} of {} ({} of {} at the open door){}",
            asked.1,
            asked.0.connects,
            alone.1,
            alone.0.connects,
            asked
                .0
                .ends
                .iter()
                .map(|(end, count)| format!(", {count} × {end}"))
                .collect::<String>()
        ),
        asked.1 > 0 && asked.0.ends.is_empty(),
    );
    check_p99(checks, calm, faulty, PERCENT);
    faulty.bed.check_growth(checks, (CLIENTS as u64 * CLIENT_KIB) << 10);
    for side in [calm, faulty] {
        side.beside.clear();
        side.bed.check(checks)?;
    }
    ground.print(checks, from);
    Ok(())
}
