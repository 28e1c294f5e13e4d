//! What standard output says of the start: that clients may come, or what keeps them away.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::config::summary::Summary;
use crate::desk::http::Telemetry;
use crate::escape;
use crate::logs::Outlet;

/// Before it is said that nobody should come yet: most brokers are up a moment after the start. A
/// guess, short for a person.
const MOMENT: Duration = Duration::from_millis(500);
/// Between two looks in that moment, and behind it.
const LOOKS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(250)];

/// Says what is served and where, and `ready` once `/ready` says yes. Until it does because of a
/// broker, it is said that and why.
pub fn say(summary: &Summary<'_>, telemetry: &Arc<Telemetry>, stdout: &Outlet) -> io::Result<()> {
    if telemetry.brokers_are_up().is_ok() {
        stdout.push(format!("{summary}\nready\n"));
        return Ok(());
    }
    stdout.push(format!("{summary}\n"));
    let (telemetry, stdout, started) = (telemetry.clone(), stdout.clone(), Instant::now());
    let wait = move || {
        let mut said = false;
        while let Err(why) = telemetry.is_ready(Instant::now()) {
            if telemetry.progress.is_draining() {
                return;
            }
            if !said && started.elapsed() >= MOMENT {
                let why = why.replace('\n', "; ");
                stdout.push(format!("serving, but not ready: {}\n", escape::line(&why)));
                said = true;
            }
            std::thread::sleep(LOOKS[usize::from(said)]);
        }
        stdout.push("ready\n".to_owned());
    };
    std::thread::Builder::new().name("ready".into()).spawn(wait).map(drop)
}
