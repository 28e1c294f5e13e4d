//! One subscriber that does not read: everyone else gets everything, and it ends with a gapless prefix.

mod common;

use common::{Client, Received, Server};

const MESSAGES: usize = 1500;
const PAYLOAD_BYTES: usize = 16 * 1024;

/// Small bounds, so that a reader that stops is over them long before the last message.
const LIMITS: &[&str] = &[
    "roadcast.limits.publication_bytes=65536",
    "roadcast.limits.outbox_bytes=262144",
    "roadcast.limits.outboxes_bytes=4194304",
    "roadcast.limits.socket_send_bytes=65536",
];

fn payload(number: usize) -> Vec<u8> {
    let mut payload = format!("{number:08}:").into_bytes();
    payload.resize(PAYLOAD_BYTES, b'.');
    payload
}

fn number(received: &Received) -> usize {
    match received {
        Received::Message(_, payload) => {
            assert_eq!(payload.len(), PAYLOAD_BYTES);
            payload[..8].parse().expect("a number")
        }
        other => panic!("{other:?} instead of a message"),
    }
}

fn read_everything(mut client: Client) -> Client {
    (0..MESSAGES).for_each(|expected| assert_eq!(number(&client.next()), expected));
    client
}

fn publish_everything(server: &Server) {
    server.publisher().publish_all(16, (0..MESSAGES).map(|number| ("news".to_owned(), payload(number))));
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off_and_nobody_else_notices() {
    let server = Server::start(LIMITS);
    // Some beside it on its shard, some on the other one: the kernel spreads them.
    let mut readers: Vec<Client> = (0..6).map(|_| server.client()).collect();
    readers.iter_mut().for_each(|client| client.join(&["news"]));
    let mut stalled = Client::connect_narrow(server.clients, 16 * 1024);
    stalled.join(&["news"]);

    let readers: Vec<Client> = std::thread::scope(|scope| {
        let threads: Vec<_> =
            readers.into_iter().map(|client| scope.spawn(|| read_everything(client))).collect();
        publish_everything(&server);
        threads.into_iter().map(|thread| thread.join().expect("a reader")).collect()
    });

    // Now it reads: a prefix without a gap, then a Close 1013, or the end if it had been terminated before.
    let mut expected = 0;
    let end = loop {
        match stalled.next() {
            message @ Received::Message(..) => assert_eq!(number(&message), expected),
            end => break end,
        }
        expected += 1;
    };
    assert!(matches!(end, Received::Close(1013) | Received::End), "{end:?} after {expected} messages");
    assert!(expected < MESSAGES, "it was given everything: the test has not made it lag");
    readers.into_iter().for_each(Client::close);
    assert!(server.log().contains("1013"), "the overflow is logged:\n{}", server.log());
}

#[test]
fn a_subscriber_that_pauses_within_its_bound_gets_everything_in_order() {
    // The bound holds all there is: nobody may be cut off, however slowly they read.
    let server = Server::start(&[
        "roadcast.limits.outbox_bytes=67108864",
        "roadcast.limits.lane_bytes=67108864",
        "roadcast.limits.log_bytes=67108864",
        "roadcast.limits.outboxes_bytes=268435456",
        "roadcast.limits.socket_send_bytes=65536",
    ]);
    let mut paused: Vec<Client> = (0..3).map(|_| Client::connect_narrow(server.clients, 16 * 1024)).collect();
    paused.iter_mut().for_each(|client| client.join(&["news"]));
    publish_everything(&server);
    for client in &mut paused {
        // Commands of one that lags are answered in their order: after all that was published before.
        assert!(client.command("join", &["more"]));
    }
    let mut publisher = server.publisher();
    for mut client in paused {
        (0..MESSAGES).for_each(|expected| assert_eq!(number(&client.next()), expected));
        client.expect_reply("@join", &["more"]);
        publisher.publish(&["more"], b"caught up");
        client.expect("more", "caught up");
        client.leave(&["more"]);
    }
}

#[test]
fn a_lagging_subscriber_may_leave_vanish_and_come_back() {
    let server = Server::start(LIMITS);
    let mut reader = server.client();
    reader.join(&["news"]);
    let stalled: Vec<Client> = (0..4)
        .map(|_| {
            let mut client = Client::connect_narrow(server.clients, 16 * 1024);
            client.join(&["news"]);
            client
        })
        .collect();
    let reader = std::thread::scope(|scope| {
        let reading = scope.spawn(|| read_everything(reader));
        let mut publisher = server.publisher();
        let (first, second) = (0..MESSAGES)
            .map(|number| ("news".to_owned(), payload(number)))
            .partition::<Vec<_>, _>(|(_, payload)| payload[..8] < *format!("{:08}", MESSAGES / 2).as_bytes());
        publisher.publish_all(16, first);
        stalled.into_iter().for_each(Client::reset);
        let mut newcomer = server.client();
        newcomer.join(&["news"]);
        let listening = scope.spawn(move || {
            (MESSAGES / 2..MESSAGES).for_each(|expected| assert_eq!(number(&newcomer.next()), expected));
        });
        publisher.publish_all(16, second);
        listening.join().expect("the newcomer");
        reading.join().expect("the reader")
    });
    reader.close();
}
