//! Joins of clients that count what they read: whether what they are told is true.

use std::collections::BTreeMap;

use roadcast::position::{Epoch, Position};

use super::super::book::{Book, KEPT, Key};
use super::{Client, Command, Subscription};

/// What the reply to a join says beside its topics.
#[derive(Debug, Default)]
pub(super) struct Told {
    positions: BTreeMap<String, Position>,
    recovered: BTreeMap<String, bool>,
}

impl Told {
    /// A reply without what it says beside its topics, and that.
    pub(super) fn read(text: &str) -> (String, Self) {
        let reply: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let object = |name: &str| reply[name].as_object().cloned().unwrap_or_default();
        let position = |(topic, of): (String, serde_json::Value)| {
            let epoch = Epoch::parse(of["epoch"].as_str().expect("a text")).expect("an epoch");
            (topic, Position { offset: of["offset"].as_u64().expect("a number"), epoch })
        };
        let recovered = |(topic, of): (String, serde_json::Value)| {
            (topic, of.as_bool().expect("true or false"))
        };
        let told = Self {
            positions: object("positions").into_iter().map(position).collect(),
            recovered: object("recovered").into_iter().map(recovered).collect(),
        };
        assert_eq!(reply.get("positions").is_some(), reply["topic"] == "@join", "{text}");
        let plain = text.split_once("],\"positions\":").map(|(plain, _)| format!("{plain}]}}"));
        (plain.unwrap_or_else(|| text.to_owned()), told)
    }
}

/// The offset behind a publication's payload.
pub(super) fn offset_of(payload: &[u8]) -> Option<u64> {
    let end = &payload[payload.len() - payload.len().min(60)..];
    let (_, offset) = std::str::from_utf8(end).ok()?.rsplit_once("\",\"offset\":")?;
    Some(offset.strip_suffix('}')?.parse().expect("a number"))
}

/// The key of the same topic in its other form.
pub(super) fn other_form(key: &Key, broker: u16) -> Key {
    let of = if key.0 == KEPT { broker } else { KEPT + broker };
    (of, key.1.clone())
}

impl Client {
    /// A join has been answered: says where a topic begins for its client.
    pub(super) fn told(
        &mut self,
        key: &Key,
        command: &Command,
        told: &Told,
        subscription: &mut Subscription,
        book: &Book,
    ) {
        let topic = &key.1;
        let recovery = command.recovery.as_ref().expect("it counts");
        let position = told.positions.get(topic).expect("a topic that is kept");
        let epoch = book.kept.epoch(key, position.epoch).expect("an epoch of its topic");
        let since = recovery.since.get(topic);
        let recovered = told.recovered.get(topic).copied();
        assert_eq!(recovered.is_some(), since.is_some(), "{told:?} to {command:?}");
        match (since, recovered, recovery.last) {
            (Some(since), Some(true), _) => {
                assert!(since.epoch == position.epoch && since.offset <= position.offset);
                subscription.next = Some((epoch, since.offset + 1));
            }
            (None, _, Some(last)) => {
                let first = position.offset.saturating_sub(last) + 1;
                subscription.first = Some((first, position.offset + 1));
            }
            _ => subscription.next = Some((epoch, position.offset + 1)),
        }
        self.behind.remove(key);
        self.seen.push((topic.clone(), *position));
    }
}
