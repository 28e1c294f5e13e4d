//! One subscriber that does not read: everyone else gets everything, and it ends with a gapless
//! prefix.

use crate::common::{Client, Numbered, Received, Scrape, Server, eventually};

const RUN: Numbered = Numbered { messages: 1500, payload_bytes: 16 * 1024 };

/// Messages at a time: together half of an outbox of [`TIGHT`], so that no reader is over its
/// bound.
const BATCH: usize = 8;

/// Small bounds, so that a reader that stops is over them long before the last message.
const TIGHT: &[&str] = &[
    "roadcast.limits.publication_bytes=65536",
    "roadcast.limits.outbox_bytes=262144",
    "roadcast.limits.outboxes_bytes=4194304",
    "roadcast.limits.socket_send_bytes=65536",
];

/// Bounds that hold all there is and no deadline: nobody may be cut off, however slowly they read.
const WIDE: &[&str] = &[
    "roadcast.limits.outbox_bytes=67108864",
    "roadcast.limits.lane_bytes=67108864",
    "roadcast.limits.outboxes_bytes=268435456",
    "roadcast.limits.socket_send_bytes=65536",
    "roadcast.limits.laggard_timeout=10m",
    "roadcast.ping_interval=0",
];

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_nobody_else_notices() {
    let server = Server::start(TIGHT);
    // Some beside it on its shard, some on the other one: the kernel spreads them.
    let mut readers: Vec<Client> = (0..6).map(|_| server.client()).collect();
    readers.iter_mut().for_each(|client| client.join(&["news"]));
    let mut stalled = Client::connect_narrow(server.clients, 16 * 1024);
    stalled.join(&["news"]);
    RUN.publish_in_step(&server, 0..RUN.messages, BATCH, &mut readers);
    // Now it reads: a prefix without a gap, then a Close 1013, or the end if it had been terminated
    // before.
    let (count, end) = RUN.read_prefix(&mut stalled);
    assert!(matches!(end, Received::Close(1013) | Received::End), "{end:?} after {count} messages");
    assert!(count < RUN.messages, "it was given everything: the test has not made it lag");
    readers.into_iter().for_each(Client::close);
}

#[test]
fn a_subscriber_that_pauses_within_its_bound_gets_everything_in_order() {
    let server = Server::start(WIDE);
    let mut paused: Vec<Client> =
        (0..3).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
    paused.iter_mut().for_each(|client| client.join(&["news"]));
    RUN.publish(&server, 0..RUN.messages);
    for client in &mut paused {
        assert!(client.command("join", &["more"]));
    }
    let mut publisher = server.publisher();
    for mut client in paused {
        // Where among the publications of another topic its reply comes is not promised.
        let (mut count, mut joined) = (0, false);
        while count < RUN.messages || !joined {
            match client.next() {
                Received::Reply(kind, _) => joined = kind == "@join",
                message => {
                    assert_eq!(RUN.number(&message), count);
                    count += 1;
                }
            }
        }
        publisher.publish(&["more"], b"caught up");
        client.expect("more", "caught up");
        client.leave(&["news", "more"]);
    }
}

#[test]
fn a_lagging_subscriber_may_vanish_and_another_come() {
    let server = Server::start(TIGHT);
    let mut readers = vec![server.client()];
    readers[0].join(&["news"]);
    let mut stalled: Vec<Client> =
        (0..4).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
    stalled.iter_mut().for_each(|client| client.join(&["news"]));
    let half = RUN.messages / 2;
    RUN.publish_in_step(&server, 0..half, BATCH, &mut readers);
    stalled.into_iter().for_each(Client::reset);
    readers.push(server.client());
    readers[1].join(&["news"]);
    RUN.publish_in_step(&server, half..RUN.messages, BATCH, &mut readers);
    readers.into_iter().for_each(Client::close);
}

#[test]
fn outboxes_past_their_sum_cut_off_who_wants_more_and_nobody_else() {
    // Two outboxes' worth for all: of many that stop reading, most are over the sum before they are
    // over their own.
    let server = Server::start(&[
        "roadcast.shards=1",
        "roadcast.limits.publication_bytes=65536",
        "roadcast.limits.outbox_bytes=1048576",
        "roadcast.limits.outboxes_bytes=2097152",
        "roadcast.limits.socket_send_bytes=65536",
    ]);
    let mut readers = [server.client()];
    readers[0].join(&["news"]);
    let mut stalled: Vec<Client> =
        (0..8).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
    stalled.iter_mut().for_each(|client| client.join(&["news"]));
    // One at a time: that fits its socket, so the reader never needs any of the sum.
    RUN.publish_in_step(&server, 0..RUN.messages, 1, &mut readers);
    for client in &mut stalled {
        let (count, end) = RUN.read_prefix(client);
        assert!(
            matches!(end, Received::Close(1013) | Received::End),
            "{end:?} after {count} messages"
        );
    }
    readers.into_iter().for_each(Client::close);
}

/// A shard that has not come to its subscribers yet has no laggards; once its logs are swept out,
/// each is counted, and once.
#[test]
fn everyone_who_does_not_read_is_counted_on_its_shard() {
    const MESSAGES: usize = 40;
    let server =
        Server::start(&["roadcast.limits.socket_send_bytes=16384", "metrics.address=127.0.0.1:0"]);
    let metrics = server.endpoint("metrics");
    let mut stalled: Vec<Client> =
        (0..100).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
    stalled.iter_mut().for_each(|client| client.join(&["news"]));
    RUN.publish(&server, 0..MESSAGES);
    let mut scrape = Scrape::of(metrics);
    eventually("logs swept out", || {
        scrape = Scrape::of(metrics);
        let owed = scrape.sum("deliveries_owed_total", &[]);
        owed == (stalled.len() * MESSAGES) as u64 && scrape.sum("deliveries_queued", &["log"]) == 0
    });
    for shard in ["0", "1"] {
        let of = |name| scrape.sample(name, &[shard]);
        assert!(of("connections_open") > 0, "the kernel spreads a hundred connections over both");
        assert_eq!(of("laggards_total"), of("connections_open"), "shard {shard}");
    }
}

#[test]
fn the_memory_of_laggards_goes_back_with_them() {
    const KEPT_KIB: u64 = 16 * 1024;
    // As many as fit their outboxes.
    const MESSAGES: usize = 100;
    const STALLED: usize = 100;
    let server = Server::start(&[
        "roadcast.shards=1",
        "roadcast.limits.socket_send_bytes=65536",
        "metrics.address=127.0.0.1:0",
    ]);
    let metrics = server.endpoint("metrics");
    let before = server.resident_kib();
    // Again and again: an allocator that has seen large logs go takes the later outboxes from its
    // heaps.
    for round in 1..=4 {
        let mut stalled: Vec<Client> =
            (0..STALLED).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
        stalled.iter_mut().for_each(|client| client.join(&["news"]));
        RUN.publish(&server, 0..MESSAGES);
        // All of it is owed, and nothing of it waits for the sweep any more: the rest is in
        // outboxes.
        let owed = (round * STALLED * MESSAGES) as u64;
        eventually("what does not fit the sockets is in outboxes", || {
            let scrape = Scrape::of(metrics);
            scrape.sum("deliveries_owed_total", &[]) == owed
                && scrape.sum("deliveries_queued", &["log"]) == 0
        });
        stalled.into_iter().for_each(Client::reset);
        eventually(&format!("at most {KEPT_KIB} KiB more than the {before} before"), || {
            server.resident_kib() <= before + KEPT_KIB
        });
    }
    let peak = server.resident_peak_kib();
    assert!(peak > before + 2 * KEPT_KIB, "{before} KiB before, {peak} at most: nobody lagged");
}
