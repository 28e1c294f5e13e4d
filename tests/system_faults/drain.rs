//! `roadcast.drain` on the real server: goodbyes over a while, the oldest first, and who is let in
//! meanwhile.

use crate::common::{Client, Received, Server, eventually, get, http, upgrade_request};

const SIGTERM: i32 = 15;

/// One shard, so that there is one order; thirty seconds for thirty clients.
#[test]
fn a_drain_tells_the_oldest_first_serves_the_others_and_lets_nobody_in() {
    let mut server = Server::start(&[
        "roadcast.shards=1",
        "roadcast.drain=30s",
        "roadcast.status.address=127.0.0.1:0",
    ]);
    let status = server.endpoint("status");
    let mut clients: Vec<Client> = (0..30).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.join(&["news"]));
    assert_eq!(get(status, "/ready"), 200);
    server.signal(SIGTERM);
    eventually("/ready says no", || get(status, "/ready") == 503);
    assert_eq!(get(status, "/health"), 200);
    server.says(
        "draining over 30s, then up to 30s more; newcomers get 503; a second signal ends at once",
        1,
    );
    server.says("the drain is over", 0);
    let mut others = clients.split_off(2);
    for client in &mut clients {
        assert_eq!(client.next(), Received::Close(1001));
    }
    // All goes on for those who have not been told: the newest of them, surely.
    server.publisher().publish(&["news"], b"still here");
    let newest = others.last_mut().expect("many");
    newest.expect("news", "still here");
    newest.join(&["more"]);
    let newcomer = http(server.clients, upgrade_request("/ws", &[]).as_bytes());
    assert_eq!(newcomer.status, 503, "{}", newcomer.head);
    let seconds: u64 =
        newcomer.header("retry-after").expect("a time to come back").parse().expect("seconds");
    assert!((1..=30).contains(&seconds), "{seconds}");
    // Whoever is left when everyone has gone is nobody: it ends before the drain is over.
    drop((clients, others));
    assert_eq!(server.wait().code(), Some(0));
    server.says("the drain is over; up to 30s for who is left", 1);
}

#[test]
fn a_drain_may_close_the_port_at_once() {
    let server = Server::start(&["roadcast.drain=10m", "roadcast.drain_accept=false"]);
    let mut clients: Vec<Client> = (0..2).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.join(&["news"]));
    server.signal(SIGTERM);
    server.says("draining over 600s, then up to 30s more; newcomers meet a closed port", 1);
    eventually("a closed port", || std::net::TcpStream::connect(server.clients).is_err());
    server.publisher().publish(&["news"], b"still here");
    clients.iter_mut().for_each(|client| client.expect("news", "still here"));
}

#[test]
fn a_server_without_clients_has_nothing_to_drain() {
    let mut server = Server::start(&["roadcast.drain=10m"]);
    server.signal(SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    server.says("drain", 0);
}
