//! Goal: no wake-up of `src/lane.rs` is ever lost, whatever the interleaving and whatever stores a
//! load may miss. Method: that file itself, compiled against loom's atomics. Both ends sleep
//! whenever they can; a lost wake-up is a deadlock, which loom reports with the path that leads
//! there.

#[allow(dead_code)]
#[path = "../../../src/lane.rs"]
mod lane;
#[allow(dead_code)]
#[path = "../../../src/pulse.rs"]
mod pulse;
mod sync;

use lane::{Receiver, Sender, Wake, lane as new_lane};
use sync::Arc;

/// As the loop of a shard: say so, look again, sleep.
fn receive(receiver: &mut Receiver<u32>, wake: &Wake) -> u32 {
    loop {
        if let Some(entry) = receiver.pop() {
            return entry;
        }
        wake.fall_asleep();
        if receiver.is_empty() {
            wake.event().wait();
            wake.acknowledge();
        }
        wake.stay_awake();
    }
}

/// As the hub's task: asleep first, then the wish for room, then another look.
fn send(sender: &mut Sender<u32>, wake: &Wake, entry: u32) {
    while !sender.has_room(1) {
        wake.fall_asleep();
        sender.want_room();
        if !sender.has_room(1) {
            wake.event().wait();
            wake.acknowledge();
        }
        wake.stay_awake();
    }
    assert_eq!(sender.push(1, entry), Ok(()), "room once seen stays");
    sender.wake();
}

fn wakes() -> (Arc<Wake>, Arc<Wake>) {
    (Wake::new().unwrap(), Wake::new().unwrap())
}

fn explore(name: &str, preemptions: Option<usize>, model: impl Fn() + Sync + Send + 'static) {
    let begun = std::time::Instant::now();
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = runs.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = preemptions;
    builder.max_branches = 100_000;
    builder.check(move || {
        counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let runs = runs.load(std::sync::atomic::Ordering::Relaxed);
    let bound =
        preemptions.map_or("all".to_owned(), |bound| format!("at most {bound} preemptions"));
    println!("{name}: {runs} interleavings ({bound}) in {:.1} s", begun.elapsed().as_secs_f64());
}

/// One entry into an empty lane whose consumer falls asleep.
fn a_sleeping_consumer_is_woken() {
    let (consumer, producer) = wakes();
    let (mut sender, mut receiver) = new_lane(2, 10, consumer.clone(), producer);
    let pushing = loom::thread::spawn(move || {
        sender.push(1, 7).unwrap();
        sender.wake();
    });
    assert_eq!(receive(&mut receiver, &consumer), 7);
    pushing.join().unwrap();
}

/// A lane with room for one: by its entries, or by its cost.
fn a_producer_that_met_a_full_lane_is_woken(entries: usize, cost_max: u64) {
    let (consumer, producer) = wakes();
    let (mut sender, mut receiver) = new_lane(entries, cost_max, consumer, producer.clone());
    sender.push(1, 0).unwrap();
    let popping = loom::thread::spawn(move || {
        assert_eq!(receiver.pop(), Some(0));
        receiver
    });
    send(&mut sender, &producer, 1);
    assert_eq!(popping.join().unwrap().pop(), Some(1));
}

/// Both sleep.
fn two_sleepers_go_on(count: u32) {
    let (consumer, producer) = wakes();
    let (mut sender, mut receiver) = new_lane(1, 10, consumer.clone(), producer.clone());
    let pushing = loom::thread::spawn(move || {
        for entry in 0..count {
            send(&mut sender, &producer, entry);
        }
    });
    for expected in 0..count {
        assert_eq!(receive(&mut receiver, &consumer), expected);
    }
    pushing.join().unwrap();
}

/// One sleeper, whose two lanes two threads push to: one wake-up may serve both.
fn two_producers_wake_one_consumer() {
    let consumer = Wake::new().unwrap();
    let mut lanes: Vec<_> =
        (0..2).map(|_| new_lane::<u32>(1, 10, consumer.clone(), Wake::new().unwrap())).collect();
    let (mut receivers, mut pushing) = (Vec::new(), Vec::new());
    for (mut sender, receiver) in lanes.drain(..) {
        receivers.push(receiver);
        pushing.push(loom::thread::spawn(move || {
            sender.push(1, 7).unwrap();
            sender.wake();
        }));
    }
    let mut left = 2;
    while left > 0 {
        let taken: usize = receivers.iter_mut().map(|lane| usize::from(lane.pop().is_some())).sum();
        left -= taken;
        if taken > 0 {
            continue;
        }
        consumer.fall_asleep();
        if receivers.iter().all(|lane| lane.is_empty()) {
            consumer.event().wait();
            consumer.acknowledge();
        }
        consumer.stay_awake();
    }
    for thread in pushing {
        thread.join().unwrap();
    }
}

/// A producer that goes wakes its consumer, which finds what it left first.
fn a_consumer_learns_that_its_producer_has_gone() {
    let (consumer, producer) = wakes();
    let (mut sender, mut receiver) = new_lane(2, 10, consumer.clone(), producer);
    let going = loom::thread::spawn(move || {
        sender.push(1, 7).unwrap();
        drop(sender);
    });
    let mut taken = None;
    loop {
        let gone = receiver.is_abandoned();
        if let Some(entry) = receiver.pop() {
            taken = Some(entry);
            continue;
        }
        if gone {
            break;
        }
        consumer.fall_asleep();
        if receiver.is_empty() && !receiver.is_abandoned() {
            consumer.event().wait();
            consumer.acknowledge();
        }
        consumer.stay_awake();
    }
    assert_eq!(taken, Some(7));
    going.join().unwrap();
}

fn main() {
    explore("a sleeping consumer is woken", None, a_sleeping_consumer_is_woken);
    explore("a producer that met a full lane is woken (entries)", None, || {
        a_producer_that_met_a_full_lane_is_woken(1, 10)
    });
    explore("a producer that met a full lane is woken (cost)", None, || {
        a_producer_that_met_a_full_lane_is_woken(4, 1)
    });
    explore(
        "a consumer learns that its producer has gone",
        None,
        a_consumer_learns_that_its_producer_has_gone,
    );
    explore("two sleepers go on", Some(4), || two_sleepers_go_on(2));
    explore("two sleepers go on for longer", Some(3), || two_sleepers_go_on(3));
    explore("two producers wake one consumer", Some(3), two_producers_wake_one_consumer);
}
