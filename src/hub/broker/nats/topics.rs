//! The topics that this process wants of its server, and how far each of them is. Pure: what
//! is due comes out, and the time is an argument.
//!
//! ```text
//! want ─▶ queued ──take──▶ asked ──confirm──▶ subscribed
//!            ▲               │ refuse             │
//!            │               ▼                    │
//!            ├─want, 2 s─ refused                 │
//!            └────────────disconnected────────────┘
//! ```
//!
//! Invariants worth naming:
//! - **Whoever waits is answered**: confirmed, refused, or unavailable after `patience`.
//! - **A gap is told once, and no publication comes before it.** What was subscribed when the
//!   connection broke has one: [`Topics::arrives`] or [`Topics::confirm`] says so, whichever is
//!   first, since from there on nothing is missing. That of a refused topic is told at once, and
//!   again when the topic is back: all that was published between is missing.
//! - A refused topic that somebody has is asked for again every 2 s, and at once for whoever comes.
//! - What nobody wants lingers for a second before the server is told, against flapping. It lingers
//!   over no outage, and until an answer that is under way has come.
//! - Queue and timers are bounded by the number of topics: each stands there once, and the queue is
//!   rid of those that are forgotten before they are half of it.

use std::collections::{BTreeSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::hub::broker::Wanting;
use crate::hub::broker::terms::{AGAIN, LINGER};
use crate::parted::Parted;
use crate::table::Table;

/// Topics that may stand in the queue although they are forgotten, beside as many again as there
/// are.
const DEAD_MAX: usize = 64;

/// A topic, for as long as it is wanted. Never given out twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct TopicId {
    index: u32,
    generation: u32,
}

impl TopicId {
    /// As one number.
    pub(super) fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Of [`TopicId::number`].
    pub(super) fn of_number(number: u64) -> Self {
        Self { index: number as u32, generation: (number >> 32) as u32 }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Queued,
    Asked,
    Subscribed,
    Refused,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    step: Step,
    /// Somebody has it, or waits for it.
    wanted: bool,
    /// Somebody waits for it to be subscribed.
    waits: bool,
    /// Something may have been missed.
    gap: bool,
    /// Of the gap, since it was refused: whoever has it knows, until it is back.
    told: bool,
    /// Was there when the connection broke, and is to be subscribed before the broker is up again.
    resumes: bool,
    /// Stands in the queue.
    queued: bool,
    /// The end of its lingering, or of the patience of whoever waits; when it is asked for again.
    until: Option<Instant>,
}

impl Topic {
    fn take_gap(&mut self) -> bool {
        self.told = false;
        std::mem::take(&mut self.gap)
    }
}

/// What is due by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Who waits for it has waited long enough. If nobody else has it: [`Topics::forget`].
    Unavailable(TopicId, Arc<str>),
    /// To be unsubscribed. It is forgotten already.
    Release(TopicId, Arc<str>),
}

/// What has become of a topic that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    /// Its name.
    pub(super) name: Arc<str>,
    /// Something may have been missed: to be said before it is confirmed.
    pub(super) gap: bool,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Topics {
    table: Table<Topic>,
    by_name: Parted,
    /// Keyed at random: clients choose the names.
    hasher: RandomState,
    queued: VecDeque<TopicId>,
    /// When each topic's time is over that waits or lingers.
    timers: BTreeSet<(Instant, TopicId)>,
    /// That resume, of all.
    resuming: usize,
    patience: Duration,
}

impl Topics {
    /// No topic yet. Whoever waits for one waits for `patience` at most.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            table: Table::default(),
            by_name: Parted::default(),
            hasher: RandomState::new(),
            queued: VecDeque::new(),
            timers: BTreeSet::new(),
            resuming: 0,
            patience,
        }
    }

    /// All topics.
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Some are to be asked for.
    pub(super) fn are_queued(&self) -> bool {
        !self.queued.is_empty()
    }

    /// Those that were there when the connection broke are not all back.
    pub(super) fn are_resuming(&self) -> bool {
        self.resuming > 0
    }

    /// The topic of that name.
    pub(super) fn find(&self, name: &str) -> Option<TopicId> {
        let index =
            self.by_name.find(self.hasher.hash_one(name), |id| *self.table.at(id).name == *name)?;
        Some(TopicId { index, generation: self.table.generation(index) })
    }

    /// Somebody wants a topic.
    pub(super) fn want(&mut self, name: &Arc<str>, now: Instant) -> Wanting {
        let id = self.find(name).unwrap_or_else(|| self.insert(name));
        let topic = self.table.at_mut(id.index);
        let waits = std::mem::replace(&mut topic.waits, topic.step != Step::Subscribed);
        topic.wanted = true;
        match topic.step {
            Step::Subscribed => {
                self.set_timer(id, None);
                return Wanting::Now;
            }
            Step::Refused => self.enqueue(id),
            Step::Queued | Step::Asked => {}
        }
        if !waits {
            self.set_timer(id, Some(now + self.patience));
        }
        Wanting::Later
    }

    /// Nobody wants a topic any more.
    pub(super) fn unwant(&mut self, name: &str, now: Instant) {
        let Some(id) = self.find(name) else { return };
        let topic = self.table.at_mut(id.index);
        (topic.wanted, topic.waits) = (false, false);
        // Whoever comes next has missed nothing.
        topic.take_gap();
        match topic.step {
            // The server knows nothing of it.
            Step::Queued | Step::Refused => self.remove(id),
            Step::Asked | Step::Subscribed => self.set_timer(id, Some(now + LINGER)),
        }
    }

    /// The next topic to ask for, which is asked for from now on.
    pub(super) fn take(&mut self) -> Option<(TopicId, Arc<str>)> {
        while let Some(id) = self.queued.pop_front() {
            if let Some(topic) = self.table.live(id.index, id.generation) {
                (topic.step, topic.queued) = (Step::Asked, false);
                return Some((id, topic.name.clone()));
            }
        }
        // What a storm has made large is not kept.
        self.queued.shrink_to(64);
        None
    }

    /// A publication of a topic has come. Its name, and whether to say first that something may
    /// have been missed; `None`: nobody wants it.
    pub(super) fn arrives(&mut self, id: TopicId) -> Option<Confirmed> {
        let topic = self.table.live(id.index, id.generation);
        // What is refused may miss something behind this, and says so when it is back.
        let topic = topic.filter(|topic| topic.wanted && topic.step != Step::Refused)?;
        Some(Confirmed { name: topic.name.clone(), gap: topic.take_gap() })
    }

    /// The server has confirmed a topic. `None`: that is of no use to anybody.
    pub(super) fn confirm(&mut self, id: TopicId) -> Option<Confirmed> {
        let topic = self.table.live(id.index, id.generation)?;
        if topic.step != Step::Asked {
            return None;
        }
        (topic.step, topic.waits) = (Step::Subscribed, false);
        self.resuming -= usize::from(std::mem::take(&mut topic.resumes));
        let gap = topic.take_gap();
        let confirmed = topic.wanted.then(|| Confirmed { name: topic.name.clone(), gap });
        if confirmed.is_some() {
            self.set_timer(id, None);
        }
        confirmed
    }

    /// The server does not let us have a topic. `gap`: whoever has it misses something from here
    /// on, and has not been told yet; the gap stays until it is confirmed. If nobody has it who
    /// joined it before: [`Topics::forget`].
    pub(super) fn refuse(&mut self, id: TopicId, now: Instant) -> Option<Confirmed> {
        let topic = self.table.live(id.index, id.generation)?;
        let gap = !std::mem::replace(&mut topic.told, true);
        (topic.step, topic.waits, topic.gap) = (Step::Refused, false, true);
        self.resuming -= usize::from(std::mem::take(&mut topic.resumes));
        let refused = Confirmed { name: topic.name.clone(), gap };
        self.set_timer(id, Some(now + AGAIN));
        Some(refused)
    }

    /// Nobody has a topic for which somebody waited in vain. What the server has been told of it
    /// lingers.
    pub(super) fn forget(&mut self, id: TopicId, now: Instant) {
        if let Some(topic) = self.table.live(id.index, id.generation) {
            let name = topic.name.clone();
            self.unwant(&name, now);
        }
    }

    /// The connection has broken: all topics are to be asked for anew, and those that nobody wants
    /// are forgotten. Says of how many something may be missed.
    pub(super) fn disconnected(&mut self) -> usize {
        let unwanted: Vec<TopicId> = self.ids(|topic| !topic.wanted).collect();
        unwanted.into_iter().for_each(|id| self.remove(id));
        let all: Vec<TopicId> = self.ids(|_| true).collect();
        let mut gaps = 0;
        for id in &all {
            let topic = self.table.at_mut(id.index);
            topic.gap |= topic.step == Step::Subscribed;
            gaps += usize::from(topic.gap);
            topic.resumes = true;
            if topic.step == Step::Refused {
                self.set_timer(*id, None);
            }
            self.enqueue(*id);
        }
        self.resuming = all.len();
        gaps
    }

    /// When [`Topics::due`] is to be asked next.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// The next that is due by now. Whatever is to be asked for again [is queued](Self::are_queued)
    /// on the way.
    pub(super) fn due(&mut self, now: Instant) -> Option<Due> {
        loop {
            let (_, id) = self.timers.first().copied().filter(|(at, _)| *at <= now)?;
            self.set_timer(id, None);
            let topic = self.table.at_mut(id.index);
            let (name, waits) = (topic.name.clone(), std::mem::take(&mut topic.waits));
            match topic.step {
                _ if waits => return Some(Due::Unavailable(id, name)),
                Step::Refused => self.enqueue(id),
                // Its answer is under way.
                Step::Asked => self.set_timer(id, Some(now + LINGER)),
                Step::Queued | Step::Subscribed => {
                    self.remove(id);
                    return Some(Due::Release(id, name));
                }
            }
        }
    }

    fn set_timer(&mut self, id: TopicId, until: Option<Instant>) {
        let topic = self.table.at_mut(id.index);
        if let Some(before) = std::mem::replace(&mut topic.until, until) {
            self.timers.remove(&(before, id));
        }
        self.timers.extend(until.map(|until| (until, id)));
    }

    fn enqueue(&mut self, id: TopicId) {
        let topic = self.table.at_mut(id.index);
        topic.step = Step::Queued;
        if !std::mem::replace(&mut topic.queued, true) {
            self.queued.push_back(id);
        }
        // While no server asks, topics come and go.
        if self.queued.len() > 2 * self.table.len() + DEAD_MAX {
            let table = &mut self.table;
            self.queued.retain(|id| table.live(id.index, id.generation).is_some());
        }
    }

    fn ids(&self, which: impl Fn(&Topic) -> bool) -> impl Iterator<Item = TopicId> {
        let all = self.table.iter().filter(move |(.., topic)| which(topic));
        all.map(|(index, generation, _)| TopicId { index, generation })
    }

    fn insert(&mut self, name: &Arc<str>) -> TopicId {
        let Self { table, by_name, hasher, .. } = self;
        let (index, generation) = table.insert(Topic {
            name: name.clone(),
            step: Step::Queued,
            wanted: true,
            waits: false,
            gap: false,
            told: false,
            resumes: false,
            queued: false,
            until: None,
        });
        let hash_of = |id| hasher.hash_one(&*table.at(id).name);
        by_name.insert(hasher.hash_one(&**name), index, hash_of);
        let id = TopicId { index, generation };
        self.enqueue(id);
        id
    }

    fn remove(&mut self, id: TopicId) {
        self.set_timer(id, None);
        let Self { table, by_name, hasher, resuming, .. } = self;
        let hash = hasher.hash_one(&*table.at(id.index).name);
        by_name.remove(hash, id.index, |id| hasher.hash_one(&*table.at(id).name));
        *resuming -= usize::from(table.remove(id.index).resumes);
    }
}

#[cfg(test)]
mod tests;
