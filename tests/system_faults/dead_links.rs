//! Peers that have gone without a word: nothing comes back from them any more, no acknowledgement,
//! no reset.
//!
//! Goal: pings find them, or, if they lag, the deadline of their outbox; their connections end,
//! what they held is free again, and nobody else notices. Method: clients behind a veth pair whose
//! namespace drops all that leaves it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::common::{
    Client, Namespace, Numbered, Received, Scrape, Server, assert_said, eventually, figure, size,
};

const RUN: Numbered = Numbered { messages: usize::MAX, payload_bytes: 500 };

const INTERVAL: Duration = Duration::from_millis(400);
const PONG: Duration = Duration::from_millis(300);

/// Rounding of deadlines up to ticks of 100 ms: of the ping's, and of the pong's.
const TICKS: Duration = Duration::from_millis(400);

fn server(namespace: &Namespace, more: &[&str]) -> Server {
    namespace.server(&[&["metrics.address=127.0.0.1:0"], more].concat())
}

fn client(server: &Server) -> Client {
    let mut client = server.client();
    client.join(&["news"]);
    client
}

/// Publishes to `news`, and has `reader` read each before the next, until `over`. How many there
/// were.
fn traffic(server: &Server, reader: &mut Client, over: &AtomicBool) -> usize {
    let mut publisher = server.publisher();
    let mut number = 0;
    while !over.load(Ordering::Relaxed) {
        publisher.publish(&["news"], &RUN.payload(number));
        assert_eq!(RUN.number(&reader.next()), number);
        number += 1;
        // So little that no dead peer's socket is full before a ping finds it: then its outbox's
        // deadline would govern.
        std::thread::sleep(Duration::from_millis(20));
    }
    number
}

/// After everyone inside has gone: only the reader is left, and of the others nothing.
fn nothing_left(server: &Server, namespace: &Namespace, descriptors: usize) {
    eventually("descriptors given back", || server.descriptors() == descriptors);
    let mut end = Scrape::default();
    eventually("outboxes given back", || {
        end = Scrape::of(server.endpoint("metrics"));
        let left = ["outbox_bytes", "log_bytes", "lane_bytes", "deliveries_queued"];
        end.sum("connections_open", &[]) == 1 && left.iter().all(|name| end.sum(name, &[]) == 0)
    });
    end.check(&Scrape::default());
    // Within moments: what the kernel keeps of a socket that was not reset lives for minutes.
    eventually("the kernel keeps nothing for the dead", || namespace.sockets_kept(server) == 1);
}

/// Ends the server, whose log then tells of `events` events.
fn expect_said(mut server: Server, reader: Client, words: &str, events: usize, begin: Instant) {
    reader.close();
    server.signal(15);
    assert_eq!(server.wait().code(), Some(0));
    assert_said(&server.log(), words, events as u64, 2, begin);
}

#[test]
fn pings_find_peers_that_acknowledge_nothing_and_others_go_on() {
    let Some(namespace) = Namespace::create() else { return };
    let start = Instant::now();
    let keepalive = [
        format!("roadcast.ping_interval={}ms", INTERVAL.as_millis()),
        format!("roadcast.pong_timeout={}ms", PONG.as_millis()),
    ];
    let server = server(&namespace, &[&keepalive[0], &keepalive[1]]);
    let mut reader = client(&server);
    let before = server.descriptors();
    let count = size("ROADCAST_DEAD_PEERS", 20);
    // Some are idle, some are sent publications all the time.
    let mut idle = namespace.clients(
        count,
        |address| Client::connect(address, "/ws").expect("an upgrade"),
        &server,
    );
    let mut busy = namespace.clients(
        count,
        |address| Client::connect(address, "/ws").expect("an upgrade"),
        &server,
    );
    idle.iter_mut().for_each(|client| client.join(&["rare"]));
    busy.iter_mut().for_each(|client| client.join(&["news"]));
    let (over, alive) = (AtomicBool::new(false), AtomicBool::new(true));
    std::thread::scope(|scope| {
        let (shared, over, alive) = (&server, &over, &alive);
        let traffic = scope.spawn(|| traffic(shared, &mut reader, over));
        // As long as they are there they answer pings, which reading does.
        for mut client in idle.into_iter().chain(busy) {
            scope.spawn(move || {
                while let Received::Message(..) = client.next() {}
                // The server's reset does come in.
                assert!(!alive.load(Ordering::Relaxed), "ended although it answers pings");
            });
        }
        let metrics = server.endpoint("metrics");
        let ended = |reason| Scrape::of(metrics).sum("connections_ended_total", &[reason]) as usize;
        let pings = || Scrape::of(metrics).sum("pings_total", &[]) as usize;
        eventually("pings", || pings() > 4 * count);
        assert_eq!((ended("silent"), ended("too_slow")), (0, 0), "all have answered");
        alive.store(false, Ordering::Relaxed);
        namespace.fall_silent();
        let begin = Instant::now();
        eventually("all found", || ended("silent") == 2 * count);
        figure("dead peers: all found silent after", format!("{:?}", begin.elapsed()));
        figure(
            "dead peers: ping interval, pong time, rounding",
            format!("{INTERVAL:?} + {PONG:?} + {TICKS:?}"),
        );
        over.store(true, Ordering::Relaxed);
        let published = traffic.join().expect("the reader gets everything in order");
        figure("dead peers: publications read meanwhile", published);
    });
    nothing_left(&server, &namespace, before);
    expect_said(server, reader, "no sign of life since a ping", 2 * count, start);
}

#[test]
fn a_laggard_behind_a_dead_link_is_ended_by_the_deadline_of_its_outbox() {
    let Some(namespace) = Namespace::create() else { return };
    let start = Instant::now();
    let narrow = "roadcast.limits.socket_send_bytes=16384";
    let deadline = "roadcast.limits.laggard_timeout=1s";
    let server = server(&namespace, &[narrow, deadline, "roadcast.ping_interval=0"]);
    let mut reader = client(&server);
    let before = server.descriptors();
    let count = 4;
    let mut dead =
        namespace.clients(count, |address| Client::connect_narrow(address, 16 * 1024), &server);
    dead.iter_mut().for_each(|client| client.join(&["news"]));
    namespace.fall_silent();
    // More than the kernel holds for each, less than an outbox.
    let large = Numbered { payload_bytes: 50_000, ..RUN };
    large.publish_in_step(&server, 0..10, 1, std::slice::from_mut(&mut reader));
    let begin = Instant::now();
    let scrape = Scrape::of(server.endpoint("metrics"));
    figure("dead link: outbox bytes of 4 laggards", scrape.sum("outbox_bytes", &[]));
    let ended = |reason| {
        Scrape::of(server.endpoint("metrics")).sum("connections_ended_total", &[reason]) as usize
    };
    eventually("all given up", || ended("too_slow") == count);
    figure(
        "dead link: laggards given up after (laggard_timeout 1 s)",
        format!("{:?}", begin.elapsed()),
    );
    // A shard shows what became of deliveries at the end of its turn, the reason at once.
    eventually("what waited for them counted", || {
        let end = Scrape::of(server.endpoint("metrics"));
        end.sum("deliveries_dropped_total", &["too_slow"]) > 0
    });
    nothing_left(&server, &namespace, before);
    large.publish_in_step(&server, 10..20, 1, std::slice::from_mut(&mut reader));
    expect_said(server, reader, "laggard_timeout", count, start);
    drop(dead);
}
