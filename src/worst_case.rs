//! The memory that the server holds at worst, as one table, and the limits that follow what there
//! is.
//!
//! A row is what one bound may come to in all shards, or in the hub. Not in the table is what a
//! single client or publisher costs: it hangs on how many there are, which `connections` and
//! `rpc_connections` bound.

use crate::limits::{Field, Limit, Limits, QUEUE_HOLDS};

/// Receive buffers of a shard. The constants of this kind are checked against the bounds where
/// those stand.
pub(crate) const RECEIVE_BYTES: u64 = 512 * 1024;
/// Memory of empty logs that a shard keeps.
pub(crate) const SPARE_LOGS_BYTES: u64 = 1280 * 1024;
/// What waits to be written to stderr and stdout.
pub(crate) const OUTLETS_BYTES: u64 = (1024 + 64) * 1024;

/// What is held at most under one bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// What it is.
    pub what: &'static str,
    /// Bytes in the whole process.
    pub bytes: u64,
}

/// What is in use, beside what always is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uses {
    /// Some topic's policy is to skip.
    pub skips: bool,
    /// Somebody is asked who may connect or join.
    pub asks: bool,
    /// Publications of some topic are kept.
    pub keeps: bool,
}

/// Steps in which limits are lowered.
const PARTS: usize = 1024;
/// What they are rounded down to.
const ROUND_BYTES: usize = 64 * 1024;

/// How many connections it takes at least to use up `subscriptions_bytes`, unless the part of one
/// is set.
const SUBSCRIBERS_LEAST: usize = 4;
/// What `subscriptions_bytes` follows down to, unless the part of one connection is set: a thousand
/// topics.
const SUBSCRIPTIONS_LEAST: usize = 1024 * 1024;

/// All rows: those of the limits, and those of constants.
pub fn rows(limits: &Limits, shards: usize, uses: Uses) -> Vec<Row> {
    let shards = shards as u64;
    let held = Limits::TABLE.iter().filter_map(|limit| limit.held.map(|held| (limit, held)));
    let held = held
        .filter(|(_, held)| (uses.asks || !held.where_asked) && (uses.keeps || !held.where_kept));
    let held = held.map(|(limit, held)| {
        let places = if held.in_each_shard { shards } else { 1 };
        let bytes = (limit.value)(limits).saturating_mul(held.times).saturating_mul(places);
        Row { what: held.what, bytes }
    });
    let mut rows: Vec<Row> = held.collect();
    let parked = if uses.skips { (limits.log_bytes as u64).saturating_mul(QUEUE_HOLDS) } else { 0 };
    rows.extend([
        Row { what: "memory of empty topic logs", bytes: SPARE_LOGS_BYTES * shards },
        Row {
            what: "newest publications of topics that skip",
            bytes: parked.saturating_mul(shards),
        },
        Row { what: "receive buffers", bytes: RECEIVE_BYTES * shards },
        Row { what: "log lines", bytes: OUTLETS_BYTES },
    ]);
    rows
}

/// The sum of all rows.
pub fn sum(limits: &Limits, shards: usize, uses: Uses) -> u64 {
    rows(limits, shards, uses).iter().fold(0, |sum, row| sum.saturating_add(row.bytes))
}

/// The limits whose defaults follow memory.
pub fn following() -> impl Iterator<Item = &'static Limit> {
    let follows = |limit: &&Limit| limit.held.is_some_and(|held| held.least.is_some());
    Limits::TABLE.iter().filter(follows)
}

/// What the table may come to where the process may use `memory` bytes. The other half is for what
/// is not in it: connections, messages under way, the kernel's buffers for sockets, RPC frames.
pub fn share(memory: u64) -> u64 {
    memory / 2
}

/// Lowers limits that nobody set until the sum fits its share of `memory`, all by the same factor
/// and none below what others ask of it. One that is below that is raised. `given` says by its path
/// whether somebody set a limit.
pub fn follow(
    limits: &mut Limits,
    memory: Option<u64>,
    shards: usize,
    uses: Uses,
    given: impl Fn(&str) -> bool,
) {
    let budget = memory.map_or(u64::MAX, share);
    let mut asked = limits.clone();
    let part_given = given("roadcast.limits.subscriptions_bytes_per_connection");
    if !part_given {
        asked.subscriptions_bytes_per_connection = SUBSCRIPTIONS_LEAST;
    }
    let scaled = |parts: usize| {
        let mut scaled = limits.clone();
        for limit in following().filter(|limit| !given(limit.path)) {
            let least = limit.held.and_then(|held| held.least);
            if let (Some(least), Field::Number(value)) = (least, (limit.field)(&mut scaled)) {
                let part = *value / PARTS * parts / ROUND_BYTES * ROUND_BYTES;
                *value = part.max(least(&asked));
            }
        }
        if !part_given {
            let part = scaled.subscriptions_bytes / SUBSCRIBERS_LEAST;
            scaled.subscriptions_bytes_per_connection =
                scaled.subscriptions_bytes_per_connection.min(part);
        }
        scaled
    };
    let fits = |parts: usize| sum(&scaled(parts), shards, uses) <= budget;
    // The most that fits: the sum grows with the factor.
    let (mut low, mut high) = (0, PARTS);
    while low < high {
        let middle = (low + high).div_ceil(2);
        if fits(middle) { low = middle } else { high = middle - 1 }
    }
    *limits = scaled(low);
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;
    const SKIPS: Uses = Uses { skips: true, asks: false, keeps: false };

    fn followed(memory: u64, shards: usize, given: &[&str]) -> Limits {
        let mut limits = Limits::default();
        let given = |path: &str| given.contains(&path.strip_prefix("roadcast.limits.").unwrap());
        follow(&mut limits, Some(memory), shards, Uses::default(), given);
        limits
    }

    #[test]
    fn the_sum_of_the_defaults_fits_in_half_of_what_there_is() {
        for mib in [128, 256, 512, 1024, 4096, 65_536] {
            for shards in [1, 2, 4] {
                let limits = followed(mib * MIB, shards, &[]);
                let sum = sum(&limits, shards, Uses::default());
                // Below this the least that the limits ask of each other is more.
                let least = shards as u64 * (4 + 2 + 2 + 1 + 1 + 1) * MIB + 6 * MIB;
                assert!(sum <= (mib * MIB / 2).max(least), "{mib} MiB, {shards} shards: {sum}");
                assert!(limits.check().is_empty(), "{limits:?}");
            }
        }
    }

    #[test]
    fn where_there_is_plenty_the_defaults_stay_and_otherwise_most_of_it_is_used() {
        assert_eq!(followed(64 << 30, 4, &[]), Limits::default());
        let limits = followed(512 * MIB, 2, &[]);
        assert!(sum(&limits, 2, Uses::default()) > 240 * MIB, "{limits:?}");
        assert!(limits.outboxes_bytes as u64 >= 32 * MIB, "{limits:?}");
    }

    #[test]
    fn what_is_given_stays_and_the_others_make_room() {
        let limits = followed(512 * MIB, 2, &["outboxes_bytes"]);
        assert_eq!(limits.outboxes_bytes, Limits::default().outboxes_bytes);
        assert_eq!((limits.log_bytes, limits.lane_bytes), (MIB as usize, 2 * MIB as usize));
        assert!(sum(&limits, 2, Uses::default()) > 256 * MIB);
    }

    #[test]
    fn one_connection_has_at_most_a_quarter_of_its_shards_topics_unless_it_is_set() {
        let parts = |limits: Limits| {
            (limits.subscriptions_bytes_per_connection, limits.subscriptions_bytes)
        };
        let (part, whole) = parts(followed(128 * MIB, 2, &[]));
        assert!(part == whole / 4 && part < 8 << 20, "{part} of {whole}");
        let (part, whole) = parts(followed(128 * MIB, 2, &["subscriptions_bytes_per_connection"]));
        assert!(part == 8 << 20 && whole >= part, "{part} of {whole}");
        let mut limits = Limits { subscriptions_bytes: 4 << 20, ..Limits::default() };
        follow(&mut limits, None, 2, Uses::default(), |path| {
            path == "roadcast.limits.subscriptions_bytes"
        });
        assert_eq!(parts(limits), (1 << 20, 4 << 20));
    }

    #[test]
    fn a_default_is_raised_to_what_others_ask_of_it() {
        let mut limits = Limits { outbox_bytes: 16 << 20, ..Limits::default() };
        follow(&mut limits, None, 2, Uses::default(), |path| {
            path == "roadcast.limits.outbox_bytes"
        });
        assert_eq!(limits.lane_bytes, 16 << 20);
        assert!(limits.check().is_empty());
    }

    #[test]
    fn topics_that_skip_hold_their_newest_publications_beside() {
        let limits = Limits::default();
        assert_eq!(
            sum(&limits, 3, SKIPS) - sum(&limits, 3, Uses::default()),
            3 * 2 * limits.log_bytes as u64
        );
    }

    #[test]
    fn what_is_held_only_where_somebody_is_asked_counts_only_there() {
        let asks = Uses { asks: true, ..Uses::default() };
        let limits = Limits::default();
        let more = sum(&limits, 2, asks) - sum(&limits, 2, Uses::default());
        let per_shard = limits.asks_bytes + limits.sessions_bytes;
        assert_eq!(more, (2 * per_shard + limits.remember_bytes) as u64);
        let mut limits = Limits::default();
        follow(&mut limits, Some(1024 * MIB), 2, asks, |_| false);
        assert!(sum(&limits, 2, asks) <= 512 * MIB && limits.check().is_empty(), "{limits:?}");
    }
}
