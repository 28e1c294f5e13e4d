//! SIGTERM, SIGINT and SIGHUP: what was answered ok is delivered, everyone is told goodbye, the
//! process ends with 0.

use std::io::Write;
use std::net::TcpStream;
use std::sync::mpsc;
use std::thread;

use crate::common::{
    Client, PATIENCE, PROTO, RawClient, Received, Server, eventually, masked, messages, read_http,
    roadcast_after, upgrade_request,
};

const SIGHUP: i32 = 1;
const SIGINT: i32 = 2;
const SIGTERM: i32 = 15;

#[test]
fn an_idle_server_says_goodbye_and_ends_with_0() {
    for signal in [SIGTERM, SIGINT, SIGHUP] {
        // Where the test runs under nohup, the server would go on ignoring SIGHUP.
        let mut command = roadcast_after(r#"exec env --default-signal=HUP "$0" "$@""#);
        command.arg("serve");
        let mut server = Server::start_by(command, &[]);
        let mut client = server.client();
        client.join(&["news"]);
        server.signal(signal);
        assert_eq!(client.next(), Received::Close(1001));
        drop(client);
        assert_eq!(server.wait().code(), Some(0), "signal {signal}");
    }
}

#[test]
fn a_server_without_clients_says_what_it_runs_on_and_ends_with_0_and_one_line() {
    for (signal, name) in [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")] {
        let mut server = Server::start(&[]);
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        server.says(&format!("stopped by {name} after"), 1);
        let log = server.log();
        let lines: Vec<&str> =
            log.lines().filter(|line| !line.contains("configuration: ")).collect();
        assert!(
            lines.len() == 2
                && lines[0].contains("running on ")
                && lines[1].contains("idle  clients_served=0  publications_taken=0"),
            "{log}"
        );
    }
}

#[test]
fn the_end_of_a_server_with_clients_is_said_with_all_counts() {
    let mut server = Server::start(&["roadcast.shards=1"]);
    drop(server.client());
    eventually("one has gone", || server.counts(0).get("open").is_none_or(|open| *open == 0));
    let mut client = server.client();
    client.join(&["news"]);
    server.signal(SIGTERM);
    assert_eq!(client.next(), Received::Close(1001));
    drop(client);
    assert_eq!(server.wait().code(), Some(0));
    server.says("shutting down; a second signal ends at once  clients=1  publishers=0", 1);
    server.says("counts at the end, shard 0", 1);
    let stopped = server.says("stopped by SIGTERM after", 1);
    assert!(stopped.contains("  clients_served=2  publications_taken=0"), "{stopped}");
    assert!(!server.log().contains("idle"), "{}", server.log());
}

/// Publishes `PUBLISHER:NUMBER` with a window of calls in flight until the server refuses or
/// closes; the numbers that were answered ok.
fn publish_until_refused(
    server: &Server,
    publisher: usize,
    started: &mpsc::Sender<()>,
) -> Vec<usize> {
    let mut connection = server.publisher();
    let mut answered = Vec::new();
    let mut sent = std::collections::HashMap::new();
    for number in 0.. {
        let body = messages(&[(&["news"], format!("{publisher}:{number}").as_bytes())]);
        match connection.call("broadcast.Publish", PROTO, &body) {
            Ok(sequence) => sent.insert(sequence, number),
            Err(_) => break,
        };
        if sent.len() < 32 {
            continue;
        }
        match connection.answer() {
            Ok(answer) => {
                let number = sent.remove(&answer.sequence).expect("an answer to a call in flight");
                if answer.is_ok() {
                    answered.push(number);
                }
            }
            Err(_) => return answered,
        }
        if number == 500 {
            started.send(()).expect("the test waits");
        }
    }
    while let Ok(answer) = connection.answer() {
        let number = sent.remove(&answer.sequence).expect("an answer to a call in flight");
        if answer.is_ok() {
            answered.push(number);
        }
    }
    answered
}

#[test]
fn nothing_that_was_answered_ok_is_lost_when_it_ends_under_load() {
    const PUBLISHERS: usize = 3;
    let mut server = Server::start(&[]);
    let mut clients: Vec<Client> = (0..8).map(|_| server.client()).collect();
    clients.iter_mut().for_each(|client| client.join(&["news"]));
    let (started, starts) = mpsc::channel();
    let (heard, answered) = thread::scope(|scope| {
        let readers: Vec<_> = clients
            .into_iter()
            .map(|mut client| {
                scope.spawn(move || {
                    let mut heard = Vec::new();
                    loop {
                        match client.next() {
                            Received::Message(_, payload) => heard.push(payload),
                            end => return (heard, end),
                        }
                    }
                })
            })
            .collect();
        let server = &server;
        let publishers: Vec<_> = (0..PUBLISHERS)
            .map(|publisher| {
                let started = started.clone();
                scope.spawn(move || publish_until_refused(server, publisher, &started))
            })
            .collect();
        (0..PUBLISHERS).for_each(|_| starts.recv().expect("publishers under way"));
        server.signal(SIGTERM);
        let answered: Vec<_> =
            publishers.into_iter().map(|thread| thread.join().expect("a publisher")).collect();
        let heard: Vec<_> =
            readers.into_iter().map(|thread| thread.join().expect("a subscriber")).collect();
        (heard, answered)
    });
    assert_eq!(server.wait().code(), Some(0));
    for (number, (heard, end)) in heard.iter().enumerate() {
        assert_eq!(end, &Received::Close(1001), "subscriber {number}");
        for (publisher, answered) in answered.iter().enumerate() {
            let prefix = format!("{publisher}:");
            let own: Vec<usize> = heard
                .iter()
                .filter_map(|payload| payload.strip_prefix(&prefix))
                .map(|number| number.parse().expect("a number"))
                .collect();
            assert!(
                own.iter().copied().eq(0..own.len()),
                "subscriber {number}: gaps or doubles of {publisher}"
            );
            let last = answered.iter().max().expect("something was answered ok");
            assert!(
                own.len() > *last,
                "subscriber {number} has {} of {publisher}, {last} was answered ok",
                own.len()
            );
        }
    }
}

/// A server that cannot finish, the client that holds it, and one that reads `news`.
fn server_held_open() -> (Server, Client, Client) {
    let (server, stalled) = Server::held_open();
    let mut reader = server.client();
    reader.join(&["news"]);
    (server, stalled, reader)
}

#[test]
fn publishing_to_a_server_that_is_shutting_down_is_an_error() {
    let (server, stalled, mut reader) = server_held_open();
    let mut publisher = server.publisher();
    publisher.publish(&["news"], b"before");
    reader.expect("news", "before");
    server.signal(SIGTERM);
    // Once someone has been told goodbye, the shutdown is under way.
    assert_eq!(reader.next(), Received::Close(1001));
    let answer = publisher.ask("broadcast.Publish", PROTO, &messages(&[(&["held"], b"too late")]));
    assert!(answer.error().contains("shutting down"), "{}", answer.error());
    let answer =
        publisher.ask("broadcast.PublishAsync", PROTO, &messages(&[(&["held"], b"too late")]));
    assert!(answer.error().contains("shutting down"), "{}", answer.error());
    drop(stalled);
}

#[test]
fn nobody_is_let_in_any_more_while_it_shuts_down() {
    let (server, _stalled, mut reader) = server_held_open();
    server.signal(SIGTERM);
    assert_eq!(reader.next(), Received::Close(1001));
    match TcpStream::connect(server.clients) {
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused),
        // One that was accepted in the last moment is refused in HTTP, or ended with the listener.
        Ok(mut stream) => {
            stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
            let _ = stream.write_all(upgrade_request("/ws", &[]).as_bytes());
            if let Ok(answer) = read_http(&mut stream) {
                assert_eq!(answer.status, 503, "{}", answer.head);
            }
        }
    }
}

/// The kernel has connected them, and the server has not seen them when it is told to end.
#[test]
fn whoever_waits_to_be_accepted_when_it_shuts_down_gets_an_answer() {
    const SIGSTOP: i32 = 19;
    const SIGCONT: i32 = 18;
    let mut server = Server::start(&["roadcast.ping_interval=0", "roadcast.shutdown_grace=10m"]);
    server.signal(SIGSTOP);
    let clients: Vec<TcpStream> = (0..400)
        .map(|number| {
            let mut stream = TcpStream::connect(server.clients).expect("there is a backlog");
            stream.set_read_timeout(Some(PATIENCE)).expect("a read timeout");
            // One in four has not come to its request yet, or not to its end.
            let request = upgrade_request("/ws", &[]);
            let sent = [request.len(), request.len(), request.len() / 2, 0][number % 4];
            stream.write_all(&request.as_bytes()[..sent]).expect("the kernel takes it");
            stream
        })
        .collect();
    server.signal(SIGTERM);
    server.signal(SIGCONT);
    let mut refused = 0;
    for (number, mut stream) in clients.into_iter().enumerate() {
        let answer = read_http(&mut stream).unwrap_or_else(|error| panic!("{number}: {error}"));
        match answer.status {
            // Let in before the signal was seen.
            101 => RawClient::of(stream).expect_close(1001, "a SIGTERM"),
            503 => {
                refused += 1;
                assert_eq!(answer.header("retry-after"), Some("1"), "{}", answer.head);
            }
            other => panic!("{number}: {other}"),
        }
    }
    assert!(refused >= 200, "{refused} of those without a request");
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn one_that_reads_again_gets_all_it_was_owed_before_the_goodbye() {
    let (mut server, mut stalled, mut reader) = server_held_open();
    server.signal(SIGTERM);
    assert_eq!(reader.next(), Received::Close(1001));
    drop(reader);
    for number in 0..20 {
        match stalled.next() {
            Received::Message(_, payload) => assert_eq!(payload.len(), 50_000, "message {number}"),
            other => panic!("{other:?} instead of message {number}"),
        }
    }
    assert_eq!(stalled.next(), Received::Close(1001));
    drop(stalled);
    assert_eq!(server.wait().code(), Some(0));
}

/// It has lagged, which gives it ten minutes; from its goodbye on it has no more time than others.
#[test]
fn one_that_has_lagged_and_answers_the_goodbye_but_stays_holds_nothing_up() {
    let mut server = Server::start(&[
        "roadcast.shutdown_grace=10m",
        "roadcast.limits.laggard_timeout=10m",
        "roadcast.limits.close_timeout=1s",
        "roadcast.ping_interval=0",
        "roadcast.limits.socket_send_bytes=16384",
    ]);
    let mut stalled = Client::connect_narrow(server.clients, 4096);
    stalled.join(&["held"]);
    server.publisher().publish_all(4, (0..20).map(|_| ("held".to_owned(), vec![b'x'; 50_000])));
    let mut reader = server.client();
    reader.join(&["news"]);
    server.signal(SIGTERM);
    assert_eq!(reader.next(), Received::Close(1001));
    drop(reader);
    (0..20).for_each(|_| assert!(matches!(stalled.next(), Received::Message(..))));
    assert_eq!(stalled.next(), Received::Close(1001));
    // To read on is to answer; the end of the server's direction follows.
    assert_eq!(stalled.next(), Received::End);
    assert_eq!(server.wait().code(), Some(0));
    server.says("closing handshake", 0);
    drop(stalled);
}

#[test]
fn the_grace_ends_what_does_not_end_by_itself() {
    let mut server = Server::start(&[
        "roadcast.shutdown_grace=300ms",
        "roadcast.limits.laggard_timeout=10m",
        "roadcast.limits.socket_send_bytes=16384",
    ]);
    let mut stalled = Client::connect_narrow(server.clients, 4096);
    stalled.join(&["held"]);
    server.publisher().publish_all(4, (0..20).map(|_| ("held".to_owned(), vec![b'x'; 50_000])));
    server.signal(SIGTERM);
    assert_eq!(server.wait().code(), Some(0));
    drop(stalled);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut server, _stalled, mut reader) = server_held_open();
    server.signal(SIGTERM);
    assert_eq!(reader.next(), Received::Close(1001));
    // Its grace is ten minutes, longer than the test waits: only the second signal can end it.
    server.signal(SIGTERM);
    let status = server.wait();
    assert_ne!(status.code(), Some(0), "not a clean end: {status}");
}

/// Each in another state when the signal comes, with publications going out all the time.
#[test]
fn the_goodbye_reaches_everyone_under_load_whatever_they_are_at() {
    let mut server = Server::start(&[
        "roadcast.ping_interval=0",
        "roadcast.echo_path=/echo",
        "roadcast.limits.outbox_bytes=67108864",
        "roadcast.limits.lane_bytes=67108864",
        // They are read one after the other.
        "roadcast.limits.close_timeout=10m",
        "roadcast.shutdown_grace=10m",
    ]);
    let subscribed = |topics: &[&str]| {
        let mut client = server.client();
        client.join(topics);
        client
    };
    let mut clients: Vec<Client> = (0..200).map(|_| subscribed(&["news"])).collect();
    clients.extend((0..50).map(|_| subscribed(&["news", "more", "others"])));
    // In no topic; behind with reading; in the middle of a message, and of a fragmented one.
    clients.extend((0..50).map(|_| server.client()));
    let mut behind: Vec<Client> =
        (0..4).map(|_| Client::connect_narrow(server.clients, 4096)).collect();
    behind.iter_mut().for_each(|client| client.join(&["news"]));
    let partial = masked(0x81, br#"{"command":"join"}"#);
    let mut raw: Vec<RawClient> =
        (0..20).map(|_| RawClient::connect(server.clients, "/ws")).collect();
    raw.iter_mut().for_each(|client| client.send(&partial[..partial.len() / 2]));
    raw.extend(
        (0..20).map(|_| RawClient::connect_with(server.clients, "/echo", &masked(0x01, b"first"))),
    );

    let (started, starts) = mpsc::channel();
    thread::scope(|scope| {
        let shared = &server;
        let mut readers = Vec::new();
        while !clients.is_empty() {
            let some = clients.split_off(clients.len().saturating_sub(75));
            readers.push(scope.spawn(move || some.into_iter().for_each(read_to_the_goodbye)));
        }
        let started = &started;
        let publishing = scope.spawn(move || publish_until_refused(shared, 0, started));
        starts.recv().expect("a publisher under way");
        shared.signal(SIGTERM);
        readers.into_iter().for_each(|thread| thread.join().expect("everyone is told goodbye"));
        behind.into_iter().for_each(read_to_the_goodbye);
        raw.iter_mut().for_each(|client| client.expect_close(1001, "a SIGTERM"));
        drop(raw);
        // It ends with the server, which goes on answering with errors while anyone is left.
        assert!(!publishing.join().expect("a publisher").is_empty());
    });
    assert_eq!(server.wait().code(), Some(0));
}

fn read_to_the_goodbye(mut client: Client) {
    loop {
        match client.next() {
            Received::Message(..) => {}
            end => return assert_eq!(end, Received::Close(1001)),
        }
    }
}
