//! Numbered messages of one size on one topic: a gap, a double or a wrong order shows at once.

use super::{Client, Received, Server};

/// A run of messages to the topic `news`.
#[derive(Clone, Copy, Debug)]
pub struct Numbered {
    /// How many.
    pub messages: usize,
    /// Bytes of each payload, at least 9.
    pub payload_bytes: usize,
}

impl Numbered {
    /// The payload of one message.
    pub fn payload(self, number: usize) -> Vec<u8> {
        let mut payload = format!("{number:08}:").into_bytes();
        payload.resize(self.payload_bytes, b'.');
        payload
    }

    /// The number of what was received, which must be one of these messages, whole.
    pub fn number(self, received: &Received) -> usize {
        match received {
            Received::Message(topic, payload) => {
                assert_eq!((topic.as_str(), payload.len()), ("news", self.payload_bytes));
                payload[..8].parse().expect("a number")
            }
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// Publishes those of a range, a few in flight, and expects ok for each.
    pub fn publish(self, server: &Server, range: std::ops::Range<usize>) {
        server
            .publisher()
            .publish_all(16, range.map(|number| ("news".to_owned(), self.payload(number))));
    }

    /// Publishes those of a range, `batch` at a time, each of which all of `readers` read before
    /// the next: then none of them is ever behind by more than a batch, however slow the machine.
    pub fn publish_in_step(
        self,
        server: &Server,
        range: std::ops::Range<usize>,
        batch: usize,
        readers: &mut [Client],
    ) {
        for start in range.clone().step_by(batch) {
            let part = start..(start + batch).min(range.end);
            self.publish(server, part.clone());
            readers.iter_mut().for_each(|client| self.read(client, part.clone()));
        }
    }

    /// Reads those of a range, in order and nothing else.
    pub fn read(self, client: &mut Client, range: std::ops::Range<usize>) {
        range.for_each(|expected| assert_eq!(self.number(&client.next()), expected));
    }

    /// Reads from the first on until something else comes: how many there were, and what that is.
    pub fn read_prefix(self, client: &mut Client) -> (usize, Received) {
        for expected in 0.. {
            match client.next() {
                message @ Received::Message(..) => assert_eq!(self.number(&message), expected),
                end => return (expected, end),
            }
        }
        unreachable!("messages are finite")
    }
}
