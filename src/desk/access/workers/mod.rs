//! The pool of PHP workers: processes of `server.command` that are asked who may connect and who
//! may join, as RoadRunner asks them.
//!
//! | module | what |
//! |---|---|
//! | [`settings`] | what the pool is to do |
//! | [`frames`] | the bytes to and from a worker, pure |
//! | `wire` | the way to one worker and back |
//! | `relay` | the socket that workers connect to, where they do not use their pipes |
//! | `worker` | one worker: its process, asking it, its end |
//! | `output` | what workers write beside their answers, to the log |
//! | `queue` | the questions that wait, in order and within bounds |
//! | `place` | one place of the pool: keeps a worker in it; what becomes of it |
//! | `supervision`, `usage` | when a worker is replaced that works well; what it takes |
//! | `shared` | what the places share: who is there, and whether it works |
//! | `counters` | what is counted |
//! | `pool` | all of it together: ask, reset, stop |
//!
//! Invariants worth naming:
//! - **A worker has one question at a time, and an answer belongs to the question before it**: what
//!   a worker says unasked is looked for before each question, and costs it its place.
//! - **Whoever asks is always answered**, whatever workers do: `allocate_timeout` bounds the wait
//!   for one, `exec_ttl`, where it is set, that for its answer.
//! - A question is put to 3 workers at most. It is put again where one has left without an answer
//!   and not by a failure: it ended with status 0, asked to be replaced, took no question, or had
//!   said something before. It may have read the question.
//! - What is not answered any more is not put; what has been put is finished, so that a client that
//!   leaves costs no worker.
//! - Everything is on one thread, in a `LocalSet`.

mod counters;
pub mod frames;
mod output;
mod place;
mod pool;
mod queue;
mod relay;
pub mod settings;
mod shared;
mod supervision;
mod usage;
mod users;
mod wire;
mod worker;

pub use counters::{WorkerCounters, WorkerTelemetry};
pub use pool::{Pool, WorkerState};
pub use settings::{OnInit, Relay, Supervision, WorkerSettings};
pub use shared::Status;
pub use users::User;
pub use users::user;
