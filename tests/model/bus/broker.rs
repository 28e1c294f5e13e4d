//! The hub's side of the broker: what it is given and asked.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;

use rand::RngExt;
use roadcast::hub::{Broker, Inlet, Patience, PublishError, Publishing, Wanting};
use roadcast::publication::Payload;
use tokio::sync::oneshot;

use super::super::book::Message;
use super::{AWAY, Bus, BusBroker, Caller, Order, State, Told, Want};

impl BusBroker {
    pub fn new(bus: &Rc<RefCell<Bus>>, inlet: Inlet) -> Self {
        bus.borrow_mut().inlet = Some(inlet);
        Self(bus.clone())
    }
}

impl Broker for BusBroker {
    fn publish(&self, topic: &str, payload: &Payload<'_>, _: Patience) -> Publishing {
        let bus = &mut *self.0.borrow_mut();
        let (say, said) = oneshot::channel();
        // Now and then it has no room for more in flight.
        let caller = Caller { hears: say, waits: bus.rng.random_bool(0.1) };
        let waits = caller.waits;
        let (topic, message) = (topic.to_owned(), Message::of_payload(payload.bytes()));
        if bus.state == State::Up {
            bus.orders.push_back(Order::Publish(topic, payload.bytes().to_vec(), caller));
            bus.waker.take().into_iter().for_each(Waker::wake);
        } else if bus.rng.random() {
            bus.told.push(Told::Refused { topic, message, ends_call: true });
            return Publishing::Now(Err(PublishError::Broker(AWAY.into())));
        } else {
            bus.refuse(topic, message, caller);
        }
        match waits {
            true => Publishing::Later(Box::pin(async {
                said.await.unwrap_or(Err(PublishError::ShuttingDown))
            })),
            false => Publishing::Sent(said),
        }
    }

    fn want(&self, topic: &Arc<str>) -> Wanting {
        let bus = &mut *self.0.borrow_mut();
        let (topic, now) = (topic.to_string(), bus.now);
        let known = bus.wanted.contains_key(&topic);
        let want = bus.wanted.entry(topic.clone()).or_insert(Want {
            number: 0,
            live: false,
            had: false,
            waits: None,
        });
        let wanting = if want.live { Wanting::Now } else { Wanting::Later };
        if !want.live {
            want.waits.get_or_insert(now);
        }
        if !known && bus.is_connected() {
            bus.subscribe(topic.clone());
        }
        bus.told.push(Told::Wanted(topic, wanting));
        bus.waker.take().into_iter().for_each(Waker::wake);
        wanting
    }

    fn unwant(&self, topic: &str) {
        let bus = &mut *self.0.borrow_mut();
        assert!(bus.wanted.contains_key(topic), "{topic} is given up, and is not wanted");
        bus.give_up(topic);
        bus.waker.take().into_iter().for_each(Waker::wake);
    }
}
