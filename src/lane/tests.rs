//! Order, room, and that no wake-up is lost.

use super::*;

fn pair(entries: usize, cost_max: u64) -> (Sender<u32>, Receiver<u32>) {
    lane(entries, cost_max, Wake::new().unwrap(), Wake::new().unwrap())
}

#[test]
fn entries_come_out_in_order_and_free_their_room() {
    let (mut sender, mut receiver) = pair(4, 10);
    assert_eq!(sender.push(4, 1), Ok(()));
    assert_eq!(sender.push(6, 2), Ok(()));
    assert_eq!(sender.push(1, 3), Err(3), "the cost bound holds");
    assert_eq!(receiver.pop(), Some(1));
    assert_eq!(sender.push(4, 3), Ok(()));
    assert_eq!(receiver.pop(), Some(2));
    assert_eq!(receiver.pop(), Some(3));
    assert_eq!(receiver.pop(), None);
    assert_eq!(sender.queued_cost(), 0);
}

#[test]
fn an_onlooker_sees_how_full_a_lane_is() {
    let (mut sender, mut receiver) = pair(4, 10);
    let depth = sender.depth();
    sender.push(4, 1).unwrap();
    sender.push(6, 2).unwrap();
    sender.push(1, 3).unwrap_err();
    assert_eq!((depth.entries(), depth.cost()), (2, 10));
    receiver.pop();
    assert_eq!((depth.entries(), depth.cost()), (1, 6));
}

#[test]
fn the_entry_bound_holds_for_free_entries() {
    let (mut sender, mut receiver) = pair(2, 10);
    assert!(sender.push(0, 1).is_ok() && sender.push(0, 2).is_ok());
    assert_eq!(sender.push(0, 3), Err(3));
    receiver.pop();
    assert_eq!(sender.push(0, 3), Ok(()));
}

#[test]
fn an_entry_larger_than_the_bound_enters_an_empty_lane_only() {
    let (mut sender, mut receiver) = pair(4, 10);
    assert_eq!(sender.push(1, 1), Ok(()));
    assert_eq!(sender.push(100, 2), Err(2));
    receiver.pop();
    assert_eq!(sender.push(100, 2), Ok(()));
    assert_eq!(sender.push(1, 3), Err(3));
}

#[test]
fn a_sleeper_that_does_not_come_when_called_is_seen() {
    let (wake, now) = (Wake::new().unwrap(), Instant::now());
    let later = now + Duration::from_secs(3_600);
    wake.wake();
    assert_eq!(wake.unanswered_for(later), Duration::ZERO, "awake: not called");
    wake.fall_asleep();
    assert_eq!(wake.unanswered_for(later), Duration::ZERO, "asleep, and nobody calls");
    wake.wake();
    assert!(wake.unanswered_for(later) > Duration::from_secs(3_000));
    wake.stay_awake();
    assert_eq!(wake.unanswered_for(later), Duration::ZERO);
}

fn wakes(wake: &Wake) -> bool {
    let mut count = [0u8; 8];
    rustix::io::read(wake, &mut count).is_ok()
}

#[test]
fn only_a_sleeper_is_woken_and_only_once() {
    let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
    let (mut sender, _receiver) = lane(4, 10, consumer.clone(), producer);
    sender.push(1, 1).unwrap();
    sender.wake();
    assert!(!wakes(&consumer), "awake: nothing written");
    consumer.fall_asleep();
    sender.wake();
    sender.wake();
    assert!(wakes(&consumer));
    assert!(!wakes(&consumer), "one wake a sleep");
}

#[test]
fn a_consumer_is_woken_when_its_producer_goes_and_takes_what_it_left() {
    let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
    let (mut sender, mut receiver) = lane(4, 10, consumer.clone(), producer);
    sender.push(1, 7).unwrap();
    consumer.fall_asleep();
    assert!(!receiver.is_abandoned());
    drop(sender);
    assert!(wakes(&consumer));
    assert!(receiver.is_abandoned());
    assert_eq!((receiver.pop(), receiver.pop()), (Some(7), None));
}

#[test]
fn taking_wakes_a_producer_that_wanted_room() {
    let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
    let (mut sender, mut receiver) = lane(4, 2, consumer, producer.clone());
    sender.push(1, 1).unwrap();
    sender.push(1, 2).unwrap();
    receiver.pop();
    producer.fall_asleep();
    receiver.pop();
    assert!(!wakes(&producer), "nobody asked");
    sender.push(2, 3).unwrap();
    sender.want_room();
    assert!(!sender.has_room(1));
    receiver.pop();
    assert!(wakes(&producer));
}

/// Two threads, a tiny lane, both sleeping whenever they can: a lost wake-up hangs the test.
#[test]
fn no_wake_up_is_lost_between_two_sleepers() {
    // Miri has no poll(2): there, both ends spin, and the memory accesses are checked all the same.
    const ENTRIES: u32 = if cfg!(miri) { 200 } else { 20_000 };
    let (consumer, producer) = (Wake::new().unwrap(), Wake::new().unwrap());
    let (mut sender, mut receiver) = lane(2, 1 << 20, consumer.clone(), producer.clone());
    let sleep = |wake: &Wake| {
        if cfg!(miri) {
            while !wakes(wake) {
                std::thread::yield_now();
            }
            return;
        }
        let mut fds = [rustix::event::PollFd::new(wake, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, None).unwrap();
        wake.acknowledge();
    };
    let pushing = std::thread::spawn(move || {
        for entry in 0..ENTRIES {
            while !sender.has_room(1) {
                sender.want_room();
                producer.fall_asleep();
                if !sender.has_room(1) {
                    sleep(&producer);
                }
                producer.stay_awake();
            }
            sender.push(1, entry).unwrap();
            sender.wake();
        }
    });
    for expected in 0..ENTRIES {
        let entry = loop {
            if let Some(entry) = receiver.pop() {
                break entry;
            }
            consumer.fall_asleep();
            if receiver.is_empty() {
                sleep(&consumer);
            }
            consumer.stay_awake();
        };
        assert_eq!(entry, expected);
    }
    pushing.join().unwrap();
}
