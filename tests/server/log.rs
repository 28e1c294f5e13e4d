//! The log's reader stands still, the disk behind it is full, or nobody takes what is printed:
//! nobody else notices, and what is missing is counted and said.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use crate::common::{
    Client, RawClient, Received, Scrape, Server, assert_said, eventually, masked, read_http,
    roadcast, roadcast_after, upgrade_request,
};

const SIGUSR1: i32 = 10;
const SIGTERM: i32 = 15;

/// A named pipe of one page that is full from the beginning.
struct FullPipe {
    path: PathBuf,
    /// So that whoever opens it does not wait.
    _both_ends: File,
}

impl FullPipe {
    fn new(name: &str) -> Self {
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let made =
            std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo (coreutils)");
        assert!(made.success(), "mkfifo {}", path.display());
        let nonblocking = rustix::fs::OFlags::NONBLOCK.bits() as i32;
        let pipe =
            File::options().read(true).write(true).custom_flags(nonblocking).open(&path).unwrap();
        let mut fill = &pipe;
        while fill.write(b"full\n").is_ok() {}
        Self { path, _both_ends: pipe }
    }

    /// Reads on another thread from now on; what has come so far.
    fn read(&self) -> Arc<Mutex<String>> {
        let text = Arc::<Mutex<String>>::default();
        let (sink, mut pipe) = (text.clone(), File::open(&self.path).expect("a pipe"));
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut chunk) {
                sink.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..count]));
            }
        });
        text
    }
}

impl Drop for FullPipe {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A server whose stderr goes where the shell command says.
fn server(stderr: &str, overrides: &[&str]) -> Server {
    let mut command = roadcast_after(stderr);
    command.arg("serve");
    let metrics = ["metrics.address=127.0.0.1:0"];
    Server::start_by(command, &[&metrics, overrides].concat())
}

/// Has counts written to the log until lines are missing.
fn write_until_lines_are_lost(server: &Server) {
    eventually("lines that are lost", || {
        server.signal(SIGUSR1);
        Scrape::of(server.endpoint("metrics")).sample("log_lines_lost_total", &[]) > 0
    });
}

fn expect_served_and_ended(mut server: Server, mut subscriber: Client) {
    server.publisher().publish(&["news"], b"still here");
    subscriber.expect("news", "still here");
    server.signal(SIGTERM);
    assert_eq!(subscriber.next(), Received::Close(1001));
    drop(subscriber);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_log_that_nobody_reads_holds_up_neither_clients_nor_publishers_nor_the_end() {
    let pipe = FullPipe::new("log-unread");
    let server = server(&format!("exec 2>{}", pipe.path.display()), &["logs.level=debug"]);
    let mut subscriber = server.client();
    subscriber.join(&["news"]);
    for _ in 0..2_000 {
        RawClient::connect_with(server.clients, "/ws", &masked(0x81, b"ping"));
    }
    expect_served_and_ended(server, subscriber);
}

#[test]
fn a_second_signal_ends_a_server_although_nobody_reads_its_log() {
    let pipe = FullPipe::new("log-signal");
    let mut server = server(
        &format!("exec 2>{}", pipe.path.display()),
        &["roadcast.shutdown_grace=10m", "roadcast.limits.close_timeout=10m"],
    );
    // It answers no Close: it keeps the server from ending by itself.
    let mut client = RawClient::connect(server.clients, "/ws");
    write_until_lines_are_lost(&server);
    server.signal(SIGTERM);
    assert_eq!(client.frame().map(|(first, _)| first), Some(0x88));
    server.signal(SIGTERM);
    assert_eq!(server.wait().code(), Some(128 + SIGTERM));
}

#[test]
fn lines_that_were_lost_are_counted_and_said_once_the_log_is_read_again() {
    let pipe = FullPipe::new("log-late");
    let server = server(&format!("exec 2>{}", pipe.path.display()), &[]);
    let mut subscriber = server.client();
    subscriber.join(&["news"]);
    write_until_lines_are_lost(&server);
    let log = pipe.read();
    let said = || {
        let log = log.lock().unwrap().clone();
        let lines = log.lines().filter(|line| line.contains("lines were lost"));
        lines.map(|line| line.rsplit("lost=").next().unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    eventually("as many said as counted", || {
        said() == Scrape::of(server.endpoint("metrics")).sample("log_lines_lost_total", &[])
    });
    expect_served_and_ended(server, subscriber);
}

/// Every line that a client or publisher can cause passes the same rate.
#[test]
fn what_many_do_wrong_at_once_is_said_in_a_few_lines_that_add_up() {
    const EACH: u64 = 40;
    let mut server = Server::start(&["roadcast.shards=1"]);
    let begin = Instant::now();
    for _ in 0..EACH {
        for bytes in [masked(0x81, b"ping"), masked(0x81, br#"{"command":"dance"}"#)] {
            let mut client = RawClient::connect_with(server.clients, "/ws", &bytes);
            // Answered once what came before has been read.
            client.send(&masked(0x88, &1000u16.to_be_bytes()));
            client.expect_end();
        }
        for bytes in [b"\x81\x01x".to_vec(), masked(0x82, &[0; 70_000])] {
            RawClient::connect_with(server.clients, "/ws", &bytes).expect_end();
        }
        let mut stranger = server.publisher();
        stranger.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").expect("the server reads");
        stranger.expect_closed();
    }
    server.signal(SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let log = server.log();
    for words in [
        "a malformed command is ignored",
        "an unknown command is ignored",
        "closed: it broke the WebSocket protocol: frame is not masked",
        "closed: it broke the WebSocket protocol: message too big",
        "RPC connection closed",
    ] {
        assert_said(&log, words, EACH, 1, begin);
    }
    let of_strangers: Vec<&str> =
        log.lines().filter(|line| line.contains("RPC connection closed")).collect();
    assert!(of_strangers.iter().all(|line| line.contains(" WARN ")), "{of_strangers:#?}");
    assert!(of_strangers[0].contains("this is HTTP, expected goridge"), "{of_strangers:#?}");
}

/// One kind of fault must not hide another for its 10 s.
#[test]
fn each_kind_of_malformed_command_is_said_and_counted_for_itself() {
    let deep = format!("{}{}", "[".repeat(10_001), "]".repeat(10_001));
    let kinds = [
        ("not valid JSON", "{"),
        ("not an object", "[]"),
        ("nested more than", deep.as_str()),
        ("`command` is not a string", r#"{"command":1}"#),
        ("`topics` is not an array of strings", r#"{"command":"join","topics":"news"}"#),
    ];
    let mut server = Server::start(&["roadcast.shards=1"]);
    let begin = Instant::now();
    let mut client = RawClient::connect(server.clients, "/ws");
    for (place, (_, message)) in kinds.iter().enumerate() {
        (0..=place).for_each(|_| client.send(&masked(0x81, message.as_bytes())));
    }
    // Answered once what came before has been read.
    client.send(&masked(0x88, &1000u16.to_be_bytes()));
    client.expect_end();
    drop(client);
    server.signal(SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    let log = server.log();
    for (place, (kind, _)) in kinds.iter().enumerate() {
        let words = format!("a malformed command is ignored: {kind}");
        assert_said(&log, &words, place as u64 + 1, 1, begin);
    }
}

#[test]
fn a_line_names_the_peer_also_when_it_has_gone() {
    let server = Server::start(&["roadcast.shards=1"]);
    let mut stream = TcpStream::connect(server.clients).expect("the server listens");
    stream.write_all(upgrade_request("/ws", &[]).as_bytes()).expect("the server reads");
    assert_eq!(read_http(&mut stream).expect("an answer").status, 101);
    let address = stream.local_addr().expect("an address");
    // It breaks the protocol and is gone, by a reset, before the server sees anything of it.
    let Some(stopped) = server.thread("shard-0").stop() else { return };
    stream.write_all(b"\x81\x01x").expect("the kernel takes it");
    socket2::SockRef::from(&stream)
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("a reset on close");
    drop(stream);
    drop(stopped);
    let line = server.says("it broke the WebSocket protocol", 1);
    assert!(line.contains(&format!("peer={address}")), "{line}");
}

#[test]
fn a_limit_on_the_size_of_the_log_costs_lines_and_nothing_else() {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("log-limit-{}", std::process::id()));
    // 1 KiB. The signal that comes with it would end the process.
    let server = server(&format!("ulimit -f 1; exec 2>{}", path.display()), &[]);
    let mut subscriber = server.client();
    subscriber.join(&["news"]);
    write_until_lines_are_lost(&server);
    expect_served_and_ended(server, subscriber);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 1024, "written as far as it may be");
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_is_printed_and_not_read_holds_up_neither_clients_nor_the_end() {
    let pipe = FullPipe::new("stdout-unread");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut command = roadcast();
    command.args(["serve", "-o", "roadcast.shards=1", "-o", "rpc.listen=tcp://127.0.0.1:0"]);
    command.args(["-o", &format!("http.address=127.0.0.1:{port}")]);
    let stdout = File::options().write(true).open(&pipe.path).unwrap();
    let mut child =
        command.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::null()).spawn().unwrap();
    eventually("its listener", || TcpStream::connect(("127.0.0.1", port)).is_ok());
    Client::connect(([127, 0, 0, 1], port).into(), "/ws").expect("it is served").join(&["news"]);
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
    eventually("its end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
