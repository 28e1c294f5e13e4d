//! A broker that takes its time: it confirms topics when the test says so, and answers publications
//! when the test does. The hub is without its runtime.

use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::oneshot;

use super::*;
use crate::mesh::Unavailable;
use crate::publication::Payload;

/// What the test has of its broker.
#[derive(Clone, Default)]
struct Slow(Rc<State>);

#[derive(Default)]
struct State {
    inlet: RefCell<Option<Inlet>>,
    subscribed: RefCell<Vec<String>>,
    unwanted: RefCell<Vec<String>>,
    sent: RefCell<Vec<(String, Say)>>,
}

/// Says what became of a publication.
type Say = oneshot::Sender<Result<(), PublishError>>;

impl Broker for Slow {
    fn publish(&self, topic: &str, _: &Payload<'_>, _: Patience) -> Publishing {
        let (say, sent) = oneshot::channel();
        self.0.sent.borrow_mut().push((topic.to_owned(), say));
        Publishing::Sent(sent)
    }

    fn want(&self, topic: &Arc<str>) -> Wanting {
        match self.0.subscribed.borrow().iter().any(|known| **known == **topic) {
            true => Wanting::Now,
            false => Wanting::Later,
        }
    }

    fn unwant(&self, topic: &str) {
        self.0.unwanted.borrow_mut().push(topic.to_owned());
    }
}

impl Slow {
    fn inlet(&self) -> Inlet {
        self.0.inlet.borrow().clone().unwrap()
    }

    fn confirm(&self, topic: &str) {
        self.0.subscribed.borrow_mut().push(topic.to_owned());
        assert!(self.inlet().confirmed(topic));
    }

    fn deliver(&self, topic: &str, payload: &str) {
        let delivered =
            self.inlet().deliver(topic, &Payload::new(payload.as_bytes()), Patience::Caller);
        assert!(matches!(delivered, Publishing::Now(Ok(()))));
    }

    /// Says what became of the oldest publication that it has been given.
    fn say(&self, outcome: Result<(), PublishError>) -> String {
        let (topic, say) = self.0.sent.borrow_mut().remove(0);
        say.send(outcome).unwrap();
        topic
    }
}

/// A hub with two shards whose one broker is slow.
fn core() -> (Rc<Core>, Vec<ShardEnd>, Slow) {
    let limits = Arc::new(Limits::default());
    let (end, shards) = mesh(2, &limits).unwrap();
    let config = HubConfig {
        runtime: Runtime::Plain,
        rpc: None,
        brokers: vec![("slow".into(), Driver::Memory)],
        default_broker: BrokerId(0),
        broker_rules: BrokerRules::default(),
        policies: Default::default(),
        limits,
        counters: Arc::new(HubCounters::new(["slow"])),
        drain: Duration::ZERO,
        shutdown_grace: GRACE,
    };
    let slow = Slow::default();
    let core = Core::with_brokers(&config, end, &mut |_, _, inlet, _| {
        *slow.0.inlet.borrow_mut() = Some(inlet);
        Box::new(slow.clone())
    });
    (Rc::new(core), shards, slow)
}

fn ask(core: &Core, shard: &mut ShardEnd, index: u32, name: &str) {
    let topic = TopicId { index, generation: 0 };
    shard
        .up
        .push(
            0,
            Up::Interest {
                topic,
                broker: BrokerId(0),
                form: Default::default(),
                name: name.into(),
            },
        )
        .unwrap();
    core.turn();
}

fn give_up(core: &Core, shard: &mut ShardEnd, index: u32) {
    shard.up.push(0, Up::Uninterest { topic: TopicId { index, generation: 0 } }).unwrap();
    core.turn();
}

/// Everything in a lane, as text.
fn taken(shard: &mut ShardEnd) -> Vec<String> {
    let entry = |entry| match entry {
        Down::Publish { topic, sequence, .. } => format!("{}#{sequence}", topic.index),
        Down::Interested { topic, sequence } => format!("+{}#{sequence}", topic.index),
        Down::Unavailable { topic, .. } => format!("!{}", topic.index),
        Down::Lost { topic } => format!("?{}", topic.index),
        Down::Uninterested { topic } => format!("-{}", topic.index),
        entry => format!("{entry:?}"),
    };
    std::iter::from_fn(|| shard.down.pop()).map(entry).collect()
}

#[test]
fn shards_are_answered_when_the_broker_has_confirmed_their_topic() {
    let (core, mut shards, slow) = core();
    ask(&core, &mut shards[0], 5, "foo");
    ask(&core, &mut shards[1], 6, "foo");
    assert!(taken(&mut shards[0]).is_empty() && taken(&mut shards[1]).is_empty());
    slow.confirm("foo");
    slow.deliver("foo", "x");
    assert_eq!(taken(&mut shards[0]), ["+5#0", "5#1"]);
    assert_eq!(taken(&mut shards[1]), ["+6#0", "6#1"]);
}

#[test]
fn who_asks_for_a_topic_that_is_subscribed_is_answered_at_once() {
    let (core, mut shards, slow) = core();
    ask(&core, &mut shards[0], 5, "foo");
    slow.confirm("foo");
    slow.deliver("foo", "x");
    ask(&core, &mut shards[1], 6, "foo");
    assert_eq!(taken(&mut shards[1]), ["+6#1"]);
}

#[test]
fn a_topic_that_cannot_be_had_in_time_is_refused_to_those_who_wait_for_it() {
    let (core, mut shards, slow) = core();
    ask(&core, &mut shards[0], 5, "foo");
    slow.confirm("foo");
    // Its server has gone: what it had subscribed, it has not any more.
    slow.0.subscribed.borrow_mut().clear();
    ask(&core, &mut shards[1], 6, "foo");
    assert!(slow.inlet().unavailable("foo", Unavailable::Late), "the first shard still has it");
    assert_eq!(taken(&mut shards[0]), ["+5#0"]);
    assert_eq!(taken(&mut shards[1]), ["!6"]);
    slow.deliver("foo", "x");
    assert_eq!(taken(&mut shards[0]), ["5#1"]);
    assert!(taken(&mut shards[1]).is_empty());
    assert!(!slow.inlet().unavailable("nobody", Unavailable::Late));
}

#[test]
fn the_broker_hears_that_nobody_wants_a_topic_only_when_nobody_waits_for_it_either() {
    let (core, mut shards, slow) = core();
    ask(&core, &mut shards[0], 5, "foo");
    slow.confirm("foo");
    slow.0.subscribed.borrow_mut().clear();
    ask(&core, &mut shards[1], 6, "foo");
    give_up(&core, &mut shards[0], 5);
    assert!(slow.0.unwanted.borrow().is_empty());
    slow.confirm("foo");
    give_up(&core, &mut shards[1], 6);
    assert_eq!(*slow.0.unwanted.borrow(), ["foo"]);
    assert_eq!(taken(&mut shards[1]), ["+6#0", "-6"]);
}

#[test]
fn a_loss_is_told_to_those_who_have_the_topic_and_not_to_those_who_wait() {
    let (core, mut shards, slow) = core();
    ask(&core, &mut shards[0], 5, "foo");
    slow.confirm("foo");
    slow.0.subscribed.borrow_mut().clear();
    ask(&core, &mut shards[1], 6, "foo");
    assert!(slow.inlet().lost("foo"));
    slow.confirm("foo");
    assert_eq!(taken(&mut shards[0]), ["+5#0", "?5"]);
    assert_eq!(taken(&mut shards[1]), ["+6#0"]);
    assert!(!slow.inlet().lost("nobody"));
}

#[test]
fn all_calls_of_a_read_are_given_to_the_broker_before_the_first_is_answered() {
    let (core, _shards, slow) = core();
    let written = Written::default();
    let mut connection = Calls::new(core.clone(), Rc::default(), written.clone(), Peer::Unix);
    let calls = [
        publish(1, &["a"], b"x"),
        publish(2, &["b", "c"], b"x"),
        publish(3, &["d"], b"x"),
        call(4, "broadcast.Nonsense", Codec::Proto, b""),
    ];
    let calls = calls.concat();
    let mut taking = pin!(connection.take(&calls));
    let mut context = Context::from_waker(Waker::noop());
    assert!(taking.as_mut().poll(&mut context).is_pending());
    assert_eq!(slow.0.sent.borrow().len(), 4, "all are under way");
    let down = || PublishError::Broker("broker \"slow\" is down".into());
    let said: Vec<String> =
        [Ok(()), Ok(()), Err(down()), Ok(())].map(|outcome| slow.say(outcome)).into();
    assert_eq!(said, ["a", "b", "c", "d"], "in the order of the calls");
    assert!(matches!(taking.as_mut().poll(&mut context), Poll::Ready(Ok(_))));

    let written = written.0.borrow();
    let (mut at, mut answers) = (0, Vec::new());
    while at < written.len() {
        let Ok(Decoded::Whole { value, bytes }) = rpc::decode_answer(&written[at..], 1 << 20)
        else {
            panic!("not an answer at {at}")
        };
        answers.push((value.sequence, value.ok()));
        at += bytes;
    }
    assert_eq!(answers[..2], [(1, Ok(true)), (2, Err("broker \"slow\" is down".into()))]);
    assert_eq!(answers[2], (3, Ok(true)));
    assert!(answers[3].0 == 4 && answers[3].1.is_err() && answers.len() == 4);
    assert_eq!(core.counters.errors_outage.value(), 1);
}

#[test]
fn what_a_broker_refuses_after_an_asynchronous_call_was_answered_is_counted() {
    let (core, _shards, slow) = core();
    let mut connection = Calls::new(core.clone(), Rc::default(), Written::default(), Peer::Unix);
    let calls = call(1, "broadcast.PublishAsync", Codec::Proto, &rpc::publish_body(["a"], b"x"));
    let mut taking = pin!(connection.take(&calls));
    let mut context = Context::from_waker(Waker::noop());
    assert!(taking.as_mut().poll(&mut context).is_pending());
    slow.say(Err(PublishError::Broker("broker \"slow\" is down".into())));
    assert!(taking.as_mut().poll(&mut context).is_ready());
    assert_eq!(core.counters.failures_after_ok.value(), 1);
}

#[test]
fn whoever_waits_for_a_broker_is_told_when_the_hub_ends() {
    let (core, _shards, slow) = core();
    let written = Written::default();
    let mut connection = Calls::new(core.clone(), Rc::default(), written.clone(), Peer::Unix);
    let calls = publish(1, &["a"], b"x");
    let mut taking = pin!(connection.take(&calls));
    let mut context = Context::from_waker(Waker::noop());
    assert!(taking.as_mut().poll(&mut context).is_pending());
    core.drain();
    assert!(taking.as_mut().poll(&mut context).is_ready());
    drop(slow);
    let written = written.0.borrow();
    let Ok(Decoded::Whole { value, .. }) = rpc::decode_answer(&written, 1 << 20) else {
        panic!("no answer")
    };
    assert_eq!(value.ok(), Err("roadcast is shutting down".into()));
}

/// Publications of one call that are under way are bounded: the call waits for the oldest.
#[test]
fn a_call_of_very_many_topics_has_only_so_many_publications_at_its_broker() {
    let (core, _shards, slow) = core();
    let mut connection = Calls::new(core.clone(), Rc::default(), Written::default(), Peer::Unix);
    let names: Vec<String> = (0..20_000).map(|number| number.to_string()).collect();
    let topics: Vec<&str> = names.iter().map(String::as_str).collect();
    let calls = publish(1, &topics, b"x");
    let mut taking = pin!(connection.take(&calls));
    let mut context = Context::from_waker(Waker::noop());
    let mut most = 0;
    while taking.as_mut().poll(&mut context).is_pending() {
        most = most.max(slow.0.sent.borrow().len());
        for (_, say) in slow.0.sent.take() {
            let _ = say.send(Ok(()));
        }
    }
    assert!((1..5_000).contains(&most), "{most} at once");
}
