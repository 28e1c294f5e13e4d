//! What operators ask of the desk, by the hub: how the workers are, and to start new ones.
//!
//! Orders wait in a bounded queue. Whoever gives one hears an answer, or why there is none, within
//! a bounded time, also where the desk stands still or has gone.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::HubEnd;
use crate::rpc::Worker;

/// Orders that wait to be taken by the desk, and resets that wait for the one under way.
pub const ORDERS_MAX: usize = 64;
/// Within which the desk looks at its workers, in a turn of its own. A guess: only a fault takes as
/// long.
const LOOK_TIMEOUT: Duration = Duration::from_secs(5);
/// Beyond the time that the workers have to start in.
const RESET_SLACK: Duration = Duration::from_secs(10);

/// What is asked, and where the answer goes. Who has asked may have given up waiting.
#[derive(Debug)]
pub enum Order {
    /// How are the workers?
    Workers(oneshot::Sender<Vec<Worker>>),
    /// Start new workers in the place of those that are there, and forget what was judged.
    Reset(oneshot::Sender<Result<(), String>>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unanswered {
    /// Too many wait.
    #[error("{ORDERS_MAX} calls wait for the workers' thread already: try again")]
    Busy,
    /// It takes too long.
    #[error("the workers' thread has not answered within {seconds} s", seconds = .0.as_secs())]
    Late(Duration),
    /// The other end has gone.
    #[error("the workers' thread has ended")]
    Gone,
    /// It was tried.
    #[error("{0}")]
    Failed(String),
}

/// Gives orders; any number of them, from any thread that has a clock of tokio.
#[derive(Clone, Debug)]
pub struct Orders {
    queue: mpsc::Sender<Order>,
    reset_timeout: Duration,
}

/// Where orders come in.
#[derive(Debug)]
pub struct Inbox(mpsc::Receiver<Order>);

/// Has the hub give orders, to a desk whose workers have so long to start.
pub fn open(hub: &mut HubEnd, allocate_timeout: Duration) -> Inbox {
    let (orders, inbox) = queue(allocate_timeout);
    hub.orders = Some(orders);
    inbox
}

fn queue(allocate_timeout: Duration) -> (Orders, Inbox) {
    let (queue, inbox) = mpsc::channel(ORDERS_MAX);
    // A reset under way has to end before.
    let reset_timeout = allocate_timeout.saturating_mul(2).saturating_add(RESET_SLACK);
    (Orders { queue, reset_timeout }, Inbox(inbox))
}

impl Orders {
    /// How the workers are.
    pub async fn workers(&self) -> Result<Vec<Worker>, Unanswered> {
        self.give(Order::Workers, LOOK_TIMEOUT).await
    }

    /// Has new workers started. Returns when they are asked in the place of the old ones.
    pub async fn reset(&self) -> Result<(), Unanswered> {
        self.give(Order::Reset, self.reset_timeout).await?.map_err(Unanswered::Failed)
    }

    async fn give<T>(
        &self,
        order: impl FnOnce(oneshot::Sender<T>) -> Order,
        within: Duration,
    ) -> Result<T, Unanswered> {
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(order(reply)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => Unanswered::Busy,
            mpsc::error::TrySendError::Closed(_) => Unanswered::Gone,
        })?;
        match timeout(within, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(Unanswered::Gone),
            Err(_) => Err(Unanswered::Late(within)),
        }
    }
}

impl Inbox {
    /// The next order; `None`: nobody can give any more.
    pub async fn next(&mut self) -> Option<Order> {
        self.0.recv().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(test: impl Future<Output = ()>) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_time().build().unwrap().block_on(test);
    }

    #[test]
    fn who_asks_is_answered_whatever_the_other_end_does() {
        run(async {
            let (orders, mut inbox) = queue(Duration::from_secs(60));
            assert_eq!(orders.reset_timeout, Duration::from_secs(130));
            let taken = async {
                let Some(Order::Reset(reply)) = inbox.next().await else { panic!() };
                reply.send(Err("no php".to_owned())).unwrap();
                let Some(Order::Workers(reply)) = inbox.next().await else { panic!() };
                drop(reply);
                let Some(Order::Reset(kept)) = inbox.next().await else { panic!() };
                (inbox, kept)
            };
            let asked = async {
                assert_eq!(orders.reset().await, Err(Unanswered::Failed("no php".to_owned())));
                assert_eq!(orders.workers().await, Err(Unanswered::Gone));
                let hasty = Orders { reset_timeout: Duration::ZERO, ..orders.clone() };
                let late = Err(Unanswered::Late(Duration::ZERO));
                assert_eq!(hasty.reset().await, late, "nobody answers");
            };
            let ((inbox, _kept), ()) = tokio::join!(taken, asked);
            drop(inbox);
            assert_eq!(orders.workers().await, Err(Unanswered::Gone));
        });
    }

    #[test]
    fn orders_beyond_the_bound_are_refused_at_once() {
        run(async {
            let (orders, _inbox) = queue(Duration::from_secs(60));
            for _ in 0..ORDERS_MAX {
                orders.queue.try_send(Order::Workers(oneshot::channel().0)).unwrap();
            }
            assert_eq!(orders.workers().await, Err(Unanswered::Busy));
        });
    }
}
