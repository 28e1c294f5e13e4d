//! Orders of operators are carried out: how the workers are, and to have new ones.
//!
//! A look is answered at once. There is one reset at a time, and one more for all that are asked
//! for meanwhile: it loads whatever was changed before they were.

use std::rc::Rc;
use std::time::UNIX_EPOCH;

use tokio::sync::{mpsc, oneshot};

use super::asks::Access;
use super::workers::{Pool, Status, WorkerState};
use crate::mesh::operators::{Inbox, ORDERS_MAX, Order};
use crate::rpc::{Worker, WorkerStatus};

type Reply = oneshot::Sender<Result<(), String>>;

/// Carries out what comes, until nobody can give orders any more. Whoever waits for an answer when
/// the future is dropped hears that there is none.
pub async fn carry_out(access: Rc<Access>, inbox: Inbox) {
    let (resets, asked) = mpsc::channel(ORDERS_MAX);
    tokio::join!(take(&access, inbox, resets), reset(&access, asked));
}

async fn take(access: &Access, mut inbox: Inbox, resets: mpsc::Sender<Reply>) {
    while let Some(order) = inbox.next().await {
        match order {
            Order::Workers(reply) => {
                // Whoever has asked may have given up.
                let _ = reply.send(access.workers().map(|pool| told(pool)).unwrap_or_default());
            }
            Order::Reset(reply) => {
                if let Err(refused) = resets.try_send(reply) {
                    let why = format!("{ORDERS_MAX} resets wait already");
                    let _ = refused.into_inner().send(Err(why));
                }
            }
        }
    }
}

async fn reset(access: &Access, mut asked: mpsc::Receiver<Reply>) {
    let mut replies = Vec::new();
    while asked.recv_many(&mut replies, ORDERS_MAX).await > 0 {
        replies.retain(|reply| !reply.is_closed());
        if replies.is_empty() {
            continue;
        }
        let done = access.reset().await;
        for reply in replies.drain(..) {
            let _ = reply.send(done.clone());
        }
    }
}

/// The workers, as operators are told of them.
fn told(pool: &Pool) -> Vec<Worker> {
    let command = pool.command();
    let worker = |state: WorkerState| Worker {
        pid: state.pid,
        status: match state.status {
            Status::Ready => WorkerStatus::Ready,
            Status::Working => WorkerStatus::Working,
            Status::Stopping => WorkerStatus::Stopping,
        },
        answers: state.answers,
        created_ns: state
            .created
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)),
        memory_bytes: state.memory_bytes,
        cpu_percent: state.cpu_percent,
        command: command.clone(),
    };
    pool.states().into_iter().map(worker).collect()
}
