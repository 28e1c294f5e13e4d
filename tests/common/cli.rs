//! The commands for people, `roadcast publish` and `roadcast subscribe`, as child processes; and
//! peers that answer them badly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};
use std::thread;

use super::roadcast;

/// Runs to its end, with `input` on standard input.
pub fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = spawn(arguments);
    // One that fails before it reads its input closes it.
    let _ = child.stdin.take().expect("stdin is piped").write_all(input);
    child.wait_with_output().expect("it ends")
}

pub fn spawn(arguments: &[&str]) -> Child {
    let mut command: Command = roadcast();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("the binary under test starts")
}

#[track_caller]
pub fn expect_failure(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` in: {said}");
    }
    assert_eq!(said.lines().count(), 1, "one line is enough: {said}");
}

/// A peer that takes one connection and does with it what the test says; its address.
pub fn peer(act: impl FnOnce(TcpStream) + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    thread::spawn(move || act(listener.accept().expect("a connection").0));
    address
}

/// A peer that answers the head of an HTTP request.
pub fn http_peer(answer: &'static str) -> String {
    peer(move |stream| {
        let mut lines = BufReader::new(&stream).lines().map_while(Result::ok);
        let _ = lines.by_ref().find(String::is_empty);
        let _ = (&stream).write_all(answer.as_bytes());
    })
}

/// Nobody listens there: the port was free a moment ago.
pub fn unused() -> String {
    TcpListener::bind("127.0.0.1:0")
        .expect("a free port")
        .local_addr()
        .expect("an address")
        .to_string()
}

/// A `roadcast subscribe` that has joined.
pub struct Subscriber {
    pub child: Child,
    lines: BufReader<ChildStdout>,
    errors: BufReader<ChildStderr>,
}

impl Subscriber {
    pub fn start(arguments: &[&str]) -> Self {
        let mut child = spawn(&[&["subscribe"], arguments].concat());
        let errors = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let lines = BufReader::new(child.stdout.take().expect("stdout is piped"));
        Self { child, lines, errors }
    }

    pub fn joined(arguments: &[&str]) -> Self {
        let mut subscriber = Self::start(arguments);
        let said = subscriber.said();
        assert!(said.starts_with("Joined "), "{said}");
        subscriber
    }

    /// A line of what it says on stderr.
    pub fn said(&mut self) -> String {
        let mut said = String::new();
        self.errors.read_line(&mut said).expect("text");
        said
    }

    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).expect("a line");
        line
    }

    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid =
            rustix::process::Pid::from_raw(self.child.id() as i32).expect("a process id is not 0");
        rustix::process::kill_process(pid, signal).expect("it can be signalled");
    }

    /// Its exit code and what it said on stderr after it had joined.
    pub fn end(mut self) -> (Option<i32>, String) {
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
