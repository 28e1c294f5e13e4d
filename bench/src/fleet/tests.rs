//! A fleet and a real server, the floor, on loopback: what is published arrives, everywhere and
//! once.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use super::churn::Churn;
use super::drive::Pace;
use super::*;
use crate::dialect::Floor;

/// A floor that serves until the test process ends, and fleets for it.
struct Rig {
    clients: SocketAddr,
    publishes: SocketAddr,
}

impl Rig {
    fn new(batch: bool) -> Self {
        let listen = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let (clients, publishes) = (listen(), listen());
        let rig = Self {
            clients: clients.local_addr().unwrap(),
            publishes: publishes.local_addr().unwrap(),
        };
        std::thread::spawn(move || crate::yardstick::floor::serve(clients, publishes, batch));
        rig
    }

    fn fleet(&self, topics: u32, payload: usize, publishers: u32) -> Fleet {
        let plan = Plan { topics, payload, window: 256, spin: false, publishers };
        Fleet::new(
            Box::<Floor>::default(),
            self.clients,
            Some(self.publishes),
            plan,
            Clock::start(),
        )
        .unwrap()
    }
}

const LENGTH: Duration = Duration::from_millis(100);

#[test]
fn every_publication_reaches_every_subscriber_of_its_topic_once() {
    for batch in [true, false] {
        let rig = Rig::new(batch);
        let mut fleet = rig.fleet(3, 100, 1);
        fleet.grow(30, 8).unwrap();
        let slice = fleet.slice(Pace::InFlight(16), LENGTH, None, None).unwrap();
        assert!(slice.deliveries >= 10, "{}", slice.deliveries);
        assert_eq!(slice.deliveries % 10, 0, "ten subscribers a topic");
        assert_eq!(slice.deliveries, slice.latency.len());
        assert!(slice.faults.none(), "{:?}", slice.faults);
    }
}

#[test]
fn frames_larger_than_a_read_are_put_together() {
    let rig = Rig::new(true);
    let mut fleet = rig.fleet(1, 300_000, 1);
    fleet.grow(3, 3).unwrap();
    let slice = fleet.slice(Pace::InFlight(4), LENGTH, None, None).unwrap();
    assert!(slice.deliveries > 0);
    assert!(slice.faults.none(), "{:?}", slice.faults);
}

#[test]
fn an_open_loop_publishes_at_its_rate_whatever_arrives() {
    let rig = Rig::new(true);
    let mut fleet = rig.fleet(1, 64, 1);
    fleet.grow(2, 2).unwrap();
    let slice = fleet.slice(Pace::Rate(500.0), LENGTH, None, None).unwrap();
    assert_eq!(slice.deliveries, 2 * 50);
    assert!(slice.faults.none(), "{:?}", slice.faults);
}

#[test]
fn nothing_is_missed_while_others_come_and_go() {
    let rig = Rig::new(true);
    let mut fleet = rig.fleet(1, 64, 1);
    fleet.grow(4, 4).unwrap();
    let mut beside = rig.fleet(1, 64, 0);
    beside.grow(8, 8).unwrap();
    let mut churn = Churn::new(beside, 2000.0);
    let slice = fleet.slice(Pace::InFlight(2), LENGTH, None, Some(&mut churn)).unwrap();
    assert!(slice.actions > 0);
    assert!(slice.faults.none(), "{:?}", slice.faults);
}

#[test]
fn a_server_that_goes_away_is_noticed() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    // It accepts the publisher and one client, and closes the client.
    std::thread::spawn(move || {
        let publisher = listener.accept();
        drop(listener.accept());
        std::thread::park();
        drop(publisher);
    });
    let plan = Plan { topics: 1, payload: 64, window: 4, spin: false, publishers: 1 };
    let mut fleet =
        Fleet::new(Box::<Floor>::default(), address, Some(address), plan, Clock::start()).unwrap();
    let error = fleet.grow(1, 1).unwrap_err().to_string();
    assert!(error.contains("1 connections closed"), "{error}");
}
