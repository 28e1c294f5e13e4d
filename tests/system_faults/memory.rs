//! Memory limits that the kernel holds the server to: of its process, and of its sockets.
//!
//! Goal: within the documented bounds the server stays below its limit whatever clients and
//! publishers do; where the kernel has no memory for sockets, nothing spins, nothing is lost, and
//! the log says so once in a while. Method: control groups.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::common::{
    Client, Group, Numbered, PROTO, Received, Scrape, Server, eventually, figure, messages, size,
};

const RUN: Numbered = Numbered { messages: 100, payload_bytes: 16 * 1024 };

fn stalled(server: &Server, count: usize) -> Vec<Client> {
    let mut clients: Vec<Client> =
        (0..count).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
    clients.iter_mut().for_each(|client| client.join(&["news"]));
    clients
}

#[test]
fn without_memory_for_sockets_nothing_spins_and_everyone_gets_everything_in_the_end() {
    let limit = 1 << 20;
    let Some(group) = Group::create(&[("memory.kmem.tcp.limit_in_bytes", limit)]) else { return };
    let server = group.server(&[
        "metrics.address=127.0.0.1:0",
        "roadcast.shards=1",
        "roadcast.ping_interval=0",
        "roadcast.limits.laggard_timeout=10m",
        "roadcast.limits.outbox_bytes=8388608",
    ]);
    let metrics = server.endpoint("metrics");
    let mut reader = [server.client()];
    reader[0].join(&["news"]);
    let mut stalled = stalled(&server, 40);
    RUN.publish_in_step(&server, 0..RUN.messages, 1, &mut reader);
    let denied = || Scrape::of(metrics).sum("room_denied_total", &[]);
    eventually("room that is promised and denied", || denied() > 0);
    assert!(group.number("memory.kmem.tcp.max_usage_in_bytes") >= limit, "there was memory enough");

    // Nobody reads: each is tried again and again, but not as fast as the CPU allows.
    let cpu = || server.thread("shard-0").cpu_time();
    let (before, begin, tries) = (cpu(), Instant::now(), denied());
    eventually("some more tries", || {
        begin.elapsed() > Duration::from_secs(1) && denied() > tries + 1_000
    });
    let (cpu, elapsed, tries) = (cpu() - before, begin.elapsed(), denied() - tries);
    figure(
        "no memory for sockets: CPU of the shard",
        format!("{cpu:.0?} in {elapsed:.1?}, {tries} tries"),
    );
    assert!(cpu < elapsed / 2, "it spins: {cpu:?} in {elapsed:?}");
    let said = server
        .log()
        .lines()
        .filter(|line| line.contains("no memory for what clients are sent"))
        .count();
    assert!((1..20).contains(&said), "{said} lines of more than 1,000 tries");
    figure("no memory for sockets: lines in the log", said);

    // Publishing goes on, and they read: nothing is missing.
    RUN.publish_in_step(&server, RUN.messages..RUN.messages + 5, 1, &mut reader);
    std::thread::scope(|scope| {
        for client in &mut stalled {
            scope.spawn(|| RUN.read(client, 0..RUN.messages + 5));
        }
    });
    let end = Scrape::of(metrics);
    end.check(&Scrape::default());
    assert_eq!(end.sum("deliveries_dropped_total", &[]), 0);
    stalled.into_iter().chain(reader).for_each(Client::close);
}

/// Each client joins as many topics of its own as it may, with the longest names: more than there
/// is memory for.
#[test]
fn topics_of_many_long_names_stay_within_their_bound_and_their_memory_goes_back() {
    let limit = 64 << 20;
    let Some(group) = Group::create(&[("memory.limit_in_bytes", limit)]) else { return };
    let server = group.server(&[
        "metrics.address=127.0.0.1:0",
        "roadcast.shards=1",
        // One client reads nothing while the others come and go.
        "roadcast.ping_interval=0s",
        "roadcast.limits.subscriptions_bytes=24MiB",
        "roadcast.limits.subscriptions_bytes_per_connection=4MiB",
    ]);
    let scrape = || Scrape::of(server.endpoint("metrics"));
    let mut own = server.client();
    own.join(&["before"]);
    let before = group.number("memory.usage_in_bytes");
    let mut clients = Vec::new();
    for number in 0..40 {
        let mut client = server.client();
        for first in (0..10_000).step_by(60) {
            let names: Vec<String> = (first..first + 60)
                .map(|n| format!("{:x<1024}", format!("{number}.{n}.")))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            client.send(&serde_json::json!({ "command": "join", "topics": names }).to_string());
            match client.next() {
                Received::Reply(kind, _) if kind == "@join" => {}
                Received::Reply(kind, _) if kind == "#join" => break,
                other => panic!("{other:?}"),
            }
        }
        clients.push(client);
    }
    let full = scrape();
    let charged = full.sum("subscriptions_bytes", &[]);
    let bound = 24 << 20;
    assert!(charged <= bound && charged > bound - (1 << 20), "{charged} of {bound} bytes");
    assert!(full.sum("joins_refused_total", &[]) >= 40);
    server.says("roadcast.limits.subscriptions_bytes_per_connection", 1);
    server.says("the shard would be over roadcast.limits.subscriptions_bytes", 1);
    let most = group.number("memory.max_usage_in_bytes");
    figure(
        "topics at their bound: most used, and the limit, in MiB",
        format!("{} of {}", most >> 20, limit >> 20),
    );
    assert_eq!(group.number("memory.oom_control"), 0, "the kernel has killed it");

    server.publisher().publish(&["before"], b"x");
    own.expect("before", "x");
    clients.into_iter().for_each(Client::close);
    eventually("one topic", || scrape().sum("topics", &[]) == 1);
    assert!(scrape().sum("subscriptions_bytes", &[]) < 2_000);
    let kept = || group.number("memory.usage_in_bytes").saturating_sub(before);
    eventually("memory that goes back", || kept() < 4 << 20);
    figure("topics that are gone: memory kept, in KiB", kept() >> 10);
    own.join(&["after"]);
}

#[test]
fn within_its_bounds_the_server_stays_below_its_memory_limit_under_overload() {
    let limit = 160 << 20;
    let Some(group) = Group::create(&[("memory.limit_in_bytes", limit)]) else { return };
    // docs/configuration.md says how these add up: some 35 MiB, with two shards; in buffers that
    // double, and an allocator.
    let server = group.server(&[
        "metrics.address=127.0.0.1:0",
        "roadcast.limits.publication_bytes=65536",
        "roadcast.limits.outbox_bytes=1048576",
        "roadcast.limits.outboxes_bytes=8388608",
        "roadcast.limits.log_bytes=4194304",
        "roadcast.limits.lane_bytes=4194304",
        "roadcast.limits.rpc_connections=9",
        "roadcast.limits.rpc_frame_bytes=262144",
        "roadcast.limits.socket_send_bytes=65536",
        "roadcast.ping_interval=0",
    ]);
    let mut reader = [server.client()];
    reader[0].join(&["own"]);
    let count = size("ROADCAST_OVERLOAD", 2_000);
    let large = Numbered { messages: usize::MAX, payload_bytes: 60_000 };
    // All that publishers can do at once, for subscribers that do not read and come again when they
    // are closed.
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (server, calls) = (&server, &calls);
        for _ in 0..2 {
            scope.spawn(move || {
                let all = count / 8 * 8;
                while calls.load(Ordering::Relaxed) < all {
                    let (clients, begin) = (stalled(server, 20), calls.load(Ordering::Relaxed));
                    eventually("some calls", || {
                        calls.load(Ordering::Relaxed) >= all.min(begin + 200)
                    });
                    drop(clients);
                }
            });
        }
        for _ in 0..8 {
            scope.spawn(move || {
                let mut publisher = server.publisher();
                let body =
                    messages(&[(&["news"], &large.payload(0)), (&["news"], &large.payload(1))]);
                for number in 0..count / 8 {
                    let method = ["broadcast.Publish", "broadcast.PublishAsync"][number % 2];
                    assert!(publisher.ask(method, PROTO, &body).is_ok());
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let mut publisher = server.publisher();
        for number in 0..count {
            publisher.publish(&["own"], number.to_string().as_bytes());
            reader[0].expect("own", &number.to_string());
        }
    });
    let most = group.number("memory.max_usage_in_bytes");
    figure(
        "memory limit: most used, and the limit, in MiB",
        format!("{} of {}", most >> 20, limit >> 20),
    );
    assert_eq!(group.number("memory.oom_control"), 0, "the kernel has killed it");
    let end = Scrape::of(server.endpoint("metrics"));
    end.check(&Scrape::default());
    assert!(end.sum("laggards_total", &[]) > 0, "nobody lagged");
    assert!(most < limit);
    reader.into_iter().for_each(Client::close);
}

#[test]
fn by_default_readers_that_stand_still_do_not_get_a_small_container_killed() {
    let limit = 512 << 20;
    let Some(group) = Group::create(&[("memory.limit_in_bytes", limit)]) else { return };
    let server = group.server(&["metrics.address=127.0.0.1:0"]);
    let mut reader = [server.client()];
    reader[0].join(&["news"]);
    let stalled = stalled(&server, 300);
    let run = Numbered { messages: 80, payload_bytes: 50_000 };
    run.publish_in_step(&server, 0..run.messages, 1, &mut reader);
    let most = group.number("memory.max_usage_in_bytes");
    figure(
        "default limits: most used, and the limit, in MiB",
        format!("{} of {}", most >> 20, limit >> 20),
    );
    assert_eq!(group.number("memory.oom_control"), 0, "the kernel has killed it");
    assert!(most < limit);
    let end = Scrape::of(server.endpoint("metrics"));
    assert!(end.sum("overflows_total", &[]) > 0, "nobody met a bound");
    drop(stalled);
    reader.into_iter().for_each(Client::close);
}
