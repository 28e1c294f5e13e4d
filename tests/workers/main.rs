//! Goal: workers are asked, judged, replaced and ended as applications of RoadRunner expect,
//! whatever they do. Method: the real pool with the real PHP interpreter, and a worker
//! (`worker.php`) that speaks the wire protocol itself and misbehaves on request. Where PHP is not
//! installed, all of it is skipped.
//!
//! | file | what |
//! |---|---|
//! | `answers` | what workers answer, and what they are told |
//! | `documents` | the example of docs/access.md |
//! | `faults` | workers that fail, and what becomes of them |
//! | `pool` | order, bounds, replacement, reset, stop |
//! | `starts` | workers that do not start; relays, environment |

#[path = "../common/skip.rs"]
mod skip;

mod answers;
mod bed;
mod documents;
mod faults;
mod pool;
mod starts;
