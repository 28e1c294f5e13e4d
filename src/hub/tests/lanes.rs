//! Back-pressure and interest, with shards that the test holds still.

use super::*;

over_both!(a_full_lane_stops_only_its_publisher_and_not_the_answers_before);
fn a_full_lane_stops_only_its_publisher_and_not_the_answers_before(runtime: Runtime) {
    let mut hub = start(runtime, 2, Limits { lane_entries: 2, ..Limits::default() });
    hub.interest(0, 0, BUS, "slow");
    hub.interest(1, 0, BUS, "fast");
    let (mut slow, mut fast) = (hub.connect(), hub.connect());
    let calls: Vec<u8> = (0..4).flat_map(|number| publish(number, &["slow"], b"x")).collect();
    slow.write_all(&calls).unwrap();
    assert_eq!((answer(&mut slow), answer(&mut slow)), ((0, Ok(true)), (1, Ok(true))));
    hub.counts("publications_waited", 1);
    for number in 0..100 {
        fast.write_all(&publish(number, &["fast"], b"x")).unwrap();
        assert_eq!(answer(&mut fast), (number, Ok(true)));
        hub.published(1);
    }
    // Behind the waiting call of its own connection, a call to a free lane waits too.
    slow.write_all(&publish(4, &["fast"], b"x")).unwrap();
    for sequence in 1..=4 {
        assert_eq!(hub.published(0).1, sequence);
    }
    for number in 2..5 {
        assert_eq!(answer(&mut slow), (number, Ok(true)));
    }
    assert_eq!(hub.published(1).1, 101);
}

over_both!(publish_async_is_answered_before_there_is_room);
fn publish_async_is_answered_before_there_is_room(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits { lane_entries: 1, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    let body = rpc::publish_body(["foo", "foo", "foo"], b"x");
    stream.write_all(&call(1, "broadcast.PublishAsync", Codec::Proto, &body)).unwrap();
    stream.write_all(&publish(2, &["foo"], b"later")).unwrap();
    assert_eq!(answer(&mut stream), (1, Ok(true)));
    for sequence in 1..=3 {
        assert_eq!(hub.published(0).1, sequence);
    }
    assert!(hub.published(0).2.contains("later"));
    assert_eq!(answer(&mut stream), (2, Ok(true)));
}

over_both!(many_waiting_publishers_all_go_when_the_shard_takes);
/// Publishers that wait for one lane are many, and each takes its turn.
fn many_waiting_publishers_all_go_when_the_shard_takes(runtime: Runtime) {
    let mut hub = start(runtime, 2, Limits { lane_entries: 1, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    hub.interest(1, 0, BUS, "foo");
    let mut streams: Vec<_> = (0..20).map(|_| hub.connect()).collect();
    for stream in &mut streams {
        stream
            .write_all(&[publish(1, &["foo"], b"x"), publish(2, &["foo"], b"x")].concat())
            .unwrap();
    }
    for sequence in 1..=40 {
        assert_eq!(hub.published(0).1, sequence);
        assert_eq!(hub.published(1).1, sequence);
    }
    for stream in &mut streams {
        assert_eq!((answer(stream), answer(stream)), ((1, Ok(true)), (2, Ok(true))));
    }
}

over_both!(interest_and_publishing_race_without_a_gap);
/// A shard joins and leaves while publishers go on: between its two answers the sequence has no
/// gap, and what was answered ok meanwhile is in it.
fn interest_and_publishing_race_without_a_gap(runtime: Runtime) {
    const CALLS: u32 = 3000;
    let mut hub = start(runtime, 2, Limits { lane_entries: 8, ..Limits::default() });
    // One shard stays, so that the topic keeps its order; the other comes and goes.
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    let publisher = std::thread::spawn(move || {
        for number in 0..CALLS {
            stream.write_all(&publish(number, &["foo"], b"x")).unwrap();
            assert_eq!(answer(&mut stream), (number, Ok(true)));
        }
    });

    let mut staying = hub.shards.remove(0);
    let mut coming = hub.shards.remove(0);
    let topic = TopicId { index: 9, generation: 0 };
    let (mut stayed, mut rounds, mut waiting, mut last, mut before) = (0, 0, false, None, 0);
    while stayed < u64::from(CALLS) {
        if let Some(Down::Publish { sequence, .. }) = staying.down.pop() {
            stayed += 1;
            assert_eq!(sequence, stayed);
        }
        if !waiting {
            waiting = true;
            let question = match last {
                None => Up::Interest {
                    topic,
                    broker: BUS,
                    form: Default::default(),
                    name: "foo".into(),
                },
                Some(_) => Up::Uninterest { topic },
            };
            coming.up.push(0, question).unwrap();
            coming.up.wake();
        }
        match coming.down.pop() {
            None => std::thread::yield_now(),
            Some(Down::Interested { sequence, .. }) => {
                assert!(last.is_none() && sequence >= before);
                (last, waiting) = (Some(sequence), false);
            }
            Some(Down::Uninterested { .. }) => {
                before = last.take().unwrap();
                (waiting, rounds) = (false, rounds + 1);
            }
            Some(Down::Publish { sequence, .. }) => {
                assert_eq!(sequence, last.unwrap() + 1);
                last = Some(sequence);
            }
            entry => panic!("{entry:?}"),
        }
    }
    publisher.join().unwrap();
    assert!(rounds > 0);
    hub.shards = vec![staying, coming];
}

over_both!(a_call_of_many_publications_lets_others_have_their_turn);
fn a_call_of_many_publications_lets_others_have_their_turn(runtime: Runtime) {
    const MANY: u64 = 200_000;
    let mut hub = start(runtime, 1, Limits { lane_entries: 1 << 18, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    hub.interest(0, 1, BUS, "bar");
    let mut streams = [hub.connect(), hub.connect()];
    let body = rpc::publish_body(std::iter::repeat_n("foo", MANY as usize), b"x");
    streams[0].write_all(&call(1, "broadcast.Publish", Codec::Proto, &body)).unwrap();
    assert_eq!(hub.published(0).0, 0, "it has begun");
    streams[1].write_all(&publish(2, &["bar"], b"x")).unwrap();
    assert_eq!(answer(&mut streams[1]), (2, Ok(true)));
    assert!(hub.counters.publications.value() < MANY, "answered while the long call goes on");
    assert_eq!(answer(&mut streams[0]), (1, Ok(true)));
    hub.counts("publications_pushed", MANY + 1);
}
