//! Work is divided by its size: the hub without its runtime, whose caller counts how often others
//! have had their turn.

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
        poll_fn(
            |_| if std::mem::replace(&mut given, true) { Poll::Ready(()) } else { Poll::Pending },
        )
        .await;
    }
}

/// A hub with one shard, without a runtime.
fn core(limits: Limits) -> (Rc<Core>, Vec<ShardEnd>) {
    let limits = Arc::new(limits);
    let (end, shards) = mesh(1, &limits).unwrap();
    let config = HubConfig {
        runtime: Runtime::Plain,
        rpc: None,
        brokers: vec![("default".into(), Driver::Memory)],
        default_broker: BrokerId(0),
        broker_rules: BrokerRules::default(),
        policies: Default::default(),
        limits,
        counters: Arc::new(HubCounters::new(["default"])),
        drain: Duration::ZERO,
        shutdown_grace: GRACE,
    };
    (Rc::new(Core::new(&config, end)), shards)
}

fn connection(core: &Rc<Core>, turns: Turns) -> Calls<Turns> {
    Calls::new(core.clone(), Rc::default(), turns, Peer::Unix)
}

/// Has calls worked through to their end; says how often others had their turn meanwhile.
fn turns(limits: Limits, calls: &[u8]) -> usize {
    let ((core, _shards), turns) = (core(limits), Turns::default());
    let mut connection = connection(&core, turns.clone());
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

/// A message of these fields.
fn message(fields: &[u8]) -> Vec<u8> {
    let mut key = vec![0x0a];
    prost::encoding::encode_varint(fields.len() as u64, &mut key);
    [&key, fields].concat()
}

/// Reading a body takes a turn for each 256 KiB. Whoever then looks for messages and topics goes
/// over it again.
#[test]
fn bytes_that_mean_nothing_take_turns_however_often_they_are_gone_over() {
    // A field that nobody knows: a number, and bytes.
    for nothing in [b"\x28\x00", b"\x2a\x00"] {
        let nothing = nothing.repeat(1 << 20);
        // Between empty topics, in either layout: what is outside of a message's topics is gone
        // over only once.
        let between =
            |nothing: &[u8]| message(&[b"\x12\x00\x1a\x00", nothing, b"\x12\x00\x1a\x00"].concat());
        let small = between(&nothing[..16_000]);
        for body in [nothing.clone(), between(&nothing), small.repeat(128)] {
            let reading = body.len() >> 18;
            // Once for messages, or for topics, where nothing can be refused; twice where all is
            // checked before.
            for (method, walks) in [("broadcast.Publish", 1), ("websockets.Publish", 2)] {
                let count = turns(Limits::default(), &call(1, method, Codec::Proto, &body));
                let least = reading * (1 + walks);
                assert!((least..100).contains(&count), "{count} turns, not {least}, by {method}");
            }
        }
    }
}

#[test]
fn what_follows_the_last_topic_and_what_precedes_a_message_is_gone_over_too() {
    let nothing = b"\x28\x00".repeat(8_000);
    let (before, behind) =
        ([&nothing, &message(b"")[..]].concat(), message(&[b"\x12\x01a", &nothing[..]].concat()));
    for body in [before, behind] {
        let body = body.repeat(128);
        let count = turns(Limits::default(), &call(1, "broadcast.Publish", Codec::Proto, &body));
        assert!((15..100).contains(&count), "{count} turns for {} bytes", body.len());
    }
}

#[test]
fn calls_that_publish_nothing_take_turns_by_their_size_and_number() {
    let nothing = b"\x28\x00".repeat(50_000);
    for (what, call, least) in [
        ("read and without messages", call(1, "broadcast.Publish", Codec::Proto, &nothing), 5),
        ("no such service", call(1, "x", Codec::Proto, b""), 20),
        ("a list", call(1, "informer.List", Codec::Proto, b""), 20),
    ] {
        let calls = call.repeat(if call.len() < 1000 { 20_000 } else { 10 });
        let count = turns(Limits::default(), &calls);
        assert!((least..200).contains(&count), "{what}: {count} turns");
    }
}

/// A byte may become six.
#[test]
fn an_account_is_asked_for_what_it_is_then_charged() {
    const BYTES_MAX: usize = 16_000;
    let (core, mut shards) =
        core(Limits { lane_entries: 1, rpc_async_bytes: BYTES_MAX, ..Limits::default() });
    let topic = TopicId { index: 0, generation: 0 };
    shards[0]
        .up
        .push(
            0,
            Up::Interest { topic, broker: BrokerId(0), form: Default::default(), name: "a".into() },
        )
        .unwrap();
    assert!(core.turn());
    assert!(matches!(shards[0].down.pop(), Some(Down::Interested { .. })));
    let body = rpc::publish_body(["a"; 4], &[1; 1500]);
    let calls = call(1, "broadcast.PublishAsync", Codec::Proto, &body);
    let mut connection = connection(&core, Turns::default());
    let mut taking = pin!(connection.take(&calls));
    assert!(
        taking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
        "its caller waits"
    );
    let bytes = core.sequencer.lanes.borrow_mut().accounts().bytes();
    assert!((9_000..=BYTES_MAX).contains(&bytes), "{bytes} bytes wait");
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
