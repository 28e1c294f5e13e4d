//! How a server starts when its Redis is not there, and what ends the start: whatever waiting
//! cannot mend, with the key to change.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::thread;

use super::{is, node_with, publish, written};
use crate::common::{get, roadcast};
use crate::servers::{BrokerServer, free_port};

/// What a start that must fail says.
#[track_caller]
fn fails(config: &str) -> String {
    let file = written(config);
    let output = roadcast()
        .args(["serve", "-c", &file.display().to_string()])
        .args(["-o", "roadcast.http.address=127.0.0.1:0"])
        .args(["-o", "roadcast.rpc.listen=tcp://127.0.0.1:0"])
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{said}");
    assert!(!said.contains("s3cret"), "{said}");
    said
}

#[test]
fn a_redis_that_is_not_there_yet_is_waited_for() {
    let Some(mut redis) = BrokerServer::redis(&[]) else { return };
    redis.kill();
    let config = format!("addrs: ['{}']", redis.address());
    let node = node_with(&config, &[]);
    is(&node, "down");
    let ready = get(node.endpoint("status"), "/ready");
    assert_eq!(ready, 503);
    let error = publish(&mut node.publisher(), "foo", "x").unwrap_err();
    assert!(error.contains(&redis.address()) && error.contains("refused"), "{error}");
    redis.start_again();
    is(&node, "up");
    assert_eq!(get(node.endpoint("status"), "/ready"), 200);
    let mut client = node.client();
    client.join(&["foo"]);
    publish(&mut node.publisher(), "foo", "x").unwrap();
    client.expect("foo", "x");
}

#[test]
fn a_password_that_is_wrong_or_missing_or_too_much_ends_the_start() {
    let Some(redis) = BrokerServer::redis(&["--requirepass", "right"]) else { return };
    let address = redis.address();
    let said = fails(&format!("addrs: ['{address}'], password: s3cret"));
    assert!(said.contains("WRONGPASS") && said.contains("`password`"), "{said}");
    assert!(said.contains(&format!("broker \"main\" (redis at {address})")), "{said}");
    let said = fails(&format!("addrs: ['{address}']"));
    assert!(said.contains("NOAUTH") && said.contains("set `password`"), "{said}");
    let Some(open) = BrokerServer::redis(&[]) else { return };
    let said = fails(&format!("addrs: ['{}'], password: s3cret", open.address()));
    assert!(said.contains("leave off `password`"), "{said}");
    let said = fails(&format!("addrs: ['{}'], db: 99", open.address()));
    assert!(said.contains("`db`"), "{said}");
}

#[test]
fn a_server_that_is_no_redis_ends_the_start() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 100]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    let said = fails(&format!("addrs: ['127.0.0.1:{port}']"));
    assert!(said.contains("the server is no Redis") && said.contains("`addrs`"), "{said}");
    // It speaks no TLS, either.
    let said = fails(&format!("addrs: ['127.0.0.1:{port}'], tls: {{}}"));
    assert!(said.contains("does not speak TLS"), "{said}");
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_start_and_the_lack_of_tls_is_guessed() {
    let Some((redis, port)) = BrokerServer::redis_with_tls() else { return };
    let node = node_with(&format!("addrs: ['127.0.0.1:{port}']"), &[]);
    is(&node, "down");
    let why = node.says("broker is down", 1);
    assert!(why.contains("if it speaks TLS there, set `tls`"), "{why}");
    let file = |name: &str| redis.directory.join(name).display().to_string();
    let said = fails(&format!("addrs: ['127.0.0.1:{port}'], tls: {{ ca: '{}' }}", file("ca.pem")));
    assert!(said.contains("`tls.server_name`"), "{said}");
}

#[test]
fn tls_that_a_redis_does_not_speak_is_guessed_and_so_is_tls_that_is_left_off() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let config = format!("addrs: ['{}'], tls: {{}}, dial_timeout: 300ms", redis.address());
    let why = node_with(&config, &[]).says("broker is down", 1);
    assert!(why.contains("no answer to the TLS handshake within 300ms"), "{why}");
    assert!(why.contains("if the server does not speak TLS, leave off `tls`"), "{why}");
    // One that resets whatever is not TLS: it closes with bytes unread.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.peek(&mut [0]);
        }
    });
    let why = node_with(&format!("addrs: ['127.0.0.1:{port}']"), &[]).says("broker is down", 1);
    assert!(why.contains("reset"), "{why}");
    assert!(why.contains("if it speaks TLS there, set `tls`"), "{why}");
}

#[test]
fn a_server_of_another_kind_ends_the_start() {
    let Some(redis) = BrokerServer::redis(&[]) else { return };
    let address = redis.address();
    let said = fails(&format!("addrs: ['{address}', '127.0.0.1:{}']", free_port()));
    assert!(said.contains("no node of a Cluster"), "{said}");
    let said = fails(&format!("addrs: ['{address}'], master_name: main"));
    assert!(said.contains("this is no Sentinel"), "{said}");
    let Some(sentinel) = BrokerServer::sentinel(&redis, "main") else { return };
    let said = fails(&format!("addrs: ['{}']", sentinel.address()));
    assert!(said.contains("`master_name`"), "{said}");
    let said = fails(&format!("addrs: ['{}'], master_name: other", sentinel.address()));
    assert!(said.contains("no Sentinel knows a master called \"other\""), "{said}");
}
