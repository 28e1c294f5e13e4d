//! Limits so small that every one of them is met.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;
use roadcast::limits::Limits;

/// Limits that fit together.
pub fn random(rng: &mut SmallRng) -> Limits {
    let mut pick = |values: &[usize]| values[rng.random_range(0..values.len())];
    let publication_bytes = pick(&[1_000, 8_000, 70_000, 300_000]);
    let subscriptions_bytes = pick(&[5_000, usize::MAX, usize::MAX, usize::MAX]);
    let outbox_bytes = publication_bytes * pick(&[1, 2, 5]);
    Limits {
        connections: pick(&[5, 1_000, 1_000]),
        message_bytes: pick(&[1_000, 70_000]),
        topics_per_connection: pick(&[3, 6, 100]),
        topic_bytes: 16,
        topics: pick(&[4, usize::MAX, usize::MAX, usize::MAX]),
        subscriptions_bytes,
        subscriptions_bytes_per_connection: pick(&[2_000, 4_000, 1 << 30]).min(subscriptions_bytes),
        publication_bytes,
        outbox_bytes,
        outboxes_bytes: outbox_bytes * pick(&[1, 3, 100]),
        log_bytes: publication_bytes * pick(&[1, 4, 100]),
        lane_entries: pick(&[2, 16, 1000]),
        lane_bytes: outbox_bytes * pick(&[1, 10]),
        history_bytes: pick(&[0, 5_000, 64 << 20, 64 << 20]),
        head_bytes: 1_024,
        asks_bytes: pick(&[8_000, 1 << 30, 1 << 30]),
        sessions_bytes: pick(&[2_000, 1 << 30, 1 << 30]),
        rpc_timeout: Duration::from_millis(1_000),
        head_timeout: Duration::from_millis(1_000),
        close_timeout: Duration::from_millis(500),
        laggard_timeout: Duration::from_millis(2_000),
        ping_interval: Duration::from_millis(pick(&[0, 900, 2_000]) as u64),
        pong_timeout: Duration::from_millis(pick(&[0, 600]) as u64),
        ..Limits::default()
    }
}
