//! The NATS broker, on a real nats-server that restarts, stands still, refuses and is about to end.
//!
//! In each of these nothing is lost without a gap that is counted, and all goes on afterwards.

mod basics;
mod logins;
mod outages;
mod server;

use crate::common::{Client, PROTO, Publisher, Received, Scrape, Server, eventually, messages};

/// Gaps that have been counted.
fn gaps(server: &Server) -> u64 {
    Scrape::of(server.endpoint("metrics")).sum("gaps_total", &[])
}

fn publish(publisher: &mut Publisher, topic: &str, payload: &[u8]) -> Result<(), String> {
    let answer = publisher.ask("broadcast.Publish", PROTO, &messages(&[(&[topic], payload)]));
    if answer.is_ok() { Ok(()) } else { Err(answer.error().to_owned()) }
}

/// Publishes until it works, and says what the first error was.
fn publish_when_up(publisher: &mut Publisher, topic: &str, payload: &[u8]) -> Option<String> {
    let mut first = None;
    eventually("a broker that takes a publication", || {
        let published = publish(publisher, topic, payload);
        first = first.take().or(published.clone().err());
        published.is_ok()
    });
    first
}

/// The next publication, past the others of a topic.
fn expect_next(client: &mut Client, topic: &str, payload: &str) {
    loop {
        match client.next() {
            Received::Message(of, read) if of == topic && read == payload => return,
            Received::Message(..) => {}
            other => panic!("{other:?} before {payload}"),
        }
    }
}
