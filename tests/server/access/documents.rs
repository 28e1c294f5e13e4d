//! The examples of docs/access.md do what they say.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::connect;
use crate::common::cli::unused;
use crate::common::{Client, Server, eventually, http, installed, upgrade_request};
use crate::examples::block;

/// A process that ends with the value.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A file of an example, in a directory of its own.
fn file(name: &str, text: &str) -> PathBuf {
    let directory = format!("access-{}-{}", std::process::id(), name.replace('.', "-"));
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(directory);
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Serves with `command`, and waits until it does so at `address`.
fn serve(command: &mut Command, address: &str) -> Process {
    let command = command.stdout(Stdio::null()).stderr(Stdio::null());
    let process = Process(command.spawn().expect("it starts"));
    let address: SocketAddr = address.parse().unwrap();
    eventually("the example serves", || TcpStream::connect(address).is_ok());
    process
}

fn callback_does_what_stands_there(address: &str) {
    // Slow as a machine may be.
    let text = block("docs/access.md", "yaml", "8090/may").replace("127.0.0.1:8090", address);
    let name = format!("{}.yaml", address.replace(['.', ':'], "-"));
    let path = file(&name, &text);
    let server =
        Server::start_with(&["-c", path.to_str().unwrap()], &["roadcast.access.http.timeout=60s"]);
    let refused = http(server.clients, upgrade_request("/ws", &[]).as_bytes());
    assert_eq!((refused.status, &refused.body[..]), (401, &b"Log in first."[..]));
    assert_eq!(refused.header("WWW-Authenticate"), Some("Session"));
    let mut client = connect(&server, "/ws").unwrap();
    client.join(&["news", "sports"]);
    client.command("join", &["news", "secret.7"]);
    client.expect_reply("#join", &["news", "secret.7"]);
}

#[test]
fn the_callback_in_php_does_what_stands_there() {
    if !installed("php") {
        return;
    }
    let script = file("callback.php", &block("docs/access.md", "php", "// callback.php"));
    let address = unused();
    let _serves = serve(Command::new("php").args(["-S", &address]).arg(script), &address);
    callback_does_what_stands_there(&address);
}

#[test]
fn the_keys_and_the_tokens_in_php_do_what_stands_there() {
    if !installed("php") || !installed("openssl") {
        return;
    }
    let script = file("keys.php", &block("docs/access.md", "php", "// keys.php"));
    let directory = script.parent().unwrap();
    let made = Command::new("openssl")
        .args(["genrsa", "-out", "private.pem", "2048"])
        .current_dir(directory)
        .output();
    assert!(made.unwrap().status.success());
    let address = unused();
    let _serves = serve(Command::new("php").args(["-S", &address]).arg(&script), &address);
    let text = block("docs/access.md", "yaml", "8090/keys.json");
    let path = file("keys.yaml", &text.replace("127.0.0.1:8090", &address));
    let server = Server::start_with(&["-c", path.to_str().unwrap()], &[]);
    let request = format!("GET /token HTTP/1.1\r\nHost: {address}\r\n\r\n");
    let token = http(address.parse().unwrap(), request.as_bytes()).body;
    let offer = format!("roadcast, token.{}", String::from_utf8(token).unwrap());
    let headers = [("Sec-WebSocket-Protocol", offer.as_str())];
    let mut client = Client::connect_with(server.clients, "/ws", &headers).expect("it is let in");
    client.join(&["news", "user.7.inbox"]);
    client.command("join", &["user.8.inbox"]);
    client.expect_reply("#join", &["user.8.inbox"]);
}

#[test]
fn the_callback_in_python_does_what_stands_there() {
    if !installed("python3") {
        return;
    }
    let address = unused();
    let port = address.rsplit_once(':').unwrap().1;
    let code = block("docs/access.md", "python", "# callback.py");
    let script = file("callback.py", &code.replace("8090", port));
    let _serves = serve(Command::new("python3").arg(script), &address);
    callback_does_what_stands_there(&address);
}
