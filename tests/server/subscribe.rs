//! `roadcast subscribe`: against the real server, and against peers that answer badly.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use crate::common::cli::{Subscriber, expect_failure, http_peer, peer, run, spawn, unused};
use crate::common::{Server, eventually, roadcast};

#[test]
fn a_refused_join_and_a_server_that_ends_are_said() {
    let mut server = Server::start(&["roadcast.limits.topic_bytes=8"]);
    let output = run(&["subscribe", "news", "too long a name", "--url", &server.url()], b"");
    expect_failure(&output, &["refused to join news, too long a name", "limit"]);
    let output =
        run(&["subscribe", "news", "--url", &format!("ws://{}/other", server.clients)], b"");
    expect_failure(&output, &["404", "/ws"]);
    let subscriber = Subscriber::joined(&["news", "--url", &server.url()]);
    server.signal(15);
    let (code, said) = subscriber.end();
    assert_eq!(code, Some(1));
    assert!(said.contains("shutting down (1001)"), "{said}");
    assert!(server.wait().success());
}

#[test]
fn an_origin_may_be_given_where_the_server_has_a_rule() {
    let server = Server::start(&["websockets.allowed_origin=https://my.site.com"]);
    let output = run(&["subscribe", "news", "--url", &server.url()], b"");
    expect_failure(&output, &["403", "allowed_origin", "--origin"]);
    Subscriber::joined(&["news", "--origin", "https://my.site.com", "--url", &server.url()]);
}

#[test]
fn a_reader_of_the_output_that_goes_away_ends_it_quietly() {
    let server = Server::start(&[]);
    let mut child = spawn(&["subscribe", "news", "--url", &server.url()]);
    let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut said = String::new();
    errors.read_line(&mut said).expect("it says that it has joined");
    // As `head` does when it has enough; no further message is needed to notice.
    drop(child.stdout.take());
    said.clear();
    errors.read_to_string(&mut said).expect("text");
    assert_eq!((child.wait().expect("it ends").code(), said.as_str()), (Some(0), ""));
}

/// Of a socket, whose other end closes without an error.
#[test]
fn a_reader_behind_a_socket_that_goes_away_ends_it_quietly() {
    let server = Server::start(&[]);
    let (reader, output) = UnixStream::pair().expect("a pair");
    let mut command = roadcast();
    command.args(["subscribe", "news", "--url", &server.url()]);
    command.stdout(std::os::fd::OwnedFd::from(output)).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary under test starts");
    // It holds the other end.
    drop(command);
    let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    let mut said = String::new();
    errors.read_line(&mut said).expect("it says that it has joined");
    drop(reader);
    eventually("its end", || child.try_wait().expect("a child").is_some());
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn an_origin_that_no_header_can_hold_is_explained_before_anything_is_tried() {
    let url = format!("ws://{}/ws", unused());
    for origin in ["https://bücher.example", "https://a.example\r"] {
        let output = run(&["subscribe", "news", "--origin", origin, "--url", &url], b"");
        expect_failure(&output, &["--origin: `https://", "punycode"]);
    }
}

#[test]
fn answers_to_the_upgrade_are_explained() {
    let table = [
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ["403", "--origin"]),
        ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ["404", "/ws"]),
        ("HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", ["503", "full"]),
        ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ["200", "web server"]),
        ("SSH-2.0-OpenSSH\r\n\r\n", ["not a WebSocket server", "ws://"]),
    ];
    for (answer, words) in table {
        let url = format!("ws://{}/ws", http_peer(answer));
        expect_failure(&run(&["subscribe", "news", "--url", &url], b""), &words);
    }
    let output = run(&["subscribe", "news", "--url", "wss://127.0.0.1/ws"], b"");
    expect_failure(&output, &["wss", "not supported"]);
}

#[test]
fn each_reason_for_a_close_is_said_in_words() {
    for (code, words) in
        [(1001u16, "shutting down (1001)"), (1013, "too slowly (1013)"), (1008, "limit")]
    {
        let address = peer(move |stream| {
            let mut socket = tungstenite::accept(stream).expect("an upgrade");
            socket.read().expect("a join");
            socket.send(r#"{"topic":"@join","payload":["news"]}"#.into()).expect("it reads");
            socket.send(r#"{"topic":"news","payload":"first"}"#.into()).expect("it reads");
            let frame = tungstenite::protocol::CloseFrame { code: code.into(), reason: "".into() };
            socket.close(Some(frame)).expect("it reads");
            while socket.read().is_ok() {}
        });
        let output = run(&["subscribe", "news", "--url", &format!("ws://{address}/ws")], b"");
        assert_eq!((output.status.code(), &output.stdout[..]), (Some(1), &b"news first\n"[..]));
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn a_servers_words_at_the_end_command_no_terminal_and_are_one_line() {
    for more in [&[][..], &["--reconnect"]] {
        let address = peer(|stream| {
            let mut socket = tungstenite::accept(stream).expect("an upgrade");
            let reason = "a\nroadcast: b\u{1b}[2J\u{9b}\u{202e}".into();
            socket
                .close(Some(tungstenite::protocol::CloseFrame { code: 4000.into(), reason }))
                .expect("it reads");
            while socket.read().is_ok() {}
        });
        let url = format!("ws://{address}/ws");
        let mut subscriber = Subscriber::start(&[&["news", "--url", &url], more].concat());
        let said = subscriber.said();
        let shown =
            "the server closed the connection: a\\nroadcast: b\\u{1b}[2J\\u{9b}\\u{202e} (4000)";
        assert!(said.contains(shown), "{said}");
    }
}

#[test]
fn the_end_asked_for_is_a_close_1000() {
    let (sender, closes) = std::sync::mpsc::channel();
    let address = peer(move |stream| {
        let mut socket = tungstenite::accept(stream).expect("an upgrade");
        socket.read().expect("a join");
        socket.send(r#"{"topic":"@join","payload":["news"]}"#.into()).expect("it reads");
        while let Ok(message) = socket.read() {
            sender.send(message).expect("the test waits");
        }
    });
    let subscriber = Subscriber::joined(&["news", "--url", &format!("ws://{address}/ws")]);
    subscriber.signal(rustix::process::Signal::TERM);
    assert_eq!(subscriber.end(), (Some(0), String::new()));
    let frame = tungstenite::protocol::CloseFrame { code: 1000.into(), reason: "".into() };
    assert_eq!(closes.recv(), Ok(tungstenite::Message::Close(Some(frame))));
}

#[test]
fn a_subscriber_that_reconnects_outlives_the_server() {
    let mut server = Server::start(&[]);
    let mut subscriber = Subscriber::start(&["news", "--reconnect", "--url", &server.url()]);
    assert_eq!(subscriber.said(), "Joined news. Ctrl-C ends.\n");
    server.signal(9);
    server.wait();
    let lost = subscriber.said();
    assert!(lost.starts_with("roadcast: the connection was lost: "), "{lost}");
    assert!(lost.contains(". Trying again in 0."), "{lost}");
    let server = Server::start(&[&format!("roadcast.http.address={}", server.clients)]);
    let joined = loop {
        let said = subscriber.said();
        if !said.contains("Trying again in") {
            break said;
        }
    };
    assert_eq!(joined, "Joined news again. What was published in between is missing.\n");
    server.publisher().publish(&["news"], b"after");
    assert_eq!(subscriber.line(), "news after\n");
    subscriber.signal(rustix::process::Signal::INT);
    assert_eq!(subscriber.end(), (Some(0), String::new()));
}

#[test]
fn a_signal_ends_a_subscriber_that_waits_to_try_again() {
    let mut subscriber =
        Subscriber::start(&["news", "--reconnect", "--url", &format!("ws://{}/ws", unused())]);
    for _ in 0..3 {
        let said = subscriber.said();
        assert!(said.contains("nobody listens at") && said.contains("Trying again in"), "{said}");
    }
    // The wait is one of a second or more.
    subscriber.signal(rustix::process::Signal::INT);
    assert_eq!(subscriber.end(), (Some(0), String::new()));
}

/// A server that is about to end, or a proxy whose server has ended.
#[test]
fn a_connection_that_ends_before_the_upgrade_is_tried_again() {
    let cut_off: [fn(TcpStream); 2] = [
        |stream| {
            let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
            let _ = lines.find(String::is_empty);
        },
        |mut stream| {
            stream.read_exact(&mut [0; 4]).expect("a request");
            socket2::SockRef::from(&stream)
                .set_linger(Some(Duration::ZERO))
                .expect("a reset on close");
        },
    ];
    for act in cut_off {
        let url = format!("ws://{}/ws", peer(act));
        let mut subscriber = Subscriber::start(&["news", "--reconnect", "--url", &url]);
        let said = subscriber.said();
        assert!(said.starts_with("roadcast: the connection was lost: "), "{said}");
        assert!(said.contains(". Trying again in 0."), "{said}");
    }
}

/// The wait of its own comes on top: others have been told the same time.
#[test]
fn a_server_that_is_full_or_going_says_so_itself_and_is_left_alone_as_long_as_it_asks() {
    let answer = "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 70\r\nContent-Type: text/plain; charset=utf-8\r\n\
                  Content-Length: 39\r\n\r\nThis server is going.\nA second line is.\n";
    let url = format!("ws://{}/ws", http_peer(answer));
    let said = Subscriber::start(&["news", "--reconnect", "--url", &url]).said();
    assert!(
        said.contains("is refused with 503: This server is going. Trying again in 70."),
        "{said}"
    );
    // A page of a proxy tells a person nothing.
    let answer = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>";
    let url = format!("ws://{}/ws", http_peer(answer));
    let said = Subscriber::start(&["news", "--reconnect", "--url", &url]).said();
    assert!(said.contains(
        "503: the server is full (roadcast.limits.connections) or shutting down. Trying again in 0."
    ));
}

/// A peer that accepts and says nothing: the upgrade is waited for, and nothing looks at signals
/// meanwhile.
#[test]
fn a_signal_ends_a_subscriber_that_waits_for_the_upgrade() {
    let (sender, accepted) = std::sync::mpsc::channel();
    let address = peer(move |mut stream| {
        stream.read_exact(&mut [0; 4]).expect("a request");
        sender.send(()).expect("the test waits");
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let subscriber = Subscriber::start(&["news", "--url", &format!("ws://{address}/ws")]);
    accepted.recv().expect("it asks for an upgrade");
    subscriber.signal(rustix::process::Signal::TERM);
    assert_eq!(subscriber.end(), (Some(0), String::new()));
}

#[test]
fn what_trying_again_cannot_mend_ends_a_subscriber_that_reconnects() {
    let server = Server::start(&["websockets.allowed_origin=https://my.site.com"]);
    let output = run(&["subscribe", "news", "--reconnect", "--url", &server.url()], b"");
    expect_failure(&output, &["403", "allowed_origin"]);
}
