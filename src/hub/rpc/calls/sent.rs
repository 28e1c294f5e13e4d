//! Publications whose brokers have yet to say what became of them, and the answers of their calls:
//! written as if all went well, and put right if it did not.

use std::collections::VecDeque;
use std::mem::take;
use std::ops::Range;

use super::{Caller, Calls};
use crate::hub::core::Core;
use crate::hub::sequencer::{PublishError, Sent};
use crate::limits::Limits;
use crate::rpc::{self, Call, Decoded};

/// Publications of one call that brokers have and have not been heard about: past them the oldest
/// is waited for before the call goes on.
const CALL_PUBLICATIONS: usize = 4_096;

/// See the module. What brokers have in flight is bounded by them.
#[derive(Default)]
pub(super) struct Unanswered {
    /// Of the call under way.
    current: Publications,
    calls: Vec<Given>,
}

/// A call that has been given to its brokers.
struct Given {
    /// Where its answer stands; empty, if it was answered before.
    answer: Range<usize>,
    publications: Publications,
}

/// What brokers have of one call.
#[derive(Default)]
struct Publications {
    sent: VecDeque<Sent>,
    /// What went wrong first of those that have been heard about.
    wrong: Option<PublishError>,
}

impl Publications {
    /// Hears about the oldest until so many are left. Shutting down ends the waiting.
    async fn hear(&mut self, left: usize, core: &Core) {
        while self.sent.len() > left
            && let Some(sent) = self.sent.pop_front()
        {
            let said = core.unless_ended(sent).await.and_then(Result::ok);
            if let Err(error) = said.unwrap_or(Err(PublishError::ShuttingDown)) {
                self.wrong.get_or_insert(error);
            }
        }
    }
}

impl Unanswered {
    /// Whether brokers have as much of the call under way as may be.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.current.sent.len() > CALL_PUBLICATIONS
    }

    /// Whether calls wait for brokers.
    #[inline]
    pub(super) fn are_there(&self) -> bool {
        !self.calls.is_empty()
    }

    /// Another publication of the call under way.
    pub(super) fn add(&mut self, sent: Sent) {
        self.current.sent.push_back(sent);
    }

    /// All of the call under way has been given to its brokers; that is its answer if all goes
    /// well.
    pub(super) fn end_call(&mut self, answer: Range<usize>) {
        if !self.current.sent.is_empty() || self.current.wrong.is_some() {
            self.calls.push(Given { answer, publications: take(&mut self.current) });
        }
    }

    /// What brokers say of the call under way is of no interest: it has failed already.
    pub(super) fn forget_call(&mut self) {
        self.current = Publications::default();
    }
}

impl<C: Caller> Calls<C> {
    /// Waits until brokers have said what became of half of what they have of the call under way.
    pub(super) async fn keep_up(&mut self) {
        self.core.sequencer.wake_shards();
        let core = self.core.clone();
        self.sent.current.hear(CALL_PUBLICATIONS / 2, &core).await;
    }

    /// Waits until brokers have said what became of all calls that have been given to them, and
    /// puts the answers right of those that failed.
    pub(super) async fn hear_brokers(&mut self) {
        // What has been put in makes later answers stand further back.
        let mut moved: isize = 0;
        let core = self.core.clone();
        for Given { answer, mut publications } in take(&mut self.sent.calls) {
            publications.hear(0, &core).await;
            let Some(error) = publications.wrong else { continue };
            let error = self.say(&error);
            if answer.is_empty() {
                self.say_lost(&error);
                continue;
            }
            let place =
                answer.start.saturating_add_signed(moved)..answer.end.saturating_add_signed(moved);
            let refusal = refusal(&self.answers[place.clone()], &self.core.limits, &error);
            moved += refusal.len() as isize - place.len() as isize;
            self.answers.splice(place, refusal);
        }
    }
}

/// The error answer in place of an answer.
fn refusal(ok: &[u8], limits: &Limits, error: &str) -> Vec<u8> {
    let mut refusal = Vec::new();
    if let Ok(Decoded::Whole { value, .. }) = rpc::decode(ok, limits.rpc_frame_bytes) {
        rpc::encode_error(&mut refusal, &Call { body: &[], ..value }, error);
    }
    refusal
}
