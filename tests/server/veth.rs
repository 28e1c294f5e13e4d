//! Laggards and order over a veth pair with an MTU of 1500, clients in a network namespace of their
//! own.
//!
//! Loopback takes megabytes at once; a real network takes what its window allows, so short sends,
//! which are rare there, happen with every large message here. Needs root and iproute2; without
//! them the tests are skipped.

use std::thread;

use crate::common::{Client, Namespace, Numbered, Received};

/// Larger than what a fresh socket takes at once over this link (78 KiB measured), smaller than a
/// publication's bound.
const RUN: Numbered = Numbered { messages: 400, payload_bytes: 100 * 1024 };

#[test]
fn every_reader_gets_everything_in_order_although_sends_are_short() {
    let Some(namespace) = Namespace::create() else { return };
    let server = namespace.server(&[
        "roadcast.limits.outbox_bytes=67108864",
        "roadcast.limits.lane_bytes=67108864",
        "roadcast.limits.outboxes_bytes=1073741824",
        "roadcast.limits.laggard_timeout=10m",
        "roadcast.ping_interval=0",
    ]);
    // Half of them with a small window, so that they fall behind and come back again and again.
    let mut readers = namespace.clients(
        4,
        |address| Client::connect(address, "/ws").expect("an upgrade"),
        &server,
    );
    readers.extend(namespace.clients(
        4,
        |address| Client::connect_narrow(address, 32 * 1024),
        &server,
    ));
    readers.iter_mut().for_each(|client| client.join(&["news"]));
    thread::scope(|scope| {
        for client in &mut readers {
            scope.spawn(|| {
                RUN.read(client, 0..RUN.messages);
                client.leave(&["news"]);
            });
        }
        RUN.publish(&server, 0..RUN.messages);
    });
    readers.into_iter().for_each(Client::close);
}

#[test]
fn one_that_does_not_read_gets_a_prefix_and_the_others_everything() {
    let Some(namespace) = Namespace::create() else { return };
    let server = namespace.server(&[
        "roadcast.limits.publication_bytes=131072",
        "roadcast.limits.outbox_bytes=8388608",
        "roadcast.limits.lane_bytes=8388608",
        "roadcast.limits.socket_send_bytes=65536",
    ]);
    let mut readers = namespace.clients(
        4,
        |address| Client::connect(address, "/ws").expect("an upgrade"),
        &server,
    );
    let mut stalled =
        namespace.clients(2, |address| Client::connect_narrow(address, 16 * 1024), &server);
    readers.iter_mut().chain(&mut stalled).for_each(|client| client.join(&["news"]));
    RUN.publish_in_step(&server, 0..RUN.messages, 16, &mut readers);
    for client in &mut stalled {
        let (count, end) = RUN.read_prefix(client);
        assert!(
            matches!(end, Received::Close(1013) | Received::End),
            "{end:?} after {count} messages"
        );
        assert!(count < RUN.messages, "it was given everything: the test has not made it lag");
    }
    readers.into_iter().for_each(Client::close);
}
