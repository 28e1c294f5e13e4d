//! What publishers call: all methods and codecs, one message and many, and what is refused.

use rand::RngExt;
use roadcast::rpc::{Codec, Layout};

use super::bodies::{self, Part};
use super::book::{Key, Message};
use super::publisher::{Due, Manner};
use super::world::World;

impl World {
    /// Publishers come, call and go.
    pub fn publish(&mut self) {
        let here = self
            .hub
            .publishers
            .iter()
            .filter(|publisher| publisher.pipe.borrow().closed.is_none())
            .count();
        if here < self.publishers && self.rng.random_bool(0.2) {
            let manner = match self.rng.random_range(0..12) {
                0 => Manner::Violates,
                1 => Manner::Resets,
                2 => Manner::EndsDirection,
                3 => Manner::NeverReads,
                _ => Manner::Steady,
            };
            self.hub.connect(manner, &mut self.rng);
        }
        for place in 0..self.hub.publishers.len() {
            while self.hub.publishers[place].is_talking() && self.rng.random_bool(self.talk) {
                self.call(place);
            }
            let publisher = &mut self.hub.publishers[place];
            if publisher.manner != Manner::Steady
                && !publisher.said_all
                && self.rng.random_bool(0.02)
            {
                publisher.say_goodbye();
            }
        }
    }

    fn call(&mut self, place: usize) {
        let layout = if self.rng.random_bool(0.4) { Layout::Broadcast } else { Layout::Websockets };
        let asynchronous = self.rng.random_bool(0.2);
        let codec = match self.rng.random_range(0..10) {
            0 => Codec::Json,
            1 => Codec::Msgpack,
            2 => Codec::Raw,
            _ => Codec::Proto,
        };
        let service = if layout == Layout::Broadcast { "broadcast" } else { "websockets" };
        let method = format!("{service}.Publish{}", if asynchronous { "Async" } else { "" });
        let (mut parts, mut publications) = (Vec::new(), Vec::new());
        let messages = match self.rng.random_range(0..100) {
            0 => 0,
            1..70 => 1,
            70..98 => self.rng.random_range(2..5),
            // More than a connection's turn.
            _ => self.rng.random_range(100..300),
        };
        for _ in 0..messages {
            let bytes = if messages > 5 { 10 } else { self.payload_bytes() };
            self.part(place, layout, bytes, &mut parts, &mut publications);
        }
        let due = if asynchronous { Due::OkAtOnce } else { Due::Ok };
        if self.rng.random_bool(0.06) {
            return self.call_that_is_refused(place, layout, codec, &method, parts, publications);
        }
        let body = bodies::encode(layout, codec, &parts);
        let book = &self.hub.book;
        self.hub.publishers[place].call(&method, codec, &body, due, book, publications);
    }

    fn payload_bytes(&mut self) -> usize {
        let most = self.limits.publication_bytes - 100;
        match self.rng.random_range(0..20) {
            0..10 => self.rng.random_range(0..50.min(most)),
            10..18 => self.rng.random_range(0..2_000.min(most)),
            _ => self.rng.random_range(0..most),
        }
    }

    /// One message and the publications that it makes, in their order.
    fn part(
        &mut self,
        place: usize,
        layout: Layout,
        bytes: usize,
        parts: &mut Vec<Part>,
        publications: &mut Vec<(Key, Message)>,
    ) {
        let broker = u16::from(self.rng.random_bool(0.3));
        let mut topics: Vec<String> = Vec::new();
        for _ in 0..[1, 1, 1, 2, 4][self.rng.random_range(0..5)] {
            let topic = match layout {
                Layout::Broadcast => self.topic_of_one_broker(broker),
                Layout::Websockets => self.random_topic(broker),
            };
            if !topics.contains(&topic) {
                topics.push(topic);
            }
        }
        let message = self.hub.publishers[place].next_message();
        self.hub.book.sent(message, bytes);
        let brokers = match layout {
            Layout::Broadcast => 0..2,
            Layout::Websockets => broker..broker + 1,
        };
        for topic in &topics {
            publications.extend(brokers.clone().map(|broker| ((broker, topic.clone()), message)));
        }
        if self.rng.random_bool(0.03) {
            // Skipped, whatever else is published.
            topics.insert(self.rng.random_range(0..=topics.len()), String::new());
        }
        let name = match broker {
            0 => ["", "memory"][self.rng.random_range(0..2)],
            _ => "bus",
        };
        parts.push(Part { broker: name.into(), topics, payload: message.payload(broker, bytes) });
    }

    /// Something is wrong with a call: nothing of it may be published.
    fn call_that_is_refused(
        &mut self,
        place: usize,
        layout: Layout,
        codec: Codec,
        method: &str,
        mut parts: Vec<Part>,
        publications: Vec<(Key, Message)>,
    ) {
        let whole = |parts: &[Part], codec| bodies::encode(layout, codec, parts);
        let part = |broker: &str, topic: &str, bytes| Part {
            broker: broker.into(),
            topics: vec![topic.into()],
            payload: vec![b'x'; bytes],
        };
        let (method, codec, body, error) = match self.rng.random_range(0..8) {
            0 => (
                "broadcast.Shout",
                codec,
                whole(&parts, codec),
                "rpc: can't find method broadcast.Shout",
            ),
            1 => ("kv.Publish", codec, whole(&parts, codec), "rpc: can't find service kv.Publish"),
            2 => (
                method,
                Codec::Gob,
                whole(&parts, codec),
                "served are PROTO, JSON, MSGPACK and RAW",
            ),
            3 => (method, codec, b"\x0a\xff\xff".to_vec(), "rpc: can't decode "),
            4 => {
                parts.push(part("", "t0", self.limits.publication_bytes));
                (method, codec, whole(&parts, codec), "is over roadcast.limits.publication_bytes")
            }
            5 => {
                parts.push(part("", &"t".repeat(self.limits.topic_bytes + 1), 1));
                (method, codec, whole(&parts, codec), "is over roadcast.limits.topic_bytes")
            }
            6 => {
                let body = br#""http""#.to_vec();
                ("resetter.Reset", Codec::Json, body, "no such plugin: http")
            }
            _ if layout == Layout::Websockets => {
                parts.push(part("nowhere", "t0", 1));
                (method, codec, whole(&parts, codec), "unknown broker \"nowhere\"")
            }
            _ => ("Publish", codec, whole(&parts, codec), "ill-formed: Publish"),
        };
        let book = &self.hub.book;
        self.hub.publishers[place].call(
            method,
            codec,
            &body,
            Due::Error(error),
            book,
            publications,
        );
    }
}
