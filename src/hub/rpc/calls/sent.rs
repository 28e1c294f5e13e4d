//! Publications whose brokers have yet to say what became of them, and the answers of their calls:
//! written as if all went well, and put right if it did not.

use std::mem::take;
use std::ops::Range;

use super::{Caller, Calls};
use crate::hub::sequencer::{PublishError, Sent};
use crate::limits::Limits;
use crate::rpc::{self, Call, Decoded};

/// See the module. What brokers have in flight is bounded by them.
#[derive(Default)]
pub(super) struct Unanswered {
    /// Of the call under way.
    current: Vec<Sent>,
    calls: Vec<Given>,
}

/// A call that has been given to its brokers.
struct Given {
    /// Where its answer stands; empty, if it was answered before.
    answer: Range<usize>,
    publications: Vec<Sent>,
}

impl Unanswered {
    /// Another publication of the call under way.
    pub(super) fn add(&mut self, sent: Sent) {
        self.current.push(sent);
    }

    /// All of the call under way has been given to its brokers; that is its answer if all goes
    /// well.
    pub(super) fn end_call(&mut self, answer: Range<usize>) {
        if !self.current.is_empty() {
            self.calls.push(Given { answer, publications: take(&mut self.current) });
        }
    }

    /// What brokers say of the call under way is of no interest: it has failed already.
    pub(super) fn forget_call(&mut self) {
        self.current.clear();
    }
}

impl<C: Caller> Calls<C> {
    /// Waits until brokers have said what became of all calls that have been given to them, and
    /// puts the answers right of those that failed.
    pub(super) async fn hear_brokers(&mut self) {
        // What has been put in makes later answers stand further back.
        let mut moved: isize = 0;
        for Given { answer, publications } in take(&mut self.sent.calls) {
            let mut outcome = Ok(());
            for publication in publications {
                let said = publication.await.unwrap_or(Err(PublishError::ShuttingDown));
                outcome = outcome.and(said);
            }
            let Err(error) = outcome else { continue };
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
