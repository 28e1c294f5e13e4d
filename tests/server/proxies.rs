//! What proxies in front say of their clients, on the real server: by headers, by the PROXY
//! protocol, and by a real HAProxy. Which peer comes from where is decided by `bind`, as a network
//! would.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};

use crate::common::{
    PATIENCE, RawClient, Server, eventually, installed, masked, read_http, upgrade_request,
};

const ONE_EACH: &str = "roadcast.limits.connections_per_address=1";
const PROXY: &str = "http.trusted_subnets=127.0.0.9/32";
const PROTOCOL: &str = "roadcast.proxy_protocol=true";

/// A connection from 127.0.0.`last`.
fn dial(server: SocketAddr, last: u8) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket
        .bind(&SocketAddr::new(Ipv4Addr::new(127, 0, 0, last).into(), 0).into())
        .expect("an address of this machine");
    socket.connect(&server.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream
}

/// The status that `before` and an upgrade request with these lines are answered with, and the
/// connection, still open.
fn upgrade(server: SocketAddr, from: u8, before: &[u8], lines: &[&str]) -> (u16, TcpStream) {
    let mut stream = dial(server, from);
    stream
        .write_all(&[before, upgrade_request("/ws", lines).as_bytes()].concat())
        .expect("the server reads");
    let answer = read_http(&mut stream).expect("an HTTP answer");
    (answer.status, stream)
}

fn v1(client: &str) -> Vec<u8> {
    format!("PROXY TCP4 {client} 127.0.0.1 4711 8080\r\n").into_bytes()
}

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[0x20 | command, family, 0, rest.len() as u8], rest].concat()
}

#[test]
fn the_headers_that_a_proxy_sets_are_named_and_others_are_the_clients_own() {
    let server =
        Server::start(&[ONE_EACH, PROXY, "http.trusted_headers=CF-Connecting-IP,Forwarded"]);
    let mut held = Vec::new();
    for (lines, expected) in [
        (&["CF-Connecting-IP: 192.0.2.1"][..], 101),
        (&["Forwarded: for=192.0.2.1;proto=https"], 429),
        (&["Forwarded: for=203.0.113.9, for=\"[2001:db8::1]:4711\""], 101),
        (&["Forwarded: for=192.0.2.1;x=\", for=\"[2001:db8::1]\""], 429),
        // Not named: the proxy knows nothing of them, and itself is counted.
        (&["X-Forwarded-For: 192.0.2.7"], 101),
        (&["X-Real-IP: 192.0.2.8"], 429),
        (&["True-Client-IP: 192.0.2.9"], 429),
    ] {
        let (status, stream) = upgrade(server.clients, 9, b"", lines);
        assert_eq!(status, expected, "{lines:?}");
        held.push(stream);
    }
}

#[test]
fn where_x_forwarded_for_names_no_client_x_real_ip_does() {
    let server = Server::start(&[ONE_EACH, PROXY]);
    let mut held = Vec::new();
    for (lines, expected) in [
        (&["X-Forwarded-For: ", "X-Real-IP: 192.0.2.1"][..], 101),
        (&["X-Forwarded-For: unknown", "X-Real-IP: 192.0.2.1"], 429),
        (&["X-Forwarded-For: 127.0.0.9", "X-Real-IP: 192.0.2.1"], 429),
        (&["X-Forwarded-For: 192.0.2.2", "X-Real-IP: 192.0.2.1"], 101),
    ] {
        let (status, stream) = upgrade(server.clients, 9, b"", lines);
        assert_eq!(status, expected, "{lines:?}");
        held.push(stream);
    }
}

#[test]
fn a_proxy_names_its_client_before_the_request() {
    let server = Server::start(&[ONE_EACH, PROXY, PROTOCOL]);
    let v4 = |last: u8| v2(1, 0x11, &[192, 0, 2, last, 127, 0, 0, 1, 0, 1, 0, 2]);
    let mut held = Vec::new();
    for (header, lines, expected) in [
        (v1("192.0.2.1"), &[][..], 101),
        (v1("192.0.2.1"), &[], 429),
        (v4(1), &[], 429),
        (v4(2), &[], 101),
        // What such a client forwards is its own word.
        (v4(2), &["X-Forwarded-For: 192.0.2.77"], 429),
        // The proxy for itself, and for whom it cannot name: counted for the proxy.
        (v2(0, 0, b""), &["X-Forwarded-For: 192.0.2.78"], 101),
        (v2(0, 0x11, b""), &[], 429),
        (b"PROXY UNKNOWN\r\n".to_vec(), &[], 429),
        (v2(1, 0x31, &[0; 216]), &[], 429),
        // Another trusted proxy in front of that one: its headers are read.
        (v1("127.0.0.9"), &["X-Forwarded-For: 192.0.2.1"], 429),
        (v1("127.0.0.9"), &["X-Forwarded-For: 192.0.2.3"], 101),
    ] {
        let (status, stream) = upgrade(server.clients, 9, &header, lines);
        assert_eq!(status, expected, "{:?} {lines:?}", String::from_utf8_lossy(&header));
        held.push(stream);
    }
}

#[test]
fn a_header_may_arrive_in_pieces_with_everything_behind_it() {
    let server = Server::start(&[PROXY, PROTOCOL]);
    let join = masked(0x81, br#"{"command":"join","topics":["news"]}"#);
    for header in [v1("192.0.2.1"), v2(1, 0x11, &[192, 0, 2, 1, 127, 0, 0, 1, 0, 1, 0, 2])] {
        let bytes = [&header[..], upgrade_request("/ws", &[]).as_bytes(), &join].concat();
        for split in 1..header.len() + 3 {
            let mut client = RawClient::of(dial(server.clients, 9));
            client.send(&bytes[..split]);
            std::thread::yield_now();
            client.send(&bytes[split..]);
            client.expect_upgraded();
            assert_eq!(
                client.frame().map(|(first, _)| first),
                Some(0x81),
                "a reply, split at {split}"
            );
        }
    }
}

#[test]
fn a_header_is_expected_from_proxies_alone_and_there_it_must_be() {
    let server = Server::start(&["roadcast.shards=1", PROXY, PROTOCOL]);
    for (from, header, expected) in [
        (9, Vec::new(), 400),
        (9, v1("nobody"), 400),
        (9, v2(1, 0x11, b"short"), 400),
        (2, v1("192.0.2.1"), 400),
        (2, v2(0, 0, b""), 400),
        (2, Vec::new(), 101),
    ] {
        let (status, _) = upgrade(server.clients, from, &header, &[]);
        assert_eq!(status, expected, "127.0.0.{from}: {:?}", String::from_utf8_lossy(&header));
    }
    server.says("no PROXY protocol header", 1);
    server.says("a malformed PROXY protocol header", 1);
    server.says("a PROXY protocol header, which is expected from http.trusted_subnets alone", 1);
    // Off, it is expected from nobody.
    let server = Server::start(&[PROXY]);
    assert_eq!(upgrade(server.clients, 9, &v1("192.0.2.1"), &[]).0, 400);
}

/// A running HAProxy.
struct HaProxy(Child, std::path::PathBuf);

impl HaProxy {
    /// One that passes TCP connections to `server`, from 127.0.0.9, with `options` for the server's
    /// line. Returns where it listens.
    fn start(server: SocketAddr, options: &str) -> (Self, SocketAddr) {
        let listen = TcpListener::bind("127.0.0.1:0")
            .and_then(|free| free.local_addr())
            .expect("a free port");
        let file = std::env::temp_dir().join(format!("roadcast-haproxy-{}", listen.port()));
        let text = format!(
            "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 60s\n  timeout server 60s\n\
             frontend clients\n  bind {listen}\n  default_backend roadcast\n\
             backend roadcast\n  option httpchk GET /up\n  source 127.0.0.9\n  server one {server} {options}\n"
        );
        std::fs::write(&file, text).expect("a file");
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let started = Self(child.expect("haproxy starts"), file);
        eventually("haproxy listens", || TcpStream::connect(listen).is_ok());
        (started, listen)
    }
}

impl Drop for HaProxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = std::fs::remove_file(&self.1);
    }
}

#[test]
fn haproxy_names_its_clients_in_both_versions_and_its_probes_are_answered() {
    if !installed("haproxy") {
        return;
    }
    for version in
        ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"]
    {
        let server = Server::start(&[
            "roadcast.shards=1",
            ONE_EACH,
            PROXY,
            PROTOCOL,
            "roadcast.health_path=/up",
        ]);
        let (_haproxy, listen) =
            HaProxy::start(server.clients, &format!("check inter 50ms {version}"));
        // The first probes may still be under way; a target that fails them gets nobody.
        let mut first = None;
        eventually("a client comes through", || {
            let (status, stream) = upgrade(listen, 3, b"", &[]);
            first = Some(stream);
            status == 101
        });
        let (status, _) = upgrade(listen, 3, b"", &["X-Forwarded-For: 192.0.2.1"]);
        assert_eq!(status, 429, "{version}: it is the client that counts");
        let (status, _second) = upgrade(listen, 4, b"", &[]);
        assert_eq!(status, 101, "{version}: another client has its own");
        let log = server.says("connections_per_address is reached", 1);
        assert!(log.contains("127.0.0.3"), "{log}");
        assert!(
            !server.log().contains("PROXY protocol"),
            "its probes are what they should be: {}",
            server.log()
        );
    }
}
