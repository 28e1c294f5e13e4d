//! What a client that joins has read already, and what it wants of what it missed.
//!
//! ```text
//! {"command":"join","topics":["chat"],"recover":true}
//! {"command":"join","topics":["chat"],"since":{"chat":{"offset":12,"epoch":"k3x0pq7"}}}
//! {"command":"join","topics":["chat"],"history":10}
//! ```

use std::borrow::Cow;

use super::{Malformed, string};
use crate::json_reader::{JsonReader, Kind};
use crate::position::{Epoch, Position, Since};

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery<'a> {
    /// How far it has read, by topic. A topic may be named twice: the last counts.
    pub since: Vec<(Cow<'a, str>, Since)>,
    /// How many of the last publications it wants of each other topic.
    pub last: Option<u64>,
}

impl Recovery<'_> {
    /// What it has read of each topic, found by name. Sorts once.
    pub fn sort(&mut self) {
        // Stable, so that of equal names the last stays the last.
        self.since.sort_by(|a, b| a.0.cmp(&b.0));
    }

    /// What it has read of a topic. Call [`Recovery::sort`] before.
    pub fn of(&self, topic: &str) -> Since {
        let end = self.since.partition_point(|(name, _)| **name <= *topic);
        let found = self.since[..end].last().filter(|(name, _)| *name == topic);
        match (found, self.last) {
            (Some((_, since)), _) => *since,
            (None, Some(count)) => Since::Last(count),
            (None, None) => Since::Now,
        }
    }
}

/// Reads the value of `since`: what is no object names no topic.
pub(super) fn since<'a>(
    json: &mut JsonReader<'a>,
) -> Result<Vec<(Cow<'a, str>, Since)>, Malformed> {
    let mut topics = Vec::new();
    if json.kind() != Kind::Object {
        json.skip()?;
        return Ok(topics);
    }
    json.enter()?;
    let mut first = true;
    while let Some(name) = json.next_field(std::mem::take(&mut first))? {
        topics.push((name, position(json)?));
    }
    Ok(topics)
}

fn position(json: &mut JsonReader<'_>) -> Result<Since, Malformed> {
    if json.kind() != Kind::Object {
        json.skip()?;
        return Ok(Since::Unreadable);
    }
    json.enter()?;
    let (mut offset, mut epoch, mut first) = (None, None, true);
    while let Some(name) = json.next_field(std::mem::take(&mut first))? {
        if name.eq_ignore_ascii_case("offset") {
            offset = json.unsigned()?;
        } else if name.eq_ignore_ascii_case("epoch") {
            epoch = string(json)?.and_then(|text| Epoch::parse(&text));
        } else {
            json.skip()?;
        }
    }
    Ok(match (offset, epoch) {
        (Some(offset), Some(epoch)) => Since::Position(Position { offset, epoch }),
        _ => Since::Unreadable,
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Command, parse};
    use super::*;

    fn recovery(fields: &str) -> Option<Recovery<'static>> {
        let message = format!(r#"{{"command":"join","topics":["a"]{fields}}}"#);
        let mut scratch = Vec::new();
        let command = parse(message.as_bytes(), &mut scratch).unwrap();
        let Command::Join { recovery, .. } = command else { panic!("{command:?}") };
        let mut recovery = recovery.map(|recovery| *recovery)?;
        recovery.sort();
        let since = recovery.since.into_iter();
        let since = since.map(|(name, since)| (name.into_owned().into(), since)).collect();
        Some(Recovery { since, last: recovery.last })
    }

    fn at(offset: u64, epoch: &str) -> Since {
        Since::Position(Position { offset, epoch: Epoch::parse(epoch).unwrap() })
    }

    #[test]
    fn a_join_that_asks_for_nothing_new_recovers_nothing() {
        assert_eq!(recovery(""), None);
        assert_eq!(recovery(r#","recover":false,"gaps":true"#), None);
    }

    #[test]
    fn each_way_of_asking_is_read() {
        assert_eq!(recovery(r#","recover":true"#), Some(Recovery::default()));
        assert_eq!(recovery(r#","history":3"#).unwrap().of("a"), Since::Last(3));
        let since = r#","history":1,"since":{"b":{"epoch":"k3x","offset":12},"a":{"offset":0,"epoch":"z"}}"#;
        let read = recovery(since).unwrap();
        assert_eq!(
            [read.of("a"), read.of("b"), read.of("c")],
            [at(0, "z"), at(12, "k3x"), Since::Last(1)]
        );
        let twice = recovery(
            r#","since":{"a":{"offset":1,"epoch":"z"},"b":7,"a":{"offset":2,"epoch":"z"}}"#,
        );
        assert_eq!(twice.unwrap().of("a"), at(2, "z"), "the last counts");
    }

    #[test]
    fn what_is_no_position_is_unreadable_and_what_is_no_object_names_no_topic() {
        for position in [
            "null",
            "7",
            "[]",
            "{}",
            r#"{"offset":1}"#,
            r#"{"epoch":"k"}"#,
            r#"{"offset":-1,"epoch":"k"}"#,
            r#"{"offset":1.5,"epoch":"k"}"#,
            r#"{"offset":99999999999999999999,"epoch":"k"}"#,
            r#"{"offset":"1","epoch":"k"}"#,
            r#"{"offset":1,"epoch":7}"#,
            r#"{"offset":1,"epoch":"K"}"#,
        ] {
            let read = recovery(&format!(r#","since":{{"a":{position}}}"#)).unwrap();
            assert_eq!(read.of("a"), Since::Unreadable, "{position}");
        }
        for since in ["null", "7", "\"x\"", "[1]"] {
            let read = recovery(&format!(r#","since":{since}"#)).unwrap();
            assert_eq!(read.of("a"), Since::Now, "{since}");
        }
        assert_eq!(recovery(r#","history":-1"#), None);
    }

    #[test]
    fn a_long_command_reads_as_a_short_one() {
        let topics = (0..200).map(|n| format!(r#""t{n}":{{"offset":{n},"epoch":"k"}}"#));
        let since = topics.collect::<Vec<_>>().join(",");
        let read = recovery(&format!(r#","since":{{{since}}}"#)).unwrap();
        assert_eq!((read.since.len(), read.of("t150")), (200, at(150, "k")));
    }
}
