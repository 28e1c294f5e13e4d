//! `roadcast publish` and `roadcast subscribe`: against the real server, and against peers that answer badly.

mod common;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

use common::{ERROR, PROTO, Server, goridge_frame, roadcast};

/// Runs to its end, with `input` on standard input.
fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = spawn(arguments);
    // One that fails before it reads its input closes it.
    let _ = child.stdin.take().expect("stdin is piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

fn spawn(arguments: &[&str]) -> Child {
    let mut command: Command = roadcast();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary under test starts")
}

#[track_caller]
fn expect_failure(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
    assert_eq!(said.lines().count(), 1, "one line is enough: {said}");
}

/// A peer that takes one connection and does with it what the test says; its address.
fn peer(act: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || act(listener.accept().expect("a connection").0));
    address
}

/// A peer that answers the head of an HTTP request.
fn http_peer(answer: &'static str) -> String {
    peer(move |stream| {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let _ = lines.by_ref().find(String::is_empty);
        let _ = (&stream).write_all(answer.as_bytes());
    })
}

/// A peer that reads one call and answers with `flags` and `body`.
fn rpc_peer(flags: u8, body: &'static [u8]) -> String {
    peer(move |mut stream| {
        let mut call = [0; 20];
        stream.read_exact(&mut call).expect("a call");
        let payload = [b"broadcast.Publish", body].concat();
        stream.write_all(&goridge_frame(flags, &[1, 17], &payload)).expect("it reads");
        let _ = stream.read_to_end(&mut Vec::new());
    })
}

/// Nobody listens there: the port was free a moment ago.
fn unused() -> String {
    TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("an address").to_string()
}

/// A `roadcast subscribe` that has joined.
struct Subscriber {
    child: Child,
    lines: BufReader<ChildStdout>,
    errors: BufReader<std::process::ChildStderr>,
}

impl Subscriber {
    fn start(arguments: &[&str]) -> Self {
        let mut child = spawn(&[&["subscribe"], arguments].concat());
        let errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, lines, errors }
    }

    fn joined(arguments: &[&str]) -> Self {
        let mut subscriber = Self::start(arguments);
        let said = subscriber.said();
        assert!(said.starts_with("Joined "), "{said}");
        subscriber
    }

    /// A line of what it says on stderr.
    fn said(&mut self) -> String {
        let mut said = String::new();
        self.errors.read_line(&mut said).expect("text");
        said
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process id is not 0");
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// Its exit code and what it said on stderr after it had joined.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.errors.read_to_string(&mut said).expect("text");
        (self.child.wait().expect("it ends").code(), said)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_message_published_from_the_shell_arrives_in_the_other_one() {
    let server = Server::start(&[]);
    let mut plain = Subscriber::joined(&["news", "--url", &server.url()]);
    let mut json = Subscriber::joined(&["news", "--json", "--url", &server.url()]);
    let output = run(&["publish", "news", "-m", "two\nlines", "--url", &server.publish], b"");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(json.line(), "{\"topic\":\"news\",\"payload\":\"two\\nlines\"}\n");
    assert_eq!(plain.line() + &plain.line(), "news two\nlines\n");
    for subscriber in [plain, json] {
        subscriber.signal(rustix::process::Signal::INT);
        assert_eq!(subscriber.end(), (Some(0), String::new()));
    }
}

#[test]
fn lines_of_standard_input_are_published_in_order() {
    let server = Server::start(&[]);
    let mut subscriber = Subscriber::joined(&["a", "b", "--url", &server.url()]);
    let count = 5000;
    let input: String = (0..count).map(|number| format!("{number}\n")).collect();
    let arguments = ["publish", "a", "--rpc", &server.publish];
    let publishing = thread::scope(|scope| {
        let publishing = scope.spawn(|| run(&arguments, input.as_bytes()));
        (0..count).for_each(|number| assert_eq!(subscriber.line(), format!("a {number}\n")));
        publishing.join().expect("a publisher")
    });
    assert!(publishing.status.success(), "{publishing:?}");
    let output = run(&["publish", "a", "--url", &server.publish], b"");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "0 messages read from standard input\n");
    // `-m -` says the same; the last line needs no end; one message goes to several topics.
    let output = run(&["publish", "a", "b", "-m", "-", "--url", &server.publish], b"\r\nlast");
    assert!(output.status.success(), "{output:?}");
    let mut heard: Vec<String> = (0..4).map(|_| subscriber.line()).collect();
    heard.sort();
    assert_eq!(heard, ["a \n", "a last\n", "b \n", "b last\n"]);
}

#[test]
fn a_refused_line_is_said_at_once_and_the_next_ones_are_published() {
    let server = Server::start(&[]);
    let mut subscriber = Subscriber::joined(&["news", "--url", &server.url()]);
    let mut child = spawn(&["publish", "news", "--url", &server.publish]);
    let mut input = child.stdin.take().expect("stdin is piped");
    let mut errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
    input.write_all(&[b"ok1\n", &vec![b'x'; 2 << 20][..], b"\n"].concat()).expect("it reads");
    let mut said = String::new();
    errors.read_line(&mut said).expect("text");
    assert!(said.starts_with("roadcast: line 2 is refused: ") && said.contains("roadcast.limits."), "{said}");
    input.write_all(b"ok2\n").expect("it reads");
    assert_eq!([subscriber.line(), subscriber.line()], ["news ok1\n", "news ok2\n"]);
    drop(input);
    said.clear();
    errors.read_to_string(&mut said).expect("text");
    assert_eq!(said, "roadcast: 2 lines were confirmed, 1 was refused\n");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
}

#[test]
fn each_refused_line_is_named_whatever_the_reason() {
    let server = Server::start(&[]);
    let output = run(&["publish", "news", "--broker", "nowhere", "--url", &server.publish], b"1\n2\n");
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines.len() == 3 && lines[..2].iter().all(|line| line.contains("nowhere")), "{said}");
    assert!(lines[0].starts_with("roadcast: line 1 is refused: "), "{said}");
    assert!(lines[1].starts_with("roadcast: line 2 is refused: "), "{said}");
    assert_eq!(lines[2], "roadcast: 0 lines were confirmed, 2 were refused");
    assert_eq!(output.status.code(), Some(1));
    let log = server.says("RPC call answered with an error", 1);
    assert!(log.contains("127.0.0.1:") && log.contains("nowhere"), "{log}");

    let long = [b"first\n", &vec![b'x'; (16 << 20) + 1][..], b"\nlast\n"].concat();
    let output = run(&["publish", "news", "--url", &server.publish], &long);
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "roadcast: line 2 is longer than 16 MiB, and is not sent\nroadcast: 2 lines were confirmed, 1 was refused\n"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_refused_join_and_a_server_that_ends_are_said() {
    let mut server = Server::start(&["roadcast.limits.topic_bytes=8"]);
    let output = run(&["subscribe", "news", "too long a name", "--url", &server.url()], b"");
    expect_failure(&output, &["refused to join news, too long a name", "limit"]);
    let output = run(&["subscribe", "news", "--url", &format!("ws://{}/other", server.clients)], b"");
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

/// A full disk: as `2>errors.log` may meet one.
#[test]
fn what_cannot_be_said_on_stderr_ends_nothing() {
    let server = Server::start(&[]);
    let full = || File::options().write(true).open("/dev/full").expect("a device that is always full");
    let mut publish = roadcast();
    publish.args(["publish", "news", "--broker", "nowhere", "--url", &server.publish]).stderr(full());
    let mut child = publish.stdin(Stdio::piped()).spawn().expect("the binary under test starts");
    child.stdin.take().expect("stdin is piped").write_all(b"1\n2\n").expect("it reads");
    assert_eq!(child.wait().expect("it ends").code(), Some(1));
    let log = server.says("RPC call answered with an error", 1);
    assert!(log.contains("nowhere"), "{log}");

    let mut subscribe = roadcast();
    subscribe.args(["subscribe", "news", "--reconnect", "--url", &server.url()]).stderr(full());
    let mut child = subscribe.stdout(Stdio::piped()).spawn().expect("the binary under test starts");
    let mut lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
    let mut publisher = server.publisher();
    let mut line = String::new();
    thread::scope(|scope| {
        let reading = scope.spawn(|| lines.read_line(&mut line));
        // It says that it has joined to nobody.
        while !reading.is_finished() {
            publisher.publish(&["news"], b"hello");
            thread::sleep(Duration::from_millis(10));
        }
        reading.join().expect("a reader").expect("text");
    });
    assert_eq!(line, "news hello\n");
    let pid = rustix::process::Pid::from_raw(child.id() as i32).expect("a process id is not 0");
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it can be signalled");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
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

#[test]
fn nobody_listening_is_said_with_the_address() {
    let address = unused();
    let output = run(&["publish", "news", "-m", "x", "--url", &format!("tcp://{address}")], b"");
    expect_failure(&output, &["nobody listens at", &address, "Is roadcast running?"]);
    let output = run(&["publish", "news", "-m", "x", "--url", "unix:///nowhere/at.sock"], b"");
    expect_failure(&output, &["nobody listens at unix:///nowhere/at.sock"]);
    let output = run(&["subscribe", "news", "--url", &format!("ws://{address}/ws")], b"");
    expect_failure(&output, &["nobody listens at", &address, "Is roadcast running?"]);
}

#[test]
fn a_peer_that_is_no_publish_socket_is_said_to_be_none() {
    let url = format!("tcp://{}", http_peer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
    // The peer waits for an empty line: the message brings one.
    let output = run(&["publish", "news", "-m", "\n\n\n", "--url", &url], b"");
    expect_failure(&output, &["not a publish socket", &url]);
    let url = format!("tcp://{}", peer(drop));
    let output = run(&["publish", "news", "-m", "x", "--url", &url], b"");
    expect_failure(&output, &[&url]);
    for url in ["127.0.0.1", "tcp://", "http://127.0.0.1:6001", "tcp://127.0.0.1:port"] {
        let output = run(&["publish", "news", "-m", "x", "--url", url], b"");
        expect_failure(&output, &[url, "tcp://HOST:PORT or unix:///PATH"]);
    }
}

#[test]
fn an_answer_that_is_not_ok_is_a_failure() {
    let url = format!("tcp://{}", rpc_peer(PROTO, b""));
    expect_failure(&run(&["publish", "news", "-m", "x", "--url", &url], b""), &["message 1", "not taken"]);
    let url = format!("tcp://{}", rpc_peer(PROTO | ERROR, b"the server is shutting down"));
    let output = run(&["publish", "news", "-m", "x", "--url", &url], b"");
    expect_failure(&output, &["message 1 is refused: the server is shutting down"]);
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
    for (code, words) in [(1001u16, "shutting down (1001)"), (1013, "too slowly (1013)"), (1008, "limit")] {
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
fn a_configuration_that_does_not_say_where_the_server_is_is_an_error_and_with_an_url_not_read() {
    let address = format!("tcp://{}", unused());
    for (command, more) in [("publish", &["-m", "x"][..]), ("subscribe", &[])] {
        for (given, words) in [
            (["-c", "none.yaml"], ["none.yaml", "does not exist"]),
            (["-o", "rpc.listn=x"], ["-o: rpc.listn", "rpc.listen"]),
            (
                ["-o", if command == "publish" { "rpc.listen=x" } else { "websockets.path=x" }],
                ["-o: ", "\"x\""],
            ),
        ] {
            let output = run(&[&[command, "news"], more, &given].concat(), b"");
            expect_failure(&output, &words);
        }
        let url = if command == "publish" { address.clone() } else { address.replace("tcp://", "ws://") };
        let output = run(&[&[command, "news", "-c", "none.yaml", "--url", &url], more].concat(), b"");
        expect_failure(&output, &["nobody listens at", &url]);
    }
}

#[test]
fn an_empty_topic_is_refused() {
    for arguments in [&["publish", "", "-m", "x"][..], &["subscribe", "news", ""]] {
        let output = run(arguments, b"");
        assert_eq!(output.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&output.stderr).contains("a topic needs a name"), "{output:?}");
    }
}

#[test]
fn a_connection_that_breaks_midway_leaves_no_doubt_about_which_lines_arrived() {
    let address = peer(|mut stream| {
        let ok = [&b"broadcast.Publish"[..], &[8, 1]].concat();
        // A call for `news` and one letter is 20 + 17 + 11 bytes.
        for number in 1..=2 {
            stream.read_exact(&mut [0; 48]).expect("a call");
            stream.write_all(&goridge_frame(PROTO, &[number, 17], &ok)).expect("it reads");
        }
        stream.read_exact(&mut [0; 2 * 48]).expect("two calls");
    });
    let output = run(&["publish", "news", "--url", &format!("tcp://{address}")], b"1\n2\n3\n4\n");
    expect_failure(&output, &["closed the connection", "2 lines were confirmed; lines 3 to 4 got no answer"]);
}

#[test]
fn lines_without_an_answer_are_named_one_by_one() {
    let address = peer(|mut stream| {
        stream.read_exact(&mut [0; 5 * 48]).expect("five calls");
        let ok = [&b"broadcast.Publish"[..], &[8, 1]].concat();
        for number in [1, 3] {
            stream.write_all(&goridge_frame(PROTO, &[number, 17], &ok)).expect("it reads");
        }
        stream.write_all(&goridge_frame(PROTO | ERROR, &[4, 17], b"broadcast.Publishno")).expect("it reads");
    });
    let output = run(&["publish", "news", "--url", &format!("tcp://{address}")], b"1\n2\n3\n4\n5\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("roadcast: line 4 is refused: no\n"), "{said}");
    assert!(said.contains("2 lines were confirmed, 1 was refused; line 2, line 5 got no answer"), "{said}");
    assert_eq!(output.status.code(), Some(1));
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

/// A peer that accepts and says nothing: the upgrade is waited for, and nothing looks at signals meanwhile.
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
