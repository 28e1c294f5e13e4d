//! Which brokers a message goes to, and what operators are told of them. The hub is without its
//! runtime.

use std::cell::RefCell;
use std::pin::pin;
use std::task::{Context, Waker};

use super::*;
use crate::publication::Payload;

/// Says what it is given, by its name.
struct Told(String, Rc<RefCell<Vec<String>>>);

impl Broker for Told {
    fn publish(&self, topic: &str, _: &Payload<'_>, _: Patience) -> Publishing {
        self.1.borrow_mut().push(format!("{}.{topic}", self.0));
        Publishing::Now(Ok(()))
    }

    fn want(&self, _: &Arc<str>) -> Wanting {
        Wanting::Now
    }

    fn unwant(&self, _: &str) {}
}

/// What the brokers `a`, `b` and `c` are given, and what is answered.
fn given(publish_to: Option<Vec<usize>>, calls: &[u8]) -> (Vec<String>, Vec<u8>, Rc<Core>) {
    let limits = Arc::new(Limits::default());
    let (end, _shards) = mesh(1, &limits).unwrap();
    let names = ["a", "b", "c"];
    let config = HubConfig {
        runtime: Runtime::Plain,
        rpc: None,
        brokers: names.map(|name| (name.to_owned(), Driver::Memory)).into(),
        default_broker: BrokerId(1),
        broker_rules: BrokerRules { publish_to, ..BrokerRules::default() },
        policies: Default::default(),
        limits,
        counters: Arc::new(HubCounters::new(names)),
        drain: Duration::ZERO,
        shutdown_grace: GRACE,
    };
    let told: Rc<RefCell<Vec<String>>> = Rc::default();
    let core = Rc::new(Core::with_brokers(&config, end, &mut |name, _, _, _| {
        Box::new(Told(name.to_owned(), told.clone()))
    }));
    core.counters.by_broker[2].becomes(BrokerState::Down, Some("refused"));
    let written = Written::default();
    let mut connection = Calls::new(core.clone(), Rc::default(), written.clone(), Peer::Unix);
    let mut taking = pin!(connection.take(calls));
    assert!(taking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
    (told.take(), written.0.take(), core)
}

#[test]
fn a_message_that_names_no_broker_goes_to_those_that_are_to_have_it() {
    let calls = publish(1, &["x", "y"], b"");
    let all = ["a.x", "b.x", "c.x", "a.y", "b.y", "c.y"];
    assert_eq!(given(None, &calls).0, all);
    let (told, _, core) = given(Some(vec![1]), &calls);
    assert_eq!(told, ["b.x", "b.y"]);
    assert_eq!(core.counters.publications.value(), 2, "no others are counted");
    assert_eq!(given(Some(vec![0, 2]), &calls).0, ["a.x", "c.x", "a.y", "c.y"]);
}

#[test]
fn a_message_that_names_its_broker_goes_to_that_one_whichever_the_others_go_to() {
    let named = |name: &str| {
        let body = format!(r#"{{"messages":[{{"broker":"{name}","topics":["x"]}}]}}"#);
        let calls = call(1, "websockets.Publish", Codec::Json, body.as_bytes());
        given(Some(vec![1]), &calls).0
    };
    assert_eq!(named("c"), ["c.x"]);
    assert_eq!(named(""), ["b.x"]);
}

#[test]
fn operators_are_told_of_each_broker() {
    let calls = [publish(1, &["x"], b""), call(2, "roadcast.Brokers", Codec::Json, b"true")];
    let (_, answers, _) = given(None, &calls.concat());
    let Ok(Decoded::Whole { bytes, .. }) = rpc::decode_answer(&answers, 1 << 20) else { panic!() };
    let Ok(Decoded::Whole { value, .. }) = rpc::decode_answer(&answers[bytes..], 1 << 20) else {
        panic!()
    };
    let told: serde_json::Value = serde_json::from_slice(value.body).unwrap();
    let brokers = told["brokers"].as_array().unwrap();
    assert_eq!(brokers.iter().map(|broker| &broker["name"]).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!((&brokers[1]["default"], &brokers[1]["state"]), (&true.into(), &"up".into()));
    assert_eq!((&brokers[2]["state"], &brokers[2]["why"]), (&"down".into(), &"refused".into()));
    assert_eq!(brokers[0]["driver"], "memory");
}
