//! What the admin endpoints tell of the real server: metrics that add up at any moment, health and
//! readiness.
//!
//! `ROADCAST_SEED` repeats a run of the clients; how threads interleave remains free.

use std::collections::HashMap;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::common::{
    Client, HttpAnswer, Numbered, Received, Scrape, Server, eventually, get, http, installed,
    roadcast, seed,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const TIGHT: &[&str] = &[
    "metrics.address=127.0.0.1:0",
    "status.address=127.0.0.1:0",
    "roadcast.limits.publication_bytes=65536",
    "roadcast.limits.outbox_bytes=262144",
    "roadcast.limits.outboxes_bytes=4194304",
    "roadcast.limits.socket_send_bytes=65536",
    "roadcast.overflow.skip=ticks.*",
];

const RUN: Numbered = Numbered { messages: 1_200, payload_bytes: 8 * 1024 };

#[test]
fn every_scrape_adds_up_under_load_with_resets_leaves_and_laggards() {
    let server = Server::start(TIGHT);
    let metrics = server.endpoint("metrics");
    let (over, read, scrapes) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let seed = seed();
    std::thread::scope(|scope| {
        let (server, over, read, scrapes) = (&server, &over, &read, &scrapes);
        for thread in 0..4 {
            scope.spawn(move || {
                let mut rng = StdRng::seed_from_u64(seed ^ thread);
                while !over.load(Ordering::Relaxed) {
                    come_and_go(server, &mut rng, read);
                }
            });
        }
        scope.spawn(move || {
            let mut before = Scrape::default();
            while !over.load(Ordering::Relaxed) {
                let scrape = Scrape::of(metrics);
                scrape.check(&before);
                before = scrape;
                scrapes.fetch_add(1, Ordering::Relaxed);
            }
        });
        let mut stalled: Vec<Client> =
            (0..3).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
        stalled.iter_mut().for_each(|client| client.join(&["news", "other"]));
        // Whatever fails in a thread must not leave the others at work.
        let publishing = std::panic::catch_unwind(|| {
            let mut lazy = Client::connect_narrow(server.clients, 16 * 1024);
            lazy.join(&["ticks.x"]);
            let tick = |number| ("ticks.x".to_owned(), RUN.payload(number));
            server.publisher().publish_all(16, (0..TICKS).map(tick));
            RUN.publish(server, 0..RUN.messages);
            let dropped = |why| Scrape::of(metrics).sum("deliveries_dropped_total", &[why]) > 0;
            eventually("an overflow", || dropped("overflow"));
            eventually("a skip", || dropped("skipped"));
            // It is owed something, and stays only because its topic skips.
            lazy.reset();
        });
        over.store(true, Ordering::Relaxed);
        assert!(publishing.is_ok());
    });
    eventually("everyone gone", || {
        let scrape = Scrape::of(metrics);
        // The hub is told last that nobody wants the topics any more.
        scrape.sum("connections_open", &[]) + scrape.sum("topics", &[]) == 0
    });
    // Once more: that one may have read other numbers before the last had gone.
    let end = Scrape::of(metrics);
    end.check(&Scrape::default());
    assert_eq!(end.sum("deliveries_queued", &[]), 0);
    let bytes = [
        "log_bytes",
        "outbox_bytes",
        "parked_bytes",
        "lane_bytes",
        "lane_entries",
        "topics_active",
    ];
    for gauge in bytes {
        assert_eq!(end.sum(gauge, &[]), 0, "{gauge}");
    }
    assert!(end.sum("deliveries_total", &[]) >= read.load(Ordering::Relaxed));
    assert_eq!(end.sum("publications_total", &["default", "rpc"]), (TICKS + RUN.messages) as u64);
    assert!(end.sum("deliveries_dropped_total", &["gone"]) > 0);
    assert!(end.sum("closes_total", &["1013"]) > 0 && end.sum("laggards_total", &[]) > 0);
    assert!(scrapes.load(Ordering::Relaxed) > 1);
}

/// More than a connection holds that does not read.
const TICKS: usize = 1_000;

/// One client's life: joins, reads a little, leaves, and ends this way or that.
fn come_and_go(server: &Server, rng: &mut StdRng, read: &AtomicU64) {
    let mut client = match rng.random_range(0..2) {
        0 => server.client(),
        _ => Client::connect_narrow(server.clients, 16 * 1024),
    };
    if !client.command("join", &["news"]) {
        return;
    }
    for _ in 0..rng.random_range(0..40) {
        match client.next() {
            Received::Message(..) => drop(read.fetch_add(1, Ordering::Relaxed)),
            Received::Reply(..) => {}
            Received::Close(_) | Received::End => return,
        }
        if rng.random_bool(0.05) {
            let command = ["join", "leave"][rng.random_range(0..2)];
            client.command(command, &["news", "other"]);
            // A reply always comes, also to whoever has left everything.
        }
        if rng.random_bool(0.02) {
            break;
        }
        // Whoever is in no topic reads the replies to this.
        client.command("join", &["more"]);
    }
    if rng.random() {
        client.reset();
    }
}

#[test]
fn a_laggard_of_a_topic_that_skips_stays_and_reads_the_newest() {
    let server = Server::start(TIGHT);
    let metrics = server.endpoint("metrics");
    let mut reader = server.client();
    reader.join(&["ticks.x"]);
    let mut slow = Client::connect_narrow(server.clients, 16 * 1024);
    slow.join(&["ticks.x"]);
    let mut publisher = server.publisher();
    for number in 0..TICKS {
        publisher.publish(&["ticks.x"], &RUN.payload(number));
        assert!(matches!(reader.next(), Received::Message(..)));
    }
    let skipped = || Scrape::of(metrics).sum("deliveries_dropped_total", &["skipped"]);
    assert!(skipped() > 0, "it has kept up");
    let (mut expected, mut gap) = (0, 0);
    while expected < TICKS {
        let Received::Message(topic, payload) = slow.next() else {
            panic!("closed after {expected}")
        };
        assert_eq!((topic.as_str(), payload.len()), ("ticks.x", RUN.payload_bytes));
        let number: usize = payload[..8].parse().expect("a number");
        assert!(number >= expected, "{number} behind {expected}");
        gap += number - expected;
        expected = number + 1;
    }
    assert_eq!(gap as u64, skipped(), "what it missed is what was counted");
    publisher.publish(&["ticks.x"], &RUN.payload(7));
    assert!(
        matches!(slow.next(), Received::Message(_, payload) if payload.starts_with("00000007"))
    );
    slow.close();
}

#[test]
fn ready_while_serving_and_not_while_draining() {
    let mut server = Server::start(TIGHT);
    let status = server.endpoint("status");
    assert_eq!((get(status, "/ready"), get(status, "/health?plugin=http")), (200, 200));
    assert_eq!((get(status, "/"), get(status, "/ready/x")), (404, 404));
    for endpoint in [status, server.endpoint("metrics")] {
        let answer =
            http(endpoint, b"POST /ready HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(
            (answer.status, answer.header("allow")),
            (405, Some("GET, HEAD")),
            "{}",
            answer.head
        );
    }
    // Somebody who does not read keeps the server from ending at once.
    let mut reader = server.client();
    reader.join(&["ticks.x"]);
    let mut slow = Client::connect_narrow(server.clients, 16 * 1024);
    slow.join(&["ticks.x"]);
    let mut publisher = server.publisher();
    for number in 0..500 {
        publisher.publish(&["ticks.x"], &RUN.payload(number));
        assert!(matches!(reader.next(), Received::Message(..)));
    }
    server.signal(15);
    eventually("not ready", || get(status, "/ready") == 503);
    assert_eq!(get(status, "/health"), 200, "it drains, and that is no reason to kill it");
    while !matches!(slow.next(), Received::Close(_) | Received::End) {}
    drop((slow, reader, publisher));
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn requests_beyond_their_bounds_are_refused_and_others_served() {
    let server = Server::start(TIGHT);
    let metrics = server.endpoint("metrics");
    let giant = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(100_000));
    assert_eq!(http(metrics, giant.as_bytes()).status, 431);
    server.client().join(&["still-serving"]);
}

#[test]
fn connections_that_say_nothing_keep_nobody_out_of_the_endpoints() {
    let server = Server::start(TIGHT);
    for (endpoint, path) in [("metrics", "/metrics"), ("status", "/ready")] {
        let address = server.endpoint(endpoint);
        let silent = |count: usize| -> Vec<TcpStream> {
            (0..count).map(|_| TcpStream::connect(address).expect("the endpoint listens")).collect()
        };
        // More than are served one after another, each for its whole time, while a test has
        // patience.
        let mut held = silent(150);
        for stream in &mut held {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").expect("half a request");
        }
        for _ in 0..20 {
            assert_eq!(get(address, path), 200);
            held.extend(silent(10));
        }
        held[0].set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
        let read = std::io::Read::read(&mut held[0], &mut [0]).map_err(|error| error.kind());
        let ended = matches!(read, Ok(0) | Err(std::io::ErrorKind::ConnectionReset));
        assert!(ended, "the longest silent one is ended: {read:?}");
    }
}

/// Scrapes with this `Accept`.
fn scrape(address: SocketAddr, accept: Option<&str>) -> HttpAnswer {
    let accept = accept.map(|accept| format!("Accept: {accept}\r\n")).unwrap_or_default();
    http(address, format!("GET /metrics HTTP/1.1\r\nHost: x\r\n{accept}\r\n").as_bytes())
}

#[test]
fn a_scrape_is_answered_in_a_format_that_it_accepts() {
    let server = Server::start(TIGHT);
    let metrics = server.endpoint("metrics");
    for accept in [
        None,
        Some("*/*"),
        Some("text/plain;version=0.0.4"),
        Some("application/openmetrics-text;q=0"),
    ] {
        let answer = scrape(metrics, accept);
        assert_eq!(
            answer.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8"),
            "{accept:?}"
        );
        check_text(std::str::from_utf8(&answer.body).expect("text"));
    }
    let prometheus =
        "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
    let answer = scrape(metrics, Some(prometheus));
    let media = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(answer.header("content-type"), Some(media));
    assert!(answer.body.ends_with(b"\n# EOF\n"));
}

#[test]
fn promtool_reads_the_text_format() {
    if !installed("promtool") {
        return;
    }
    let server = Server::start(TIGHT);
    let answer = scrape(server.endpoint("metrics"), None);
    let mut promtool = Command::new("promtool");
    let promtool = promtool.args(["check", "metrics"]).stdin(Stdio::piped());
    let mut child =
        promtool.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("promtool starts");
    child.stdin.take().expect("a pipe").write_all(&answer.body).expect("promtool reads");
    let output = child.wait_with_output().expect("promtool ends");
    let said = [output.stdout, output.stderr].concat();
    // A matter of taste, not of the format: milliseconds are what people look for here.
    let taste = "roadcast_turn_milliseconds use base unit \"seconds\" instead of \"milliseconds\"";
    assert_eq!(String::from_utf8_lossy(&said).trim(), taste);
}

/// The text format, version 0.0.4, strictly: each metric is described and typed once, right before
/// its samples, by the very name that they have.
fn check_text(text: &str) {
    assert!(text.ends_with('\n'));
    let mut kinds: HashMap<&str, &str> = HashMap::new();
    let (mut described, mut typed) = ("", "");
    let mut samples = 0;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a text");
            assert!(!help.contains(['\\', '\n']), "{line}");
            described = name;
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a kind");
            assert_eq!(name, described);
            assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
            assert!(kinds.insert(name, kind).is_none(), "{line} twice");
            assert!(["counter", "gauge"].contains(&kind), "{line}");
            typed = name;
        } else {
            let (series, value) = line.rsplit_once(' ').expect("a sample");
            assert_eq!(series.split('{').next(), Some(typed), "{line}");
            value.parse::<u64>().unwrap_or_else(|_| panic!("{line}"));
            samples += 1;
        }
    }
    assert!(kinds.len() > 50 && samples > kinds.len());
}

#[test]
fn off_unless_configured_and_an_address_in_use_names_its_key() {
    let server = Server::start(&[]);
    let on = |name: &str| server.printed.iter().any(|line| line.starts_with(name));
    assert!(!on("metrics") && !on("status"), "{:?}", server.printed);
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for key in ["metrics.address", "status.address", "roadcast.metrics.address"] {
        let setting = format!("{key}={address}");
        let rest = ["-o", "http.address=127.0.0.1:0", "-o", "rpc.listen=tcp://127.0.0.1:0"];
        let output = roadcast().args(["serve", "-o", &setting]).args(rest).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains(&format!("{key}: {address}: is in use")), "{said}");
    }
}
