//! One thread of the server stands still for two seconds, under traffic: a shard, or the hub.
//!
//! Goal: the others go on, publishers wait instead of losing, health tells of it, and afterwards
//! everything arrives, in order. Method: ptrace holds that thread alone, wherever it happens to be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{
    Client, Numbered, PROTO, Received, Scrape, Server, Stopped, eventually, figure, get, messages,
    size,
};

const RUN: Numbered = Numbered { messages: 2_000, payload_bytes: 200 };

/// Calls in flight of the publisher that floods.
const WINDOW: usize = 16;

fn server(lane_entries: usize) -> Server {
    let lane = format!("roadcast.limits.lane_entries={lane_entries}");
    Server::start(&["metrics.address=127.0.0.1:0", "status.address=127.0.0.1:0", &lane])
}

/// A client on a shard: the kernel spreads them, so it is tried until one lands there.
fn client_on(server: &Server, shard: &str) -> Client {
    let metrics = server.endpoint("metrics");
    let open = || Scrape::of(metrics).sample("connections_accepted_total", &[shard]);
    for _ in 0..1_000 {
        let before = open();
        let client = server.client();
        if open() > before {
            return client;
        }
    }
    panic!("no connection lands on shard {shard}");
}

/// Waits until the stall has lasted for as long as the test asks for, two seconds unless told
/// otherwise.
fn last(stopped: &Stopped) {
    let whole = Duration::from_millis(size("ROADCAST_STALL_MS", 2_000) as u64);
    std::thread::sleep(whole.saturating_sub(stopped.since.elapsed()));
}

const SIGTERM: i32 = 15;

/// Nothing was dropped, for whatever reason, and every delivery is accounted for.
fn nothing_lost(server: &Server) {
    let end = Scrape::of(server.endpoint("metrics"));
    end.check(&Scrape::default());
    assert_eq!(end.sum("deliveries_dropped_total", &[]), 0);
    assert_eq!(end.sum("overflows_total", &[]), 0);
    assert_eq!(end.sum("publications_lost_after_ok_total", &[]), 0);
}

#[test]
fn while_a_shard_stands_still_the_others_go_on_and_it_is_not_ready() {
    let server = server(4096);
    let status = server.endpoint("status");
    let (mut held, mut free) = (client_on(&server, "0"), client_on(&server, "1"));
    held.join(&["news"]);
    free.join(&["news"]);
    RUN.publish(&server, 0..100);
    RUN.read(&mut held, 0..100);
    RUN.read(&mut free, 0..100);

    let Some(stopped) = server.thread("shard-0").stop() else { return };
    // The lane to the one that stands still has room for all of these.
    RUN.publish(&server, 100..RUN.messages);
    RUN.read(&mut free, 100..RUN.messages);
    eventually("not ready", || get(status, "/ready") == 503);
    assert_eq!(get(status, "/health"), 200, "a second is no reason to kill it");
    last(&stopped);
    drop(stopped);

    RUN.read(&mut held, 100..RUN.messages);
    eventually("ready again", || get(status, "/ready") == 200);
    nothing_lost(&server);
    held.close();
    free.close();
}

#[test]
fn a_shard_that_stands_still_with_its_lane_full_makes_publishers_wait_and_none_loses() {
    let server = server(64);
    let (mut held, mut free) = (client_on(&server, "0"), client_on(&server, "1"));
    held.join(&["news"]);
    free.join(&["news", "own"]);
    let metrics = server.endpoint("metrics");
    let Some(stopped) = server.thread("shard-0").stop() else { return };
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (server, counted) = (&server, &answered);
        let flood = scope.spawn(move || {
            let mut publisher = server.publisher();
            for number in 0..RUN.messages + WINDOW {
                if number < RUN.messages {
                    let body = messages(&[(&["news"], &RUN.payload(number))]);
                    publisher.call("broadcast.Publish", PROTO, &body).expect("the server reads");
                }
                if number >= WINDOW {
                    let answer = publisher.answer().expect("the server answers");
                    assert!(answer.is_ok(), "{answer:?}");
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        let stalls = || Scrape::of(metrics).sum("lane_stalls_total", &[]);
        eventually("a full lane", || stalls() > 0);
        // What has been pushed reaches the others all the same, and whoever publishes to them alone
        // does not wait.
        let pushed = Scrape::of(metrics).sample("lane_entries", &["0"]) as usize;
        RUN.read(&mut free, 0..pushed);
        let mut publisher = server.publisher();
        for number in 0..100 {
            publisher.publish(&["own"], number.to_string().as_bytes());
            free.expect("own", &number.to_string());
        }
        let hub = server.thread("hub");
        let (cpu, waited) = (hub.cpu_time(), stopped.since.elapsed());
        last(&stopped);
        let (cpu, waited) = (hub.cpu_time() - cpu, stopped.since.elapsed() - waited);
        figure(
            "full lane: CPU of the hub while a publisher waits",
            format!("{cpu:?} of {waited:?}"),
        );
        assert!(cpu < waited / 4, "it spins: {cpu:?} of {waited:?}");
        assert!(answered.load(Ordering::Relaxed) <= pushed, "told ok before it was on every queue");
        assert!(!flood.is_finished());
        drop(stopped);
        RUN.read(&mut free, pushed..RUN.messages);
        RUN.read(&mut held, 0..RUN.messages);
        flood.join().expect("every call is answered ok");
    });
    assert_eq!(answered.into_inner(), RUN.messages);
    nothing_lost(&server);
    held.close();
    free.close();
}

#[test]
fn while_the_hub_stands_still_shards_serve_on_and_publishers_wait() {
    let server = server(4096);
    let status = server.endpoint("status");
    let (mut one, mut other) = (client_on(&server, "0"), client_on(&server, "1"));
    one.join(&["news"]);
    other.join(&["news"]);
    RUN.publish(&server, 0..100);
    let Some(stopped) = server.thread("hub").stop() else { return };
    let answered = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (server, counted) = (&server, &answered);
        let flood = scope.spawn(move || {
            let mut publisher = server.publisher();
            for number in 100..RUN.messages {
                publisher.publish(&["news"], &RUN.payload(number));
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        // What it had pushed before; then what needs no hub: a topic that the shard has, and new
        // connections.
        RUN.read(&mut one, 0..100);
        RUN.read(&mut other, 0..100);
        let mut late = server.client();
        late.join(&["news"]);
        // A topic that no shard has waits for the hub, alone.
        assert!(late.command("join", &["new"]));
        eventually("not ready", || get(status, "/ready") == 503);
        assert_eq!(get(status, "/health"), 200);
        last(&stopped);
        assert_eq!(answered.load(Ordering::Relaxed), 0, "nobody has taken anything");
        drop(stopped);
        RUN.read(&mut one, 100..RUN.messages);
        RUN.read(&mut other, 100..RUN.messages);
        flood.join().expect("every call is answered ok");
        // Where among the publications of another topic the reply comes is not promised.
        let replies: Vec<Received> = (100..=RUN.messages).map(|_| late.next()).collect();
        let joined = Received::Reply("@join".to_owned(), vec!["new".to_owned()]);
        assert!(replies.contains(&joined));
        late.close();
    });
    eventually("ready again", || get(status, "/ready") == 200);
    nothing_lost(&server);
    one.close();
    other.close();
}

#[test]
fn a_thread_that_does_not_end_is_named_and_ended_with_the_process() {
    for name in ["shard-0", "hub"] {
        let mut server = Server::start(&["roadcast.shutdown_grace=200ms"]);
        let Some(stopped) = server.thread(name).stop() else { return };
        server.signal(SIGTERM);
        let line = server.says("still running", 1);
        assert!(line.contains(name) && line.contains("roadcast.shutdown_grace"), "{line}");
        drop(stopped);
        assert_eq!(server.wait().code(), Some(1), "{name}");
    }
}

/// Its last entry waits for room in the lane until the hub has gone, and never comes.
#[test]
fn a_shard_that_outlives_the_hub_ends_all_the_same() {
    let mut server = Server::start(&[
        "metrics.address=127.0.0.1:0",
        "roadcast.limits.lane_entries=16",
        "roadcast.shutdown_grace=1s",
    ]);
    let mut held = client_on(&server, "0");
    held.join(&["news"]);
    let Some(stopped) = server.thread("shard-0").stop() else { return };
    server
        .publisher()
        .publish_all(1, (0..16).map(|number| ("news".to_owned(), RUN.payload(number))));
    server.signal(SIGTERM);
    eventually("the end of the hub", || !server.has_thread("hub"));
    drop(stopped);
    // Whether it is before or behind the watchdog depends on the machine; without its hub's word it
    // never was.
    assert!(server.wait().code().is_some());
}
