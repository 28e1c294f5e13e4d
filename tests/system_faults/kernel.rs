//! What a shard asks of the kernel, seen from outside: a burst of input, laggards that must cost no
//! threads.

use crate::common::{Client, RawClient, Scrape, Server, eventually, figure, masked, on_epoll};

const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;
const SIGUSR1: i32 = 10;

/// Messages of each client: together some 60 KiB, what a fresh socket holds for its reader.
const MESSAGES: usize = 20;

/// Stopped while everyone sends, the server finds more input at once than it has receive buffers.
#[test]
fn a_burst_of_more_input_than_receive_buffers_is_all_served() {
    let server = Server::start(&[
        "roadcast.shards=1",
        "roadcast.echo_path=/echo",
        "roadcast.ping_interval=0",
        "metrics.address=127.0.0.1:0",
    ]);
    // The kernel hands in some 20 sockets at a time, up to 32 buffers of each: few with much, not
    // many with little.
    let mut clients: Vec<RawClient> =
        (0..100).map(|_| RawClient::connect(server.clients, "/echo")).collect();
    server.signal(SIGSTOP);
    for (number, client) in clients.iter_mut().enumerate() {
        (0..MESSAGES).for_each(|_| client.send(&masked(0x82, &[number as u8; 3000])));
    }
    server.signal(SIGCONT);
    for (number, client) in clients.iter_mut().enumerate() {
        for _ in 0..MESSAGES {
            assert_eq!(client.frame(), Some((0x82, vec![number as u8; 3000])));
        }
    }
    let scrape = || Scrape::of(server.endpoint("metrics"));
    let shortages = scrape().sum("receive_buffer_shortages_total", &[]);
    figure("receive buffers: receives that found none", shortages);
    // On epoll there is one buffer, and what it does not hold stays in the socket.
    let expected = !on_epoll();
    assert_eq!(shortages > 0, expected, "{shortages}: nothing was tested");
    // Whoever found none was served once and for all: the loop sleeps.
    let turns = || scrape().sum("loop_turns_total", &[]);
    eventually("no more turns", || turns() == turns());
}

/// A send that may wait would be handed to a thread of the kernel after some tries, one a laggard.
#[test]
fn laggards_cost_the_kernel_no_threads() {
    let server =
        Server::start(&["roadcast.limits.socket_send_bytes=16384", "roadcast.ping_interval=0"]);
    let mut reader = server.client();
    reader.join(&["news"]);
    let mut stalled: Vec<Client> =
        (0..60).map(|_| Client::connect_narrow(server.clients, 4096)).collect();
    stalled.iter_mut().for_each(|client| client.join(&["news"]));
    let before = server.threads();
    let mut publisher = server.publisher();
    for _ in 0..40 {
        publisher.publish(&["news"], &[b'x'; 10_000]);
        reader.next();
    }
    server.signal(SIGUSR1);
    let said = server.says("counts by now, shard", 2);
    assert!(said.contains("laggards="), "the test has made nobody lag: {said}");
    assert_eq!(server.threads(), before);
}
