//! `PublishAsync` at a full lane: answered at once, in order, within its bound, and never lost
//! behind an ok.

use super::*;

const ASYNC: &str = "broadcast.PublishAsync";

fn publish_async(sequence: u32, topics: &[&str], payload: &[u8]) -> Vec<u8> {
    call(sequence, ASYNC, Codec::Proto, &rpc::publish_body(topics.iter().copied(), payload))
}

over_both!(calls_are_answered_while_others_wait_and_publish_in_order);
fn calls_are_answered_while_others_wait_and_publish_in_order(runtime: Runtime) {
    let mut hub = start(runtime, 1, Limits { lane_entries: 1, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    for number in 0..50 {
        // Several publications each, with an empty topic among them.
        stream
            .write_all(&publish_async(number, &["foo", "", "foo"], number.to_string().as_bytes()))
            .unwrap();
        assert_eq!(answer(&mut stream), (number, Ok(true)), "nobody takes from the lane");
    }
    stream.write_all(&publish(50, &["foo"], b"50")).unwrap();
    for sequence in 1..=100 {
        let (_, seen, text) = hub.published(0);
        assert_eq!(seen, sequence);
        assert!(
            text.contains(&format!(r#""payload":"{}""#, (sequence - 1) / 2)),
            "{sequence}: {text}"
        );
    }
    assert!(hub.published(0).2.contains(r#""payload":"50""#), "a Publish goes behind them");
    assert_eq!(answer(&mut stream), (50, Ok(true)));
    hub.counts("publications", 2 * (50 * 2 + 1));
    hub.counts("empty_topics", 50);
    hub.counts("failures_after_ok", 0);
}

over_both!(a_call_over_the_bound_is_refused_as_a_whole_and_counted);
fn a_call_over_the_bound_is_refused_as_a_whole_and_counted(runtime: Runtime) {
    let mut hub =
        start(runtime, 1, Limits { lane_entries: 1, rpc_async_bytes: 8000, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    let (mut taken, mut refused) = (Vec::new(), 0);
    for number in 0..40 {
        stream
            .write_all(&publish_async(number, &["foo"], format!("{number:100}").as_bytes()))
            .unwrap();
        match answer(&mut stream) {
            (_, Ok(true)) => taken.push(number),
            (_, Err(error)) => {
                assert!(error.contains("roadcast.limits.rpc_async_bytes (8000)"), "{error}");
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(taken.len() > 5 && refused > 5, "{taken:?}");
    hub.counts("errors_async", refused);
    // An account is an address: another connection of it has left nothing, and is refused too.
    let mut other = hub.connect();
    other.write_all(&publish_async(1, &["foo"], &[b'x'; 5000])).unwrap();
    assert!(answer(&mut other).1.is_err());
    hub.counts("errors_async", refused + 1);
    for number in &taken {
        let text = hub.published(0).2;
        assert!(text.contains(&format!(r#""payload":"{number:100}""#)), "{number}: {text}");
    }
    // Once it has drained there is room again.
    stream.write_all(&publish(40, &["bar"], b"")).unwrap();
    assert_eq!(answer(&mut stream), (40, Ok(true)));
    stream.write_all(&publish_async(41, &["foo"], b"again")).unwrap();
    assert_eq!(answer(&mut stream), (41, Ok(true)));
}

over_both!(what_was_answered_ok_is_published_although_its_caller_has_gone_whose_place_is_free);
fn what_was_answered_ok_is_published_although_its_caller_has_gone_whose_place_is_free(
    runtime: Runtime,
) {
    let mut hub =
        start(runtime, 2, Limits { lane_entries: 1, rpc_connections: 1, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    hub.interest(1, 0, BUS, "bar");
    // One at a time, as there is room for one connection; far more than places, while the lane of
    // one shard stands still.
    for number in 0..1024 {
        let mut stream = hub.connect();
        stream.write_all(&publish_async(number, &["foo"], number.to_string().as_bytes())).unwrap();
        assert_eq!(answer(&mut stream), (number, Ok(true)));
        drop(stream);
        hub.counts("rpc_open", 0);
    }
    let mut next = hub.connect();
    next.write_all(&publish(1, &["bar"], b"x")).unwrap();
    assert_eq!(answer(&mut next), (1, Ok(true)));
    assert_eq!(hub.published(1).1, 1);
    for number in 0..1024 {
        let (_, sequence, text) = hub.published(0);
        assert_eq!(sequence, number + 1);
        assert!(text.contains(&format!(r#""payload":"{number}""#)), "{number}: {text}");
    }
    hub.counts("rpc_refused", 0);
}

over_both!(what_has_gone_makes_room_at_once_however_much_it_was);
/// The runtime allows a task so many looks at a time; what has gone is not found by looking.
fn what_has_gone_makes_room_at_once_however_much_it_was(runtime: Runtime) {
    let limits = Limits { lane_entries: 1, rpc_async_bytes: 600 * 1024, ..Limits::default() };
    let mut hub = start(runtime, 1, limits);
    hub.interest(0, 0, BUS, "foo");
    let mut stream = hub.connect();
    for round in 0..3 {
        // A call that others would refuse had any of the round before been left.
        for number in 0..500 {
            stream.write_all(&publish_async(number, &["foo"], b"x")).unwrap();
            assert_eq!(answer(&mut stream), (number, Ok(true)), "round {round}");
        }
        for _ in 0..500 {
            hub.published(0);
        }
    }
}

over_both!(a_publish_that_waits_takes_nothing_from_those_that_do_not);
fn a_publish_that_waits_takes_nothing_from_those_that_do_not(runtime: Runtime) {
    let mut hub =
        start(runtime, 1, Limits { lane_entries: 1, rpc_async_bytes: 8000, ..Limits::default() });
    hub.interest(0, 0, BUS, "foo");
    let mut waiting: Vec<_> = (0..4).map(|_| hub.connect()).collect();
    for stream in &mut waiting {
        stream.write_all(&publish(0, &["foo"], &[b'x'; 7000])).unwrap();
    }
    hub.counts("publications_waited", 3);
    let mut stream = hub.connect();
    for number in 0..4 {
        stream.write_all(&publish_async(number, &["foo"], b"async")).unwrap();
        assert_eq!(answer(&mut stream), (number, Ok(true)), "8,000 bytes are for such calls alone");
    }
    for sequence in 1..=8 {
        assert_eq!(hub.published(0).1, sequence);
    }
    for stream in &mut waiting {
        assert_eq!(answer(stream), (0, Ok(true)));
    }
}

over_both!(shutting_down_waits_for_them_and_counts_what_it_cannot_wait_for);
fn shutting_down_waits_for_them_and_counts_what_it_cannot_wait_for(runtime: Runtime) {
    for takes in [true, false] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let limits = Limits { lane_entries: 1, ..Limits::default() };
        let grace = if takes { GRACE } else { Duration::from_millis(200) };
        let mut hub = start_on(runtime, RpcListener::Tcp(listener), address, 1, limits, grace);
        hub.interest(0, 0, BUS, "foo");
        let mut stream = hub.connect();
        for number in 0..10 {
            stream.write_all(&publish_async(number, &["foo", "foo"], b"x")).unwrap();
            assert_eq!(answer(&mut stream), (number, Ok(true)));
        }
        hub.shutdown.begin(StdInstant::now());
        if takes {
            let mut published = 0;
            loop {
                match hub.next(0) {
                    Down::Publish { sequence, .. } => {
                        published += 1;
                        assert_eq!(sequence, published);
                    }
                    Down::StopAccepting => {}
                    Down::Drain => break,
                    entry => panic!("{entry:?}"),
                }
            }
            assert_eq!(published, 20, "all of them before the last entry");
            hub.counts("failures_after_ok", 0);
        } else {
            // One is in the lane, and the other broker wants nothing.
            hub.counts("failures_after_ok", 19);
        }
    }
}
