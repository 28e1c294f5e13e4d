//! Events that many cause, as the log tells of them: a line now and then, with how many were left
//! out.

use std::time::{Duration, Instant};

/// Between two lines of one reason, of one thread of the server.
const INTERVAL: Duration = Duration::from_secs(10);

/// The log of a server that has ended tells of `events` events since `begin` in lines that hold
/// `words`, which are as few as they may be: of each of `threads` one in 10 s, however long it all
/// took.
#[track_caller]
pub fn assert_said(log: &str, words: &str, events: u64, threads: u64, begin: Instant) {
    let lines: Vec<&str> = log.lines().filter(|line| line.contains(words)).collect();
    let left_out = lines.iter().filter_map(|line| {
        let (before, _) = line.split_once(" more of these")?;
        before.rsplit(' ').next()?.parse::<u64>().ok()
    });
    // What is said at the end is of no event of its own.
    let said = lines.iter().filter(|line| !line.contains("unsaid=")).count() as u64;
    assert_eq!(said + left_out.sum::<u64>(), events, "{words}: {lines:#?}");
    let most = threads * (1 + begin.elapsed().as_secs() / INTERVAL.as_secs());
    assert!(said <= most, "{words}, at most {most}: {lines:#?}");
}
