//! Who waits for a topic, and for how long.

use std::sync::Arc;

use tokio::time::Instant;

use super::Topics;

impl Topics {
    /// Who waits for a topic has been refused. `wanted`: somebody else still wants it.
    pub(in crate::hub::broker::redis) fn turned_away(
        &mut self,
        name: &str,
        wanted: bool,
        now: Instant,
    ) {
        if let Some(topic) = self.known.get_mut(name) {
            topic.deadline = None;
        }
        if !wanted {
            self.unwant(name, now);
        }
    }

    /// The topics that have been waited for too long.
    pub(in crate::hub::broker::redis) fn overdue(&mut self, now: Instant) -> Vec<Arc<str>> {
        let mut overdue = Vec::new();
        while let Some((deadline, _)) = self.waiting.front()
            && *deadline <= now
        {
            let Some((deadline, name)) = self.waiting.pop_front() else { break };
            if let Some(topic) = self.known.get_mut(&name)
                && topic.deadline == Some(deadline)
            {
                topic.deadline = None;
                overdue.push(name);
            }
        }
        overdue
    }
}
