//! The limits: each can be set, and what stands in the table is what runs.

use super::*;

#[test]
fn the_tables_defaults_are_those_of_limits() {
    assert_eq!(*config("").limits, Limits::default());
}

#[test]
fn every_limit_can_be_set() {
    let numbers = "connections: 100\n connections_per_address: 101\n handshakes_per_address: 102\n message_bytes: 1KiB\n topics_per_connection: 3\n topic_bytes: 4\n topics: 5\n subscriptions_bytes: 21KiB\n subscriptions_bytes_per_connection: 20KiB\n \
                   publication_bytes: 6KiB\n outbox_bytes: 7KiB\n outboxes_bytes: 8KiB\n log_bytes: 9KiB\n \
                   lane_entries: 16\n lane_bytes: 11KiB\n socket_send_bytes: 12\n rpc_connections: 13\n \
                   rpc_frame_bytes: 14KiB\n rpc_async_bytes: 19KiB\n rpc_timeout: 15s\n head_timeout: 16s\n close_timeout: 17s\n \
                   laggard_timeout: 18s";
    let file = format!("roadcast:\n ping_interval: 1m\n pong_timeout: 20\n limits:\n{}", {
        numbers.split('\n').map(|line| format!("  {}\n", line.trim())).collect::<String>()
    });
    let seconds = Duration::from_secs;
    let expected = Limits {
        connections: 100,
        connections_per_address: 101,
        handshakes_per_address: 102,
        message_bytes: 1024,
        topics_per_connection: 3,
        topic_bytes: 4,
        topics: 5,
        subscriptions_bytes: 21 * 1024,
        subscriptions_bytes_per_connection: 20 * 1024,
        publication_bytes: 6 * 1024,
        outbox_bytes: 7 * 1024,
        outboxes_bytes: 8 * 1024,
        log_bytes: 9 * 1024,
        lane_entries: 16,
        lane_bytes: 11 * 1024,
        socket_send_bytes: 12,
        rpc_connections: 13,
        rpc_frame_bytes: 14 * 1024,
        rpc_async_bytes: 19 * 1024,
        rpc_timeout: seconds(15),
        head_timeout: seconds(16),
        close_timeout: seconds(17),
        laggard_timeout: seconds(18),
        ping_interval: seconds(60),
        pong_timeout: seconds(20),
    };
    assert_eq!(*config(&file).limits, expected);
}
