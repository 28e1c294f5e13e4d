//! Work is divided by its size: the hub without its runtime, whose caller counts how often others have had their turn.

use std::future::poll_fn;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::*;
use crate::json_string::MEASURED;

/// Counts the turns that it gives.
#[derive(Clone, Default)]
struct Turns(Rc<Cell<usize>>);

impl Caller for Turns {
    async fn write_answers(&self, answers: Vec<u8>, _: Duration) -> (io::Result<()>, Vec<u8>) {
        (Ok(()), answers)
    }

    async fn give_way(&self) {
        self.0.set(self.0.get() + 1);
        let mut given = false;
        poll_fn(|_| if std::mem::replace(&mut given, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

/// Has calls worked through to their end; says how often others had their turn meanwhile.
fn turns(limits: Limits, calls: &[u8]) -> usize {
    let limits = Arc::new(limits);
    let (end, _shards) = mesh(1, &limits).unwrap();
    let config = HubConfig {
        rpc: None,
        brokers: vec![("default".into(), Driver::Memory)],
        default_broker: BrokerId(0),
        limits,
        counters: Arc::new(HubCounters::new(1)),
        drain: Duration::ZERO,
        shutdown_grace: GRACE,
    };
    let (core, turns) = (Core::new(&config, end), Turns::default());
    let mut connection = core.calls(turns.clone());
    let mut taking = pin!(connection.take(calls));
    let mut context = Context::from_waker(Waker::noop());
    let (consumed, rest) = loop {
        if let Poll::Ready(result) = taking.as_mut().poll(&mut context) {
            break result.unwrap();
        }
    };
    assert!(consumed == calls.len() && rest.is_ok());
    turns.0.get()
}

#[test]
fn small_calls_of_one_read_share_a_turn() {
    assert_eq!(turns(Limits::default(), &publish(1, &["foo"], b"x").repeat(200)), 0);
}

/// Two bytes each on the wire, and nothing is published.
#[test]
fn messages_without_topics_take_turns_by_their_number() {
    let body = b"\x0a\x00".repeat(100_000);
    for (codec, least) in [(Codec::Proto, 20), (Codec::Raw, 20)] {
        let count = turns(Limits::default(), &call(1, "broadcast.Publish", codec, &body));
        assert!((least..100).contains(&count), "{count} turns");
    }
}

#[test]
fn bytes_that_mean_nothing_take_turns_too() {
    // Within a message and around it: a field that nobody knows.
    let nothing = b"\x22\x00".repeat(1_000_000);
    for body in [nothing.clone(), [&b"\x0a\x80\x89\x7a"[..], &nothing].concat()] {
        let count = turns(Limits::default(), &call(1, "broadcast.Publish", Codec::Proto, &body));
        assert!((7..100).contains(&count), "{count} turns for {} bytes", body.len());
    }
}

#[test]
fn a_payload_is_measured_once_however_many_topics_it_goes_to() {
    const TOPICS: usize = 5_000;
    // So long that it might be refused: its length for clients has to be known.
    let payload = vec![b'x'; 200_000];
    let body = rpc::publish_body(std::iter::repeat_n("a", TOPICS), &payload);
    for method in ["broadcast.Publish", "websockets.Publish"] {
        let call = call(1, method, Codec::Proto, &body);
        MEASURED.set(0);
        let count = turns(Limits::default(), &call);
        // In `websockets`, the field of the payload is a topic, and the topics are brokers.
        assert!(MEASURED.get() <= payload.len() + 10 * TOPICS, "{} bytes measured", MEASURED.get());
        assert!(count >= TOPICS / 256 || method != "broadcast.Publish", "{count} turns");
    }
}
