//! What a shard wants done: operations on sockets, lines in the log, questions to the hub.

use std::collections::VecDeque;
use std::time::Duration;

use super::connection::ConnId;
use super::report::{About, Reason, Report};
use crate::log_rate::LogRate;
use crate::mesh::Up;

/// What to do with a socket. Each is carried out once, in order.
#[derive(Debug, PartialEq, Eq)]
pub enum Task {
    /// Receive from it, again and again, until told otherwise.
    Receive(ConnId),
    /// Stop receiving; what has arrived already may still be handed in.
    PauseReceive(ConnId),
    /// Hand in `writable` once when it has room.
    WatchWritable(ConnId),
    /// Hand in `measured`: what the peer has acknowledged, and what it has not.
    Measure(ConnId),
    /// End the sending direction.
    FinishSending(ConnId),
    /// End it both ways; hand in `released` when it is closed.
    Terminate {
        /// The connection.
        id: ConnId,
        /// Throw away what the kernel still holds for it, and reset.
        abort: bool,
    },
    /// Accept nobody any more.
    StopAccepting,
    /// Say in the log, with the peer's address, what happened.
    Report(ConnId, Report),
}

/// Room for questions that is kept while there are none.
const QUESTIONS_KEPT: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outward {
    pub tasks: VecDeque<Task>,
    /// What has been said in the log lately.
    pub said: LogRate<Reason>,
    questions: VecDeque<Up>,
}

impl Outward {
    /// Has something done.
    #[inline]
    pub fn push(&mut self, task: Task) {
        self.tasks.push_back(task);
    }

    /// Says what has happened to a connection, if this reason has not been said lately.
    pub fn report(
        &mut self,
        now_ms: u64,
        id: ConnId,
        reason: Reason,
        about: impl FnOnce() -> About,
    ) {
        if let Some(unsaid) = self.said.admit(reason, Duration::from_millis(now_ms)) {
            self.push(Task::Report(id, Report { reason, about: about(), unsaid }));
        }
    }

    /// Asks the hub. At most one question a topic is under way, which bounds the queue.
    pub fn ask(&mut self, question: Up) {
        self.questions.push_back(question);
    }

    /// The next question to the hub.
    pub fn next_question(&mut self) -> Option<Up> {
        let question = self.questions.pop_front();
        if self.questions.is_empty() && self.questions.capacity() > QUESTIONS_KEPT {
            self.questions = VecDeque::new();
        }
        question
    }

    /// Puts a question back that the lane had no room for.
    pub fn return_question(&mut self, question: Up) {
        self.questions.push_front(question);
    }

    /// Whether questions wait.
    pub fn has_questions(&self) -> bool {
        !self.questions.is_empty()
    }
}
