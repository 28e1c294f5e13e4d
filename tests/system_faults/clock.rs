//! The wall clock jumps by years while clients are served.
//!
//! Goal: no deadline, ping or timeout follows it, only the times in the log do. Method: the real
//! server with a library preloaded (`tools/wall_clock.c`) that moves its wall clock; and a look at
//! what the source asks for the time.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{
    Client, RawClient, Scrape, Server, eventually, figure, installed, masked, roadcast,
};

/// Seconds of ten years.
const DECADE: i64 = 10 * 365 * 86_400;

/// The preloaded library, compiled.
fn library(directory: &Path) -> PathBuf {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/wall_clock.c");
    let library = directory.join("wall_clock.so");
    let mut compiler = Command::new("cc");
    let output =
        compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).args([source, "-ldl"]).output();
    let output = output.expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}

/// The time of the newest line of the log, in seconds since 1970.
fn time_said(server: &Server) -> f64 {
    server.counts(0);
    let log = server.log();
    let line =
        log.lines().rfind(|line| line.contains("counts by now, shard 0")).expect("it was said");
    let line: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
    line["ts"].as_f64().expect("seconds")
}

/// Reads until this many pings have been answered.
fn answer_pings(client: &mut RawClient, count: usize) {
    let mut seen = 0;
    while seen < count {
        match client.frame() {
            Some((0x89, payload)) => {
                client.send(&masked(0x8a, &payload));
                seen += 1;
            }
            Some(_) => {}
            None => panic!("ended although it answers pings"),
        }
    }
}

#[test]
fn a_wall_clock_that_jumps_by_years_delays_no_ping() {
    // Pings go out each interval, whether they are answered or not.
    jumps("0", |pinged| answer_pings(pinged, 3));
}

#[test]
fn a_wall_clock_that_jumps_by_years_ends_nobody_whose_pong_is_awaited() {
    // One ping goes out, and is not answered.
    jumps("10m", |_| {});
}

/// Lets the clock jump about while deadlines of all kinds are running; `between` has a client that
/// does not lag.
fn jumps(pong_timeout: &str, between: impl Fn(&mut RawClient)) {
    if !installed("cc") {
        return;
    }
    let directory = format!("clock-{}-{pong_timeout}", std::process::id());
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(directory);
    std::fs::create_dir_all(&directory).expect("a directory for the test");
    let library = library(&directory);
    let file = directory.join("seconds");
    let jump = |seconds: i64| {
        // Replaced at once, not written in pieces.
        std::fs::write(directory.join("next"), seconds.to_string()).expect("a file");
        std::fs::rename(directory.join("next"), &file).expect("a file");
    };
    jump(0);
    let mut command = roadcast();
    command.env("LD_PRELOAD", library).env("WALL_CLOCK_FILE", &file).arg("serve");
    let server = Server::start_by(
        command,
        &[
            "logs.mode=production",
            "metrics.address=127.0.0.1:0",
            "status.address=127.0.0.1:0",
            "roadcast.ping_interval=200ms",
            &format!("roadcast.pong_timeout={pong_timeout}"),
            "roadcast.limits.head_timeout=10m",
            "roadcast.limits.laggard_timeout=10m",
            "roadcast.limits.socket_send_bytes=16384",
        ],
    );
    let metrics = server.endpoint("metrics");
    let mut pinged = RawClient::connect(server.clients, "/ws");
    let mut reader = server.client();
    reader.join(&["news"]);
    // One that lags, and one in the middle of its request: deadlines of both are running.
    let mut lagging = Client::connect_narrow(server.clients, 4096);
    lagging.join(&["held"]);
    server.publisher().publish_all(4, (0..20).map(|_| ("held".to_owned(), vec![b'x'; 50_000])));
    let mut half = RawClient::open(server.clients);
    half.send(b"GET /ws HTTP/1.1\r\n");
    eventually("four connections", || Scrape::of(metrics).sum("connections_open", &[]) == 4);
    eventually("a ping to each", || Scrape::of(metrics).sum("pings_total", &[]) >= 2);
    let mut publisher = server.publisher();
    let origin = time_said(&server);
    for (number, seconds) in [DECADE, -DECADE, 0, -3 * DECADE, 3 * DECADE].into_iter().enumerate() {
        jump(seconds);
        let moved = time_said(&server) - origin - seconds as f64;
        assert!(moved.abs() < 3_600.0, "the clock has not jumped: {moved} s apart");
        publisher.publish(&["news"], number.to_string().as_bytes());
        reader.expect("news", &number.to_string());
        // The next ones come in their interval, neither all at once nor in ten years.
        between(&mut pinged);
        assert_eq!(crate::common::get(server.endpoint("status"), "/ready"), 200);
    }
    let end = Scrape::of(metrics);
    figure("clock: pings in all, with jumps of up to 60 years", end.sum("pings_total", &[]));
    assert_eq!(end.sum("connections_open", &[]), 4, "somebody was ended");
    assert_eq!(end.sum("connections_ended_total", &[]), 0);
    end.check(&Scrape::default());
    (0..20).for_each(|_| lagging.expect("held", &"x".repeat(50_000)));
    drop((half, pinged, reader, lagging));
    let _ = std::fs::remove_dir_all(&directory);
}

/// Every file of the server's source.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).expect("the source is there").map_while(Result::ok) {
        if entry.path().is_dir() {
            sources(&entry.path(), found);
        } else {
            found.push(entry.path());
        }
    }
}

/// Who asks the wall clock, and what for.
const ASKS: [&str; 6] = [
    // Times in the log.
    "src/logs/lines.rs",
    // Tokens say in it when they expire. How long they are good is counted by the other clock.
    "src/desk/access/tokens.rs",
    "src/cli/check.rs",
    // When a worker was started, and how long ago that is, for operators.
    "src/desk/access/workers/worker.rs",
    "src/cli/operate.rs",
    // Since when a broker is as it is, for operators.
    "src/hub/brokers.rs",
];

#[test]
fn the_source_asks_the_wall_clock_for_what_people_and_tokens_say_alone() {
    let mut files = Vec::new();
    sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    assert!(files.len() > 50);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("source is text");
        let asks = ["SystemTime::now", "UNIX_EPOCH.elapsed", "REALTIME", "gettimeofday"]
            .into_iter()
            .find(|word| text.contains(word));
        assert!(
            asks.is_none()
                || ASKS.iter().any(|may| file.ends_with(may))
                || file.ends_with("tests.rs"),
            "{asks:?} in {}",
            file.display()
        );
    }
}
