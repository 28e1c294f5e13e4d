//! Who may connect and who may join, as far as that is to be asked: tokens, workers, a callback.
//!
//! ```text
//! lanes     questions of the shards come in, answers go out
//! asks      what becomes of a question
//! tokens    where a token stands in a request, and whether it will do
//! callback  a server that is asked over HTTP
//! jwks      keys of tokens, fetched over HTTP
//! client    the HTTP client of both
//! times, readiness  what is measured, and whether something works
//! remember  verdicts that may be given again
//! users     how many connections each user has
//! workers   the pool of PHP workers
//! orders    what operators want of it
//! counters  what is counted
//! ```

mod asks;
pub mod callback;
mod client;
mod counters;
pub mod jwks;
mod lanes;
mod orders;
mod readiness;
mod remember;
mod times;
mod tokens;
mod users;
pub mod workers;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

pub use asks::Access;
use asks::Asker;
use callback::Callback;
pub use counters::AccessCounters;
pub use lanes::Asks;
pub use orders::carry_out;
use remember::Remember;
use tokens::Tokens;
use users::Users;
use workers::{Pool, WorkerSettings};

use crate::access::{AccessSettings, Asked, Join};
use crate::log_rate::CauseRate;
use crate::mesh::desk::DeskEnd;

/// What is to be asked, and whom.
pub struct AccessPlan {
    /// As the operator has set it.
    pub settings: AccessSettings,
    /// The workers, where they are asked.
    pub workers: Option<WorkerSettings>,
    /// Bytes of verdicts that are remembered.
    pub remember_bytes: usize,
    /// Connections of one user at a time; 0 = no limit.
    pub connections_per_user: usize,
    /// What is counted.
    pub counters: Arc<AccessCounters>,
    /// The lanes to and from the shards.
    pub end: DeskEnd,
}

/// Opens what is asked, on the thread of a `LocalSet`. Fails when keys are none, the
/// system has no certificates to trust servers by, or the wake-up cannot be watched.
pub fn open(plan: AccessPlan) -> io::Result<(Rc<Access>, Asks)> {
    let AccessPlan { settings, workers, remember_bytes, connections_per_user, counters, end } =
        plan;
    let (asks, words) = lanes::open(end)?;
    let tokens = Tokens::new(&settings).map_err(io::Error::other)?;
    let rules = &settings.rules;
    let asks_joins = settings.asked != Asked::Nobody
        && (rules.default == Join::Ask || rules.rules.iter().any(|rule| rule.join == Join::Ask));
    let asker = match (workers, &settings.asked) {
        (Some(workers), _) => Asker::Workers(Pool::start(workers)),
        (None, Asked::Callback(callback)) => {
            Asker::Callback(Rc::new(Callback::new(callback).map_err(io::Error::other)?))
        }
        (None, _) => Asker::Nobody,
    };
    let access = Access {
        tokens,
        asker,
        remember: RefCell::new(Remember::new(remember_bytes)),
        users: RefCell::new(Users::new(connections_per_user, settings.per_user)),
        asks_joins,
        one_by_one: rules.one_by_one,
        words,
        counters,
        said: RefCell::new(CauseRate::default()),
        started: Instant::now(),
    };
    Ok((Rc::new(access), asks))
}
