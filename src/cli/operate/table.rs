//! Workers as a table, as `rr workers` prints them.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What `informer.Workers` answers, as far as it is shown.
#[derive(serde::Deserialize)]
pub struct Told {
    pub workers: Option<Vec<Shown>>,
}

/// One worker.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    pid: u32,
    status_str: String,
    num_execs: u64,
    created: u64,
    memory_usage: u64,
    #[serde(rename = "CPUPercent")]
    cpu_percent: f64,
}

/// The table.
pub fn of(workers: &[Shown], now: SystemTime) -> String {
    if workers.is_empty() {
        return "no workers by now".to_owned();
    }
    let line = |cells: [String; 6]| {
        let [pid, status, execs, memory, cpu, created] = cells;
        format!("{pid:>8}  {status:<9} {execs:>9} {memory:>9} {cpu:>7}  {created}")
    };
    let names = ["PID", "STATUS", "EXECS", "MEMORY", "CPU%", "CREATED"];
    let mut lines = vec![line(names.map(str::to_owned))];
    lines.extend(workers.iter().map(|worker| {
        line([
            worker.pid.to_string(),
            worker.status_str.clone(),
            worker.num_execs.to_string(),
            format!("{} MiB", worker.memory_usage >> 20),
            format!("{:.2}", worker.cpu_percent),
            ago(now.duration_since(UNIX_EPOCH + Duration::from_nanos(worker.created))),
        ])
    }));
    lines.join("\n")
}

/// How long ago a time was, from what has passed since.
pub fn ago<E>(time: Result<Duration, E>) -> String {
    let seconds = time.map_or(0, |time| time.as_secs());
    match seconds {
        ..60 => format!("{seconds} s ago"),
        60..3600 => format!("{} min ago", seconds / 60),
        3600..86_400 => format!("{} h ago", seconds / 3600),
        _ => format!("{} d ago", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_a_line() {
        let told = r#"{"workers":[{"pid":7,"statusStr":"ready","numExecs":12,"created":1000000000,
            "memoryUsage":34603008,"CPUPercent":0.254}]}"#;
        let told: Told = serde_json::from_str(told).unwrap();
        let shown = of(&told.workers.unwrap(), UNIX_EPOCH + Duration::from_secs(121));
        let line = shown.lines().nth(1).unwrap();
        let words: Vec<&str> = line.split_whitespace().collect();
        assert_eq!(words.join(" "), "7 ready 12 33 MiB 0.25 2 min ago");
        assert!(of(&[], UNIX_EPOCH).starts_with("no workers"));
    }
}
