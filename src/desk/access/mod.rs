//! Who may connect and who may join, as far as that is to be asked: tokens, workers, a callback.
//!
//! ```text
//! lanes     questions of the shards come in, answers go out
//! remember  verdicts that may be given again
//! users     how many connections each user has
//! workers   the pool of PHP workers
//! ```

mod lanes;
mod remember;
mod users;
pub mod workers;

pub use lanes::{Asks, Words, open};
pub use remember::Remember;
pub use users::{Place, TooMany, Users};
