//! Connections that come and end abruptly, thousands a second, with traffic going on.
//!
//! Goal: nothing of them stays (descriptors, connections, topics, queued bytes, memory), every
//! delivery is accounted for, and whoever stays gets everything in order. Method: clients that
//! reset, half-close or vanish at every stage of a connection's life, at random, from many
//! addresses of loopback, as fast as they can, next to subscribers that read.
//!
//! `ROADCAST_CHURN` sets how many come in each of the two rounds; `ROADCAST_SEED` repeats what they
//! do.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{
    Client, Numbered, PATIENCE, Received, Scrape, Server, eventually, figure, masked, seed, size,
    upgrade_request,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use socket2::{Domain, SockRef, Socket, Type};

const RUN: Numbered = Numbered { messages: usize::MAX, payload_bytes: 200 };

/// Publications at a time; the readers have read them before the next.
const BATCH: usize = 32;

/// What resident memory may grow from one round to the next, the same again: what an allocator
/// keeps here and there.
const GROWTH_KIB: u64 = 2_048;

/// What is on the way in when a connection ends.
const STAGES: usize = 6;

/// From an address of its own: a port that has been used waits for a minute, and each address has
/// some 28,000.
fn connect(rng: &mut StdRng, address: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = Ipv4Addr::new(
        127,
        rng.random_range(1..=250),
        rng.random_range(0..=250),
        rng.random_range(1..=250),
    );
    socket.bind(&SocketAddr::from((from, 0)).into())?;
    socket.connect(&address.into())?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket.into())
}

/// One connection's life. Errors are the server's right: it may have ended the connection first.
fn come_and_end(rng: &mut StdRng, address: SocketAddr) -> io::Result<()> {
    let mut stream = connect(rng, address)?;
    let request = upgrade_request("/ws", &[]);
    let own = format!("own-{}", rng.random_range(0..1_000));
    let join = masked(
        0x81,
        format!("{{\"command\":\"join\",\"topics\":[\"news\",\"{own}\"]}}").as_bytes(),
    );
    let stage = rng.random_range(0..STAGES);
    let sent: Vec<u8> = match stage {
        0 => Vec::new(),
        1 => request.as_bytes()[..request.len() / 2].to_vec(),
        2 => request.clone().into_bytes(),
        3 => [request.as_bytes(), &join[..join.len() / 2]].concat(),
        _ => [request.as_bytes(), &join].concat(),
    };
    stream.write_all(&sent)?;
    if stage == STAGES - 1 {
        // Past the answer to the upgrade and the reply, somewhere into the publications.
        stream.read_exact(&mut [0; 400])?;
    }
    match rng.random_range(0..3) {
        0 => SockRef::from(&stream).set_linger(Some(Duration::ZERO)),
        1 => {
            stream.shutdown(std::net::Shutdown::Write)?;
            io::copy(&mut stream, &mut io::sink()).map(drop)
        }
        _ => Ok(()),
    }
}

/// Publishes until told that it is over; each batch is read by all before the next.
fn traffic(server: &Server, readers: &mut [Client], first: usize, over: &AtomicBool) -> usize {
    let mut next = first;
    let mut publisher = server.publisher();
    while !over.load(Ordering::Relaxed) {
        let batch = next..next + BATCH;
        publisher
            .publish_all(16, batch.clone().map(|number| ("news".to_owned(), RUN.payload(number))));
        readers.iter_mut().for_each(|client| RUN.read(client, batch.clone()));
        next += BATCH;
    }
    next
}

/// What must be as before once everyone who came has gone.
#[derive(Debug, PartialEq, Eq)]
struct Held {
    descriptors: usize,
    gauges: Vec<(&'static str, u64)>,
}

fn held(server: &Server) -> Held {
    let scrape = Scrape::of(server.endpoint("metrics"));
    scrape.check(&Scrape::default());
    let names = [
        "connections_open",
        "topics",
        "topics_active",
        "deliveries_queued",
        "outbox_bytes",
        "log_bytes",
        "parked_bytes",
        "lane_entries",
        "lane_bytes",
    ];
    let gauges = names.map(|name| (name, scrape.sum(name, &[]))).to_vec();
    // The scrape's own connection, and that of the one before, may be open by now or not.
    Held { descriptors: server.descriptors(), gauges }
}

#[test]
fn abrupt_ends_leave_nothing_behind_and_nobody_else_notices() {
    let server = Server::start(&["metrics.address=127.0.0.1:0", "roadcast.ping_interval=0"]);
    let (seed, count) = (seed(), size("ROADCAST_CHURN", 2_000));
    let mut readers: Vec<Client> = (0..4).map(|_| server.client()).collect();
    readers.iter_mut().for_each(|client| client.join(&["news"]));
    let before = held(&server);
    let (mut published, mut resident) = (0, Vec::new());
    for round in 0..2 {
        let (come, over) = (AtomicUsize::new(0), AtomicBool::new(false));
        let begin = Instant::now();
        published = std::thread::scope(|scope| {
            let (server, come, over) = (&server, &come, &over);
            let churning: Vec<_> = (0..8)
                .map(|thread| {
                    scope.spawn(move || {
                        let mut rng = StdRng::seed_from_u64(seed ^ (round << 32 | thread));
                        while come.fetch_add(1, Ordering::Relaxed) < count {
                            let _ = come_and_end(&mut rng, server.clients);
                        }
                    })
                })
                .collect();
            let readers = &mut readers;
            let traffic = scope.spawn(move || traffic(server, readers, published, over));
            let failed = churning.into_iter().filter_map(|thread| thread.join().err()).count();
            over.store(true, Ordering::Relaxed);
            assert_eq!(failed, 0);
            traffic.join().expect("order and completeness for those who stay")
        });
        let rate = count as f64 / begin.elapsed().as_secs_f64();
        figure("churn: connections ended abruptly", count);
        figure("churn: connections a second", format!("{rate:.0}"));
        figure("churn: publications delivered meanwhile to each of 4 readers", published);
        eventually("everything as before", || held(&server) == before);
        resident.push(server.resident_kib());
    }
    figure(
        "churn: descriptors before and after",
        format!("{} and {}", before.descriptors, server.descriptors()),
    );
    figure("churn: resident KiB after each round", format!("{resident:?}"));
    assert!(resident[1] <= resident[0] + GROWTH_KIB, "memory grows: {resident:?} KiB");
    let end = Scrape::of(server.endpoint("metrics"));
    assert!(
        end.sum("connections_accepted_total", &[]) >= count as u64,
        "the test has brought nobody"
    );
    let dropped = |reason| end.sum("deliveries_dropped_total", &[reason]);
    assert!(dropped("gone") > 0, "nobody had anything queued");
    assert_eq!(
        (dropped("overflow"), dropped("too_slow"), dropped("silent"), dropped("shutdown")),
        (0, 0, 0, 0)
    );
    // Still served, all of them.
    server.publisher().publish(&["news"], &RUN.payload(published));
    for client in &mut readers {
        assert_eq!(RUN.number(&client.next()), published);
        assert!(client.command("leave", &["news"]));
        assert!(matches!(client.next(), Received::Reply(..)));
    }
    readers.into_iter().for_each(Client::close);
}
