//! What a process takes, as `/proc` says.

use std::fs;
use std::time::Duration;

/// Resident memory in bytes. `None`: the process has gone.
pub fn memory_bytes(pid: u32) -> Option<u64> {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// CPU time in user and system mode since its start. `None`: the process has gone.
pub fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): the name stands in parentheses and may hold any; times are fields 14 and 15, the
    // first behind the name is field 3.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_takes_something_and_none_that_there_is_not() {
        assert!(memory_bytes(std::process::id()).is_some_and(|bytes| bytes > 1 << 20));
        assert!(cpu_time(std::process::id()).is_some());
        assert_eq!((memory_bytes(u32::MAX), cpu_time(u32::MAX)), (None, None));
    }
}
