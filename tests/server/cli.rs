//! `roadcast publish`, and what it has in common with `roadcast subscribe`: against the real
//! server, and against peers that answer badly.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use crate::common::cli::{Subscriber, expect_failure, http_peer, peer, run, spawn, unused};
use crate::common::{ERROR, PROTO, Server, goridge_frame, roadcast};

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
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "roadcast: 0 messages read from standard input\n"
    );
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
    assert!(
        said.starts_with("roadcast: line 2 is refused: ") && said.contains("roadcast.limits."),
        "{said}"
    );
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
    let output =
        run(&["publish", "news", "--broker", "nowhere", "--url", &server.publish], b"1\n2\n");
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

/// A full disk: as `2>errors.log` may meet one.
#[test]
fn what_cannot_be_said_on_stderr_ends_nothing() {
    let server = Server::start(&[]);
    let full =
        || File::options().write(true).open("/dev/full").expect("a device that is always full");
    let mut publish = roadcast();
    publish
        .args(["publish", "news", "--broker", "nowhere", "--url", &server.publish])
        .stderr(full());
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
    let url =
        format!("tcp://{}", http_peer("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"));
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
    expect_failure(
        &run(&["publish", "news", "-m", "x", "--url", &url], b""),
        &["message 1", "not taken"],
    );
    let url = format!("tcp://{}", rpc_peer(PROTO | ERROR, b"the server is shutting down"));
    let output = run(&["publish", "news", "-m", "x", "--url", &url], b"");
    expect_failure(&output, &["message 1 is refused: the server is shutting down"]);
}

#[test]
fn what_a_peer_says_of_a_refusal_commands_no_terminal_and_is_one_line() {
    const SAID: &[u8] = b"no\nroadcast: ok\x1b[2J\xc2\x9b\xe2\x80\xae";
    const SHOWN: &str = "is refused: no\\nroadcast: ok\\u{1b}[2J\\u{9b}\\u{202e}\n";
    let url = format!("tcp://{}", rpc_peer(PROTO | ERROR, SAID));
    expect_failure(&run(&["publish", "news", "-m", "x", "--url", &url], b""), &[SHOWN]);
    let url = format!("tcp://{}", rpc_peer(PROTO | ERROR, SAID));
    let output = run(&["publish", "news", "--url", &url], b"x\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        said,
        format!("roadcast: line 1 {SHOWN}roadcast: 0 lines were confirmed, 1 was refused\n")
    );
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
        let url =
            if command == "publish" { address.clone() } else { address.replace("tcp://", "ws://") };
        let output =
            run(&[&[command, "news", "-c", "none.yaml", "--url", &url], more].concat(), b"");
        expect_failure(&output, &["nobody listens at", &url]);
    }
}

#[test]
fn an_empty_topic_is_refused() {
    for arguments in [&["publish", "", "-m", "x"][..], &["subscribe", "news", ""]] {
        let output = run(arguments, b"");
        assert_eq!(output.status.code(), Some(2));
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("a topic needs a name"),
            "{output:?}"
        );
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
    expect_failure(
        &output,
        &["closed the connection", "2 lines were confirmed; lines 3 to 4 got no answer"],
    );
}

#[test]
fn lines_without_an_answer_are_named_one_by_one() {
    let address = peer(|mut stream| {
        stream.read_exact(&mut [0; 5 * 48]).expect("five calls");
        let ok = [&b"broadcast.Publish"[..], &[8, 1]].concat();
        for number in [1, 3] {
            stream.write_all(&goridge_frame(PROTO, &[number, 17], &ok)).expect("it reads");
        }
        stream
            .write_all(&goridge_frame(PROTO | ERROR, &[4, 17], b"broadcast.Publishno"))
            .expect("it reads");
    });
    let output =
        run(&["publish", "news", "--url", &format!("tcp://{address}")], b"1\n2\n3\n4\n5\n");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("roadcast: line 4 is refused: no\n"), "{said}");
    assert!(
        said.contains("2 lines were confirmed, 1 was refused; line 2, line 5 got no answer"),
        "{said}"
    );
    assert_eq!(output.status.code(), Some(1));
}
