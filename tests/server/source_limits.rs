//! Limits per source address on the real server: clients from several loopback addresses, proxies,
//! forged and malformed headers. Which client comes from where is decided by `bind`, as a network
//! would.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

use crate::common::{HttpAnswer, PATIENCE, RawClient, Scrape, Server, read_http, upgrade_request};

const METRICS: &str = "roadcast.metrics.address=127.0.0.1:0";
const CONNECTIONS: &str = "roadcast.limits.connections_per_address=2";
const HANDSHAKES: &str = "roadcast.limits.handshakes_per_address=3";

fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// A connection from this address.
fn dial(server: SocketAddr, from: IpAddr) -> TcpStream {
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::new(from, 0).into()).expect("an address of this machine");
    socket.connect(&server.into()).expect("the server listens");
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream
}

/// An upgrade request from this address with these header lines: the answer, and the connection,
/// still open.
fn upgrade(server: &Server, from: u8, lines: &[&str]) -> (HttpAnswer, TcpStream) {
    let mut stream = dial(server.clients, loopback(from));
    std::io::Write::write_all(&mut stream, upgrade_request("/ws", lines).as_bytes())
        .expect("the server reads");
    let answer = read_http(&mut stream).expect("an HTTP answer");
    (answer, stream)
}

fn metrics(server: &Server) -> Scrape {
    let line =
        server.printed.iter().find(|line| line.starts_with("metrics")).expect("metrics are on");
    let address =
        line.split("http://").nth(1).and_then(|rest| rest.split('/').next()).expect("an address");
    Scrape::of(address.parse().expect("an address"))
}

fn refused(server: &Server, reason: &str) -> u64 {
    metrics(server).sum("connections_refused_total", &[reason])
}

/// How often the log has these words by now; waits for the first time, since the log is read behind
/// what it is about.
fn said(server: &Server, words: &str) -> usize {
    let begin = std::time::Instant::now();
    loop {
        let said = server.log().matches(words).count();
        if said > 0 {
            return said;
        }
        assert!(begin.elapsed() < PATIENCE, "never said: {words}");
        std::thread::yield_now();
    }
}

/// Waits until the address is let in again: its connection's end is seen by the server, not by the
/// client.
fn upgrade_at_last(server: &Server, from: u8, lines: &[&str]) -> TcpStream {
    let begin = std::time::Instant::now();
    loop {
        let (answer, stream) = upgrade(server, from, lines);
        if answer.status == 101 {
            return stream;
        }
        assert!(begin.elapsed() < PATIENCE, "never let in again: {}", answer.head);
        std::thread::yield_now();
    }
}

#[test]
fn an_address_has_so_many_connections_over_all_shards_and_others_are_untouched() {
    let server = Server::start(&["roadcast.shards=4", METRICS, CONNECTIONS]);
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..2 {
        let (answer, stream) = upgrade(&server, 2, &[]);
        assert_eq!(answer.status, 101, "{}", answer.head);
        held.push(stream);
    }
    // The kernel spreads these over all four shards.
    for _ in 0..20 {
        let (answer, _) = upgrade(&server, 2, &[]);
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("10")),
            "{}",
            answer.head
        );
        assert!(
            answer.body.starts_with(b"Too many connections"),
            "{:?}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    let (other, _stream) = upgrade(&server, 3, &[]);
    assert_eq!(other.status, 101);
    assert_eq!(refused(&server, "address_connections"), 20);
    assert_eq!(refused(&server, "address_handshakes"), 0);
    let said = said(&server, "connections_per_address is reached");
    assert!(said <= 4, "once for each shard, not each time: {said}");
    held.pop();
    drop(upgrade_at_last(&server, 2, &[]));
}

#[test]
fn an_address_has_so_many_handshakes_a_second() {
    let server = Server::start(&[METRICS, HANDSHAKES]);
    // However long this takes on a busy machine, some of 200 in a row come too fast.
    let statuses: Vec<u16> = (0..200).map(|_| upgrade(&server, 2, &[]).0.status).collect();
    assert_eq!(statuses[..3], [101; 3], "a burst may be as large as the limit");
    let refusals = statuses.iter().filter(|status| **status == 429).count();
    assert!(
        refusals > 0 && statuses.iter().all(|status| [101, 429].contains(status)),
        "{statuses:?}"
    );
    assert_eq!(refused(&server, "address_handshakes"), refusals as u64);
    let (answer, _stream) = upgrade(&server, 3, &[]);
    assert_eq!(answer.status, 101, "another address has its own");
    said(&server, "refused with 429: roadcast.limits.handshakes_per_address is reached");
}

#[test]
fn behind_a_trusted_proxy_each_client_counts_for_itself() {
    let server = Server::start(&[METRICS, CONNECTIONS, "http.trusted_subnets=127.0.0.9/32"]);
    let mut held = Vec::new();
    for client in ["192.0.2.1", "192.0.2.2", "2001:db8::1"] {
        for expected in [101, 101, 429] {
            let (answer, stream) = upgrade(&server, 9, &[&format!("X-Forwarded-For: {client}")]);
            assert_eq!(answer.status, expected, "{client}");
            held.push(stream);
        }
    }
    for (lines, expected) in [
        (&["X-Real-IP: 192.0.2.2"][..], 429),
        // What the client invents stands before what the proxy adds.
        (&["X-Forwarded-For: 198.51.100.7, 192.0.2.1"], 429),
        (&["X-Forwarded-For: 192.0.2.1, 127.0.0.9"], 429),
        (&["X-Forwarded-For: 2001:db8::ffff"], 429),
        (&["X-Real-IP: 192.0.2.3"], 101),
    ] {
        let (answer, stream) = upgrade(&server, 9, lines);
        assert_eq!(answer.status, expected, "{lines:?}");
        held.push(stream);
    }
    assert_eq!(metrics(&server).sum("forwarded_missing_total", &[]), 0);
    drop(held);
    drop(upgrade_at_last(&server, 9, &["X-Forwarded-For: 192.0.2.1"]));
}

#[test]
fn a_forged_header_from_an_untrusted_peer_changes_nothing() {
    let server = Server::start(&[METRICS, CONNECTIONS, "http.trusted_subnets=127.0.0.9/32"]);
    let mut held = Vec::new();
    for (client, expected) in [("192.0.2.1", 101), ("192.0.2.2", 101), ("192.0.2.3", 429)] {
        let lines = [&*format!("X-Forwarded-For: {client}"), &*format!("X-Real-IP: {client}")];
        let (answer, stream) = upgrade(&server, 2, &lines);
        assert_eq!(answer.status, expected, "{client}");
        held.push(stream);
    }
    let (answer, _stream) = upgrade(&server, 9, &["X-Forwarded-For: 192.0.2.1"]);
    assert_eq!(answer.status, 101, "nothing was counted for whom the forger named");
}

#[test]
fn a_proxy_whose_header_names_nobody_counts_for_itself() {
    let server = Server::start(&[METRICS, CONNECTIONS, "http.trusted_subnets=127.0.0.9/32"]);
    let mut held = Vec::new();
    for (lines, expected) in [
        (&["X-Forwarded-For: unknown"][..], 101),
        (&["X-Forwarded-For: 192.0.2.1, 1.2.3"], 101),
        (&["X-Forwarded-For: ,,,,"], 429),
        (&["X-Real-IP: 1.2.3"], 429),
        (&["X-Forwarded-For: \u{202e}192.0.2.1"], 429),
        (&[], 429),
    ] {
        let (answer, stream) = upgrade(&server, 9, lines);
        assert_eq!(answer.status, expected, "{lines:?}");
        held.push(stream);
    }
    assert_eq!(metrics(&server).sum("forwarded_missing_total", &[]), 6);
    let (answer, stream) = upgrade(&server, 9, &["X-Forwarded-For: 192.0.2.1"]);
    assert_eq!(answer.status, 101, "a named client is not the proxy");
    held.push(stream);
}

#[test]
fn a_refused_address_that_says_nothing_is_closed_and_keeps_nobody_out() {
    let server =
        Server::start(&["roadcast.shards=1", METRICS, "roadcast.limits.connections_per_address=1"]);
    let (answer, _held) = upgrade(&server, 2, &[]);
    assert_eq!(answer.status, 101);
    let silent: Vec<TcpStream> = (0..200).map(|_| dial(server.clients, loopback(2))).collect();
    // Few are kept to be answered; the others end at once.
    let ended = silent.iter().skip(64).filter(|stream| {
        let mut byte = [0];
        matches!(std::io::Read::read(&mut &**stream, &mut byte), Ok(0) | Err(_))
    });
    assert_eq!(ended.count(), 136);
    let mut client = RawClient::connect(server.clients, "/ws");
    client.text(r#"{"command":"join","topics":["news"]}"#);
    assert!(client.frame().is_some(), "127.0.0.1 is served");
    assert_eq!(refused(&server, "address_connections"), 200);
}
