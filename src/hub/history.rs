//! History: what is kept of topics' publications for those who were away.
//!
//! ```text
//!  offsets   … 7   8   9  10  11  12                    head: 12
//!                      └─────────────┘ kept, in memory
//!  since 8 or later: recovered; since 7: too old
//! ```
//!
//! Invariants worth naming:
//! - **What is kept has no hole**: it is the newest publications of a channel, up to its head.
//! - **History grows where the order does**: a publication is kept in the step that gives it its
//!   offset, so what is answered to a question is what the lanes hold before the answer.
//! - **An epoch ends with its channel**: what is published while there is none, nobody counts, so
//!   the next channel of that name has another.
//! - All of it is bounded in bytes, over all channels; the oldest goes first.
//!
//! Time is counted in ticks, which the hub is told: nothing here looks at a clock, and none is
//! looked at for a publication.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::channels::{Channel, ChannelId, Channels, Key};
use super::counters::HubCounters;
use super::kept::{Kept, PUBLICATION_BYTES, Publication};
use crate::mesh::{HUB_TOPIC_BYTES, Positioned, Unrecovered};
use crate::policy::{self, Policies};
use crate::position::{Position, Since};
use crate::reply::Positions;

/// Between two looks at what is too old.
pub const TICK: Duration = Duration::from_millis(250);

/// What a channel costs, beside its name, that nobody wants.
const CHANNEL_BYTES: usize = HUB_TOPIC_BYTES / 2 + size_of::<Kept>() + 4 * 32;
/// Publications and channels that one look lets go at most.
const TICK_STEPS: usize = 4096;

/// The channels of one rule, by age.
#[derive(Debug)]
struct Aging {
    ttl: u32,
    idle_ticks: u32,
    /// By the age of the oldest that each keeps.
    oldest: BTreeSet<(u32, ChannelId)>,
    /// Those that nobody wants.
    idle: BTreeSet<(u32, ChannelId)>,
    /// Those that nobody wants and nothing was ever published to.
    unused: BTreeSet<(u32, ChannelId)>,
}

impl Aging {
    fn idle_of(&mut self, channel: &Channel) -> &mut BTreeSet<(u32, ChannelId)> {
        if channel.sequence == 0 { &mut self.unused } else { &mut self.idle }
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Histories {
    policies: Policies,
    rules: Vec<Aging>,
    bytes: usize,
    bytes_max: usize,
    tick: u32,
    counters: Arc<HubCounters>,
}

fn ticks(duration: Duration) -> u32 {
    u32::try_from(duration.as_millis().div_ceil(TICK.as_millis())).unwrap_or(u32::MAX)
}

impl Histories {
    pub(super) fn new(
        policies: Policies,
        bytes_max: usize,
        counters: Arc<HubCounters>,
    ) -> Option<Self> {
        if !policies.keeps() {
            return None;
        }
        let aging = |rule: &policy::TopicRule| {
            let (ttl, idle) =
                rule.history.map(|history| (history.ttl, history.idle)).unwrap_or_default();
            let (ttl, idle_ticks) = (ticks(ttl), ticks(idle));
            let (oldest, idle, unused) = Default::default();
            Aging { ttl, idle_ticks, oldest, idle, unused }
        };
        let rules = policies.topics.iter().map(aging).collect();
        Some(Self { policies, rules, bytes: 0, bytes_max, tick: 0, counters })
    }

    /// Channels that nobody wants.
    pub(super) fn idle(&self) -> usize {
        self.rules.iter().map(|rule| rule.idle.len() + rule.unused.len()).sum()
    }

    /// Whether publications of that topic are kept.
    pub(super) fn keeps(&self, name: &str) -> bool {
        self.policies.history(name).is_some()
    }

    /// What a new channel of that name keeps, if anything.
    pub(super) fn begin(&self, name: &str) -> Option<Box<Kept>> {
        let (rule, history) = self.policies.history(name)?;
        Some(Box::new(Kept::new(rule, history.size)))
    }

    /// Somebody wants a channel.
    pub(super) fn wanted(&mut self, channels: &mut Channels, id: ChannelId) {
        let Some((kept, name_len)) = kept(channels, id) else { return };
        if let Some(since) = kept.idle.take() {
            let rule = &mut self.rules[kept.rule];
            let _ = rule.idle.remove(&(since, id)) || rule.unused.remove(&(since, id));
            self.bytes -= CHANNEL_BYTES + name_len;
            self.counters.history_bytes.set(self.bytes as u64);
        }
    }

    /// Nobody wants a channel, or it has been published to while nobody does.
    pub(super) fn unwanted(&mut self, channels: &mut Channels, id: ChannelId) {
        let (now, sequence) = (self.tick, channels.at(id).sequence);
        let known = kept(channels, id).and_then(|(kept, _)| kept.idle);
        if known == Some(now) && sequence > 1 {
            return;
        }
        self.wanted(channels, id);
        let Some((kept, name_len)) = kept(channels, id) else { return };
        kept.idle = Some(now);
        let rule = kept.rule;
        self.bytes += CHANNEL_BYTES + name_len;
        self.rules[rule].idle_of(channels.at(id)).insert((now, id));
        self.make_room(channels);
    }

    /// Keeps the newest publication of a channel.
    pub(super) fn keep(&mut self, channels: &mut Channels, id: ChannelId, frame: Arc<[u8]>) {
        let channel = channels.at_mut(id);
        let unwanted = channel.wants.is_empty();
        let Some(kept) = channel.kept.as_deref_mut() else { return };
        self.bytes += frame.len() + PUBLICATION_BYTES;
        if kept.publications.is_empty() {
            self.rules[kept.rule].oldest.insert((self.tick, id));
        }
        kept.publications.push_back(Publication { at: self.tick, frame });
        self.counters.history_publications.add(1);
        if kept.publications.len() > kept.size {
            self.drop_oldest(channels, id);
        }
        if unwanted {
            self.unwanted(channels, id);
        }
        self.make_room(channels);
    }

    /// Time has passed: lets go of what is too old, or of a good part of it.
    pub(super) fn set_now(&mut self, channels: &mut Channels, now: Duration) {
        self.tick = (now.as_millis() / TICK.as_millis()) as u32;
        let mut steps = TICK_STEPS;
        // Each rule is the first by turns.
        let (rules, first) = (self.rules.len(), self.tick as usize);
        for rule in (first..first + rules).map(|rule| rule % rules) {
            let due = |queue: &BTreeSet<(u32, ChannelId)>, age: u32, tick: u32| {
                let first = queue.first().filter(|(at, _)| tick.saturating_sub(*at) >= age);
                first.map(|(_, id)| *id)
            };
            while steps > 0
                && let Some(id) = due(&self.rules[rule].oldest, self.rules[rule].ttl, self.tick)
            {
                self.drop_oldest(channels, id);
                steps -= 1;
            }
            let idle = |rule: &Aging, tick| {
                let of = |queue| due(queue, rule.idle_ticks, tick);
                of(&rule.idle).or_else(|| of(&rule.unused))
            };
            while steps > 0
                && let Some(id) = idle(&self.rules[rule], self.tick)
            {
                // Somebody may have it without offsets.
                match channels.is_wanted_plain(id) {
                    true => self.unwanted(channels, id),
                    false => self.forget(channels, id),
                }
                steps -= 1;
            }
        }
    }

    /// What is answered to a question about a channel, with no more publications than take
    /// `bytes_max`: where its order stands, and what the asker has missed.
    pub(super) fn position(
        &mut self,
        channels: &mut Channels,
        id: ChannelId,
        since: &Since,
        bytes_max: usize,
    ) -> Positioned {
        self.drop_expired(channels, id);
        let Channel { sequence: offset, kept, .. } = channels.at(id);
        let Some(kept) = kept else { return unknown(since) };
        let position = Position { offset: *offset, epoch: kept.epoch };
        let given = |count: usize, recovered| {
            let said = Positions { position: Some(position), recovered };
            Positioned { said, why: None, frames: kept.newest(count) }
        };
        let failed = |why| Positioned::without(Some(position), Some(why));
        let there = kept.publications.len();
        match since {
            Since::Now => given(0, None),
            Since::Last(most) => {
                let most = usize::try_from(*most).unwrap_or(there).min(there);
                given(kept.fitting(most, bytes_max), None)
            }
            Since::Position(from) if from.epoch != kept.epoch => failed(Unrecovered::Epoch),
            Since::Position(from) => match offset.checked_sub(from.offset) {
                Some(missed) if missed > there as u64 => failed(Unrecovered::Gone),
                Some(missed) if kept.fitting(missed as usize, bytes_max) < missed as usize => {
                    failed(Unrecovered::Size)
                }
                Some(missed) => given(missed as usize, Some(true)),
                None => failed(Unrecovered::Invalid),
            },
            Since::Unreadable => failed(Unrecovered::Invalid),
        }
    }

    /// Lets go of what one channel keeps and is too old, also if the last look did not come so far.
    fn drop_expired(&mut self, channels: &mut Channels, id: ChannelId) {
        while let Some((kept, _)) = kept(channels, id)
            && let Some(oldest) = kept.publications.front()
            && self.tick.saturating_sub(oldest.at) >= self.rules[kept.rule].ttl
        {
            self.drop_oldest(channels, id);
        }
    }

    fn drop_oldest(&mut self, channels: &mut Channels, id: ChannelId) {
        let Some((kept, _)) = kept(channels, id) else { return };
        let Some(dropped) = kept.publications.pop_front() else { return };
        self.bytes -= dropped.frame.len() + PUBLICATION_BYTES;
        self.counters.history_dropped.add(1);
        self.counters.history_bytes.set(self.bytes as u64);
        let next = kept.publications.front().map(|next| next.at);
        let oldest = &mut self.rules[kept.rule].oldest;
        if next != Some(dropped.at) {
            oldest.remove(&(dropped.at, id));
            next.map(|at| oldest.insert((at, id)));
        }
        kept.give_memory_back();
    }

    /// Holds the bound: lets go of channels that nobody ever published to, which clients make at
    /// will; then of the oldest publications, and of channels that nobody wants.
    fn make_room(&mut self, channels: &mut Channels) {
        while self.bytes > self.bytes_max {
            let unused = self.rules.iter().filter_map(|rule| rule.unused.first()).min();
            if let Some((_, id)) = unused.copied() {
                self.forget(channels, id);
                continue;
            }
            let oldest = self.rules.iter().filter_map(|rule| rule.oldest.first()).min();
            let idle = self.rules.iter().filter_map(|rule| rule.idle.first()).min();
            match (oldest.copied(), idle.copied()) {
                // Empty ones are as old as the last publication that they had, or older.
                (Some((at, id)), idle) if idle.is_none_or(|(since, _)| at <= since) => {
                    self.drop_oldest(channels, id);
                }
                (_, Some((_, id))) => self.forget(channels, id),
                _ => return,
            }
        }
        self.counters.history_bytes.set(self.bytes as u64);
    }

    /// Lets go of a channel that nobody wants.
    fn forget(&mut self, channels: &mut Channels, id: ChannelId) {
        while kept(channels, id).is_some_and(|(kept, _)| !kept.publications.is_empty()) {
            self.drop_oldest(channels, id);
        }
        self.wanted(channels, id);
        channels.forget(id);
    }
}

/// Of a topic of which nothing is kept.
pub(super) fn unknown(since: &Since) -> Positioned {
    let read = matches!(since, Since::Position(_) | Since::Unreadable);
    Positioned::without(None, read.then_some(Unrecovered::NoHistory))
}

/// What is kept of a channel, and how long its name is.
fn kept(channels: &mut Channels, id: ChannelId) -> Option<(&mut Kept, usize)> {
    let Channel { key, kept, .. } = channels.at_mut(id);
    let Key { name, .. } = key;
    Some((kept.as_deref_mut()?, name.len()))
}

#[cfg(test)]
mod tests;
