//! Topics of which something is kept, wanted or not.

use std::time::Duration;

use super::Lanes;
use crate::hub::channels::{ChannelId, Key};
use crate::mesh::{BrokerId, Form};
use crate::position::Position;

impl Lanes {
    /// Whether publications of any topic are kept.
    pub(in crate::hub) fn keep_some(&self) -> bool {
        self.histories.is_some()
    }

    /// In how many forms a topic is published.
    pub(in crate::hub) fn forms(&self, name: &str) -> usize {
        let keeps = self.histories.as_ref().is_some_and(|histories| histories.keeps(name));
        1 + usize::from(keeps)
    }

    /// The channel of a topic whose publications are kept, also of one that is new. Good until
    /// something is kept.
    pub(in crate::hub) fn keeping(&mut self, broker: BrokerId, name: &str) -> Option<ChannelId> {
        let histories = self.histories.as_mut().filter(|_| !self.ended)?;
        if let Some(id) = self.channels.find(broker, Form::Positioned, name) {
            return Some(id);
        }
        let kept = histories.begin(name)?;
        let key = Key { broker, form: Form::Positioned, name: name.into() };
        Some(self.channels.create(key, Some(kept)))
    }

    /// Whether a shard wants a topic, in whichever form.
    pub(in crate::hub) fn is_wanted(&self, broker: BrokerId, name: &str) -> bool {
        let wanted = |form| {
            let found = self.channels.find(broker, form, name);
            found.is_some_and(|id| !self.channels.at(id).wants.is_empty())
        };
        wanted(Form::Plain) || (self.keep_some() && wanted(Form::Positioned))
    }

    /// Where the order of a topic stands of which something is kept.
    pub(in crate::hub) fn position(&self, broker: BrokerId, name: &str) -> Option<Position> {
        let channel = self.channels.at(self.channels.find(broker, Form::Positioned, name)?);
        let epoch = channel.kept.as_ref()?.epoch;
        Some(Position { offset: channel.sequence, epoch })
    }

    /// Nobody wants a topic any more: it is kept for a while.
    pub(super) fn becomes_idle(&mut self, key: &Key) {
        let id = self.channels.find(key.broker, key.form, &key.name);
        if let (Some(histories), Some(id)) = (&mut self.histories, id) {
            histories.unwanted(&mut self.channels, id);
        }
    }

    /// Time has passed, since the hub's start: what is too old is let go of.
    pub(in crate::hub) fn set_now(&mut self, now: Duration) {
        if let Some(histories) = &mut self.histories {
            histories.set_now(&mut self.channels, now);
        }
    }
}
