//! Brokers as a table.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::table::ago;
use crate::escape;

/// What `roadcast.Brokers` answers, as far as it is shown.
#[derive(serde::Deserialize)]
pub struct Told {
    pub brokers: Vec<Shown>,
}

/// One broker.
#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Shown {
    name: String,
    driver: String,
    default: bool,
    state: String,
    since: u64,
    why: Option<String>,
    last_error: Option<String>,
    address: Option<String>,
    server: Option<String>,
    channels: u64,
    received: u64,
    published: u64,
    publish_errors: u64,
    reconnects: u64,
    gaps: u64,
    lag_seconds: Option<f64>,
}

const NAMES: [&str; 12] = [
    "BROKER",
    "STATE",
    "SINCE",
    "SERVER",
    "ADDRESS",
    "CHANNELS",
    "IN/s",
    "OUT/s",
    "ERRORS",
    "LAG",
    "RECONNECTS",
    "GAPS",
];
/// Columns of words; the others are numbers, and end alike.
const WORDS: usize = 5;

/// The table. Rates are of what came to be since `before`, `elapsed` ago.
pub fn table(before: &[Shown], brokers: &[Shown], elapsed: Duration, now: SystemTime) -> String {
    let mut lines = vec![NAMES.map(str::to_owned)];
    for broker in brokers {
        let before = before.iter().find(|known| known.name == broker.name);
        lines.push(cells(before.unwrap_or(broker), broker, elapsed, now));
    }
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max();
    let widths: Vec<usize> = (0..NAMES.len()).map(|column| width(column).unwrap_or(0)).collect();
    let shown = |line: &[String; 12]| {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
            if column < WORDS { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut shown: Vec<String> = lines.iter().map(shown).collect();
    for Shown { name, why, last_error, .. } in brokers {
        let told =
            |what: &str, text: &str| escape::line(&format!("{name}: {what}{text}")).to_string();
        match (why, last_error) {
            (Some(why), _) => shown.push(told("", why)),
            (None, Some(error)) => shown.push(told("last error: ", error)),
            (None, None) => {}
        }
    }
    shown.join("\n")
}

fn cells(before: &Shown, broker: &Shown, elapsed: Duration, now: SystemTime) -> [String; 12] {
    let rate = |now: u64, before: u64| {
        let rate = now.saturating_sub(before) as f64 / elapsed.as_secs_f64();
        if rate < 10.0 { format!("{rate:.1}") } else { format!("{rate:.0}") }
    };
    let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let cells = [
        format!("{}{}", broker.name, if broker.default { " (default)" } else { "" }),
        broker.state.clone(),
        ago(now.duration_since(UNIX_EPOCH + Duration::from_secs(broker.since))),
        broker.server.clone().unwrap_or_else(|| broker.driver.clone()),
        text(&broker.address),
        broker.channels.to_string(),
        // Nothing comes from memory: what is published is there.
        match broker.driver.as_str() {
            "memory" => "-".to_owned(),
            _ => rate(broker.received, before.received),
        },
        rate(broker.published, before.published),
        broker.publish_errors.to_string(),
        broker.lag_seconds.map_or("-".to_owned(), |lag| format!("{:.1} ms", lag * 1000.0)),
        broker.reconnects.to_string(),
        broker.gaps.to_string(),
    ];
    cells.map(|cell| escape::line(&cell).to_string())
}

/// Whether all brokers are up; says of those that are not what is the matter.
pub fn all_up(brokers: &[Shown]) -> Result<(), String> {
    let not_up = brokers.iter().filter(|broker| broker.state != "up");
    let told = not_up.map(|Shown { name, state, .. }| format!("broker {name} is {state}"));
    let told: Vec<String> = told.collect();
    if told.is_empty() { Ok(()) } else { Err(told.join("\n")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLD: &str = r#"{"brokers":[
        {"name":"default","driver":"memory","default":true,"state":"up","since":1000,"why":null,
         "lastError":null,"address":null,"server":null,"channels":3,"received":0,"receivedBytes":0,
         "published":0,"publishedBytes":0,"publishErrors":0,"reconnects":0,"gaps":0,"lagSeconds":null},
        {"name":"bus","driver":"redis","default":false,"state":"down","since":940,"why":"refused\u001b[2J",
         "lastError":"refused","address":"127.0.0.1:6379","server":"redis 7.0.15","channels":12,
         "received":50,"receivedBytes":0,"published":3,"publishedBytes":0,"publishErrors":2,
         "reconnects":1,"gaps":4,"lagSeconds":0.0005}]}"#;

    fn told() -> Vec<Shown> {
        serde_json::from_str::<Told>(TOLD).unwrap().brokers
    }

    #[test]
    fn a_broker_is_a_line_with_its_rates_and_what_is_the_matter_stands_below() {
        let (mut before, now) = (told(), told());
        (before[1].received, before[1].published) = (10, 0);
        let at = UNIX_EPOCH + Duration::from_secs(1060);
        let shown = table(&before, &now, Duration::from_secs(2), at);
        let expected = r#"
BROKER             STATE  SINCE      SERVER        ADDRESS         CHANNELS  IN/s  OUT/s  ERRORS     LAG  RECONNECTS  GAPS
default (default)  up     1 min ago  memory        -                      3     -    0.0       0       -           0     0
bus                down   2 min ago  redis 7.0.15  127.0.0.1:6379        12    20    1.5       2  0.5 ms           1     4
bus: refused\u{1b}[2J"#;
        assert_eq!(shown, expected.trim_start());
    }

    #[test]
    fn one_that_is_not_up_is_said_and_is_a_failure() {
        let mut brokers = told();
        assert_eq!(all_up(&brokers), Err("broker bus is down".to_owned()));
        brokers[1].state = "up".to_owned();
        assert_eq!(all_up(&brokers), Ok(()));
    }
}
