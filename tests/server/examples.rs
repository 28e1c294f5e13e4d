//! The examples of `README.md` and `docs/publishing.md` do what they say.
//!
//! Method: the code is cut out of the document, its address replaced by that of a server of the
//! test, and run. An example whose language is not installed is skipped.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::common::{Answer, Client, PROTO, Publisher, Server, installed};

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The code block in `language` that contains `mark`.
pub fn block(name: &str, language: &str, mark: &str) -> String {
    let text = document(name);
    let mut blocks = text.split("\n```");
    let found =
        blocks.find(|block| block.starts_with(&format!("{language}\n")) && block.contains(mark));
    let block = found.unwrap_or_else(|| panic!("{name}: no block of {language} with `{mark}`"));
    block[language.len() + 1..].to_owned()
}

/// Writes the example to a file of its own, with the server's address in place of the default one.
fn file(name: &str, server: &Server, code: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("examples-{name}"));
    std::fs::create_dir_all(&directory).expect("a directory for the test");
    let address = server.publish.strip_prefix("tcp://").expect("a TCP address");
    let (host, port) = address.rsplit_once(':').expect("host and port");
    let code = code
        .replace("127.0.0.1:6001", address)
        .replace("host=\"127.0.0.1\", port=6001", &format!("host=\"{host}\", port={port}"));
    assert!(code.contains(port), "the example names the default address");
    let path = directory.join(name);
    std::fs::write(&path, code).expect("a file for the test");
    path
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().expect("it starts");
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn subscriber(server: &Server, topic: &str) -> Client {
    let mut client = server.client();
    client.join(&[topic]);
    client
}

#[test]
fn the_frame_of_the_example_is_published_and_answered_as_shown() {
    let text = block("docs/publishing.md", "text", "15 80");
    let bytes: Vec<u8> = text
        .lines()
        .flat_map(|line| {
            line.split_whitespace().map_while(|word| u8::from_str_radix(word, 16).ok())
        })
        .collect();
    let (call, answer) = bytes.split_at(52);
    let server = Server::start(&[]);
    let mut client = subscriber(&server, "news");
    let mut publisher = Publisher::connect(&server.publish);
    publisher.send(call).expect("the server reads");
    client.expect("news", "Hello");
    let expected = Answer {
        sequence: 1,
        method: "broadcast.Publish".to_owned(),
        flags: PROTO,
        body: vec![8, 1],
    };
    assert_eq!(publisher.answer().expect("an answer"), expected);
    assert_eq!(answer, crate::common::goridge_frame(PROTO, &[1, 17], b"broadcast.Publish\x08\x01"));
}

#[test]
fn the_php_example_without_a_package_publishes() {
    if !installed("php") {
        return;
    }
    let server = Server::start(&[]);
    let (mut news, mut sports) = (subscriber(&server, "news"), subscriber(&server, "sports"));
    run(Command::new("php").arg(file(
        "publish.php",
        &server,
        &block("docs/publishing.md", "php", "stream_socket_client"),
    )));
    news.expect("news", "Hello from PHP");
    news.expect("news", "To both topics");
    sports.expect("sports", "To both topics");
}

/// What `composer require` would bring: the two classes of the examples, with the signatures of
/// spiral/goridge 3 and spiral/roadrunner-broadcast 2, on top of the example without a package.
/// Composer's registry may be out of reach.
fn packages() -> String {
    let plain = block("docs/publishing.md", "php", "stream_socket_client");
    let functions =
        plain.split("$socket = stream_socket_client").next().expect("functions come first");
    let functions = functions.trim_start_matches("<?php");
    format!(
        r#"<?php
namespace Spiral\Goridge\RPC {{
    final class RPC {{
        private function __construct(public $socket) {{}}
        public static function create(string $connection): self {{
            return new self(stream_socket_client($connection));
        }}
    }}
}}
namespace Spiral\RoadRunner\Broadcast {{
    final class Broadcast {{
        public function __construct(private \Spiral\Goridge\RPC\RPC $rpc) {{}}
        public function publish(iterable|string $topics, iterable|string $messages): void {{
            foreach ((array) $messages as $message) {{
                \publish($this->rpc->socket, (array) $topics, $message);
            }}
        }}
    }}
}}
namespace {{ {functions} }}
"#
    )
}

#[test]
fn the_php_examples_with_the_package_are_whole() {
    if !installed("php") {
        return;
    }
    let server = Server::start(&[]);
    let (mut news, mut sports) = (subscriber(&server, "news"), subscriber(&server, "sports"));
    for (name, page) in [("readme.php", "README.md"), ("package.php", "docs/publishing.md")] {
        let file = file(name, &server, &block(page, "php", "vendor/autoload.php"));
        let vendor = file.with_file_name("vendor");
        std::fs::create_dir_all(&vendor).expect("a directory for the test");
        std::fs::write(vendor.join("autoload.php"), packages()).expect("a file for the test");
        // From wherever it is run.
        run(Command::new("php").arg(file).current_dir("/"));
    }
    news.expect("news", "hello, browser");
    news.expect("news", "Hello");
    for topic in ["two", "messages to both"] {
        news.expect("news", topic);
        sports.expect("sports", topic);
    }
}

#[test]
fn the_python_example_publishes() {
    if !installed("python3") {
        return;
    }
    let server = Server::start(&[]);
    let (mut news, mut sports) = (subscriber(&server, "news"), subscriber(&server, "sports"));
    // Warnings, such as that of a socket never closed, are none of ours.
    run(Command::new("python3").arg(file(
        "publish.py",
        &server,
        &block("docs/publishing.md", "python", "class Publisher"),
    )));
    news.expect("news", "Hello from Python");
    sports.expect("sports", "Hello from Python");
}

#[test]
fn the_go_example_publishes() {
    if !installed("go") {
        return;
    }
    let server = Server::start(&[]);
    let file = file("publish.go", &server, &block("docs/publishing.md", "go", "package main"));
    // The first build of all takes longer than a client may leave pings unanswered.
    run(Command::new("go")
        .args(["build", "publish.go"])
        .current_dir(file.parent().expect("a directory")));
    let (mut news, mut sports) = (subscriber(&server, "news"), subscriber(&server, "sports"));
    run(&mut Command::new(file.with_extension("")));
    news.expect("news", "Hello from Go");
    sports.expect("sports", "Hello from Go");
}
