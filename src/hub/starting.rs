//! The first attempt of each broker to be reached: a server that is away is waited for, but what
//! waiting cannot mend ends the start.

use std::cell::{Cell, RefCell};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Starting {
    /// Brokers that have not come to an end of their first attempt.
    trying: Cell<usize>,
    hopeless: RefCell<Option<String>>,
    changed: Notify,
}

impl Starting {
    /// A broker begins its first attempt.
    pub(super) fn begin(&self) {
        self.trying.set(self.trying.get() + 1);
    }

    /// A broker has come to its end; an error: why it is hopeless.
    pub(super) fn end(&self, outcome: Result<(), String>) {
        self.trying.set(self.trying.get() - 1);
        if let Err(why) = outcome {
            self.hopeless.borrow_mut().get_or_insert(why);
        }
        self.changed.notify_one();
    }

    /// Ends when all first attempts have, or one of them is hopeless: then with the reason.
    pub(super) async fn ended(&self) -> Result<(), String> {
        loop {
            if let Some(why) = self.hopeless.borrow_mut().take() {
                return Err(why);
            }
            if self.trying.get() == 0 {
                return Ok(());
            }
            self.changed.notified().await;
        }
    }
}
