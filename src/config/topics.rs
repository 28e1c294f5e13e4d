//! `roadcast.topics`: what holds of topics by their names, beside the lists of `roadcast.overflow`.

use std::time::Duration;

use super::brokers::BrokerConfig;
use super::error::ConfigError;
use super::reader::Reader;
use super::setting::{Row, Setting};
use super::value;
use crate::access::Pattern;
use crate::hub::Driver;
use crate::policy::{History, Overflow, Policies, TopicRule};

/// The key.
const TOPICS: &str = "roadcast.topics";
/// Rules in one configuration.
const RULES_MAX: usize = 100;
/// Publications of one topic that may be kept.
const SIZE_MAX: u64 = 10_000;
/// How long they may be kept, at least and at most.
const TTL_MIN: Duration = crate::hub::TICK;
const TTL_MAX: Duration = Duration::from_secs(30 * 86_400);
/// How long they are, where nothing is said.
const TTL_DEFAULT: Duration = Duration::from_secs(300);

/// What holds of topics.
pub fn policies(read: &Reader<'_>) -> Policies {
    let rows = read.settings.rows(TOPICS);
    if let Some(row) = rows.get(RULES_MAX) {
        let problem = format!("more than {RULES_MAX} rules; let one pattern match many topics");
        read.refuse(ConfigError::value(&row.origin, TOPICS, problem));
    }
    Policies {
        topics: rows.iter().take(RULES_MAX).filter_map(|row| rule(read, row)).collect(),
        skip: read.words("roadcast.overflow.skip", Pattern::parse_without_session),
        disconnect: read.words("roadcast.overflow.disconnect", Pattern::parse_without_session),
    }
}

/// History through a broker with a server of its own is not there yet.
pub fn history_fits(read: &Reader<'_>, policies: &Policies, brokers: &[BrokerConfig]) {
    let other = brokers.iter().find(|broker| broker.driver != Driver::Memory);
    let (Some(other), true) = (other, policies.keeps()) else { return };
    let keeps = |row: &&Row| row.cells.iter().any(|(name, _)| name.starts_with("history"));
    if let Some(row) = read.settings.rows(TOPICS).iter().find(keeps) {
        let problem = format!(
            "history is kept by brokers of `driver: memory` alone, and broker \"{}\" is of driver \
             {}: leave off `history`, or that broker",
            other.name,
            other.driver.name()
        );
        read.refuse(ConfigError::value(&row.origin, TOPICS, problem));
    }
}

/// What a row says, as far as it has been read.
#[derive(Default)]
struct Cells {
    pattern: Option<Pattern>,
    overflow: Option<Overflow>,
    size: Option<u64>,
    ttl: Option<Duration>,
    idle: Option<Duration>,
}

fn rule(read: &Reader<'_>, row: &Row) -> Option<TopicRule> {
    let mut cells = Cells::default();
    let mut wrong = false;
    for (name, setting) in &row.cells {
        if let Err(problem) = cell(&mut cells, name, setting) {
            read.refuse(ConfigError::value(&setting.origin, TOPICS, problem));
            wrong = true;
        }
    }
    let Cells { pattern, overflow, size, ttl, idle } = cells;
    let refuse = |problem: &str| {
        // What is wrong with a cell is told already.
        if !wrong {
            read.refuse(ConfigError::value(&row.origin, TOPICS, problem.to_owned()));
        }
        None
    };
    let Some(pattern) = pattern else {
        return refuse(
            "a rule names the topics that it is about; for example \
             { match: \"chat.*\", history: { size: 100, ttl: 5m } }",
        );
    };
    if size.is_none() && (ttl.is_some() || idle.is_some()) {
        return refuse("history: says nothing of `size`: how many messages of a topic to keep");
    }
    let ttl = ttl.unwrap_or(TTL_DEFAULT);
    let history = |size| History { size: size as usize, ttl, idle: idle.unwrap_or(ttl) };
    Some(TopicRule { pattern, overflow, history: size.filter(|size| *size > 0).map(history) })
}

fn cell(cells: &mut Cells, name: &str, setting: &Setting) -> Result<(), String> {
    let word = match setting.words.as_slice() {
        [word] if !setting.list => word.as_str(),
        [] => "",
        _ => return Err(format!("{name}: is a list; expected one value")),
    };
    let named = |problem: String| format!("{name}: {problem}");
    match name.to_ascii_lowercase().as_str() {
        "match" => cells.pattern = Some(Pattern::parse_without_session(word).map_err(named)?),
        "overflow" => {
            cells.overflow = Some(match word {
                "skip" => Overflow::Skip,
                "disconnect" => Overflow::Disconnect,
                _ => {
                    let problem = format!("\"{word}\" is not known; allowed: skip, disconnect");
                    return Err(named(problem));
                }
            });
        }
        "history" => {
            return Err("history: is a map; write { size: 100, ttl: 5m }".to_owned());
        }
        "history.size" => {
            let size = value::count(word).map_err(named)?;
            if size > SIZE_MAX {
                return Err(named(format!("{size} is more than {SIZE_MAX}")));
            }
            cells.size = Some(size);
        }
        "history.ttl" => cells.ttl = Some(time(word).map_err(named)?),
        "history.idle" => cells.idle = Some(time(word).map_err(named)?),
        _ => {
            return Err(format!(
                "no such key: {name}; a rule holds `match`, `history` (with `size`, `ttl`, \
                 `idle`) and `overflow`"
            ));
        }
    }
    Ok(())
}

fn time(word: &str) -> Result<Duration, String> {
    let time = value::duration(word)?;
    if time < TTL_MIN || time > TTL_MAX {
        return Err(format!("\"{word}\" is not between 250ms and {}h", TTL_MAX.as_secs() / 3600));
    }
    Ok(time)
}
