//! The few places for connections of an endpoint. When all are taken, whoever comes gets the place
//! of one that has not asked for anything: who holds connections open and says nothing keeps nobody
//! out.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

/// Connections of one endpoint at a time.
const PLACES: usize = 8;
/// From accepting a connection to its end.
pub const CONNECTION_TIME: Duration = Duration::from_secs(10);
/// How long one that is being answered keeps its place when it is wanted.
const ANSWER_TIME: Duration = Duration::from_secs(2);

/// Set once a connection has asked for something.
#[derive(Clone, Debug, Default)]
pub struct Spoken(Arc<AtomicBool>);

impl Spoken {
    /// A request is there.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Debug)]
struct Taken {
    task: AbortHandle,
    spoken: Spoken,
    since: Instant,
}

/// The connections of an endpoint, in the order in which they came.
#[derive(Debug, Default)]
pub struct Places {
    tasks: JoinSet<()>,
    held: VecDeque<Taken>,
}

impl Places {
    /// Serves a connection, for [`CONNECTION_TIME`] at most, in a place that is free or taken from
    /// another one.
    pub async fn serve<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        serving: impl FnOnce(Spoken) -> F,
    ) {
        self.make_room().await;
        let spoken = Spoken::default();
        // A connection that takes too long is its peer's affair.
        let serving = timeout(CONNECTION_TIME, serving(spoken.clone()));
        let task = self.tasks.spawn(async { drop(serving.await) });
        self.held.push_back(Taken { task, spoken, since: Instant::now() });
        // What it has sent is read before the next one may take its place.
        tokio::task::yield_now().await;
    }

    async fn make_room(&mut self) {
        while let Some(ended) = self.tasks.try_join_next_with_id() {
            self.forget(&ended);
        }
        while self.held.len() >= PLACES {
            let silent = self.held.iter().position(|held| !held.spoken.0.load(Ordering::Relaxed));
            if let Some(held) = silent.and_then(|place| self.held.remove(place)) {
                held.task.abort();
                return;
            }
            let until = self.held.front().map(|held| held.since + ANSWER_TIME);
            tokio::select! {
                Some(ended) = self.tasks.join_next_with_id() => self.forget(&ended),
                () = sleep_until(until.unwrap_or_else(Instant::now)) => {
                    if let Some(held) = self.held.pop_front() {
                        held.task.abort();
                    }
                }
            }
        }
    }

    fn forget(&mut self, ended: &Result<(tokio::task::Id, ()), tokio::task::JoinError>) {
        let id = ended.as_ref().map_or_else(tokio::task::JoinError::id, |(id, ())| *id);
        self.held.retain(|held| held.task.id() != id);
    }
}
