//! What the server does when its user may watch no more descriptors by epoll
//! (`fs.epoll.max_user_watches`, which counts for each user).
//!
//! Goal: whoever cannot be watched is ended, which is counted and said, and nobody else notices; as
//! soon as there is room, whoever comes is served. Method: a server as a user of its own, all of
//! whose watches but a few this test has taken. The limit is lowered to a number that is far above
//! what other users need.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::sync::mpsc;

use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::io::Errno;

use crate::common::{
    PATIENCE, RawClient, Server, User, eventually, masked, read_http, skip, upgrade_request,
};

const LIMIT: &str = "/proc/sys/fs/epoll/max_user_watches";
const WATCHES: usize = 50_000;
/// As many watches as that, made of few descriptors.
const EACH: usize = 250;
/// What the server has for itself and its first clients.
const LEFT: usize = 30;

/// The limit, lowered; as it was once dropped.
struct Lowered(String);

impl Lowered {
    /// None, and the test is skipped, where that is denied.
    fn limit() -> Option<Self> {
        let before = std::fs::read_to_string(LIMIT).expect("proc(5)");
        let lowered = std::fs::write(LIMIT, WATCHES.to_string());
        if let Err(error) = lowered {
            skip(format_args!("{LIMIT} cannot be written ({error}); it takes root"));
            return None;
        }
        Some(Self(before))
    }
}

impl Drop for Lowered {
    fn drop(&mut self) {
        let _ = std::fs::write(LIMIT, self.0.trim());
    }
}

/// Takes all watches of the calling thread's user, and gives some back.
fn take_all_but(left: usize) -> (Vec<OwnedFd>, Vec<OwnedFd>) {
    let descriptors: Vec<OwnedFd> =
        (0..EACH).map(|_| eventfd(0, EventfdFlags::CLOEXEC).expect("a descriptor")).collect();
    let mut epolls = Vec::new();
    loop {
        let of = epoll::create(epoll::CreateFlags::CLOEXEC).expect("a descriptor");
        for (place, fd) in descriptors.iter().enumerate() {
            let data = epoll::EventData::new_u64(0);
            let watched = epoll::add(&of, fd, data, epoll::EventFlags::IN);
            if watched == Err(Errno::NOSPC) {
                // Of the one before, which is full.
                let full: &OwnedFd = epolls.last().expect("the limit is higher than that");
                descriptors[..left].iter().for_each(|fd| epoll::delete(full, fd).expect("watched"));
                epolls.push(of);
                return (descriptors, epolls);
            }
            watched.unwrap_or_else(|error| panic!("watch {place} of {}: {error}", epolls.len()));
        }
        epolls.push(of);
        assert!(epolls.len() <= WATCHES / EACH, "the limit is not held to");
    }
}

/// A connection that is upgraded; `None`: it was ended.
fn knock(server: &Server) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(server.clients).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
    stream.write_all(upgrade_request("/ws", &[]).as_bytes()).ok()?;
    let answer = match read_http(&mut stream) {
        Ok(answer) => answer,
        Err(error) => {
            assert_ne!(error.kind(), ErrorKind::WouldBlock, "it has not been ended");
            return None;
        }
    };
    assert_eq!(answer.status, 101, "{}", answer.head);
    Some(stream)
}

#[test]
fn a_connection_that_cannot_be_watched_is_ended_and_counted_and_nobody_else_notices() {
    let Some(user) = User::create() else { return };
    let Some(lowered) = Lowered::limit() else { return };
    let (taken, give_back) = (mpsc::channel(), mpsc::channel::<()>());
    let taking = user.thread(move || {
        let watches = take_all_but(LEFT);
        taken.0.send(()).expect("the test waits");
        let _ = give_back.1.recv();
        drop(watches);
    });
    taken.1.recv().expect("watches");
    let mut command = user.roadcast_after("");
    command.arg("serve");
    let overrides = [
        "roadcast.backend=epoll",
        "roadcast.shards=1",
        "roadcast.ping_interval=0",
        "roadcast.limits.head_timeout=5m",
    ];
    let mut server = Server::start_by(command, &overrides);
    let mut publisher = server.publisher();
    publisher.publish(&["nobody"], b"connected");

    let mut clients = Vec::new();
    while let Some(stream) = knock(&server) {
        let mut client = RawClient::of(stream);
        client.send(&masked(0x81, br#"{"command":"join","topics":["news"]}"#));
        assert!(client.frame().is_some_and(|(_, reply)| reply.starts_with(br#"{"topic":"@join""#)));
        clients.push(client);
        assert!(clients.len() < LEFT, "the limit is not held to");
    }
    assert!(!clients.is_empty(), "nobody was let in");
    let rests = || server.counts(0).get("accept_rests").copied().unwrap_or(0);
    eventually("it is counted", || rests() == 1);
    let said = server.says("accepting rests", 1);
    assert!(said.contains("os error 28") && said.contains("fs.epoll.max_user_watches"), "{said}");
    let open = || server.counts(0).get("open").copied().unwrap_or(0) as usize;
    eventually("nothing is left of it", || open() == clients.len());
    // Each that comes fares alike.
    assert!(knock(&server).is_none());
    eventually("it is counted", || rests() == 2);
    for number in 0..3 {
        let payload = number.to_string();
        publisher.publish(&["news"], payload.as_bytes());
        let expected = format!(r#"{{"topic":"news","payload":"{payload}"}}"#);
        for client in &mut clients {
            assert_eq!(client.frame(), Some((0x81, expected.clone().into_bytes())));
        }
    }

    // One goes, and another comes in its place.
    clients.pop();
    eventually("its watch is free", || open() == clients.len());
    clients.push(RawClient::of(knock(&server).expect("there is room")));
    give_back.0.send(()).expect("it waits");
    taking.join().expect("watches are given back");
    clients.extend((0..LEFT).map(|_| RawClient::connect(server.clients, "/ws")));
    drop(lowered);
    server.signal(15);
    clients.iter_mut().for_each(|client| client.expect_close(1001, "a SIGTERM"));
    drop(clients);
    assert_eq!(server.wait().code(), Some(0));
}
