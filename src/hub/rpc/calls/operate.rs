//! What operators call: how the brokers are, which plugins there are, how the workers are, and to
//! have new ones.
//!
//! The workers are the desk's. A call waits for its answer as one that publishes waits for room:
//! later calls of its connection behind it, and nobody else. Where there is no desk that has
//! workers, or remembers what was judged, there is nobody to ask.

use super::{Caller, Calls};
use crate::hub::sequencer::PublishError;
use crate::mesh::operators::Unanswered;
use crate::rpc::{self, Call, Operation, PLUGIN, PLUGINS};

/// Characters of a plugin's name that an error repeats.
const NAME_ECHO_CHARS: usize = 128;

impl<C: Caller> Calls<C> {
    /// Does what is asked and answers it; the error is the answer's text.
    pub(super) async fn operate(
        &mut self,
        call: &Call<'_>,
        operation: Operation,
    ) -> Result<(), String> {
        let encoded = match operation {
            Operation::Plugins => rpc::encode_plugins(&mut self.answers, call, &PLUGINS),
            Operation::Resettable => rpc::encode_plugins(&mut self.answers, call, &[PLUGIN]),
            Operation::Jobs => {
                rpc::plugin(call).and_then(|_| rpc::encode_no_jobs(&mut self.answers, call))
            }
            Operation::Workers => {
                let plugin = rpc::plugin(call).map_err(|error| self.say_wrong(&error))?;
                let workers = match plugin == PLUGIN {
                    true => match self.core.orders.clone() {
                        Some(orders) => Some(self.wait(orders.workers()).await?),
                        None => Some(Vec::new()),
                    },
                    false => None,
                };
                rpc::encode_workers(&mut self.answers, call, workers.as_deref())
            }
            Operation::Reset => {
                let plugin = rpc::plugin(call).map_err(|error| self.say_wrong(&error))?;
                if plugin != PLUGIN {
                    let name: String = plugin.chars().take(NAME_ECHO_CHARS).collect();
                    return Err(self.say_undone(format!(
                        "no such plugin: {name} (`{PLUGIN}` can be reset here)"
                    )));
                }
                if let Some(orders) = self.core.orders.clone() {
                    self.wait(orders.reset()).await?;
                }
                rpc::encode_done(&mut self.answers, call)
            }
            Operation::Brokers => {
                let told = self.core.brokers.told(&self.core.counters.by_broker);
                rpc::encode_brokers(&mut self.answers, call, &told)
            }
        };
        encoded.map_err(|error| self.say_wrong(&error))
    }

    /// Waits for the desk. Whoever shuts down waits for nobody's workers.
    async fn wait<T>(
        &mut self,
        answer: impl Future<Output = Result<T, Unanswered>>,
    ) -> Result<T, String> {
        self.flush().await;
        let core = self.core.clone();
        let answer = tokio::select! {
            biased;
            answer = answer => answer,
            () = core.refusing() => return Err(self.say(&PublishError::ShuttingDown)),
        };
        answer.map_err(|error| self.say_undone(error.to_string()))
    }

    /// Counts that something was not done, and says it.
    fn say_undone(&self, text: String) -> String {
        self.core.counters.errors_operator.add(1);
        self.said.say_error("operator", self.peer, &text);
        text
    }
}
