//! What the commands print goes to a full disk, or to a pipe that nobody reads any more: one line
//! and exit code 1, or nothing at all. Never a panic.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use crate::common::{Server, roadcast};

/// Everything that prints and ends.
const COMMANDS: [&[&str]; 6] = [
    &["check"],
    &["--help"],
    &["--version"],
    &["help", "serve"],
    &["publish", "--help"],
    &["subscribe", "-h"],
];

fn full() -> File {
    File::options().write(true).open("/dev/full").expect("/dev/full")
}

fn closed() -> std::io::PipeWriter {
    std::io::pipe().expect("a pipe").1
}

fn command(arguments: &[&str]) -> Command {
    let mut command = roadcast();
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(command: &mut Command) -> Output {
    command.output().expect("the binary under test starts")
}

#[track_caller]
fn expect_one_line(output: &Output, what: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what:?}: {}: {said}", output.status);
    assert!(
        said.starts_with("roadcast: ") && said.contains("No space left on device"),
        "{what:?}: {said}"
    );
    assert_eq!(said.lines().count(), 1, "{what:?}: {said}");
}

#[test]
fn a_full_disk_behind_standard_output_is_one_line_and_exit_code_1() {
    for arguments in COMMANDS {
        expect_one_line(&run(command(arguments).stdout(full()).stderr(Stdio::piped())), arguments);
    }
}

#[test]
fn a_reader_that_has_seen_enough_ends_a_command_quietly() {
    for arguments in COMMANDS {
        let output = run(command(arguments).stdout(closed()).stderr(Stdio::piped()));
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", output.status);
        assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{arguments:?}");
    }
}

#[test]
fn what_cannot_be_said_on_standard_error_changes_no_exit_code() {
    let failing: [(&[&str], i32); 5] = [
        (&["check", "-o", "roadcast.shards=none"], 1),
        (&["serve", "-o", "roadcast.shards=none"], 1),
        (&["publish", "news", "-m", "x", "--url", "nowhere"], 1),
        (&["subscribe", "news", "--url", "nowhere"], 1),
        (&["no-such-command"], 2),
    ];
    for (arguments, code) in failing {
        for stderr in [Stdio::from(full()), Stdio::from(closed())] {
            let output = run(command(arguments).stdout(Stdio::piped()).stderr(stderr));
            assert_eq!(output.status.code(), Some(code), "{arguments:?}: {}", output.status);
        }
    }
}

/// The first line of its stderr that has the words.
fn until(child: &mut Child, words: &str) -> String {
    let mut lines =
        BufReader::new(child.stderr.take().expect("stderr is piped")).lines().map_while(Result::ok);
    lines.find(|line| line.contains(words)).unwrap_or_else(|| panic!("it never says: {words}"))
}

#[test]
fn a_server_whose_banner_cannot_be_printed_says_so_and_serves() {
    let mut serve =
        command(&["serve", "-o", "roadcast.shards=1", "-o", "http.address=127.0.0.1:0"]);
    serve.args(["-o", "rpc.listen=tcp://127.0.0.1:0"]).stdout(full()).stderr(Stdio::piped());
    let mut child = serve.spawn().expect("the binary under test starts");
    let line = until(&mut child, "standard output cannot be written");
    assert!(line.contains("No space left on device"), "{line}");
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    assert_eq!(child.wait().expect("our child").code(), Some(0));
}

#[test]
fn a_subscriber_whose_disk_is_full_ends_with_one_line() {
    let server = Server::start(&[]);
    let arguments = ["subscribe", "news", "--url", &server.url()];
    let mut child =
        command(&arguments).stdout(full()).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut errors =
        BufReader::new(child.stderr.take().expect("stderr is piped")).lines().map_while(Result::ok);
    assert!(errors.next().expect("it joins").starts_with("Joined news"));
    server.publisher().publish(&["news"], b"hello");
    let said: Vec<String> = errors.collect();
    assert_eq!(child.wait().expect("our child").code(), Some(1), "{said:?}");
    assert!(said.len() == 1 && said[0].contains("No space left on device"), "{said:?}");
}
