//! Servers that end, stand still, are about to end or find us too slow.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::server::{Nats, node};
use super::{expect_next, gaps, publish, publish_when_up};
use crate::common::cli::{Subscriber, expect_failure, run};
use crate::common::{PROTO, Server, eventually, messages};
use crate::fault::Fault;
use crate::plain::Plain;
use crate::servers::free_port;

/// A fault of that NATS, at which others publish as well.
fn fault<'a>(server: &'a Server, nats: &Nats) -> Fault<'a> {
    Fault::of(server, "bus", "watched", Some(Plain::nats(&nats.server)))
}

#[test]
fn a_crash_of_the_server_leaves_a_gap_that_is_counted_and_all_comes_back() {
    let Some(mut nats) = Nats::start("") else { return };
    let server = node(&nats.address(), &[], &[]);
    let (mut browser, mut publisher) = (server.client(), server.publisher());
    browser.join(&["a", "b"]);
    publisher.publish(&["a"], b"before");
    browser.expect("a", "before");
    let mut subscriber = Subscriber::joined(&["a", "--gaps", "--url", &server.url()]);
    let fault = fault(&server, &nats);
    nats.server.kill();
    fault.is_away();
    server.says("broker is down", 1);
    let error = publish(&mut publisher, "a", b"while down").unwrap_err();
    let address = nats.address();
    assert!(error.starts_with(&format!("broker \"bus\" (nats at {address}) is down")), "{error}");
    assert!(error.ends_with("nothing was published"), "{error}");
    // A join waits for the broker, a leave for nobody.
    browser.leave(&["b"]);
    browser.command("join", &["c"]);
    nats.server.start_again();
    let since = Instant::now();
    browser.expect_reply("@join", &["c"]);
    publish_when_up(&mut publisher, "c", b"after");
    browser.expect("c", "after");
    let mut plain = nats.client();
    plain.publish("a", b"all is well");
    expect_next(&mut browser, "a", "all is well");
    assert_eq!(subscriber.line(), "@gap a: messages may be missing here\n");
    assert_eq!(subscriber.line(), "a all is well\n");
    // Of `a` and `watched`: `b` was left meanwhile, `c` not there yet.
    fault.ends("NATS: kill -9, started again", since, 2..=2);
}

#[test]
fn who_joins_while_the_broker_is_away_waits_for_so_long_and_is_refused_then() {
    let Some(mut nats) = Nats::start("") else { return };
    let server = node(&nats.address(), &[], &["roadcast.broker_wait=300ms"]);
    let mut browser = server.client();
    browser.join(&["a"]);
    nats.server.kill();
    server.says("broker is down", 1);
    browser.command("join", &["b"]);
    browser.expect_reply("#join", &["b"]);
    let output = run(&["subscribe", "b", "--url", &server.url()], b"");
    expect_failure(&output, &["refused to join b: a limit", "broker that is away", "brokers`"]);
    nats.server.start_again();
    let mut publisher = server.publisher();
    publish_when_up(&mut publisher, "a", b"after");
    expect_next(&mut browser, "a", "after");
    browser.join(&["b"]);
    publisher.publish(&["b"], b"after");
    browser.expect("b", "after");
}

#[test]
fn what_the_buffer_holds_is_published_when_the_server_is_back() {
    let Some(mut nats) = Nats::start("") else { return };
    let more = ["roadcast.broker_buffer=64KiB", "roadcast.broker_wait=30s"];
    let server = node(&nats.address(), &[], &more);
    nats.server.kill();
    server.says("broker is down", 1);
    let mut publisher = server.publisher();
    for count in 0..10_u8 {
        let body = messages(&[(&["a"], &[b'0' + count])]);
        publisher.call("broadcast.Publish", PROTO, &body).unwrap();
    }
    // More than the buffer takes.
    let error = publish(&mut server.publisher(), "a", &[b'x'; 70_000]).unwrap_err();
    assert!(error.contains("is down"), "{error}");
    nats.server.start_again();
    for _ in 0..10 {
        assert!(publisher.answer().unwrap().is_ok());
    }
}

#[test]
fn a_server_that_stands_still_is_given_up_and_taken_back() {
    let Some(nats) = Nats::start("") else { return };
    let server = node(&nats.address(), &[], &[]);
    let (mut browser, mut publisher) = (server.client(), server.publisher());
    browser.join(&["a"]);
    let fault = fault(&server, &nats);
    nats.server.signal(Signal::STOP);
    let stopped = Instant::now();
    // Its threads stop one after the other.
    let mut error = None;
    eventually("a server that stands still", || {
        error = publish(&mut publisher, "a", b"in doubt").err();
        error.is_some()
    });
    let error = error.unwrap();
    assert!(error.contains("no answer within 3s"), "{error}");
    assert!(error.contains("may or may not have been published"), "{error}");
    fault.is_away();
    // Both connections are given up by then.
    std::thread::sleep(Duration::from_secs(5).saturating_sub(stopped.elapsed()));
    server.says("broker is down", 1);
    nats.server.signal(Signal::CONT);
    let since = Instant::now();
    publish_when_up(&mut publisher, "a", b"after");
    expect_next(&mut browser, "a", "after");
    fault.ends("NATS: SIGSTOP for 5 s", since, 2..=2);
}

#[test]
fn a_lame_duck_is_left_for_another_server_of_its_cluster() {
    let (cluster, other) = (free_port(), free_port());
    let lines = |own: u16, routes: &[u16]| {
        let routes: Vec<_> = routes.iter().map(|to| format!("nats://127.0.0.1:{to}")).collect();
        format!(
            "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"15s\"\n\
             cluster {{ name: c, listen: \"127.0.0.1:{own}\", routes: [{}] }}",
            routes.join(", ")
        )
    };
    let Some(one) = Nats::start(&lines(cluster, &[])) else { return };
    let Some(two) = Nats::start(&lines(other, &[cluster])) else { return };
    // The other is learnt from the first.
    let server = node(&one.address(), &[], &[]);
    let (mut browser, mut publisher) = (server.client(), server.publisher());
    browser.join(&["a"]);
    // The cluster has come together.
    let mut plain = two.client();
    eventually("a message from one server to the other", || {
        plain.publish("a", b"across");
        plain.flush();
        browser.send_message(tungstenite::Message::Ping(b"".to_vec().into()));
        browser.next_or_pong().is_some()
    });
    // The other program stays with the server that it knows until that has ended.
    let fault = Fault::of(&server, "bus", "watched", None);
    one.lame_duck();
    eventually("the gaps", || gaps(&server) == 2);
    let since = Instant::now();
    publish_when_up(&mut publisher, "a", b"after");
    expect_next(&mut browser, "a", "after");
    drop(one);
    publish_when_up(&mut publisher, "a", b"without it");
    expect_next(&mut browser, "a", "without it");
    fault.ends("NATS: lame duck, another server of the cluster", since, 2..=2);
    let log = server.log();
    assert!(log.contains("lame duck"), "{log}");
}

#[test]
fn a_server_that_is_away_is_replaced_by_the_next_address() {
    let Some(one) = Nats::start("") else { return };
    let Some(two) = Nats::start("") else { return };
    let addrs = format!("127.0.0.1:{},{},{}", free_port(), one.address(), two.address());
    let server = node(&addrs, &[], &[]);
    let (mut browser, mut publisher) = (server.client(), server.publisher());
    browser.join(&["a"]);
    publisher.publish(&["a"], b"one");
    browser.expect("a", "one");
    let fault = Fault::of(&server, "bus", "watched", None);
    drop(one);
    let since = Instant::now();
    eventually("the gaps", || gaps(&server) == 2);
    publish_when_up(&mut publisher, "a", b"two");
    expect_next(&mut browser, "a", "two");
    fault.ends("NATS: killed, the next address serves", since, 2..=2);
}

#[test]
fn a_node_that_is_too_slow_for_the_server_has_a_gap() {
    let Some(nats) = Nats::start("max_payload: 60000\nmax_pending: 65536\nwrite_deadline: \"1s\"")
    else {
        return;
    };
    let server = node(&nats.address(), &[], &[]);
    let mut browser = server.client();
    browser.join(&["a"]);
    let fault = fault(&server, &nats);
    server.signal(Signal::STOP.as_raw());
    let mut plain = nats.client();
    for _ in 0..500 {
        plain.publish("a", &[b'x'; 50_000]);
    }
    plain.flush();
    server.signal(Signal::CONT.as_raw());
    let since = Instant::now();
    eventually("the gaps", || gaps(&server) == 2);
    let mut publisher = server.publisher();
    publish_when_up(&mut publisher, "a", b"after");
    expect_next(&mut browser, "a", "after");
    fault.ends("NATS: slow consumer", since, 2..=2);
}

#[test]
fn a_server_that_is_away_at_the_start_is_waited_for() {
    let Some(mut nats) = Nats::start("") else { return };
    nats.server.kill();
    let mut server = node(&nats.address(), &[], &["roadcast.broker_wait=1m"]);
    server.says("broker is down", 1);
    let printed = server.printed.last().unwrap();
    assert!(printed.starts_with("serving, but not ready: broker bus has been down for "));
    assert!(printed.ends_with("s: connection refused"), "{printed}");
    let mut browser = server.client();
    browser.command("join", &["a"]);
    std::thread::sleep(Duration::from_millis(200));
    nats.server.start_again();
    browser.expect_reply("@join", &["a"]);
    let mut publisher = server.publisher();
    publish_when_up(&mut publisher, "a", b"x");
    browser.expect("a", "x");
    assert_eq!(gaps(&server), 0);
    server.is_ready();
}
